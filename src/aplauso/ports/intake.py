"""What the gateway asks of whoever takes its votes: the collector, near or far."""

from collections.abc import Iterator, Sequence
from enum import Enum
from itertools import repeat
from typing import Protocol, overload

import msgspec

from aplauso.domain.lot import ids_of
from aplauso.domain.vote import Vote


class Status(Enum):
    """What became of a vote."""

    RECORDED = "recorded"
    """The log has it on disk."""
    REFUSED = "refused"
    """It breaks a rule; sent again as it is, it would be refused again."""
    NOT_RECORDED = "not-recorded"
    """It is certainly not in the log."""
    UNDECIDED = "undecided"
    """Nobody can tell; with a key, it is safe to send it again."""


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """The answer for one vote.

    Attributes:
        id: the vote's id.
        status: what became of it.
        reason: why, when it is not recorded: the `reason` of a class in `aplauso.domain.errors`.
        field: the field at fault, or "".
        detail: for a person, or "".
    """

    id: str
    status: Status
    reason: str = ""
    field: str = ""
    detail: str = ""


class Recorded(Sequence[Receipt]):
    """The receipts of votes all of which are recorded, as nearly always; each is made when it is asked for.

    Args:
        votes: in order.
    """

    __slots__ = ("_votes",)

    def __init__(self, votes: Sequence[Vote]) -> None:
        self._votes = votes

    def __len__(self) -> int:
        return len(self._votes)

    @overload
    def __getitem__(self, at: int) -> Receipt: ...

    @overload
    def __getitem__(self, at: slice) -> "Recorded": ...

    def __getitem__(self, at: int | slice) -> "Receipt | Recorded":
        if isinstance(at, slice):
            return Recorded(self._votes[at])
        return Receipt(self._votes[at].id, Status.RECORDED)

    def __iter__(self) -> Iterator[Receipt]:
        return map(Receipt, ids_of(self._votes), repeat(Status.RECORDED))


def joined(votes: Sequence[Vote], parts: Sequence[Sequence[Receipt]]) -> Sequence[Receipt]:
    """The receipts of votes that were handed in by parts."""
    if parts and all(isinstance(part, Recorded) for part in parts):
        return Recorded(votes)
    return [receipt for part in parts for receipt in part]


class Intake(Protocol):
    """Takes votes in batches and answers for each of them."""

    async def submit(self, votes: Sequence[Vote]) -> Sequence[Receipt]:
        """Has the votes judged and recorded.

        Returns once the fate of every vote is known or known to be unknowable: one receipt a vote, in
        order. Failures are told in the receipts, never raised. A vote is `NOT_RECORDED` only when that
        is certain; a call whose answer was lost is `UNDECIDED`, and is never repeated by the intake.
        """
        ...

    async def close(self) -> None:
        """Answers what is in flight and lets go of what it holds. Later submissions are `NOT_RECORDED`."""
        ...
