"""The vote log's contract, held against the logs in memory and in SQLite, and against broken ones."""

import asyncio
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest

from aplauso.adapters.sqlite.log import SqliteLog
from aplauso.adapters.sqlite.source import SqliteReader, SqliteSource
from aplauso.domain.position import Position
from aplauso.ports.log import Appended, Entry, LogReader, Record, VoteLog, VoteSource
from fakes_log import MemoryLog, MemoryReader, MemorySource, MemoryStore

pytest.register_assert_rewrite("contract.log_suite")
from contract.log_suite import CASES, LogHarness  # noqa: E402 - after the line above, so that failures are explained


class MemoryHarness(LogHarness):
    """The log in memory; the classes of its sides can be replaced by broken ones."""

    store_class: type[MemoryStore] = MemoryStore
    log_class: type[MemoryLog] = MemoryLog
    source_class: type[MemorySource] = MemorySource
    reader_class: type[MemoryReader] = MemoryReader

    def __init__(self) -> None:
        self.store = self.store_class(self.partitions)

    def log(self, partitions: int | None = None) -> VoteLog:
        return self.log_class(self.store, partitions or self.partitions)

    def source(self) -> VoteSource:
        return self.source_class(self.store)

    def reader(self) -> LogReader:
        return self.reader_class(self.store)

    def trim(self, partition: int, before: int) -> None:
        self.store.trim(partition, before)

    def recreate(self) -> None:
        self.store.recreate()


class SqliteHarness(LogHarness):
    """The log in a file. Nobody trims it, and its directory is locked while it is in use."""

    can_trim = False
    notices_recreation = False

    def __init__(self, directory: Path) -> None:
        self.path = directory / "log.sqlite"
        self._logs: list[SqliteLog] = []
        self._readers: list[SqliteSource | SqliteReader] = []

    def log(self, partitions: int | None = None) -> VoteLog:
        self._logs.append(SqliteLog(self.path, partitions or self.partitions))
        return self._logs[-1]

    def source(self) -> VoteSource:
        self._readers.append(source := SqliteSource(self.path))
        return source

    def reader(self) -> LogReader:
        self._readers.append(reader := SqliteReader(self.path))
        return reader

    def recreate(self) -> None:
        self.close()
        for file in self.path.parent.glob(f"{self.path.name}*"):
            file.unlink()

    def close(self) -> None:
        while self._logs:
            # Of a thread of its own: a test's event loop may be running in this one.
            closing = threading.Thread(target=asyncio.run, args=[self._logs.pop().close()])
            closing.start()
            closing.join()
        while self._readers:
            self._readers.pop().close()


@pytest.fixture(params=["memory", "sqlite"])
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LogHarness]:
    made = MemoryHarness() if request.param == "memory" else SqliteHarness(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("case", CASES)
async def test_contract(harness: LogHarness, case: str) -> None:
    """The log keeps the promise that the case is named after."""
    await CASES[case](harness)


class AcknowledgesBeforeDisk(MemoryLog):
    """Answers at once and writes later."""

    async def append(self, entries: Sequence[Entry]) -> Sequence[Appended]:
        return [Appended.RECORDED] * len(entries)


class Reorders(MemoryLog):
    async def append(self, entries: Sequence[Entry]) -> Sequence[Appended]:
        return await super().append(list(reversed(entries)))


class DropsTheLast(MemoryLog):
    async def append(self, entries: Sequence[Entry]) -> Sequence[Appended]:
        await super().append(entries[:-1] if len(entries) > 1 else entries)
        return [Appended.RECORDED] * len(entries)


class AppendsTwice(MemoryLog):
    async def append(self, entries: Sequence[Entry]) -> Sequence[Appended]:
        await super().append(entries)
        return await super().append(entries)


class ChangesValues(MemoryLog):
    async def append(self, entries: Sequence[Entry]) -> Sequence[Appended]:
        return await super().append([entry._replace(value=entry.value.strip(b"\0")) for entry in entries])


class AppendsWhenClosed(MemoryLog):
    async def close(self) -> None:
        pass


class AcceptsAnyCount(MemoryLog):
    async def append(self, entries: Sequence[Entry]) -> Sequence[Appended]:
        self._partitions = self.store.partitions
        return await super().append(entries)


class OneAnswerTooMany(MemoryLog):
    async def append(self, entries: Sequence[Entry]) -> Sequence[Appended]:
        return [*await super().append(entries), Appended.RECORDED]


class TakesBackWhenCancelled(MemoryLog):
    async def append(self, entries: Sequence[Entry]) -> Sequence[Appended]:
        for _ in range(3):
            await asyncio.sleep(0)
        return await super().append(entries)


class SameIdForEver(MemoryStore):
    def recreate(self) -> None:
        super().recreate()
        self.topic = "the log"


class Repeats(MemorySource):
    def fetch(self, limit: int) -> list[Record]:
        records = super().fetch(limit)
        self.at.update({record.partition: record.offset for record in records[2:3]})
        return records


class SkipsOnSeek(MemorySource):
    def seek(self, partition: int, position: Position | None) -> None:
        super().seek(partition, position)
        if partition in self.at:
            self.at[partition] += 1


class IgnoresSeek(MemorySource):
    def seek(self, partition: int, position: Position | None) -> None:
        pass


class IgnoresTheLimit(MemorySource):
    def fetch(self, limit: int) -> list[Record]:
        return super().fetch(10_000)


class LosesWhatIsBeyondTheLimit(MemorySource):
    def fetch(self, limit: int) -> list[Record]:
        return super().fetch(10_000)[:limit]


class StartsAtTheBeginning(MemorySource):
    def place(self, partition: int, position: Position | None) -> int:
        return super().place(partition, None)


class StartsAtTheEnd(MemorySource):
    def place(self, partition: int, position: Position | None) -> int:
        super().place(partition, position)
        return self.store.end(partition) if position is None else position.offset


class IgnoresTheTopicId(MemorySource):
    def place(self, partition: int, position: Position | None) -> int:
        return super().place(partition, position and position._replace(topic=self.store.topic))


class SkipsWhatWasTrimmed(MemorySource):
    def place(self, partition: int, position: Position | None) -> int:
        offset = 0 if position is None else position.offset
        return max(offset, self.store.lows[partition]) if offset <= self.store.end(partition) else 0


class WaitsBehindTheEnd(MemorySource):
    def place(self, partition: int, position: Position | None) -> int:
        return position.offset if position is not None else super().place(partition, position)


class DoesNotNoticeAnotherLog(MemorySource):
    def verify(self) -> None:
        pass


class NeverWaits(MemorySource):
    def poll(self, timeout: float, limit: int) -> Sequence[Record]:
        return super().poll(0, limit)


class ForgetsTheQuestion(MemorySource):
    """Begins anywhere after the projection has failed once."""

    def poll(self, timeout: float, limit: int) -> Sequence[Record]:
        try:
            return super().poll(timeout, limit)
        except Exception:
            self._ask = dict.fromkeys
            self.at = {partition: self.store.end(partition) for partition in range(self.partitions)}
            raise


class NoLag(MemorySource):
    def lags(self) -> dict[int, int]:
        return dict.fromkeys(self.at, 0)


class ReadsTheStopToo(MemoryReader):
    def read(self, partition: int, start: int, stop: int) -> Iterable[Sequence[Record]]:
        yield self.store.cut(partition, start, stop + 1)


class ReadsShort(MemoryReader):
    def read(self, partition: int, start: int, stop: int) -> Iterable[Sequence[Record]]:
        yield from super().read(partition, max(start, self.store.lows[partition]), min(stop, self.store.end(partition)))


class MixesKeysAndValues(MemoryReader):
    def read(self, partition: int, start: int, stop: int) -> Iterable[Sequence[Record]]:
        for chunk in super().read(partition, start, stop):
            yield [record._replace(key=record.value) for record in chunk]


BROKEN: list[tuple[type, str]] = [
    (AcknowledgesBeforeDisk, "test_what_is_acknowledged_survives_a_crash"),
    (Reorders, "test_records_are_read_as_they_were_appended"),
    (Reorders, "test_appends_under_way_at_once_keep_their_own_order"),
    (DropsTheLast, "test_what_is_acknowledged_survives_a_crash"),
    (AppendsTwice, "test_records_are_read_as_they_were_appended"),
    (ChangesValues, "test_records_are_read_as_they_were_appended"),
    (AppendsWhenClosed, "test_a_closed_log_records_nothing"),
    (AcceptsAnyCount, "test_a_log_with_another_number_of_partitions_is_refused"),
    (OneAnswerTooMany, "test_an_append_without_records_is_answered"),
    (TakesBackWhenCancelled, "test_a_cancelled_append_is_not_taken_back"),
    (SameIdForEver, "test_another_log_has_another_id"),
    (Repeats, "test_a_source_without_position_reads_everything_once"),
    (IgnoresTheLimit, "test_a_source_without_position_reads_everything_once"),
    (LosesWhatIsBeyondTheLimit, "test_a_source_without_position_reads_everything_once"),
    (SkipsOnSeek, "test_seeking_goes_back_and_forth"),
    (IgnoresSeek, "test_seeking_in_the_middle_of_reading_drops_what_was_fetched"),
    (StartsAtTheBeginning, "test_a_source_reads_on_at_the_projections_position"),
    (StartsAtTheBeginning, "test_a_position_at_the_end_is_right"),
    (StartsAtTheEnd, "test_a_source_without_position_reads_everything_once"),
    (IgnoresTheTopicId, "test_a_position_of_another_log_is_refused"),
    (SkipsWhatWasTrimmed, "test_a_position_before_the_beginning_is_refused"),
    (WaitsBehindTheEnd, "test_a_position_beyond_the_end_is_refused"),
    (DoesNotNoticeAnotherLog, "test_another_log_under_a_running_source_stops_it"),
    (NeverWaits, "test_a_source_waits_for_records"),
    (ForgetsTheQuestion, "test_a_failing_projection_is_asked_again"),
    (NoLag, "test_lags_tell_what_is_unread"),
    (ReadsTheStopToo, "test_a_reader_reads_exactly_what_is_asked_for"),
    (ReadsShort, "test_a_reader_refuses_what_is_not_there"),
    (ReadsShort, "test_a_reader_refuses_what_was_trimmed"),
    (MixesKeysAndValues, "test_records_are_read_as_they_were_appended"),
]


@pytest.mark.parametrize(("broken", "case"), BROKEN, ids=lambda value: getattr(value, "__name__", value))
async def test_a_broken_log_is_caught(broken: type, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The suite fails on a log that breaks a promise, in the case that is about it."""
    monkeypatch.setattr("contract.log_suite.PATIENCE", 0.5)
    side = {MemoryLog: "log_class", MemorySource: "source_class", MemoryReader: "reader_class"}
    attribute = next((name for base, name in side.items() if issubclass(broken, base)), "store_class")
    harness = type("BrokenHarness", (MemoryHarness,), {attribute: broken})()
    with pytest.raises((Exception, pytest.fail.Exception)) as caught:
        await CASES[case](harness)
    assert not isinstance(caught.value, TypeError | AttributeError | pytest.skip.Exception), caught.value
