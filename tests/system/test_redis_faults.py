"""Standings in Redis while Redis is flushed, restored, frozen, killed, full, demoted or tampered with."""

import random
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from aplauso.adapters.redis.standings import RedisStandings, RedisStandingsReader
from aplauso.domain.errors import AplausoError, PositionMoved, Unavailable
from aplauso.domain.tally import Contests, PartitionTally, merge
from aplauso.ports.projection import LoggedVote
from aplauso.stack.redis import RedisServer
from contract.projection_suite import apply, at, follow, log
from servers_redis import PARTITIONS, binary, dying_in_script, own_redis, settings_of, shared_redis

__all__ = ["own_redis"]
pytestmark = pytest.mark.servers
EVERY_KIND = pytest.mark.parametrize("own_redis", ["valkey-9", "redis-7", "redis-6.2"], indirect=True)


class Tally:
    """A store and a reader over one server."""

    def __init__(self, server: RedisServer, **options: Any) -> None:
        self.settings = settings_of(server, **options)
        self.store, self.reader = RedisStandings(self.settings), RedisStandingsReader(self.settings)

    def holds(self, records: list[LoggedVote], stop: int) -> None:
        """Asserts that partition 0 is what its log folds to, up to an offset."""
        assert self.reader.partition(0) == (at(stop) if stop else None, folded(records[:stop]))

    def close(self) -> None:
        self.store.close()
        self.reader.close()


@pytest.fixture
def tally(own_redis: RedisServer) -> Iterator[Tally]:
    """A store and a reader over the test's own server."""
    with closing(Tally(own_redis)) as made:
        yield made


def folded(records: list[LoggedVote]) -> Contests:
    measure = PartitionTally()
    measure.fold([entry.vote for entry in records])
    return measure.contests


def eventually(does: Callable[[], Any], seconds: float = 20) -> Any:
    """What `does` returns once it raises `Unavailable` no more."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return does()
        except Unavailable:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


@EVERY_KIND
def test_a_flushed_server_is_rebuilt(own_redis: RedisServer, tally: Tally) -> None:
    """After FLUSHALL there is no position, the next batch is refused, and a replay gives the same standings."""
    records = log(200)
    apply(tally.store, records, 0, 120)
    with own_redis.client() as client:
        client.flushall()
    with pytest.raises(PositionMoved) as refused:
        apply(tally.store, records, 120, 140)
    assert refused.value.stored is None
    assert tally.store.positions([0]) == {0: None}
    follow(tally.store, records, size=30)
    tally.holds(records, 200)


def test_a_server_restored_from_an_older_snapshot_catches_up(tmp_path: Path) -> None:
    """A server started on an older dump.rdb holds an older position with its counts, and is replayed from there."""
    server = RedisServer(tmp_path / "redis", binary=binary("redis-7"), options=["appendonly no", 'save ""'])
    server.start()
    try:
        records = log(300)
        with closing(Tally(server)) as tally, server.client() as client:
            apply(tally.store, records, 0, 110)
            client.save()
            shutil.copy(server.data / "dump.rdb", tmp_path / "older.rdb")
            apply(tally.store, records, 110, 300)
            tally.holds(records, 300)
        server.kill()
        shutil.copy(tmp_path / "older.rdb", server.data / "dump.rdb")
        server.start()
        with closing(Tally(server)) as tally:
            assert tally.store.positions([0]) == {0: at(110)}
            tally.holds(records, 110)
            with pytest.raises(PositionMoved):
                tally.store.apply(0, at(300), at(301), [])
            follow(tally.store, records, size=50)
            tally.holds(records, 300)
    finally:
        server.kill()


@EVERY_KIND
def test_a_full_memory_is_waited_for(own_redis: RedisServer, tally: Tally) -> None:
    """At its memory limit the server refuses the batch as a whole; it goes on when there is room again."""
    records = log(100)
    apply(tally.store, records, 0, 50)
    with own_redis.client() as client:
        client.config_set("maxmemory", 1)
        with pytest.raises(Unavailable, match="out of memory"):
            apply(tally.store, records, 50, 100)
        tally.holds(records, 50)
        assert tally.store.positions([0]) == {0: at(50)}
        client.config_set("maxmemory", 0)
    apply(tally.store, records, 50, 100)
    tally.holds(records, 100)


@EVERY_KIND
def test_a_replica_is_waited_for(own_redis: RedisServer, tally: Tally) -> None:
    """A server that was demoted to a replica takes no batch, and does so again once it is the master."""
    records = log(100)
    apply(tally.store, records, 0, 50)
    with own_redis.client() as client:
        client.execute_command("REPLICAOF", "127.0.0.1", 1)
        with pytest.raises(Unavailable, match="read-only replica"):
            apply(tally.store, records, 50, 100)
        tally.holds(records, 50)
        client.execute_command("REPLICAOF", "NO", "ONE")
    apply(tally.store, records, 50, 100)
    tally.holds(records, 100)


@pytest.mark.parametrize("own_redis", ["valkey-9", "redis-7"], indirect=True)
def test_missing_replicas_are_waited_for(own_redis: RedisServer, tally: Tally) -> None:
    """A master that has fewer replicas than it must have takes no batch."""
    records = log(20)
    with own_redis.client() as client:
        client.config_set("min-replicas-to-write", 1)
        with pytest.raises(Unavailable, match="fewer replicas"):
            apply(tally.store, records, 0, 20)
        client.config_set("min-replicas-to-write", 0)
    apply(tally.store, records, 0, 20)
    tally.holds(records, 20)


def test_a_server_that_is_not_there_is_waited_for(own_redis: RedisServer) -> None:
    """A store can be made before its server is there; each call says that it is away until it comes."""
    own_redis.stop()
    records = log(10)
    with closing(Tally(own_redis)) as tally:
        for call in (
            lambda: tally.store.positions([0]), lambda: apply(tally.store, records, 0, 10), tally.reader.version,
            tally.reader.partitions, lambda: tally.reader.read("x"), lambda: tally.reader.partition(0),
        ):  # fmt: skip
            with pytest.raises(Unavailable, match="Redis is away"):
                call()
        own_redis.start()
        eventually(lambda: apply(tally.store, records, 0, 10))
        tally.holds(records, 10)


def test_a_frozen_server_ends_the_call_in_time(own_redis: RedisServer) -> None:
    """A server that does not answer ends the call at the timeout; the stored position tells what became of it."""
    records = log(40)
    with closing(Tally(own_redis, timeout=0.5)) as tally:
        apply(tally.store, records, 0, 20)
        own_redis.process.send(signal.SIGSTOP)
        began = time.monotonic()
        with pytest.raises(Unavailable, match="did not answer in time"):
            apply(tally.store, records, 20, 40)
        assert time.monotonic() - began < 5
        own_redis.process.send(signal.SIGCONT)
        stored = eventually(lambda: tally.store.positions([0]))[0]
        assert stored in (at(20), at(40))
        eventually(lambda: follow(tally.store, records))
        tally.holds(records, 40)


@EVERY_KIND
def test_a_killed_server_never_holds_half_a_batch(own_redis: RedisServer) -> None:
    """kill -9 at any moment leaves whole batches: position and standings equal the fold up to it."""
    records, dice, here = log(60_000), random.Random(7), 0
    for _ in range(4):
        with closing(Tally(own_redis)) as tally:
            store = tally.store
            killer = threading.Timer(dice.uniform(0.02, 0.15), own_redis.kill)
            killer.start()
            with pytest.raises(Unavailable):  # noqa: PT012 - the loop ends where the server does
                while True:
                    there = min(here + 700, len(records))
                    apply(store, records, here, there)
                    here = there % len(records)
                    assert here, "the server outlived the log"
            killer.join()
            own_redis.start()
            stored = eventually(lambda: tally.store.positions([0]))[0]
            # fsync is "always": nothing that was answered is missing, and the batch without an answer may be there.
            assert (stored.offset if stored else 0) in (here, here + 700)
            here = stored.offset if stored else 0
            tally.holds(records, here)


@EVERY_KIND
def test_a_half_written_partition_is_wiped_and_rebuilt(own_redis: RedisServer, tally: Tally) -> None:
    """A script that ends in the middle of its writes leaves a partition that shows nothing and is counted anew."""
    records, other = log(400), log(40)
    apply(tally.store, other, 0, 40, partition=1)
    with own_redis.client() as client:
        keys = set(client.keys("aplauso:{p1}:*"))
        apply(tally.store, records, 0, 300)
        died = 0
        while _dies_in_script(tally, records, died):
            died += 1
            if not client.hexists("aplauso:{p0}:state", "dirty"):
                tally.holds(records, 300)
                continue
            assert tally.reader.partition(0) == (None, {})
            assert tally.reader.read("bandas-gt") == folded(other)["bandas-gt"]
            assert 0 not in tally.reader.partitions()
            if died % 2:
                with pytest.raises(PositionMoved) as refused:
                    apply(tally.store, records, 300, 400)
                assert refused.value.stored is None
            assert tally.store.positions([0, 1]) == {0: None, 1: at(40)}
            assert set(client.keys("*")) == keys
            follow(tally.store, records[:300], size=100)
            tally.holds(records, 300)
            both = merge([folded(other), folded(records[:300])])
            assert tally.reader.read("bandas-gt") == both["bandas-gt"]
        tally.holds(records, 400)
    assert died > 20


def _dies_in_script(tally: Tally, records: list[LoggedVote], commands: int) -> bool:
    """Applies 300 to 400 with a script that dies after so many commands; False when that is beyond its end."""
    with closing(dying_in_script(RedisStandings(tally.settings), commands)) as dying:
        try:
            apply(dying, records, 300, 400)
        except Unavailable:
            return True
    return False


def test_counts_without_a_position_are_wiped(own_redis: RedisServer, tally: Tally) -> None:
    """Where somebody deleted the position alone, what belonged to it goes before counting begins anew."""
    records = log(100)
    apply(tally.store, records, 0, 100)
    with own_redis.client() as client:
        client.delete("aplauso:{p0}:state")
    with pytest.raises(PositionMoved):
        apply(tally.store, records, 0, 100)
    follow(tally.store, records)
    tally.holds(records, 100)


def begins_anew(tally: Tally, client: Any, records: list[LoggedVote]) -> None:
    """Asserts that the first batch is refused and leaves nothing of partition 0 behind, which then is counted whole."""
    with pytest.raises(PositionMoved) as refused:
        tally.store.apply(0, None, at(len(records)), records)
    assert refused.value.stored is None
    assert client.keys("*") == []
    follow(tally.store, records)
    tally.holds(records, len(records))


@EVERY_KIND
@pytest.mark.parametrize("offset", ["offset", "next", "upto"])
def test_earlier_layouts_are_wiped_and_counted_anew(own_redis: RedisServer, tally: Tally, offset: str) -> None:
    """A partition that an earlier layout left has no position, shows nothing, and goes before counting begins anew."""
    records = log(100)
    apply(tally.store, records, 0, 100)
    with own_redis.client() as client:
        state, ids = "aplauso:{p0}:state", "aplauso:{p0}:ids"
        keys = set(client.keys("*"))
        client.hset(state, offset, str(client.hget(state, "passed")))
        client.hdel(state, "passed")
        # The first one's buckets held 40 ids each, so that there were more of them.
        client.hset(ids, "k", 120)
        for bucket in (1, 2):
            client.append(f"aplauso:{{p0}}:i:k:{bucket}", b"sixteen bytes id")
        assert tally.store.positions([0]) == {0: None}
        assert tally.reader.partition(0) == (None, {})
        assert dict(tally.reader.partitions()) == {}
        begins_anew(tally, client, records)
        assert set(client.keys("*")) == keys


@EVERY_KIND
@pytest.mark.parametrize("offset", ["offset", "next", "upto"])
def test_earlier_positions_without_counts_are_wiped(own_redis: RedisServer, tally: Tally, offset: str) -> None:
    """A partition in which an earlier layout counted nothing, as it held rejected records only, is begun anew."""
    records = log(20)
    with own_redis.client() as client:
        held = {"topic": at(5).topic, offset: "5", "epoch": str(at(5).epoch), "time": "0"}
        client.hset("aplauso:{p0}:state", mapping=held)
        assert tally.store.positions([0]) == {0: None}
        begins_anew(tally, client, records)


@pytest.mark.parametrize("name", ["b:bandas-gt", "a:bandas-gt", "contests", "ids", "i:k:0", "state", "recent"])
def test_a_key_of_another_type_changes_nothing(own_redis: RedisServer, tally: Tally, name: str) -> None:
    """Something else under one of our keys fails the batch before anything of it is written."""
    records = log(100)
    apply(tally.store, records, 0, 50)
    key = "aplauso:{p0}:" + name
    with own_redis.client() as client:
        client.rename(key, "aside")
        client.zadd(key, {"something else": 1})
        with pytest.raises(Unavailable, match="something else under one of our keys"):
            apply(tally.store, records, 50, 100)
        client.rename("aside", key)
    tally.holds(records, 50)
    apply(tally.store, records, 50, 100)
    tally.holds(records, 100)


def test_forgotten_scripts_are_sent_again(own_redis: RedisServer, tally: Tally) -> None:
    """A server that lost its scripts is sent them in full, and the batch is counted."""
    records = log(20)
    apply(tally.store, records, 0, 10)
    with own_redis.client() as client:
        client.script_flush()
    apply(tally.store, records, 10, 20)
    tally.holds(records, 20)


def test_a_server_that_lost_its_scripts_is_read_from_all_the_same(own_redis: RedisServer, tally: Tally) -> None:
    """Reading several partitions at once sends the script in full where it is unknown: no partition is left out."""
    records = [entry for entry in log(200) if entry.vote.contest == "bandas-gt"][:20]
    for partition in range(PARTITIONS):
        tally.store.apply(partition, None, at(20), records)
    whole = tally.reader.read("bandas-gt")
    once = folded(records)["bandas-gt"]
    assert {at: band.votes for at, band in whole.items()} == {at: PARTITIONS * band.votes for at, band in once.items()}
    with own_redis.client() as client:
        client.script_flush()
    assert tally.reader.read("bandas-gt") == whole


@pytest.mark.parametrize("broken", range(PARTITIONS))
def test_a_reading_that_fails_half_way_spoils_no_later_one(own_redis: RedisServer, tally: Tally, broken: int) -> None:
    """An answer that was on its way when another partition's reading failed is not taken for the next one's."""
    records = [entry for entry in log(200) if entry.vote.contest == "bandas-gt"][:20]
    for partition in range(PARTITIONS):
        tally.store.apply(partition, None, at(partition + 1), records[: partition + 1])
    whole, key = tally.reader.read("bandas-gt"), f"aplauso:{{p{broken}}}:b:bandas-gt"
    with own_redis.client() as client, closing(RedisStandingsReader(tally.settings)) as reader:
        client.rename(key, "aside")
        client.lpush(key, "something else")
        with pytest.raises(Unavailable, match="something else under one of our keys"):
            reader.read("bandas-gt")
        client.rename("aside", key)
        assert [position.offset for position in reader.partitions().values()] == [1, 2, 3, 4]
        assert reader.read("bandas-gt") == whole


@EVERY_KIND
def test_a_reader_that_keeps_up_reads_no_lines(own_redis: RedisServer, tally: Tally) -> None:
    """A reader that knows the standings asks for batches only, and for lines where these do not go back so far."""
    records = log(200)
    with own_redis.client() as client:

        def lines_read() -> int:
            asked: Any = client.info("commandstats")
            return int(asked.get("cmdstat_hvals", {"calls": 0})["calls"])

        def looks(stop: int, size: int) -> int:
            before = lines_read()
            follow(tally.store, records[:stop], size)
            assert tally.reader.read("bandas-gt") == folded(records[:stop])["bandas-gt"]
            return lines_read() - before

        assert looks(10, 10) == 2 * PARTITIONS
        assert looks(10, 10) == 0
        assert looks(50, 1) == 0
        assert looks(90, 1) == 0
        assert looks(131, 1) == 2 * PARTITIONS, "a batch more than are kept"
        assert looks(151, 1) == 0
        assert int(client.llen("aplauso:{p0}:recent")) == 40


def test_a_topic_made_again_is_not_taken_for_the_one_before(own_redis: RedisServer, tally: Tally) -> None:
    """A batch from the same offset, but of another topic, does not continue what a reader knows."""
    records = log(60)
    follow(tally.store, records[:20])
    assert tally.reader.read("bandas-gt") == folded(records[:20])["bandas-gt"]
    with own_redis.client() as client:
        client.flushall()
    other = log(100)[40:]
    tally.store.apply(0, None, at(20, topic="other"), other[:20])
    tally.store.apply(0, at(20, topic="other"), at(30, topic="other"), other[20:30])
    assert tally.reader.read("bandas-gt") == folded(other[:30])["bandas-gt"]


@pytest.mark.parametrize("kind", ["valkey-9", "redis-7", "redis-6.2"])
def test_an_id_is_remembered_in_forty_bytes(kind: str) -> None:
    """Remembering a hundred thousand ids costs at most forty bytes each, everything included."""
    server = shared_redis(kind)
    with server.client() as client, closing(RedisStandings(settings_of(server))) as store:
        client.flushall()
        before = int(client.info("memory")["used_memory_dataset"])
        records = log(100_000)
        follow(store, records, size=5_000)
        counts = {name: int(count) for name, count in client.hgetall("aplauso:{p0}:ids").items()}
        grown = int(client.info("memory")["used_memory_dataset"]) - before
        assert sum(counts.values()) > 80_000
        assert grown / sum(counts.values()) <= 40
        client.flushall()


def test_forgotten_slots_leave_nothing(own_redis: RedisServer, tally: Tally) -> None:
    """Buckets of anonymous ids go with their slot: only those of keys stay for ever."""
    records = log(3_000)
    apply(tally.store, records, 0, 3_000)
    later = records[1].vote.cast_at + 3 * 600_000
    tally.store.apply(0, at(3_000), at(3_001), [LoggedVote(3_000, _at(records[1], later))])
    with own_redis.client() as client:
        assert list(client.hgetall("aplauso:{p0}:ids")) == ["k"]
        buckets = [key for key in client.keys("aplauso:{p0}:i:*") if not key.startswith("aplauso:{p0}:i:k:")]
        assert buckets == []


def _at(entry: LoggedVote, stamp: int) -> Any:
    values = {field: getattr(entry.vote, field) for field in entry.vote.__struct_fields__}
    return type(entry.vote)(**(values | {"cast_at": stamp}))


def test_failures_are_of_our_own_tree(own_redis: RedisServer, tally: Tally) -> None:
    """Whatever the server answers, callers see `Unavailable` with a word of what it means."""
    with own_redis.client() as client:
        client.execute_command("ACL", "SETUSER", "default", "-evalsha")
        with pytest.raises(AplausoError, match="denies a command"):
            apply(tally.store, log(5), 0, 5)
        client.execute_command("ACL", "SETUSER", "default", "+evalsha")
    apply(tally.store, log(5), 0, 5)
