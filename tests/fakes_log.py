"""A vote log in memory, by which the contract suite is understood, and that flow tests can use.

`MemoryStore` is the disk: it outlives the logs, sources and readers over it.
"""

import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence

from aplauso.domain.errors import Unavailable, WrongLog
from aplauso.domain.position import Position
from aplauso.ports.log import Appended, Entry, Record


class MemoryStore:
    """What is on disk: for each partition the records, and the first offset that is still there."""

    def __init__(self, partitions: int = 3) -> None:
        self.partitions = partitions
        self.topic = ""
        self.records: list[list[Record]] = []
        self.lows: list[int] = []
        self.recreate()

    def recreate(self) -> None:
        """Another log takes this one's place."""
        self.topic = str(uuid.uuid4())
        self.records = [[] for _ in range(self.partitions)]
        self.lows = [0] * self.partitions

    def end(self, partition: int) -> int:
        """The offset that the next record gets."""
        records = self.records[partition]
        return records[-1].offset + 1 if records else self.lows[partition]

    def put(self, partition: int, key: bytes | None, value: bytes | None) -> None:
        """Writes a record to disk."""
        self.records[partition].append(Record(partition, self.end(partition), 0, key, value))

    def trim(self, partition: int, before: int) -> None:
        """Drops what lies before an offset."""
        self.lows[partition] = before
        self.records[partition] = [record for record in self.records[partition] if record.offset >= before]

    def cut(self, partition: int, start: int, stop: int | None = None) -> list[Record]:
        """The records from an offset on, up to another one."""
        end = self.end(partition) if stop is None else stop
        return [record for record in self.records[partition] if start <= record.offset < end]

    def offset_at(self, partition: int, position: Position | None) -> int:
        """Where reading goes on. Raises `WrongLog` when the position is not of this log, or is not there."""
        offset = 0 if position is None else position.offset
        if position is not None and position.topic != self.topic:
            raise WrongLog(f"the position names the log {position.topic}")
        if not self.lows[partition] <= offset <= self.end(partition):
            raise WrongLog(f"partition {partition} does not hold offset {offset}")
        return offset


class MemoryLog:
    """`VoteLog` over a store."""

    def __init__(self, store: MemoryStore, partitions: int) -> None:
        self.store = store
        self._partitions = partitions
        self.closed = False

    @property
    def partitions(self) -> int:
        return self._partitions

    async def append(self, entries: Sequence[Entry]) -> Sequence[Appended]:
        if self.closed or self._partitions != self.store.partitions:
            return [Appended.NOT_RECORDED] * len(entries)
        for key, value, partition in entries:
            self.store.put(partition, key, value)
        return [Appended.RECORDED] * len(entries)

    async def ready(self) -> None:
        if self.closed:
            raise Unavailable("closed")
        if self._partitions != self.store.partitions:
            raise WrongLog(f"the log has {self.store.partitions} partitions, not {self._partitions}")

    async def close(self) -> None:
        self.closed = True


class MemorySource:
    """`VoteSource` over a store, of the only replica."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.at: dict[int, int] = {}
        self._topic = store.topic
        self._ask: Callable[[Sequence[int]], Mapping[int, Position | None]] | None = None

    @property
    def partitions(self) -> int:
        return self.store.partitions

    def start(self, positions: Callable[[Sequence[int]], Mapping[int, Position | None]]) -> None:
        self._ask = positions

    def poll(self, timeout: float, limit: int) -> Sequence[Record]:
        self.verify()
        if not self.at and self._ask is not None:
            positions = self._ask(range(self.partitions))
            self.at = {partition: self.place(partition, position) for partition, position in positions.items()}
        deadline = time.monotonic() + timeout
        while not (records := self.fetch(limit)) and time.monotonic() < deadline:
            time.sleep(0.005)
        return records

    def verify(self) -> None:
        if self._topic != self.store.topic:
            raise WrongLog("another log has taken this one's place")

    def place(self, partition: int, position: Position | None) -> int:
        return self.store.offset_at(partition, position)

    def fetch(self, limit: int) -> list[Record]:
        records: list[Record] = []
        for partition, at in self.at.items():
            records += self.store.cut(partition, at)[: limit - len(records)]
        self.at.update({record.partition: record.offset + 1 for record in records})
        return records

    def seek(self, partition: int, position: Position | None) -> None:
        if partition in self.at:
            self.at[partition] = self.place(partition, position)

    def topic(self) -> str:
        return self._topic

    def note_progress(self, positions: Mapping[int, Position]) -> None:
        pass

    def lags(self) -> Mapping[int, int]:
        return {partition: self.store.end(partition) - at for partition, at in self.at.items()}

    def close(self) -> None:
        self.at = {}
        self._ask = None


class MemoryReader:
    """`LogReader` over a store."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store

    @property
    def partitions(self) -> int:
        return self.store.partitions

    def topic(self) -> str:
        return self.store.topic

    def ends(self) -> Mapping[int, int]:
        return {partition: self.store.end(partition) for partition in range(self.partitions)}

    def read(self, partition: int, start: int, stop: int) -> Iterable[Sequence[Record]]:
        if start < self.store.lows[partition] or stop > self.store.end(partition):
            raise WrongLog(f"partition {partition} does not hold {start} to {stop}")
        records = self.store.cut(partition, start, stop)
        for first in range(0, len(records), 3):
            yield records[first : first + 3]

    def close(self) -> None:
        pass
