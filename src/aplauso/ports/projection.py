"""What a projection's store promises: effects and position go together, whatever dies whenever."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, Protocol, overload, runtime_checkable

from aplauso.domain.columns import Columns
from aplauso.domain.position import Position
from aplauso.domain.vote import Vote


class LoggedVote(NamedTuple):
    """A vote and the offset at which it lies in its partition."""

    offset: int
    vote: Vote


_logged: Final[Callable[[tuple[int, Any]], LoggedVote]] = partial(tuple.__new__, LoggedVote)
"""A pair as what it is: the calls stay inside the interpreter's own code, which takes half the time."""


def logged(offsets: Sequence[int], votes: Sequence[Vote]) -> list[LoggedVote]:
    """Votes, and as many offsets at which they lie."""
    return list(map(_logged, zip(offsets, votes, strict=True)))


class LoggedVotes(Sequence[LoggedVote]):
    """Votes in columns: the same sequence as a list of them, which is made when one is asked for.

    A tally that made an object of each record and each vote took 3.5 us of processor time a vote instead of 2.2.

    Attributes:
        offsets: of each.
        columns: the votes, as many.
        prepared: what a store has made of them beforehand, see `Prepares`; the store's alone.
    """

    __slots__ = ("_rows", "columns", "offsets", "prepared")

    def __init__(self, offsets: Sequence[int], columns: Columns) -> None:
        self.offsets, self.columns = offsets, columns
        self._rows: list[LoggedVote] | None = None
        self.prepared: object = None

    def __len__(self) -> int:
        return len(self.offsets)

    @overload
    def __getitem__(self, at: int) -> LoggedVote: ...

    @overload
    def __getitem__(self, at: slice) -> list[LoggedVote]: ...

    def __getitem__(self, at: int | slice) -> LoggedVote | list[LoggedVote]:
        return self._list()[at]

    def __iter__(self) -> Iterator[LoggedVote]:
        return iter(self._list())

    def _list(self) -> list[LoggedVote]:
        if self._rows is None:
            self._rows = logged(self.offsets, self.columns.votes())
        return self._rows


class Applied(NamedTuple):
    """What an application did.

    Attributes:
        counted: the number of new votes by contest.
        repeated: the number of votes by contest whose id had been counted before.
    """

    counted: dict[str, int]
    repeated: dict[str, int]


@runtime_checkable
class Prepares(Protocol):
    """A store that can do a part of `apply` beforehand: what does not depend on where the store stands."""

    def prepare(self, partition: int, votes: LoggedVotes) -> None:
        """Leaves in `votes.prepared` what `apply` would have to make of them first.

        Asks no server and changes nothing else. Any thread may call it, while the store is at work on another batch.
        """
        ...


class ProjectionStore(Protocol):
    """Holds a projection's effects and, for each partition, its position. Used by one thread.

    Whatever happens, resuming at the stored position gives the state that there would have been without
    the fault: two stores that applied the same votes up to the same position hold the same.
    """

    def positions(self, partitions: Sequence[int]) -> dict[int, Position | None]:
        """The stored position of each of the partitions, None where there is none.

        Raises:
            Unavailable: the store is away.
        """
        ...

    def apply(
        self, partition: int, expected: Position | None, following: Position, votes: Sequence[LoggedVote]
    ) -> Applied:
        """Applies the votes that lie from `expected` up to `following`, and moves the position there.

        Args:
            partition: where they lie.
            expected: the position that the store must hold, None for none (the beginning).
            following: the position that it holds afterwards.
            votes: in the log's order, a list or `LoggedVotes`; may be empty. Of two with one id, here or before,
                the first is the vote.

        Raises:
            PositionMoved: the stored position is another one; nothing was applied.
            Unavailable: the store is away, or cannot do it now. It may or may not have been applied: the
                stored position tells.
        """
        ...

    def close(self) -> None:
        """Lets go."""
        ...
