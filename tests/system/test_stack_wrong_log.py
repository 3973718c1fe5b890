"""A topic that is altered, made again or trimmed under a running stack, and what doctor names."""

import contextlib
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    ResourceType,
)

from aplauso.adapters.kafka.config import KafkaSettings
from aplauso.adapters.kafka.topics import Topics
from aplauso.domain.errors import Unavailable
from aplauso.stack.process import Process
from embedded import wait_until
from stack_world import PARTITIONS, World, running

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(150)]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running(tmp_path_factory.mktemp("own"), environment={"CALL_SECONDS": "3"}) as world:
        yield world


@functools.cache  # a client that nobody holds takes its answers with it
def admin(world: World) -> AdminClient:
    return AdminClient({"bootstrap.servers": world.stack.kafka.bootstrap, "log_level": 0})


def topics(world: World) -> Topics:
    return Topics(KafkaSettings(world.stack.kafka.bootstrap, "votes", PARTITIONS))


def ends_saying(room: Process, *said: str, seconds: float = 30.0) -> None:
    """Holds that a room ends by itself, not as a success, its last line one of these reasons."""
    wait_until(lambda: not room.running, f"{room.name} to end", seconds)
    process: Any = room._process
    assert process.returncode == 1
    last = room.tail(1)
    assert last.startswith("aplauso: "), room.tail()
    assert any(reason in last for reason in said), last


def starts_and_ends_saying(world: World, name: str, said: str) -> None:
    room = world.rooms[name]
    room.spawn()
    ends_saying(room, said)


def doctor(world: World, part: str) -> str:
    """What doctor says is wrong with a part."""
    ended = world.aplauso("doctor")
    assert ended.code == 1, ended
    return next(line for line in ended.out.splitlines() if line.split()[1] == f"{part}:")


def put_config(world: World, name: str, value: str) -> None:
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, "votes", incremental_configs=[entry])
    admin(world).incremental_alter_configs([resource])[resource].result(10)


def test_doctor_names_what_is_wrong(stack: World) -> None:
    """Doctor names retention, eviction, persistence and clocks that endanger votes, and parts that are away."""
    contest = stack.contest()
    assert stack.vote(contest).status == 201
    stack.wait_rest()
    assert stack.aplauso("doctor").code == 0
    put_config(stack, "retention.ms", "3600000")
    assert "retention.ms is 3600000, and has to be -1" in doctor(stack, "kafka")
    put_config(stack, "retention.ms", "-1")
    with stack.stack.redis.client() as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.config_set("appendonly", "no")
        client.config_set("save", "")
        said = doctor(stack, "redis")
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("appendonly", "yes")
    assert "must be noeviction" in said
    assert "keeps nothing on disk" in said
    wait_until(lambda: stack.aplauso("doctor").code == 0, "all to be well again", 20)
    for name, part in (("redis", stack.stack.redis.process), ("mongo", stack.stack.mongo)):
        part.kill()
        said = doctor(stack, name)
        part.start(60)
        assert said.startswith("WRONG"), said
    stack.rooms["collector"].kill()
    assert str(stack.stack.ports["collector"]) in doctor(stack, "collectors")
    stack.heal()
    stack.wait_rest()


def test_trimmed(stack: World) -> None:
    """After the log was trimmed, projections that have to read what is gone stop, and recount refuses to count."""
    contest = stack.contest()
    for _ in range(60):
        assert stack.vote(contest).status == 201
    stack.wait_rest()
    for name in ("tally", "archive"):
        stack.rooms[name].stop()
    with stack.stack.redis.client() as client:
        client.flushall()
    high = topics(stack).ends([0])[0]
    assert high > 1
    where = TopicPartition("votes", 0, high - 1)
    admin(stack).delete_records([where])[where].result(10)
    starts_and_ends_saying(stack, "tally", "partition 0 was trimmed")
    ended = stack.aplauso("recount")
    assert ended.code == 1
    assert "partition 0 was trimmed" in ended.err
    stack.rooms["archive"].spawn()
    stack.rooms["archive"].wait_ready(30)  # it stands behind what was trimmed


def recreate(world: World) -> None:
    former = topics(world).describe().id
    admin(world).delete_topics(["votes"])["votes"].result(10)
    again = topics(world)

    def made() -> bool:
        with contextlib.suppress(Unavailable):  # the former one is still going
            again.create()
            return again.describe().id != former
        return False

    wait_until(made, "the topic to be there again", 20)


def test_made_again(stack: World) -> None:
    """When the topic was deleted and made again, votes are refused, the archive stops, and nothing wrong is shown."""
    contest = stack.contest()
    recreate(stack)
    wait_until(lambda: stack.vote(contest).status == 503, "the collector to notice", 10)
    ends_saying(stack.rooms["archive"], "deleted and made again", "names the log")
    starts_and_ends_saying(stack, "archive", "names the log")
    assert stack.total(contest) == 0
    ended = stack.aplauso("recount")
    assert ended.code == 1
    assert "names the log" in ended.out + ended.err


def test_more_partitions(stack: World) -> None:
    """When the topic was given more partitions, votes are refused and every room that reads or writes it stops."""
    contest = stack.contest()
    admin(stack).create_partitions([NewPartitions("votes", PARTITIONS + 2)])["votes"].result(10)
    wait_until(lambda: stack.vote(contest).status == 503, "the collector to notice", 10)
    said = f"has {PARTITIONS + 2} partitions, but {PARTITIONS} are configured"
    stack.rooms["collector"].stop()
    for name in ("collector", "tally", "archive"):
        starts_and_ends_saying(stack, name, said)
    assert said in doctor(stack, "kafka")
    ended = stack.aplauso("recount")
    assert ended.code == 1
    assert said in ended.err


def test_the_supervisor_names_it(tmp_path: Path) -> None:
    """A room that stops because the log is wrong is named by the supervisor, with its last words."""
    from aplauso.stack.supervisor import Watched

    said: list[str] = []
    room = Process(
        "tally", ["sh", "-c", "echo 'aplauso: partition 0 was trimmed'; exit 1"], tmp_path / "log", lambda: True
    )
    room.spawn()
    wait_until(lambda: not room.running, "its end")
    Watched(room).look(said.append)
    assert "tally has ended" in said[0]
    assert "aplauso: partition 0 was trimmed" in "".join(said)
