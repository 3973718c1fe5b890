"""Reading the SQLite log: for a projection in the same process, and for a recount from anywhere."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from operator import itemgetter
from pathlib import Path
from typing import Final

import msgspec

from aplauso.adapters.sqlite.database import connect_reader, translated
from aplauso.adapters.sqlite.log import unpack
from aplauso.domain.errors import Unavailable, WrongLog
from aplauso.domain.position import Position
from aplauso.ports.log import Record
from aplauso.ports.stretch import Stretch, Stretches

CHUNK: Final = 5_000
"""Records read in one short transaction, so that checkpoints can go on."""
_TICK: Final = 0.01
"""Seconds between two looks at the file when nobody calls."""
_READ: Final = """
    SELECT first, records FROM segments WHERE partition = ? AND last >= ? AND first < ? ORDER BY last
"""
_NO_END: Final = 2**62
Pairs = list[tuple[bytes | None, bytes | None]]
"""The keys and the values of records."""
_key, _value = itemgetter(0), itemgetter(1)


class SqliteReader:
    """Implements `aplauso.ports.log.LogReader`. Raises `Unavailable` when there is no log yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = connect_reader(path)
        with translated(path):
            row = self._connection.execute("SELECT topic, partitions FROM log").fetchone()
        if row is None:
            raise Unavailable(f"{path} is not a log yet")
        self._topic, self._partitions = str(row[0]), int(row[1])
        self._last: tuple[int, int, Pairs] = (-1, -1, [])

    @property
    def partitions(self) -> int:
        """As `LogReader`."""
        return self._partitions

    def topic(self) -> str:
        """As `LogReader`."""
        return self._topic

    def ends(self) -> Mapping[int, int]:
        """As `LogReader`."""
        with translated(self._path):
            return {partition: self._end(partition) for partition in range(self._partitions)}

    def read(self, partition: int, start: int, stop: int) -> Iterable[Sequence[Record]]:
        """As `LogReader`."""
        if stop > self.ends().get(partition, 0):
            raise WrongLog(f"partition {partition} ends before offset {stop}")
        while start < stop:
            records = self.fetch(partition, start, stop, CHUNK)
            if not records:
                raise _gone(partition, start)
            yield records
            start = records.offsets[-1] + 1

    def fetch(self, partition: int, start: int, stop: int, limit: int) -> Stretch:
        """The next records from an offset on, `limit` at most. Raises `Unavailable`, and `WrongLog` as `read`."""
        keys, values, at = list[bytes | None](), list[bytes | None](), start
        # Row by row: a segment may hold the records of many batches, and what is not wanted is not read from the disk.
        with translated(self._path), closing(self._connection.execute(_READ, (partition, at, stop))) as rows:
            for first, packed in rows:
                end = min(stop, at + limit - len(keys))
                some = self._segment(partition, first, packed)[at - first : end - first] if first <= at else ()
                if not some:
                    raise _gone(partition, at)
                keys += map(_key, some)
                values += map(_value, some)
                at += len(some)
                if len(keys) >= limit:
                    break
        return Stretch(partition, range(start, at), [0] * len(keys), keys, values)

    def _segment(self, partition: int, first: int, packed: bytes) -> Pairs:
        """A segment's records, parsed once, though a part of them at a time is wanted."""
        if self._last[:2] != (partition, first):
            self._last = (partition, first, self._unpack(partition, first, packed))
        return self._last[2]

    def _unpack(self, partition: int, first: int, packed: bytes) -> Pairs:
        try:
            return unpack(packed)
        except msgspec.MsgspecError as error:
            raise WrongLog(
                f"{self._path}: the segment of partition {partition} from offset {first} on cannot be read: {error}"
            ) from None

    def check(self, partition: int, position: Position | None) -> int:
        """The offset at which reading goes on at a position. Raises `WrongLog` when this is not its log."""
        if position is None:
            return 0
        if position.topic != self._topic:
            raise WrongLog(f"the position of partition {partition} names the log {position.topic}, not {self._topic}")
        with translated(self._path):
            end = self._end(partition)
        if position.offset > end:
            raise WrongLog(f"partition {partition} ends at offset {end}, before the position {position.offset}")
        return position.offset

    def _end(self, partition: int) -> int:
        query = "SELECT max(last) FROM segments WHERE partition = ?"
        (last,) = self._connection.execute(query, (partition,)).fetchone()
        return 0 if last is None else int(last) + 1

    def close(self) -> None:
        """As `LogReader`."""
        self._connection.close()


def _gone(partition: int, offset: int) -> WrongLog:
    return WrongLog(f"partition {partition} does not hold the records from offset {offset} on any more")


class SqliteSource:
    """Implements `aplauso.ports.log.VoteSource` for the only replica there is: it has every partition.

    Args:
        path: the log's file.
        wake: set when records have been appended; without it the file is looked at a hundred times a second.
        pace: seconds that a poll leaves to the others after the last one's records were dealt with; as long as
            that took, at least. Under load it gathers what it would otherwise take vote by vote, and leaves
            Python's lock to those who answer voters. 0 for no such courtesy.
    """

    def __init__(self, path: Path, wake: threading.Event | None = None, pace: float = 0.0) -> None:
        self._path = path
        self._pace = pace
        self._last = 0.0
        self._wake = wake or threading.Event()
        self._tick = _TICK if wake is None else _NO_END
        self._log: SqliteReader | None = None
        self._at: dict[int, int] = {}
        self._positions: Callable[[Sequence[int]], Mapping[int, Position | None]] | None = None

    def start(self, positions: Callable[[Sequence[int]], Mapping[int, Position | None]]) -> None:
        """As `VoteSource`."""
        self._positions = positions

    def poll(self, timeout: float, limit: int) -> Sequence[Record]:
        """As `VoteSource`."""
        self._assign()
        if self._pace:
            busy = time.monotonic() - self._last if self._last else 0.0
            time.sleep(max(self._pace, busy) if busy else 0.0)
        records = self._fetch(limit)
        while not records and timeout > 0:
            waited = min(timeout, self._tick)
            self._wake.wait(waited)
            self._wake.clear()
            records = self._fetch(limit)
            timeout -= waited
        self._last = time.monotonic() if records else 0.0
        return records

    def seek(self, partition: int, position: Position | None) -> None:
        """As `VoteSource`."""
        if partition in self._at:
            self._at[partition] = self._reader().check(partition, position)

    def topic(self) -> str:
        """As `VoteSource`."""
        return self._reader().topic()

    def note_progress(self, positions: Mapping[int, Position]) -> None:
        """As `VoteSource`: there is no group to tell."""

    def lags(self) -> Mapping[int, int]:
        """As `VoteSource`."""
        reader = SqliteReader(self._path)  # its own: this may be asked from another thread
        try:
            ends = reader.ends()
        finally:
            reader.close()
        return {partition: ends[partition] - at for partition, at in self._at.copy().items()}

    @property
    def partitions(self) -> int:
        """As `VoteSource`."""
        return self._reader().partitions

    def close(self) -> None:
        """As `VoteSource`."""
        if self._log is not None:
            self._log.close()
            self._log = None
        self._at = {}

    def _reader(self) -> SqliteReader:
        if self._log is None:
            self._log = SqliteReader(self._path)
        return self._log

    def _assign(self) -> None:
        """Takes every partition at its projection's position, once."""
        if self._at or self._positions is None:
            return
        reader = self._reader()
        stored = self._positions(range(reader.partitions))
        self._at = {partition: reader.check(partition, stored[partition]) for partition in range(reader.partitions)}

    def _fetch(self, limit: int) -> Stretches:
        share = max(1, limit // max(1, len(self._at)))  # so that a busy partition does not starve the others
        parts = list[Stretch]()
        for partition, at in self._at.items():
            found = self._reader().fetch(partition, at, _NO_END, min(share, limit))
            if found:
                self._at[partition] = found.offsets[-1] + 1
                limit -= len(found)
                parts.append(found)
        return Stretches(parts)
