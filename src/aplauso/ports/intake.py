"""What the gateway asks of whoever takes its votes: the collector, near or far."""

from collections.abc import Sequence
from enum import Enum
from typing import Protocol

import msgspec

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
