"""Replicas of a projection share a real Kafka's partitions, and take over from those that leave or die."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition

from aplauso.stack.kafka import Kafka
from servers_kafka import fresh_name, kafka
from system.kafka_world import Projection, Replica, World, entries, recorded, wait_for

__all__ = ["kafka"]
pytestmark = pytest.mark.servers
PARTITIONS = range(4)


@pytest.fixture
def world(kafka: Kafka) -> World:
    return World(kafka.bootstrap)


@pytest.fixture(params=["classic", "consumer"])
def protocol(request: pytest.FixtureRequest) -> Any:
    return request.param


def share(replicas: list[Replica]) -> bool:
    """Polls all replicas once; whether each has partitions now, and together they have all, none twice."""
    for replica in replicas:
        replica.step()
    owned = [partition for replica in replicas for partition in replica.partitions]
    return sorted(owned) == list(PARTITIONS) and all(replica.partitions for replica in replicas)


async def test_two_replicas_share_and_one_that_leaves_is_followed(world: World, protocol: Any) -> None:
    """Replicas divide the partitions; when one closes, the other has them within 5 s; every vote is counted once."""
    log, projection, group = world.log(), Projection(), fresh_name("group")
    await recorded(log, entries("alone", PARTITIONS))
    first = Replica(world, group, projection, protocol)
    wait_for(lambda: share([first]), 20)
    second = Replica(world, group, projection, protocol)
    wait_for(lambda: share([first, second]), 20)
    await recorded(log, entries("together", PARTITIONS))
    wait_for(lambda: share([first, second]) and len(projection.counted) == 8, 10)

    second.source.close()
    assert wait_for(lambda: share([first]), 10) < 5
    await recorded(log, entries("alone again", PARTITIONS))
    wait_for(lambda: share([first]) and len(projection.counted) >= 12, 10)
    wanted = [entry.key for name in ("alone", "together", "alone again") for entry in entries(name, PARTITIONS)]
    assert sorted(projection.counted, key=str) == sorted(wanted, key=str)
    first.source.close()
    await log.close()


@pytest.fixture
def killed(world: World, protocol: Any) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """A replica in a process of its own; it prints a line when it has partitions."""
    group = fresh_name("group")
    told = [world.settings.bootstrap, world.settings.topic, group, protocol, len(PARTITIONS)]
    argv = [sys.executable, str(Path(__file__).with_name("kafka_replica.py")), json.dumps(told)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    yield group, process
    process.kill()
    process.communicate()


async def test_the_partitions_of_a_killed_replica_move(
    world: World, protocol: Any, killed: tuple[str, "subprocess.Popen[str]"]
) -> None:
    """kill -9 of a replica moves its partitions to the other within 10 s, and nothing is left out."""
    group, process = killed
    log, projection = world.log(), Projection()
    assert process.stdout is not None
    assert process.stdout.readline() == "has partitions\n"
    survivor = Replica(world, group, projection, protocol)
    wait_for(lambda: share([survivor]) or 0 < len(survivor.partitions) < len(PARTITIONS), 20)
    process.kill()
    died_at = time.monotonic()
    await recorded(log, entries("late", PARTITIONS))
    wait_for(lambda: share([survivor]) and len(projection.counted) == len(PARTITIONS), 15)
    assert time.monotonic() - died_at < 10
    assert sorted(projection.counted, key=str) == sorted((entry.key for entry in entries("late", PARTITIONS)), key=str)
    survivor.source.close()
    await log.close()


async def test_progress_is_committed_for_dashboards(world: World, protocol: Any) -> None:
    """The offsets that a projection tells show up in its group, and nothing is read from there."""
    log, projection, group = world.log(), Projection(), fresh_name("group")
    await recorded(log, entries("a", PARTITIONS))
    replica = Replica(world, group, projection, protocol)
    wait_for(lambda: share([replica]) and len(projection.counted) == 4, 20)
    replica.source.note_progress({0: projection.positions[0]})
    reader = Consumer({"bootstrap.servers": world.settings.bootstrap, "group.id": group})
    where = TopicPartition(world.settings.topic, 0)
    wait_for(lambda: share([replica]) and reader.committed([where], timeout=5)[0].offset == 1, 10)
    reader.close()
    replica.source.close()

    again = Replica(world, group, Projection(), protocol)
    wait_for(lambda: share([again]) and len(again.projection.counted) == 4, 20)
    again.source.close()
    await log.close()
