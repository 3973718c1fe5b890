"""Faults of Redis' data: wiped, restored from an older snapshot, read-only, out of memory."""

import os
import shutil
import signal
from collections.abc import Mapping
from typing import Any

from redis.exceptions import OutOfMemoryError, ReadOnlyError, RedisError

from aplauso.stack.kafka import free_low_port
from chaos.proxy import Mode
from chaos.scene import Scene, add
from chaos.waiting import until, until_async


async def wipe(scene: Scene) -> None:
    """FLUSHALL: the standings are rebuilt from the log. How long that takes is measured from here on, as ever."""
    with scene.world.stack.redis.client() as client:
        keys: list[Any] = []

        def flush() -> None:
            keys.append(client.dbsize())
            client.flushall()
            keys.append(client.dbsize())

        await scene.strike(flush)
    assert keys[0] > 0, "there was nothing to wipe"
    assert keys[1] < keys[0]
    scene.back()


async def restore(scene: Scene) -> None:
    """Killed, and started from a copy that was taken a while before: positions and counts go back together."""
    world = scene.world
    part, data = world.parts["redis"], world.stack.redis.data
    source, copy = data / "appendonlydir", data / "older"
    shutil.rmtree(copy, ignore_errors=True)
    old = sum((await scene.positions("tally")).values())
    # Halted for a moment, its files are those of one moment.
    part.send(signal.SIGSTOP)
    try:
        shutil.copytree(source, copy)
    finally:
        part.send(signal.SIGCONT)

    async def ahead() -> bool:
        return sum((await scene.positions("tally")).values()) >= old + 500

    await until_async(ahead, 40, "the tally did not go on after the snapshot")
    before = await scene.positions("tally")
    link = world.proxies["tally-redis"]
    with world.held("redis"):
        await scene.strike(lambda: os.killpg(part.pid, signal.SIGKILL))
        await until(lambda: not part.running, 10, "Redis survived kill -9")
        shutil.rmtree(source)
        copy.rename(source)
        link.switch(Mode.RESET)  # the tally replays the gap in a moment: what it begins with is read before
    try:
        await world.ready("redis")
        after = await scene.positions("tally")
    finally:
        link.switch(Mode.PASS)
    assert went_back(before, after), f"the positions did not go back: {before} before, {after} afterwards"
    scene.back()


def went_back(before: Mapping[int, int], after: Mapping[int, int]) -> bool:
    """Whether stored positions are older than they were: some partitions stand farther back, and none beyond."""
    moves = [after.get(partition, 0) - offset for partition, offset in before.items()]
    return min(moves) < 0 and max(moves) <= 0


async def make_read_only(scene: Scene) -> None:
    """A replica of a server that is not there: writes are answered READONLY."""
    with scene.world.stack.redis.client() as client:
        nobody = free_low_port()
        await scene.strike(lambda: client.execute_command("REPLICAOF", "127.0.0.1", nobody))
        try:
            assert _refuses(client, ReadOnlyError)
            await scene.lasting(1.0, 2.0)
        finally:
            client.execute_command("REPLICAOF", "NO", "ONE")
    scene.back()


async def fill_memory(scene: Scene) -> None:
    """No memory is left: writes are answered OOM."""
    with scene.world.stack.redis.client() as client:
        await scene.strike(lambda: client.config_set("maxmemory", 1))
        try:
            assert _refuses(client, OutOfMemoryError)
            await scene.lasting(1.0, 2.0)
        finally:
            client.config_set("maxmemory", 0)
    scene.back()


def _refuses(client: Any, reason: type[RedisError]) -> bool:
    """Whether a write is refused for this reason."""
    try:
        client.set("trial", "x")
    except reason:
        return True
    return False


for kind, run in {
    "redis wiped": wipe, "redis read-only": make_read_only, "redis out of memory": fill_memory,
}.items():  # fmt: skip
    add(kind, run, "redis")
add("redis restored", restore, "redis", "link tally-redis")
