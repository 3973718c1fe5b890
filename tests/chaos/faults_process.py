"""Faults of processes: killed, stopped cleanly, frozen and woken, coming and going; and disks that fill."""

import asyncio
import contextlib
import os
import resource
import signal
import urllib.request
from collections.abc import Iterable, Sequence
from functools import partial
from http.client import HTTPException
from pathlib import Path
from time import monotonic
from typing import Final

from pymongo import MongoClient, WriteConcern
from pymongo.errors import PyMongoError

from aplauso.stack.process import Process
from chaos.scene import Scene, add
from chaos.waiting import until, until_async
from chaos.world import SESSION_SECONDS

_STOP_SECONDS: Final = 12.0
"""A room ends within ten seconds of being asked; a process then needs a moment to go."""
_FILE_LIMIT: Final = 1
ROOMS: Final = {
    "gateway": ("gateway",), "collector": ("collector",), "board": ("board",),
    "tally": ("tally", "tally-2"), "archive": ("archive", "archive-2"),
}  # fmt: skip
"""The processes of each room."""
_STOPS_INTAKE: Final = ("gateway", "collector", "kafka")


async def kill(scene: Scene, names: Sequence[str]) -> None:
    """kill -9; the keeper starts it again."""
    name = scene.rng.choice(names)
    part = scene.world.parts[name]
    with scene.world.held(name):
        pid = part.pid
        await scene.strike(lambda: os.killpg(pid, signal.SIGKILL))
        await until(lambda: not part.running, 10, f"{name} survived kill -9")
    await scene.world.ready(name)
    assert part.pid != pid
    scene.back()


async def stop(scene: Scene, names: Sequence[str]) -> None:
    """SIGTERM: the room ends by itself, in time, with exit code 0; the keeper starts it again."""
    name = scene.rng.choice(names)
    part = scene.world.parts[name]
    with scene.world.held(name):
        await scene.strike(lambda: part.send(signal.SIGTERM))
        await until(lambda: not part.running, _STOP_SECONDS, f"{name} did not end in {_STOP_SECONDS:g} s after SIGTERM")
        assert part._process is not None
        assert part._process.returncode == 0, f"{name} ended with {part._process.returncode}:\n{part.tail(8)}"
    await scene.world.ready(name)
    scene.back()


def is_frozen(part: Process) -> bool:
    """Whether the kernel calls the process stopped."""
    return Path(f"/proc/{part.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T"


async def freeze(scene: Scene, names: Sequence[str]) -> None:
    """SIGSTOP for longer than the session, so that another replica takes the partitions; then SIGCONT: a zombie."""
    name = scene.rng.choice(names)
    part = scene.world.parts[name]
    group = name.removesuffix("-2") if len(names) > 1 else None
    if group is not None:
        await has_partitions(part)
    await scene.strike(lambda: part.send(signal.SIGSTOP))
    try:
        await until(lambda: is_frozen(part), 5, f"{name} was not stopped by SIGSTOP")
        struck = monotonic()
        if group is not None:
            ends = await scene.ends()

            async def taken_over() -> bool:
                positions = await scene.positions(group)
                return all(positions.get(partition, 0) >= end for partition, end in ends.items())

            await until_async(taken_over, 45, f"nobody took over what {name} had")
        await asyncio.sleep(max(0.0, struck + SESSION_SECONDS + 0.5 - monotonic()))
        assert is_frozen(part), f"{name} woke by itself"
        before = _refused(part)
    finally:
        part.send(signal.SIGCONT)
    await scene.world.ready(name)
    scene.back()
    scene.event.refused = _refused(part) - before


def _refused(part: Process) -> int:
    """How many batches the store has refused the process, as its log says."""
    return part.log.read_bytes().count(b"position moved")


async def has_partitions(part: Process) -> None:
    """Waits until the group has given a replica of a projection partitions, as its metrics say."""
    port = part.argv[part.argv.index("--health-port") + 1]

    def given() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                return b"\naplauso_projection_lag_votes{" in answer.read()
        except (OSError, HTTPException):
            return False

    await until_async(partial(asyncio.to_thread, given), 40, f"{part.name} has no partition")


async def rebalance_storm(scene: Scene) -> None:
    """Replicas of both projections come and go: one leaves, one is killed, again and again."""
    world = scene.world
    comers = [(world.replica(name, f"{name}-{at}"), at) for at in (3, 4) for name in ("tally", "archive")]
    await scene.strike(lambda: _spawn(comer for comer, at in comers if at == 3))
    try:
        for turn in (3, 4):
            here = [comer for comer, at in comers if at == turn]
            if turn == 4:
                await scene.unanswered()
                for comer in here:
                    await asyncio.to_thread(comer.spawn)
            for comer in here:
                await asyncio.to_thread(comer.wait_ready, 45)
                await has_partitions(comer)
            await scene.unanswered()
            if turn == 3:
                here[0].send(signal.SIGTERM)
                await asyncio.to_thread(here[1].kill)
            else:
                here[1].send(signal.SIGTERM)
                await asyncio.to_thread(here[0].kill)
        for comer, _ in comers:
            await asyncio.to_thread(comer.stop)
    finally:
        for comer, _ in comers:
            await asyncio.to_thread(comer.kill)
    scene.back()


def _spawn(parts: Iterable[Process]) -> None:
    for part in parts:
        part.spawn()


def limit_files(pid: int, size: int) -> None:
    """The process can write no file beyond so many bytes: to it, the disk is full. Programs of ours ignore SIGXFSZ."""
    _, most = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, most))


async def full_disk_of_kafka(scene: Scene) -> None:
    """Kafka ends when its disk is full; the keeper starts it again, with room."""
    part = scene.world.parts["kafka"]
    with scene.world.held("kafka"):
        await scene.strike(lambda: limit_files(part.pid, _FILE_LIMIT))
        await until(lambda: not part.running, 40, "Kafka did not notice that its disk is full")
    await scene.world.ready("kafka")
    scene.back()


async def full_disk_of_redis(scene: Scene) -> None:
    """Redis refuses writes when its disk is full, and takes them again when there is room."""
    world = scene.world
    pid = world.parts["redis"].pid
    with world.stack.redis.client() as client:

        def state() -> str:
            return str(client.info("persistence")["aof_last_write_status"])

        await scene.strike(lambda: limit_files(pid, _FILE_LIMIT))
        try:
            await until(lambda: state() == "err", 20, "Redis did not notice that its disk is full")
            await scene.lasting(0.5, 1.5)
            assert state() == "err"
        finally:
            limit_files(pid, resource.RLIM_INFINITY)
        await until(lambda: state() == "ok", 15, "Redis did not notice that its disk has room again")
    scene.back()


async def full_disk_of_mongo(scene: Scene) -> None:
    """The storage engine panics when its disk is full. MongoDB then ends; the trial's server stays, and is ended."""
    world = scene.world
    part = world.parts["mongo"]
    pid = part.pid
    client: MongoClient[dict[str, object]] = MongoClient(
        world.stack.mongo.uri, socketTimeoutMS=2000, serverSelectionTimeoutMS=1000, retryWrites=False
    )
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(world.held("mongo"))
        # Not by `with`: closing waits a second for the server, dead by then, and would stop the loop of all proxies.
        stack.push_async_callback(asyncio.to_thread, client.close)
        notes = client["trial"].get_collection("notes", write_concern=WriteConcern(j=True))
        await asyncio.to_thread(notes.insert_one, {})
        # The trial's server does not start again when its first checkpoint, in its first minute, is what fails.
        await asyncio.to_thread(client.admin.command, "fsync")

        async def refuses() -> bool:
            try:
                await asyncio.to_thread(notes.insert_one, {})
            except PyMongoError:
                return True
            return False

        await scene.strike(lambda: limit_files(pid, _FILE_LIMIT))
        await until_async(refuses, 20, "MongoDB did not notice that its disk is full")
        await scene.lasting(0.5, 1.5)
        await asyncio.to_thread(part.kill)
    await world.ready("mongo")
    scene.back()


for server in ("kafka", "redis", "mongo"):
    add(f"kill {server}", partial(kill, names=(server,)), server, stops_intake=server in _STOPS_INTAKE)
for room, replicas in ROOMS.items():
    add(f"kill {room}", partial(kill, names=replicas), room, stops_intake=room in _STOPS_INTAKE)
    add(f"stop {room}", partial(stop, names=replicas), room, stops_intake=room in _STOPS_INTAKE)
for room in ("collector", "tally", "archive"):
    add(f"freeze {room}", partial(freeze, names=ROOMS[room]), room, stops_intake=room in _STOPS_INTAKE)
add("rebalance storm", rebalance_storm, "tally", "archive")
add("full disk kafka", full_disk_of_kafka, "kafka", stops_intake=True)
add("full disk redis", full_disk_of_redis, "redis")
add("full disk mongo", full_disk_of_mongo, "mongo")
