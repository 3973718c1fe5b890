"""What every vote log promises, whatever it is made of: one suite for its three sides.

Each adapter brings a `LogHarness`. The suite's functions are called by `test_log*.py` (see `cases`), and by the
tests that hold broken logs against it.
"""

import asyncio
import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

import pytest

from aplauso.domain.errors import AplausoError, Unavailable, WrongLog
from aplauso.domain.position import Position
from aplauso.ports.log import Appended, Entry, LogReader, Record, VoteLog, VoteSource

PATIENCE = 30.0
RECORDED = Appended.RECORDED


class LogHarness(ABC):
    """Makes the three sides of one log over fresh storage, and does to it what operators do.

    Attributes:
        partitions: of the log.
        can_trim: whether the log's beginning can be cut off.
        notices_recreation: whether a running source can have another log put in its log's place.
    """

    partitions = 3
    can_trim = True
    notices_recreation = True

    @abstractmethod
    def log(self, partitions: int | None = None) -> VoteLog:
        """The appending side, as configured with a number of partitions."""

    @abstractmethod
    def source(self) -> VoteSource:
        """The reading side of a projection's only replica."""

    @abstractmethod
    def reader(self) -> LogReader:
        """The reading side of a recount."""

    def crash(self) -> None:
        """The appending process dies: what it had not put on disk is gone."""
        return

    def trim(self, partition: int, before: int) -> None:
        """Drops the records before an offset."""
        raise NotImplementedError

    @abstractmethod
    def recreate(self) -> None:
        """Puts another log, which is empty, in this one's place."""

    def close(self) -> None:
        """Lets go of everything."""
        return


def entries(partition: int, *numbers: int) -> list[Entry]:
    """Records for a partition, told apart by their numbers."""
    return [Entry(f"{partition}-{number:06}".encode(), b"value %d" % number, partition) for number in numbers]


async def recorded(log: VoteLog, wanted: Sequence[Entry]) -> None:
    """Appends records, all of which have to be recorded."""
    assert await log.append(wanted) == [RECORDED] * len(wanted)


def keys(records: Sequence[Record], partition: int) -> list[bytes | None]:
    """The keys of a partition's records, in the order in which they were read."""
    return [record.key for record in records if record.partition == partition]


def read_all(reader: LogReader, partition: int) -> list[Record]:
    """A whole partition."""
    return [record for chunk in reader.read(partition, 0, reader.ends()[partition]) for record in chunk]


def from_start(partitions: Sequence[int]) -> Mapping[int, Position | None]:
    """A projection that has no position yet."""
    return dict.fromkeys(partitions)


def poll_until(source: VoteSource, key: bytes, limit: int = 1000) -> list[Record]:
    """Polls until a record with a key has come; returns all that came."""
    deadline = time.monotonic() + PATIENCE
    records: list[Record] = []
    while time.monotonic() < deadline:
        with contextlib.suppress(Unavailable):
            found = source.poll(0.2, limit)
            assert len(found) <= limit
            records += found
            if any(record.key == key for record in found):
                return records
    raise AssertionError(f"{key!r} did not come; these did: {records}")


def refuses_to_go_on(source: VoteSource) -> list[Record]:
    """Polls until the source stops with `WrongLog`; returns the records that came before."""
    deadline = time.monotonic() + PATIENCE
    records: list[Record] = []
    while time.monotonic() < deadline:
        try:
            records += source.poll(0.2, 1000)
        except Unavailable:
            pass
        except WrongLog:
            return records
    raise AssertionError(f"the source goes on; it returned {records}")


async def test_records_are_read_as_they_were_appended(harness: LogHarness) -> None:
    """Recorded votes lie in their partition in the order of the call, key and value byte for byte."""
    log, reader = harness.log(), harness.reader
    odd = [Entry(b"\xff\x00\xfe", b"\x00" * 50, 0), Entry(b"", b"", 0), Entry(b"last", b"x" * 9000, 0)]
    await recorded(log, [*entries(1, 3, 1, 2), *odd, *entries(1, 9)])
    assert keys(read_all(reader(), 1), 1) == [entry.key for entry in entries(1, 3, 1, 2, 9)]
    found = [(record.key or b"", record.value or b"") for record in read_all(reader(), 0)]
    assert found == [(entry.key, entry.value) for entry in odd]
    assert read_all(reader(), 2) == []


async def test_what_is_acknowledged_survives_a_crash(harness: LogHarness) -> None:
    """An acknowledged record is there after the appending process has died, and the next one lies behind it."""
    await recorded(harness.log(), entries(0, *range(50)))
    harness.crash()
    await recorded(harness.log(), entries(0, 50))
    assert keys(read_all(harness.reader(), 0), 0) == [entry.key for entry in entries(0, *range(51))]


async def test_appends_under_way_at_once_keep_their_own_order(harness: LogHarness) -> None:
    """Many appends at once are all recorded, each once, each call's records in its own order."""
    log = harness.log()
    calls = [entries(call % 2, *range(call * 100, call * 100 + 20)) for call in range(20)]
    assert all(set(got) == {RECORDED} for got in await asyncio.gather(*map(log.append, calls)))
    for partition in (0, 1):
        found = keys(read_all(harness.reader(), partition), partition)
        for call in calls:
            wanted = [entry.key for entry in call if entry.partition == partition]
            assert [key for key in found if key in set(wanted)] == wanted


async def test_an_append_without_records_is_answered(harness: LogHarness) -> None:
    """Nothing in, nothing out."""
    assert list(await harness.log().append([])) == []


async def test_a_cancelled_append_is_not_taken_back(harness: LogHarness) -> None:
    """Cancelling a call leaves its records on their way, and the log as usable as before."""
    log = harness.log()
    await recorded(log, entries(0, 0))
    task = asyncio.create_task(_all_recorded(log, entries(0, 1, 2)))
    await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await recorded(log, entries(0, 3))
    assert keys(read_all(harness.reader(), 0), 0) == [entry.key for entry in entries(0, 0, 1, 2, 3)]


async def _all_recorded(log: VoteLog, wanted: Sequence[Entry]) -> Sequence[Appended]:
    return await log.append(wanted)


async def test_a_closed_log_records_nothing(harness: LogHarness) -> None:
    """After its end a log answers that nothing was recorded, and is not ready; ending it twice is no fault."""
    log = harness.log()
    await log.ready()
    await recorded(log, entries(0, 1))
    await log.close()
    await log.close()
    assert list(await log.append(entries(0, 2, 3))) == [Appended.NOT_RECORDED] * 2
    with pytest.raises(Unavailable):
        await log.ready()
    assert keys(read_all(harness.reader(), 0), 0) == [entries(0, 1)[0].key]


async def test_a_log_with_another_number_of_partitions_is_refused(harness: LogHarness) -> None:
    """Nothing is appended to a log that has another number of partitions than configured, and the reason is told."""
    await recorded(harness.log(), entries(0, 1))
    ends = harness.reader().ends()
    with pytest.raises(WrongLog):  # noqa: PT012 - it may be noticed at once, or when asked
        log = harness.log(harness.partitions + 1)
        assert list(await log.append(entries(0, 2))) == [Appended.NOT_RECORDED]
        await log.ready()
    assert harness.reader().ends() == ends


async def test_all_sides_name_the_same_log(harness: LogHarness) -> None:
    """Source and reader give the same id, again and again, and the configured number of partitions."""
    log = harness.log()
    await recorded(log, entries(0, 1))
    topic = harness.reader().topic()
    assert topic
    assert {harness.source().topic(), harness.source().topic(), harness.reader().topic()} == {topic}
    assert log.partitions == harness.source().partitions == harness.reader().partitions == harness.partitions


async def test_another_log_has_another_id(harness: LogHarness) -> None:
    """A log that takes another one's place can be told from it."""
    await recorded(harness.log(), entries(0, 1))
    topic = harness.reader().topic()
    harness.recreate()
    await recorded(harness.log(), entries(0, 1))
    assert harness.reader().topic() != topic


async def test_a_source_without_position_reads_everything_once(harness: LogHarness) -> None:
    """From no position each record comes once, in order, offsets growing, in batches of the limit at most."""
    log, source = harness.log(), harness.source()
    await recorded(log, [entry for number in range(100) for p in (0, 1) for entry in entries(p, number)])
    source.start(from_start)
    records = poll_until(source, entries(0, 99)[0].key, limit=7)
    await recorded(log, [*entries(0, 100), *entries(1, 100)])
    for partition in (0, 1):
        wanted = [entry.key for entry in entries(partition, *range(101))]
        if wanted[-1] not in keys(records, partition):
            records += poll_until(source, entries(partition, 100)[0].key, limit=7)
        assert keys(records, partition) == wanted
        offsets = [record.offset for record in records if record.partition == partition]
        assert offsets == sorted(set(offsets))
        values = [record.value for record in records if record.partition == partition]
        assert values == [entry.value for entry in entries(partition, *range(101))]


async def test_a_source_waits_for_records(harness: LogHarness) -> None:
    """A poll that finds nothing returns nothing when its time is over, and later records are seen."""
    log, source = harness.log(), harness.source()
    await recorded(log, entries(2, 1))
    source.start(from_start)
    poll_until(source, entries(2, 1)[0].key)
    began = time.monotonic()
    assert list(source.poll(0.3, 100)) == []
    assert 0.25 < time.monotonic() - began < 5
    await recorded(log, entries(2, 2))
    assert keys(poll_until(source, entries(2, 2)[0].key), 2) == [entries(2, 2)[0].key]


async def test_a_source_does_not_wait_for_a_full_batch(harness: LogHarness) -> None:
    """A poll returns with the first records, long before its time is over."""
    log, source = harness.log(), harness.source()
    await recorded(log, entries(0, 1))
    source.start(from_start)
    poll_until(source, entries(0, 1)[0].key)
    await recorded(log, entries(0, 2))
    began = time.monotonic()
    assert len(source.poll(20, 100)) == 1
    assert time.monotonic() - began < 10


async def test_a_source_reads_on_at_the_projections_position(harness: LogHarness) -> None:
    """Reading begins at the stored position in each partition, at the beginning where there is none."""
    await recorded(harness.log(), [*entries(0, *range(20)), *entries(1, *range(20))])
    topic = harness.reader().topic()
    middle = next(iter(harness.reader().read(0, 7, 8)))[0]
    source = harness.source()
    source.start(lambda partitions: {**from_start(partitions), 0: Position(topic, 7, middle.epoch)})
    records = poll_until(source, entries(0, 19)[0].key)
    if entries(1, 19)[0].key not in keys(records, 1):
        records += poll_until(source, entries(1, 19)[0].key)
    assert keys(records, 0) == [entry.key for entry in entries(0, *range(7, 20))]
    assert keys(records, 1) == [entry.key for entry in entries(1, *range(20))]


async def test_a_position_at_the_end_is_right(harness: LogHarness) -> None:
    """A projection that has read everything goes on with the next record."""
    log = harness.log()
    await recorded(log, entries(0, *range(5)))
    reader = harness.reader()
    last = read_all(reader, 0)[-1]
    at = Position(reader.topic(), last.offset + 1, last.epoch)
    source = harness.source()
    source.start(lambda partitions: {**from_start(partitions), 0: at})
    assert list(source.poll(0.2, 10)) == []
    await recorded(log, entries(0, 5))
    assert keys(poll_until(source, entries(0, 5)[0].key), 0) == [entries(0, 5)[0].key]


async def test_a_failing_projection_is_asked_again(harness: LogHarness) -> None:
    """What the projection raises comes out of `poll`; afterwards it is asked again, and nothing is skipped."""
    await recorded(harness.log(), entries(0, *range(5)))
    calls = []

    def positions(partitions: Sequence[int]) -> Mapping[int, Position | None]:
        calls.append(list(partitions))
        if len(calls) < 3:
            raise Unavailable("the projection's store is away")
        return from_start(partitions)

    source = harness.source()
    source.start(positions)
    for _ in range(2):
        assert _first_failure(source) == "the projection's store is away"
    assert keys(poll_until(source, entries(0, 4)[0].key), 0) == [entry.key for entry in entries(0, *range(5))]


def _first_failure(source: VoteSource) -> str:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            assert list(source.poll(0.2, 100)) == []
        except AplausoError as error:
            return str(error)
    raise AssertionError("nothing was raised")


async def test_seeking_goes_back_and_forth(harness: LogHarness) -> None:
    """After a seek the next record of the partition is the one at the position, and no other partition moves."""
    log, source = harness.log(), harness.source()
    await recorded(log, [*entries(0, *range(10)), *entries(1, *range(10))])
    source.start(from_start)
    records = poll_until(source, entries(0, 9)[0].key)
    if entries(1, 9)[0].key not in keys(records, 1):
        poll_until(source, entries(1, 9)[0].key)
    topic = source.topic()
    source.seek(0, Position(topic, 4, 0))
    again = poll_until(source, entries(0, 9)[0].key)
    assert [record.key for record in again] == [entry.key for entry in entries(0, *range(4, 10))]
    source.seek(0, None)
    source.seek(0, Position(topic, 9, 0))
    assert [record.key for record in poll_until(source, entries(0, 9)[0].key)] == [entries(0, 9)[0].key]
    source.seek(0, None)
    assert keys(poll_until(source, entries(0, 9)[0].key), 0) == [entry.key for entry in entries(0, *range(10))]


async def test_seeking_in_the_middle_of_reading_drops_what_was_fetched(harness: LogHarness) -> None:
    """A seek holds for records that lie ready too: the next ones are those at the position."""
    log, source = harness.log(), harness.source()
    await recorded(log, entries(0, *range(100)))
    source.start(from_start)
    poll_until(source, entries(0, 9)[0].key, limit=5)
    source.seek(0, Position(source.topic(), 50, 0))
    records = poll_until(source, entries(0, 99)[0].key, limit=5)
    assert keys(records, 0) == [entry.key for entry in entries(0, *range(50, 100))]


async def test_seeking_a_partition_of_others_does_nothing(harness: LogHarness) -> None:
    """A partition that the replica does not have is left alone."""
    log, source = harness.log(), harness.source()
    await recorded(log, entries(0, 1))
    source.start(from_start)
    poll_until(source, entries(0, 1)[0].key)
    source.seek(harness.partitions + 5, Position("another log", 3))
    await recorded(log, entries(0, 2))
    poll_until(source, entries(0, 2)[0].key)


async def test_a_position_of_another_log_is_refused(harness: LogHarness) -> None:
    """A position that names another log stops the source, at its start and after a seek, and keeps it stopped."""
    await recorded(harness.log(), entries(0, *range(5)))
    source = harness.source()
    source.start(lambda partitions: {**from_start(partitions), 0: Position("another", 2, 0)})
    for _ in range(2):
        assert refuses_to_go_on(source) == []
    source.close()
    sought = harness.source()
    sought.start(from_start)
    poll_until(sought, entries(0, 4)[0].key)
    try:
        sought.seek(0, Position("another", 2, 0))
    except WrongLog:
        return
    assert refuses_to_go_on(sought) == []


async def test_a_position_beyond_the_end_is_refused(harness: LogHarness) -> None:
    """A position behind the log's end tells that the log was truncated: the source stops."""
    await recorded(harness.log(), entries(0, *range(5)))
    topic = harness.reader().topic()
    source = harness.source()
    source.start(lambda partitions: {**from_start(partitions), 0: Position(topic, 6, 0)})
    assert refuses_to_go_on(source) == []


async def test_a_position_before_the_beginning_is_refused(harness: LogHarness) -> None:
    """Where records were trimmed that the projection has not seen, the source stops; where it has, it goes on."""
    _needs(harness.can_trim)
    await recorded(harness.log(), entries(0, *range(10)))
    topic = harness.reader().topic()
    harness.trim(0, 5)
    for position in (None, Position(topic, 4, 0)):
        source = harness.source()
        source.start(lambda partitions, at=position: {**from_start(partitions), 0: at})  # type: ignore[misc]
        assert keys(refuses_to_go_on(source), 0) == []
        source.close()
    source = harness.source()
    source.start(lambda partitions: {**from_start(partitions), 0: Position(topic, 5, 0)})
    found = keys(poll_until(source, entries(0, 9)[0].key), 0)
    assert found == [entry.key for entry in entries(0, *range(5, 10))]


async def test_another_log_under_a_running_source_stops_it(harness: LogHarness) -> None:
    """A log that is put in the place of the one being read stops the source; none of its records come out."""
    _needs(harness.notices_recreation)
    source = harness.source()
    await recorded(harness.log(), entries(0, *range(5)))
    source.start(from_start)
    poll_until(source, entries(0, 4)[0].key)
    harness.recreate()
    await recorded(harness.log(), entries(0, *range(100, 150)))
    assert refuses_to_go_on(source) == []


async def test_lags_tell_what_is_unread(harness: LogHarness) -> None:
    """The lag of a partition is the number of its records that have not been handed out yet."""
    log, source = harness.log(), harness.source()
    await recorded(log, entries(0, *range(10)))
    source.start(from_start)
    seen = len(poll_until(source, entries(0, 0)[0].key, limit=4))
    assert source.lags()[0] == 10 - seen
    poll_until(source, entries(0, 9)[0].key, limit=4)
    assert source.lags()[0] == 0
    source.note_progress({0: Position(source.topic(), 10, 0)})
    source.close()
    source.close()


async def test_a_reader_reads_exactly_what_is_asked_for(harness: LogHarness) -> None:
    """A range holds its first record and not its end, in chunks that are not empty; an empty range holds nothing."""
    await recorded(harness.log(), entries(0, *range(50)))
    reader = harness.reader()
    assert reader.ends() == {**dict.fromkeys(range(harness.partitions), 0), 0: 50}
    chunks = list(reader.read(0, 10, 40))
    assert all(chunks)
    found = [record for chunk in chunks for record in chunk]
    assert [record.offset for record in found] == list(range(10, 40))
    assert keys(found, 0) == [entry.key for entry in entries(0, *range(10, 40))]
    assert [list(chunk) for chunk in reader.read(0, 20, 20)] == []
    assert [list(chunk) for chunk in reader.read(1, 0, 0)] == []
    reader.close()


async def test_a_reader_refuses_what_is_not_there(harness: LogHarness) -> None:
    """A range that goes behind the end cannot be read in full, and that is said."""
    await recorded(harness.log(), entries(0, *range(5)))
    with pytest.raises(WrongLog):
        list(harness.reader().read(0, 0, 6))


async def test_a_reader_refuses_what_was_trimmed(harness: LogHarness) -> None:
    """A range whose beginning was trimmed cannot be read in full, and that is said; one behind it can."""
    _needs(harness.can_trim)
    await recorded(harness.log(), entries(0, *range(10)))
    harness.trim(0, 5)
    with pytest.raises(WrongLog):
        list(harness.reader().read(0, 0, 10))
    found = [record.offset for chunk in harness.reader().read(0, 5, 10) for record in chunk]
    assert found == list(range(5, 10))


def _needs(capability: bool) -> None:
    if not capability:
        pytest.skip("nobody can do this to such a log")


Case = Callable[[LogHarness], Awaitable[None]]


def _cases() -> Iterator[Case]:
    for name, case in globals().items():
        if name.startswith("test_"):
            yield case


CASES: dict[str, Case] = {case.__name__: case for case in _cases()}
"""Every test of the suite by its name."""
