"""Replicas that come and go, and stores that die, forget or go back in time, in the middle of a contest."""

import re
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from embedded import wait_until
from stack_world import Client, Voters, World, world

__all__ = ["world"]
pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(150)]


def verify(world: World, journal: Path) -> None:
    """Holds a journal against the system at rest, and recounts."""
    world.wait_rest()
    ended = world.aplauso("verify", "--journal", journal)
    assert ended.code == 0, ended


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_replicas_share_and_take_over(world: World, protocol: str, tmp_path: Path) -> None:
    """Two tallies share the partitions; the other takes over in 5 s when one stops, in 10 s when one is killed."""
    contest, journal = world.contest(), tmp_path / "journal"
    world.rooms["tally"].stop()
    load = None
    replicas = [world.room("tally", f"tally-{protocol}-{n}", KAFKA_PROTOCOL=protocol) for n in (1, 2, 3)]
    try:
        for room, _ in replicas[:2]:
            room.start()
        load = world.load(contest, journal, 50_000, "--rate", "150")
        wait_until(lambda: all(partitions(port) for _, port in replicas[:2]), "both to have partitions")
        shares = [partitions(port) for _, port in replicas[:2]]
        assert not shares[0] & shares[1]
        stopped = time.monotonic()
        replicas[0][0].stop()
        takes_over(world, replicas[1][1], stopped, 5)
        replicas[2][0].start()
        wait_until(lambda: partitions(replicas[2][1]), "the third to have partitions")
        killed = time.monotonic()
        replicas[1][0].kill()
        takes_over(world, replicas[2][1], killed, 10)
        assert load.poll() is None, "votes were to come in all the while"
        load.send_signal(signal.SIGINT)
        load.communicate(timeout=60)
        verify(world, journal)
        world.wait_total(contest, len(world.archive_ids(contest)))
    finally:
        for room, _ in replicas:
            room.kill()
        if load is not None:
            load.kill()
            load.communicate()
        world.start_rooms("tally")


def takes_over(world: World, port: int, since: float, seconds: float) -> None:
    """Holds that a replica has all partitions, and votes in all of them are counted, so soon after a moment."""
    wait_until(lambda: len(partitions(port)) == 6, "it to have all partitions", seconds + 10)
    world.counted_up_to_now(seconds + 10)
    assert time.monotonic() - since < seconds


def partitions(port: int) -> set[int]:
    """The partitions that a replica reads, as its metrics say."""
    text = Client(port).get("/metrics").body.decode()
    found = re.findall(r'^aplauso_projection_lag_votes\{partition="(\d+)"', text, re.MULTILINE)
    return set(map(int, found))


def rebuild(world: World, contest: str, harm: Callable[[], object]) -> None:
    """Does harm to a store while votes come in, and holds that everything is as the log says afterwards."""
    with Voters(world, contest) as voters:
        voters.more(50)
        harm()
        voters.more(50)
    world.wait_rest()
    world.wait_total(contest, len(world.archive_ids(contest)))
    assert set(voters.recorded) <= world.archive_ids(contest)
    assert not set(voters.statuses), "the intake needs neither standings nor archive"


def flush(world: World) -> None:
    """Empties Redis."""
    with world.stack.redis.client() as client:
        client.flushall()


def test_redis_flushed(world: World) -> None:
    """Standings that were flushed in the middle of a contest are rebuilt by themselves, and equal the recount."""
    rebuild(world, world.contest(), lambda: flush(world))


def test_redis_flushed_under_a_quiet_log(world: World) -> None:
    """Standings that are flushed when nobody votes any more are rebuilt without a vote or a restart."""
    contest = world.contest()
    with Voters(world, contest) as voters:
        voters.more(50)
    world.wait_rest()
    flush(world)
    world.wait_rest()
    world.wait_total(contest, len(world.archive_ids(contest)))


def test_redis_restored_from_an_older_snapshot(world: World, tmp_path: Path) -> None:
    """A Redis that is put back to an older state catches up by itself, and equals the recount."""
    redis, contest = world.stack.redis, world.contest()
    assert world.vote(contest).status == 201
    world.wait_rest()
    redis.stop()
    shutil.copytree(redis.data, tmp_path / "older")
    redis.start()

    def go_back() -> None:
        redis.stop()
        shutil.rmtree(redis.data)
        shutil.copytree(tmp_path / "older", redis.data)
        redis.start()

    rebuild(world, contest, go_back)


def test_redis_killed(world: World) -> None:
    """A Redis that is killed and started again has the standings that there would have been without it."""

    def kill() -> None:
        world.stack.redis.kill()
        world.stack.redis.start()

    rebuild(world, world.contest(), kill)


def test_mongo_killed(world: World) -> None:
    """A MongoDB server that is killed and started again has every counted vote."""

    def kill() -> None:
        world.stack.mongo.kill()
        world.stack.mongo.start()

    rebuild(world, world.contest(), kill)


def test_intake_goes_on_alone(world: World) -> None:
    """Votes are acknowledged while Redis, MongoDB, tally, archive and board are all away, and counted afterwards."""
    contest = world.contest()

    def darkness() -> None:
        for room in ("tally", "archive", "board"):
            world.rooms[room].kill()
        world.stack.redis.kill()
        world.stack.mongo.kill()
        for _ in range(20):
            assert world.vote(contest).status == 201
        world.heal()

    rebuild(world, contest, darkness)
