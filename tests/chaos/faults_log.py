"""Faults of what goes into the log and of who reads it: garbage, one key many times, a wrong clock, a lost group."""

import asyncio
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from time import monotonic, time
from typing import Final

from confluent_kafka import Producer

from aplauso.adapters.http.client import GatewayClient
from aplauso.adapters.kafka.config import KafkaSettings
from aplauso.domain.journal import Outcome
from aplauso.domain.record import encode, partition_of
from aplauso.domain.vote import Ballot, Vote
from aplauso.flow.send import Answer
from aplauso.ports.rejected import Place
from aplauso.stack.kafka import free_low_port
from aplauso.wiring.distributed.archive import ARCHIVE_GROUP
from aplauso.wiring.distributed.tally import TALLY_GROUP
from chaos.crowd import ANSWER_SECONDS
from chaos.faults_process import ROOMS
from chaos.scene import UNANSWERED, Scene, add
from chaos.waiting import until, until_async
from chaos.world import PARTITIONS

_HOUR: Final = 3600
_COPIES: Final = 300
_STORM: Final = Ballot("Tormenta", "Una sola", 2001, 7)
_LATE: Final = Ballot("La Hora", "Tarde", 2002, 3)


async def plant_garbage(scene: Scene) -> None:
    """Records that nobody of ours would write, straight into the topic: each is rejected once, and nothing else is."""
    settings = KafkaSettings(scene.world.stack.kafka.bootstrap)
    topic = await scene.topic()
    records = [_garbage(scene, at) for at in range(24)]
    producer = Producer(settings.admin() | {"enable.idempotence": True, "acks": "all"})
    planted: dict[Place, str] = {}

    def settle(reason: str, error: object, message: object) -> None:
        assert error is None, error
        planted[Place(topic, message.partition(), message.offset())] = reason  # type: ignore[attr-defined]

    def plant() -> None:
        for reason, key, value, partition in records:
            producer.produce("votes", value, key, partition, partial(settle, reason))

    await scene.strike(plant)
    await asyncio.to_thread(producer.flush, 60)
    assert len(planted) == len(records), f"only {len(planted)} of {len(records)} garbage records were planted"
    scene.planted.update(planted)
    scene.back()


def _garbage(scene: Scene, at: int) -> tuple[str, bytes | None, bytes | None, int]:
    """The reason for which a record must be rejected; its key, its value and its partition."""
    rng = scene.rng
    vote_id = str(uuid.UUID(int=rng.getrandbits(128), version=4)).replace("-4", "-8", 1)
    right = Vote(vote_id, scene.crowd.contest, "Nadie", "Nada", 2000, 5, int(time() * 1000), "nadie", "nada")
    key = vote_id.encode()
    home = partition_of(key, PARTITIONS)
    return [
        ("unreadable", rng.randbytes(16), b"\xff" + rng.randbytes(200), rng.randrange(PARTITIONS)),
        ("wrong-key", key, b"", home),
        ("unreadable", key, None, home),
        ("wrong-key", None, encode(right), home),
        ("wrong-key", str(uuid.uuid4()).encode(), encode(right), home),
        ("wrong-partition", key, encode(right), (home + 1) % PARTITIONS),
        ("unreadable", key, rng.randbytes(300_000), home),
        ("unreadable", key, encode(right)[:-3] + b"\xff\xff\xff", home),
    ][at % 8]


async def storm_one_key(scene: Scene) -> None:
    """One key, sent many times at once: one vote, equal receipts."""
    key = f"storm-{scene.rng.randbytes(12).hex()}"
    crowd = scene.crowd
    tasks: list[asyncio.Task[Answer]] = []
    async with GatewayClient(crowd.url, crowd.contest, connections=_COPIES, timeout=ANSWER_SECONDS) as client:

        async def send() -> Answer:
            answer = await client.send(_STORM, key)
            crowd.note(_STORM, key, answer)
            return answer

        ids: set[str | None] = set()
        recorded, end = 0, monotonic() + 60
        while not recorded and monotonic() < end:
            tasks.clear()
            await scene.strike(lambda: tasks.extend(asyncio.create_task(send()) for _ in range(_COPIES)))
            answers = await asyncio.gather(*tasks)
            ids |= {answer.id for answer in answers if answer.outcome is Outcome.RECORDED}
            recorded = sum(answer.outcome is Outcome.RECORDED for answer in answers)
            if scene.event.alone:
                assert recorded >= UNANSWERED, f"only {recorded} of {_COPIES} copies got a receipt"
    assert len(ids) == 1, f"one key got {len(ids)} ids"
    scene.back()


async def lose_group(scene: Scene) -> None:
    """The consumer group is deleted, its offsets with it, while no replica is in it; nobody misses them."""
    world = scene.world
    room = scene.rng.choice(("tally", "archive"))
    group = TALLY_GROUP if room == "tally" else ARCHIVE_GROUP
    names = ROOMS[room]
    with world.held(*names):
        await scene.strike(lambda: _kill(world.parts[name].pid for name in names))
        await until(lambda: not any(world.parts[name].running for name in names), 10, f"{room} survived kill -9")

        async def deleted() -> bool:
            return await asyncio.to_thread(_delete, world.stack.kafka.bootstrap, group)

        await until_async(deleted, 40, f"the group {group} could not be deleted")
        await scene.unanswered()
    for name in names:
        await world.ready(name)
    scene.back()


def _kill(pids: Iterable[int]) -> None:
    for pid in pids:
        os.killpg(pid, signal.SIGKILL)


def _delete(bootstrap: str, group: str) -> bool:
    """Deletes a group; False while it has members still, or Kafka is away."""
    # In a process of its own: librdkafka 2.16 aborts when a connection breaks while a coordinator is asked (its #5397).
    script = Path(__file__).with_name("delete_group.py")
    return subprocess.run([sys.executable, str(script), bootstrap, group], check=False, timeout=30).returncode == 0


async def wrong_clock(scene: Scene, hours: int) -> None:
    """A gateway whose clock is an hour off, around a contest's closing: none of its votes is acknowledged."""
    world, crowd = scene.world, scene.crowd
    port = free_low_port()
    gateway = world.stack.room("gateway", ["--port", port, "--host", "127.0.0.1"], port, f"gateway{hours:+}h")
    gateway._env.update(world.rooms["gateway"]._env)
    gateway.argv = ["env", *_fake_time(hours), *gateway.argv]
    await asyncio.to_thread(gateway.start, 45)
    wrong: list[Answer] = []
    right: list[Answer] = []
    try:
        soon = int(time() * 1000) + 2500
        contest, closes = next(item for item in world.closing if item[1] > soon)
        scene.late.append((contest, closes))
        async with (
            GatewayClient(f"http://127.0.0.1:{port}", contest, timeout=ANSWER_SECONDS) as wrong_closing,
            GatewayClient(f"http://127.0.0.1:{port}", crowd.contest, timeout=ANSWER_SECONDS) as wrong_open,
            GatewayClient(crowd.url, contest, timeout=ANSWER_SECONDS) as right_closing,
        ):
            senders = ((wrong_closing, wrong), (wrong_open, wrong), (right_closing, right))
            tasks: list[asyncio.Task[None]] = []
            end = closes / 1000 + 1.0
            await scene.strike(
                lambda: tasks.extend(
                    asyncio.create_task(_vote_until(scene, client, answers, end))
                    for client, answers in senders for _ in range(5)
                )
            )  # fmt: skip
            await asyncio.gather(*tasks)
    finally:
        await asyncio.to_thread(gateway.kill)
    statuses = {answer.status for answer in wrong}
    assert not any(answer.outcome is Outcome.RECORDED for answer in wrong), "a wrong clock's vote was acknowledged"
    assert len(wrong) >= 20, f"only {len(wrong)} answers of the gateway with the wrong clock"
    if scene.event.alone:
        # Fast: the gateway itself says closed; the collector refuses its stamps. Slow: the collector refuses all.
        assert statuses == ({409, 503} if hours > 0 else {503}), f"the gateway with the wrong clock answered {statuses}"
        assert {answer.status for answer in right} == {201, 409}, "the contest did not close under load"
    scene.back()


async def _vote_until(scene: Scene, client: GatewayClient, answers: list[Answer], end: float) -> None:
    while time() < end:
        key = f"clock-{uuid.uuid4().hex}"
        answer = await client.send(_LATE, key)
        scene.crowd.note(_LATE, key, answer)
        answers.append(answer)
        await asyncio.sleep(0.05)


def _fake_time(hours: int) -> list[str]:
    library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
    assert library is not None, "the library of the Debian package faketime is not there"
    return [
        f"LD_PRELOAD={library}", f"FAKETIME={hours * _HOUR:+d}", "DONT_FAKE_MONOTONIC=1",
        "FAKETIME_DONT_FAKE_MONOTONIC=1",
    ]  # fmt: skip


async def clock_fast(scene: Scene) -> None:
    """An hour ahead."""
    await wrong_clock(scene, 1)


async def clock_slow(scene: Scene) -> None:
    """An hour behind."""
    await wrong_clock(scene, -1)


add("garbage records", plant_garbage)
add("duplicate storm", storm_one_key)
add("group deleted", lose_group, "tally", "archive")
add("clock an hour fast", clock_fast, "clock")
add("clock an hour slow", clock_slow, "clock")
