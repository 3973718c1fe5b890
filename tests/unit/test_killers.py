"""What no other test would notice when it was lost: each of these kills a mutant (docs/mutants.md)."""

import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError

from aplauso.adapters.kafka import producer as producing
from aplauso.adapters.kafka import rejected as rejecting
from aplauso.adapters.kafka.config import KafkaSettings
from aplauso.adapters.kafka.producer import Handover, PollingProducer
from aplauso.adapters.kafka.records import offset_at
from aplauso.adapters.kafka.rejected import KafkaRejected
from aplauso.adapters.kafka.topics import Bounds
from aplauso.adapters.sqlite.log import SqliteLog
from aplauso.adapters.sqlite.rejected import SqliteRejected
from aplauso.domain.errors import NotRecorded, Unavailable, Undecided, WrongLog
from aplauso.domain.position import Position
from aplauso.domain.record import encode
from aplauso.flow.project import Projection
from aplauso.flow.retry import retry
from aplauso.flow.worker import Inline
from aplauso.ports.log import Appended, Entry
from aplauso.ports.rejected import Place, Rejection
from aplauso.web.problems import status_of
from fakes_log import MemoryLog, MemorySource, MemoryStore
from fakes_rejected import MemoryRejected, MemoryShelf
from unit.fakes import FakeStandings, FakeWatch, a_contest, a_vote, put

NOWHERE = KafkaSettings("127.0.0.1:1")
ENTRIES = [Entry(b"key", b"value", 0), Entry(b"other", b"value", 1)]


class Failing:
    """A connection whose next statement fails with one of SQLite's codes."""

    def __init__(self, connection: sqlite3.Connection, code: int) -> None:
        self.connection = connection
        self.code = code

    def execute(self, *_: object) -> None:
        error = sqlite3.OperationalError("it failed")
        error.sqlite_errorcode = self.code
        raise error

    def close(self) -> None:
        self.connection.close()


async def outcome_of(path: Path, code: int) -> list[Appended]:
    """What an append is answered whose commit fails with a code; the one after it has to work."""
    log = SqliteLog(path)
    log._connection = Failing(log._connection, code)  # type: ignore[arg-type, assignment]
    outcome = list(await log.append([Entry(b"key", b"value", 0)]))
    assert list(await log.append([Entry(b"key", b"value", 0)])) == [Appended.RECORDED]
    await log.close()
    return outcome


@pytest.mark.parametrize("code", [sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT])
async def test_a_commit_whose_sync_fails_is_undecided(tmp_path: Path, code: int) -> None:
    """A commit that fails when it is written, or who knows where, may be on disk: nobody is told that it is not."""
    assert await outcome_of(tmp_path / "log.db", code) == [Appended.UNDECIDED]


@pytest.mark.parametrize("code", [sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_READONLY])
async def test_a_commit_that_cannot_write_is_certain(tmp_path: Path, code: int) -> None:
    """A commit that could not be written whole is certainly not there: voters are told to try later, not "perhaps"."""
    assert await outcome_of(tmp_path / "log.db", code) == [Appended.NOT_RECORDED]


def test_rejections_are_synced_before_the_position_moves(tmp_path: Path) -> None:
    """The rejected records' file syncs at each commit: `add` promises the disk."""
    shelf = SqliteRejected(tmp_path / "rejected.db")
    assert shelf._connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL, in SQLite's documentation
    shelf.close()


class Taking:
    """librdkafka's producer: keeps the callbacks, and refuses beyond its room.

    Args:
        properties: as given.
    """

    room = 100
    made: Mapping[str, Any]

    def __init__(self, properties: Mapping[str, Any] | None = None) -> None:
        type(self).made = properties or {}
        self.callbacks: list[Callable[[KafkaError | None, object], None]] = []

    def produce(self, topic: str, value: bytes, key: bytes, partition: int, callback: Any, **_: object) -> None:
        if len(self.callbacks) >= self.room:
            raise BufferError
        self.callbacks.append(callback)

    def __len__(self) -> int:
        return 0

    def poll(self, timeout: float = 0) -> int:
        return 0

    def flush(self, timeout: float = 0) -> int:
        return 0

    def purge(self) -> None:
        pass


def test_a_delivery_that_failed_is_undecided() -> None:
    """A record that was handed over and whose delivery failed may be in the log."""
    producer, call = Taking(), Handover()
    call.run(producer, "votes", ENTRIES)  # type: ignore[arg-type]
    assert call.results == [Appended.UNDECIDED, Appended.UNDECIDED], "nothing is answered before its delivery"
    producer.callbacks[0](KafkaError(KafkaError._MSG_TIMED_OUT), None)
    assert not call.complete
    producer.callbacks[1](None, None)
    assert call.complete
    assert call.results == [Appended.UNDECIDED, Appended.RECORDED]


def test_a_call_is_used_again_only_once_it_is_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report that is still to come would be taken for one of the next call's."""
    monkeypatch.setattr(producing, "Producer", Taking)
    producer = PollingProducer(NOWHERE, lambda: None, lambda _: None)
    taking: Any = producer._producer
    first = producer.hand_over(ENTRIES)
    taking.callbacks[0](None, None)
    producer.release(first)
    second = producer.hand_over(ENTRIES)
    assert second is not first
    taking.callbacks[1](None, None)
    producer.release(first)
    third = producer.hand_over(ENTRIES[:1])
    assert third is first
    assert third.results == [Appended.UNDECIDED]
    assert not third.complete
    producer.close(0)


def test_what_the_producer_does_not_take_is_not_recorded() -> None:
    """A record that the producer's full queue refuses, and those behind it, were never on their way."""
    producer, call = Taking(), Handover()
    producer.room = 0
    call.run(producer, "votes", ENTRIES)  # type: ignore[arg-type]
    assert call.complete
    assert call.results == [Appended.NOT_RECORDED, Appended.NOT_RECORDED]


def test_the_producer_waits_for_all_replicas(monkeypatch: pytest.MonkeyPatch) -> None:
    """Votes are produced idempotently and with acks=all: one broker, as the tests have it, would not show it."""
    monkeypatch.setattr(producing, "Producer", Taking)
    producer = PollingProducer(NOWHERE, lambda: None, lambda _: None)
    producer.close(0)
    assert (Taking.made["acks"], Taking.made["enable.idempotence"]) == ("all", True)


def test_rejections_without_an_answer_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rejected records of which Kafka has not said within the time that it has them hold up the position."""
    monkeypatch.setattr(rejecting, "Producer", Taking)
    shelf = KafkaRejected(NOWHERE)
    with pytest.raises(Unavailable, match="no answer"):
        shelf.add([Rejection(Place("topic", 0, 1), "unreadable", "why", b"key", b"value")])
    shelf.close()


def test_the_group_is_told_only_what_was_applied() -> None:
    """Dashboards never show a batch as done that the store does not have."""
    log, store, noted = MemoryStore(1), FakeStandings(), dict[int, Position]()

    class Source(MemorySource):
        def note_progress(self, positions: Mapping[int, Position]) -> None:
            assert store.stored == {**store.stored, **positions}
            noted.update(positions)

    put(log, a_vote(1))
    projection = Projection(source := Source(log), store, FakeWatch())
    source.start(projection._positions)
    store.fails = ["before", "after"]
    for _ in range(2):
        with pytest.raises(Unavailable):
            projection.step(0)
        assert noted == {}
    put(log, a_vote(2))
    assert projection.step(0) == 1
    assert noted == store.stored == {0: Position(log.topic, 2, 0)}


async def test_a_retry_that_fails_leaves_no_mark() -> None:
    """A rejected record whose vote the log did not take stays open; once the log has it, it is marked."""
    vote = a_vote(1)
    shelf, log = MemoryRejected(MemoryShelf()), MemoryLog(MemoryStore(1), 1)
    rejection = Rejection(Place("topic", 0, 7), "wrong-key", "why", b"another key", encode(vote))
    shelf.add([rejection])
    contests = {vote.contest: a_contest(id=vote.contest)}
    await log.close()
    [result] = await retry([rejection], contests, log, shelf)
    assert result.why
    assert list(shelf.open()) == [rejection]
    log.closed = False
    [result] = await retry([rejection], contests, log, shelf)
    assert not result.why
    assert list(shelf.open()) == []


@pytest.mark.parametrize(("error", "status"), [(Undecided("id", "lost"), 504), (NotRecorded("queue full"), 503)])
def test_what_may_be_recorded_is_never_503(error: Undecided | NotRecorded, status: int) -> None:
    """503 says that a vote is certainly not recorded, 504 that nobody can tell."""
    assert status_of(error) == status


@pytest.mark.parametrize("offset", [2, 11])
def test_a_position_outside_the_log_is_told_before_reading(offset: int) -> None:
    """A position before the log's beginning or beyond its end is told by where it lies, not first by a failed fetch."""
    assert offset_at(0, Position("topic", 5), "topic", Bounds(3, 10)) == 5
    with pytest.raises(WrongLog, match="was tr"):
        offset_at(0, Position("topic", offset), "topic", Bounds(3, 10))


def test_what_was_read_behind_a_refused_batch_is_read_again() -> None:
    """What was read while a batch was with the store is dropped when that is refused: it would leave a gap."""
    log, store = MemoryStore(1), FakeStandings()
    projection = Projection(source := MemorySource(log), store, FakeWatch(), batch=1, worker=Inline())
    source.start(projection._positions)
    for serials in ((1, 2), (3, 4)):
        for serial in serials:
            put(log, a_vote(serial))
        if serials == (3, 4):
            store.lose()
        projection.step(0)
    projection.step(0)
    assert store.stored == {}, "the second was refused, and the third, which had been read by then, not tried"
    while projection.step(0):
        pass
    assert store.tallies[0].counted == 4
    assert store.stored == {0: Position(log.topic, 4, 0)}
