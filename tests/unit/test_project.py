"""Step 3: whatever fails whenever, resuming gives what there would have been without the fault."""

import threading
import time
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aplauso.domain.errors import Fatal, Unavailable, WrongLog
from aplauso.domain.position import Position
from aplauso.domain.record import decode
from aplauso.domain.tally import Contests, PartitionTally, merge
from aplauso.domain.vote import Vote
from aplauso.flow import project
from aplauso.flow.project import LOOK, Projection, RejectionLimit
from aplauso.flow.worker import Inline
from aplauso.ports.log import Record
from fakes_archive import FakeArchive, World, archived
from fakes_log import MemorySource, MemoryStore
from unit.fakes import (
    DEADLINE,
    FakeSink,
    FakeStandings,
    FakeWatch,
    a_vote,
    keyed_id,
    put,
    votes_strategy,
)

PARTITIONS = 3


class Room:
    """A tally over a log of three partitions, all of it in memory."""

    def __init__(self, *, batch: int = 5, limit: RejectionLimit | None = None) -> None:
        self.log = MemoryStore(PARTITIONS)
        self.store, self.sink, self.watch = FakeStandings(), FakeSink(), FakeWatch()
        self.batch, self.limit = batch, limit
        self.time = 0.0
        self.start()

    def start(self) -> None:
        """A new process takes over."""
        self.source = MemorySource(self.log)
        self.projection = Projection(
            self.source, self.store, self.watch, self.sink, self.limit, self.batch, clock=lambda: self.time
        )
        self.source.start(self.projection._positions)

    def cast(self, votes: Sequence[Vote]) -> None:
        """Votes enter the log."""
        for vote in votes:
            put(self.log, vote)

    def drain(self) -> None:
        """Projects until there is nothing more; an unavailable server is tried again."""
        idle = 0
        while idle < 2:
            try:
                idle = 0 if self.projection.step(0) else idle + 1
            except Unavailable:
                idle = 0

    def expected(self) -> Contests:
        """What the log says, by the pure fold."""
        parts = []
        for partition in range(PARTITIONS):
            tally = PartitionTally()
            tally.fold(decode(r.key, r.value, partition, PARTITIONS) for r in self.log.records[partition])
            parts.append(tally.contests)
        return merge(parts)

    def is_complete(self) -> bool:
        """Whether everything has been counted once, and every position is at the log's end."""
        ends = {partition: self.log.end(partition) for partition in range(PARTITIONS) if self.log.end(partition)}
        return (
            self.store.contests() == self.expected()
            and {partition: position.offset for partition, position in self.store.stored.items()} == ends
        )


def exhaust(projection: Projection) -> None:
    """Projects until there is nothing more, or something fails."""
    while projection.step(0):
        pass


@pytest.fixture
def room() -> Room:
    """A room with forty votes in its log."""
    room = Room()
    room.cast([a_vote(serial, vote_id=keyed_id(serial) if serial % 2 else None) for serial in range(40)])
    return room


def test_everything_in_the_log_is_counted(room: Room) -> None:
    """Votes of all partitions are counted once, with positions that name the log, the offset and the epoch."""
    room.drain()
    assert room.is_complete()
    assert (room.watch.counted, room.watch.repeated) == (40, 0)
    assert set(room.store.stored) == {0, 1, 2}
    assert {position.topic for position in room.store.stored.values()} == {room.log.topic}
    assert {position.epoch for position in room.store.stored.values()} == {0}


def test_partitions_interleaved_in_one_poll_are_told_apart(room: Room) -> None:
    """A poll whose records alternate between partitions is applied to each in its own order."""

    class Shuffled(MemorySource):
        def fetch(self, limit: int) -> list[Record]:
            parts = [self.store.cut(partition, at)[:4] for partition, at in self.at.items()]
            found = [part[at] for at in range(4) for part in parts if at < len(part)]
            self.at.update({record.partition: record.offset + 1 for record in found})
            return found

    room.source = Shuffled(room.log)
    room.projection = Projection(room.source, room.store, room.watch, room.sink)
    room.source.start(room.projection._positions)
    assert room.projection.step(0) == 12
    assert [len(votes) for *_, votes in room.store.applied] == [4, 4, 4]
    room.drain()
    assert room.is_complete()


@pytest.mark.parametrize("failure", ["before", "after"])
@pytest.mark.parametrize("at", range(8))
@pytest.mark.parametrize("same_process", [True, False])
def test_a_store_that_dies_at_any_batch_leaves_no_trace(
    room: Room, failure: str, at: int, *, same_process: bool
) -> None:
    """Dying before or after an application, in the same process or with a new one, nothing is lost or repeated."""
    room.store.fails = [""] * at + [failure]
    with pytest.raises(Unavailable):
        exhaust(room.projection)
    if not same_process:
        room.start()
    room.drain()
    assert room.is_complete()
    assert room.watch.repeated == 0, "what was read again was not applied again"
    spans = [(partition, expected and expected.offset, following.offset) for partition, expected, following, _ in
             room.store.applied]  # fmt: skip
    assert len(spans) == len(set(spans))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(votes_strategy(), max_size=12), max_size=5),
    st.lists(st.sampled_from(["", "", "before", "after"]), max_size=30),
    st.integers(1, 7),
)
def test_any_faults_in_any_batches_give_the_pure_fold(arrivals: list[list[Vote]], fails: list[str], batch: int) -> None:
    """Votes that come at any time, in batches of any size, through any faults, are the fold of the log."""
    room = Room(batch=batch)
    room.store.fails = fails.copy()
    for votes in arrivals:
        room.cast(votes)
        room.drain()
    assert room.is_complete()


def test_a_projection_without_a_position_begins_at_the_beginning(room: Room) -> None:
    """A store that comes back empty is rebuilt from the log by itself."""
    room.drain()
    room.store.lose()
    room.cast([a_vote(100), a_vote(101), a_vote(102), a_vote(103)])
    room.drain()
    # Partitions without new votes stand where they were until it is time to look again.
    room.time += LOOK
    room.drain()
    assert room.is_complete()
    assert room.watch.moves
    assert {stored for _, stored in room.watch.moves} == {None}


def test_a_store_that_went_back_is_replayed(room: Room) -> None:
    """A store restored from an older snapshot gets the gap again, and counts it once."""
    for _ in range(3):
        room.projection.step(0)
    snapshot = room.store.snapshot()
    room.drain()
    room.store.restore(snapshot)
    room.cast([a_vote(serial) for serial in range(100, 120)])
    room.drain()
    assert room.is_complete()
    assert room.watch.moves


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_an_idle_projection_finds_a_store_that_went_back(room: Room, kept: int) -> None:
    """A store that is wiped or put back under a quiet log is read into again at the next look, not before."""
    for _ in range(kept):
        room.projection.step(0)
    snapshot = room.store.snapshot()
    room.drain()
    back = [partition for partition, ended in room.store.stored.items() if snapshot[1].get(partition) != ended]
    room.store.restore(snapshot)
    room.time += LOOK * 0.9
    room.drain()
    assert room.store.stored == snapshot[1]
    room.time += LOOK * 0.1
    room.drain()
    assert room.is_complete()
    assert room.watch.moves == [(partition, snapshot[1].get(partition)) for partition in back]


def test_a_look_that_fails_is_an_error_like_others(room: Room) -> None:
    """A store that is away when it is looked at is waited for, and then gone back to."""
    room.drain()
    room.store.lose()
    room.store.away = True
    room.time += LOOK
    for _ in range(2):
        with pytest.raises(Unavailable):
            room.projection.step(0)
    room.store.away = False
    room.drain()
    assert room.is_complete()


def test_looks_are_rare_and_never_beside_a_batch(room: Room) -> None:
    """A look is one call in so many seconds, also while batch follows batch: one that is with the store is settled."""
    room.drain()
    room.store.asked = 0
    for _ in range(100):
        room.time += LOOK / 10
        assert room.projection.step(0) == 0
    assert room.store.asked in (9, 10), "each tenth round, as far as tenths add up"
    projection = Projection(room.source, room.store, room.watch, batch=1, worker=Inline(), clock=lambda: room.time)
    room.source.close()
    room.source.start(projection._positions)
    room.cast([a_vote(serial) for serial in range(100, 110)])
    asked, positions, beside = room.store.asked, room.store.positions, list[bool]()

    def look(partitions: Sequence[int]) -> dict[int, Position | None]:
        beside.append(projection._flight is not None)
        return positions(partitions)

    room.store.positions = look  # type: ignore[method-assign]
    for looks in range(5):
        assert room.store.asked == asked + looks
        assert projection.step(0) == 1
        assert projection._flight, "it stays with the store"
        room.time += LOOK
    assert beside == [False] * 5, "where to begin, and four looks"


def test_nothing_is_waited_for_while_a_batch_is_with_the_store(room: Room) -> None:
    """Beside a batch that is with the store what has come is read; once nothing has, it is settled, and then waited."""
    projection = Projection(room.source, room.store, room.watch, batch=100, worker=Inline())
    room.source.close()
    room.source.start(projection._positions)
    waits, poll = list[float](), room.source.poll

    def noted(timeout: float, limit: int) -> Sequence[Record]:
        waits.append(timeout)
        return poll(0.0, limit)

    room.source.poll = noted  # type: ignore[method-assign]
    while projection.step(0):
        pass
    for serial in (100, 101):
        room.cast([a_vote(serial)])
        assert projection.step(9) == 1
        assert projection._flight
    assert projection.step(9) == 0
    assert projection._flight is None
    assert projection.step(9) == 0
    assert waits[-4:] == [9, 0, 0, 9]
    assert room.is_complete()


def test_a_partition_that_another_replica_moves_on_did_not_go_back(room: Room) -> None:
    """A replica whose partitions were given to another one sees them move on, and says nothing of it."""
    room.drain()
    idle, watch = room.projection, FakeWatch()
    idle._watch = watch
    room.source.close()  # they were taken away
    room.start()
    room.cast([a_vote(serial) for serial in range(100, 120)])
    room.drain()
    room.time += LOOK
    idle._look()
    assert watch.moves == []
    assert idle._at == room.store.stored


def test_a_zombie_drops_its_batch(room: Room) -> None:
    """A replica that lost its partitions to another, and wakes up with a batch in hand, counts nothing."""
    zombie = Projection(MemorySource(room.log), room.store, zombie_watch := FakeWatch(), batch=5)
    zombie._source.start(zombie._positions)
    zombie.step(0)
    room.start()
    room.drain()
    assert room.is_complete()
    assert zombie.step(0) > 0
    assert zombie_watch.moves, "its batch was refused"
    assert room.is_complete()
    assert room.watch.repeated == 0


def test_the_position_moves_over_what_cannot_be_counted() -> None:
    """Rejected records are kept with place, reason and bytes, passed over, and counting goes on behind them."""
    room = Room()
    good = a_vote(1)
    partition = put(room.log, good)
    room.log.put(partition, b"some key", b"garbage \xff")
    room.log.put(partition, None, None)
    again = room.log.end(partition)
    room.log.put(partition, *_record(good))
    room.drain()
    assert (room.watch.counted, room.watch.repeated) == (1, 1)
    assert room.store.stored[partition].offset == again + 1
    kept = {place.offset: rejection for place, rejection in room.sink.kept.items()}
    assert {place.topic for place in room.sink.kept} == {room.log.topic}
    assert [(offset, kept[offset].reason) for offset in sorted(kept)] == [(1, "unreadable"), (2, "unreadable")]
    assert (kept[1].key, kept[1].value, kept[2].key) == (b"some key", b"garbage \xff", None)
    assert kept[1].detail


def _record(vote: Vote) -> tuple[bytes, bytes]:
    """A vote's key and value."""
    store = MemoryStore(1)
    put(store, vote)
    record = store.records[0][0]
    assert record.key is not None
    assert record.value is not None
    return record.key, record.value


def test_rejections_are_kept_before_the_position_moves() -> None:
    """While the rejected ones cannot be kept nothing is applied, so that no restart can pass over them unseen."""
    room = Room()
    room.log.put(0, b"k", b"garbage")
    room.sink.fails = 2
    for _ in range(2):
        with pytest.raises(Unavailable):
            room.projection.step(0)
        assert room.store.stored == {}
    room.drain()
    assert len(room.sink.kept) == 1
    assert room.store.stored[0].offset == 1


def test_a_rejection_that_is_read_again_stays_one() -> None:
    """After a crash between keeping a rejection and moving on, it is kept again under the same name."""
    room = Room()
    room.log.put(0, b"k", b"garbage")
    room.store.fails = ["before", "after"]
    room.drain()
    assert len(room.sink.kept) == 1


def test_a_projection_without_a_sink_only_passes_them_over() -> None:
    """The archive rejects nothing: it keeps what can be counted, and its position moves on."""
    log, world, watch = MemoryStore(1), World(), FakeWatch()
    log.put(0, b"k", b"garbage")
    put(log, a_vote(1))
    projection = Projection(source := MemorySource(log), FakeArchive(world), watch)
    source.start(projection._positions)
    assert projection.step(0) == 2
    assert world.votes == {a_vote(1).id: archived(0, 1, a_vote(1))}
    assert world.positions == {0: Position(log.topic, 2, 0)}
    assert [rejection.reason for rejection in watch.passed_over] == ["unreadable"]


@pytest.mark.parametrize("step", ["begin", "checked", "inserted 0", "inserted 2", "inserted", "moved"])
def test_an_archive_that_dies_in_the_middle_is_completed(step: str) -> None:
    """Documents that ran ahead of the position are found again, and each vote is there once."""
    log, world = MemoryStore(1), World()
    votes = [a_vote(serial) for serial in range(5)]
    for vote in votes:
        put(log, vote)
    for store in (FakeArchive(world, step), FakeArchive(world)):
        projection = Projection(source := MemorySource(log), store, FakeWatch())
        source.start(projection._positions)
        if store.dies_at:
            with pytest.raises(Unavailable):
                projection.step(0)
        else:
            projection.step(0)
    assert world.votes == {vote.id: archived(0, offset, vote) for offset, vote in enumerate(votes)}


def garbage(log: MemoryStore, records: int) -> None:
    """Records of somebody else."""
    for _ in range(records):
        log.put(0, b"k", b"garbage")


def fill(log: MemoryStore, records: int, first: int = 0) -> None:
    """Votes into a log of one partition."""
    for serial in range(first, first + records):
        put(log, a_vote(serial))


def tally(log: MemoryStore, limit: RejectionLimit, batch: int = 1000) -> tuple[Projection, FakeStandings, FakeSink]:
    """A tally over a log, started."""
    store, sink = FakeStandings(), FakeSink()
    projection = Projection(source := MemorySource(log), store, FakeWatch(), sink, limit, batch)
    source.start(projection._positions)
    return projection, store, sink


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_too_many_rejections_stop_the_projection_loudly(batch: int) -> None:
    """Above the share of the last records, the projection stops and says so, wherever batches end."""
    log = MemoryStore(1)
    fill(log, 14)
    garbage(log, 11)
    projection, store, _ = tally(log, RejectionLimit(0.5, 20), batch)
    with pytest.raises(Fatal, match=r"\d+ of the last 20 records cannot be counted"):
        exhaust(projection)
    assert store.stored.get(0, Position(log.topic, 0)).offset < log.end(0)


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_rejections_up_to_the_limit_are_passed_over(batch: int) -> None:
    """As many as the share allows do not stop it, whatever the order within a batch."""
    log = MemoryStore(1)
    for first in range(0, 100, 10):
        garbage(log, 10)
        fill(log, 10, first)
    projection, store, sink = tally(log, RejectionLimit(0.5, 20), batch)
    exhaust(projection)
    assert store.stored[0].offset == 200
    assert len(sink.kept) == 100


def test_a_log_of_fewer_records_than_the_window_is_no_reason_to_stop() -> None:
    """A few bad records at the beginning of a contest are rejected, and the first vote is counted."""
    log = MemoryStore(1)
    garbage(log, 5)
    fill(log, 1)
    projection, store, sink = tally(log, RejectionLimit(0.5, 20))
    assert projection.step(0) == 6
    assert (len(sink.kept), store.stored[0].offset) == (5, 6)


def test_a_log_that_is_another_stops_the_projection(room: Room) -> None:
    """A log that was made anew, or trimmed before the position, ends in `WrongLog` and changes nothing."""
    room.drain()
    before = room.store.snapshot()[1]
    room.log.recreate()
    with pytest.raises(WrongLog):
        room.projection.step(0)
    room.start()
    with pytest.raises(WrongLog):
        room.projection.step(0)
    assert room.store.stored == before


def run(projection: Projection) -> tuple[threading.Event, threading.Thread, list[BaseException]]:
    """The projection on its thread, as the services run it."""
    stop, raised = threading.Event(), list[BaseException]()

    def body() -> None:
        try:
            projection.run(stop)
        except Fatal as error:
            raised.append(error)

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    return stop, thread, raised


def test_it_waits_longer_and_longer_while_a_server_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the store is away the projection tries again with growing pauses, and goes on when it is back."""
    monkeypatch.setattr(project, "POLL", 0.001)
    monkeypatch.setattr(project, "BACKOFF", (0.001, 0.004))
    room = Room()
    room.cast([a_vote(serial) for serial in range(20)])
    room.store.away = True
    room.store.fails = ["before", "after", "before"]
    room.source.close()
    stop, thread, raised = run(room.projection)
    wait_for(lambda: len(room.watch.waits) >= 6)
    assert room.watch.waits[:5] == [0.001, 0.002, 0.004, 0.004, 0.004]
    room.store.away = False
    wait_for(room.is_complete)
    stop.set()
    thread.join(DEADLINE)
    assert not thread.is_alive()
    assert raised == []
    assert room.watch.rounds > 0


def test_it_ends_with_a_fatal_error() -> None:
    """What cannot be mended by waiting comes out of `run`."""
    room = Room()
    room.store.stored[0] = Position("another log", 5)
    room.source.close()
    _, thread, raised = run(room.projection)
    thread.join(DEADLINE)
    assert [type(error) for error in raised] == [WrongLog]


def wait_for(condition: object) -> None:
    """Waits on this thread until a condition holds."""
    assert callable(condition)
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)
