"""The vote log: the truth, in partitions, in order.

Three sides: the collector appends, a projection reads with the other replicas of its group,
and whoever recounts reads alone.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from typing import NamedTuple, Protocol

from aplauso.domain.position import Position


class Entry(NamedTuple):
    """A record to append.

    Attributes:
        key: the vote's id in UTF-8.
        value: the bytes of `aplauso.v1.Vote`.
        partition: where it belongs, as `aplauso.domain.record.partition_of` says.
    """

    key: bytes
    value: bytes
    partition: int


class Appended(Enum):
    """What became of a record."""

    RECORDED = "recorded"
    """It is on disk, on every replica that the log promises."""
    NOT_RECORDED = "not-recorded"
    """It is not in the log and will not be."""
    UNDECIDED = "undecided"
    """It may be in the log, now or later."""


class Record(NamedTuple):
    """A record as it lies in the log. Its key and its value may be anything: the log does not read them."""

    partition: int
    offset: int
    epoch: int
    key: bytes | None
    value: bytes | None


class VoteLog(Protocol):
    """The appending side. One event loop uses it; many appends may be under way at once."""

    @property
    def partitions(self) -> int:
        """The configured number of partitions."""
        ...

    async def append(self, entries: Sequence[Entry]) -> Sequence[Appended]:
        """Appends records and returns what became of each, in order; never raises for a failure of the log.

        Records of one call and one partition lie in the log in the order given. `RECORDED` is answered
        only once the record is on disk. Cancelling the call does not take its records back.
        """
        ...

    async def ready(self) -> None:
        """Checks that a record could be appended now.

        Raises:
            Unavailable: it could not; says why.
            WrongLog: the log is not the one that is configured (another number of partitions, say).
        """
        ...

    async def close(self) -> None:
        """Waits for what was handed over, for ten seconds at most, and lets go."""
        ...


class VoteSource(Protocol):
    """The reading side of a projection's replica. Used by one thread, from `start` to `close`.

    Partitions come and go as replicas of the group do. A partition that comes is read from the position
    that the projection says, never from an offset that the log's group remembers.
    """

    def start(self, positions: Callable[[Sequence[int]], Mapping[int, Position | None]]) -> None:
        """Joins the group.

        Args:
            positions: tells where the projection stands in each of the partitions that it is being given;
                None where it has none and starts at the beginning. Called on the thread that calls `poll`;
                what it raises comes out of `poll`.
        """
        ...

    def poll(self, timeout: float, limit: int) -> Sequence[Record]:
        """The next records of the partitions that this replica has, in order within each partition.

        Waits for the first record, `timeout` seconds at most, and returns `limit` records at most. A record
        is returned once, unless `seek` goes back. Offsets grow within a partition, and may leave gaps.

        Raises:
            Unavailable: the log is away; calling again is right.
            WrongLog: a position names another log, or lies before the log's beginning or beyond its end.
        """
        ...

    def seek(self, partition: int, position: Position | None) -> None:
        """Goes on reading a partition at a position, or at its beginning; does nothing when it has been taken away.

        Raises:
            WrongLog: as for `poll`; may also come out of the next `poll`.
        """
        ...

    def topic(self) -> str:
        """The id of the log that is being read, as in `Position.topic`. Raises `Unavailable`."""
        ...

    def note_progress(self, positions: Mapping[int, Position]) -> None:
        """Tells the log's group how far the projection is, for lag dashboards only. May do nothing."""
        ...

    def lags(self) -> Mapping[int, int]:
        """Records between the projection's reading and the log's end, by partition that this replica has.

        Any thread may ask. Raises `Unavailable`.
        """
        ...

    @property
    def partitions(self) -> int:
        """The configured number of partitions."""
        ...

    def close(self) -> None:
        """Leaves the group. May be called after any failure, and twice."""
        ...


class LogReader(Protocol):
    """The reading side of a recount: alone, from the beginning."""

    @property
    def partitions(self) -> int:
        """The configured number of partitions."""
        ...

    def topic(self) -> str:
        """The log's id, as in `Position.topic`. Raises `Unavailable`."""
        ...

    def ends(self) -> Mapping[int, int]:
        """By partition, the offset that the next record would get. Raises `Unavailable`."""
        ...

    def read(self, partition: int, start: int, stop: int) -> Iterable[Sequence[Record]]:
        """The records of a partition from offset `start` up to, not including, `stop`, in chunks, in order.

        Raises:
            Unavailable: the log is away.
            WrongLog: the partition does not hold all of them any more (it was trimmed or truncated).
        """
        ...

    def close(self) -> None:
        """Lets go."""
        ...
