"""The vote archive: one document for each counted vote."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import msgspec

from aplauso.domain.position import Position
from aplauso.ports.projection import ProjectionStore


class ArchivedVote(msgspec.Struct, frozen=True, gc=False):
    """A vote in the archive, with the place in the log that it comes from.

    Attributes:
        cast_at: milliseconds since the epoch.
    """

    id: str
    contest: str
    name: str
    album: str
    year: int
    rank: int
    cast_at: int
    partition: int
    offset: int


class ArchiveStore(ProjectionStore, Protocol):
    """The archive's store: keeps one document a vote, under its id; the first in the log stays.

    Effects may run ahead of the position (a repeated application changes nothing), never behind it.
    A document that lies at or beyond its partition's position is not archived yet.
    `Applied.repeated` may miss repeats that cannot be told from documents that ran ahead.
    """


class ArchiveReader(Protocol):
    """Reads the archive while it is being written. Any thread may use it, one at a time."""

    def latest(self, contest: str, limit: int) -> Sequence[ArchivedVote]:
        """The newest votes of a contest by (cast_at, id), newest first. Raises `Unavailable`."""
        ...

    def find(self, vote_id: str) -> ArchivedVote | None:
        """The vote of an id, or None. Raises `Unavailable`."""
        ...

    def partitions(self) -> Mapping[int, Position]:
        """Every partition that has a position. Raises `Unavailable`."""
        ...

    def scan(self, stops: Mapping[int, int]) -> Iterable[Sequence[ArchivedVote]]:
        """Votes of the partitions in `stops` whose offset is below their stop, in chunks, in any order.

        One pass over the archive, however many partitions are asked for: an index by partition would cost every
        insert, for a question that is asked once a contest. Reads in short steps, so that the archive can go on
        growing meanwhile. Raises `Unavailable`.
        """
        ...

    def close(self) -> None:
        """Lets go."""
        ...
