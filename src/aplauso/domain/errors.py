"""Everything that can go wrong, in one tree.

AplausoError
├── Refused                the sender has to change something; never retried as it is
│   ├── MalformedBody        400  not JSON
│   ├── UnknownContest       404
│   ├── NotOpen              409  before the opening or after the closing
│   ├── InvalidVote          422  a field is wrong
│   └── InvalidContest            a contest file is wrong
├── TryLater               nobody's fault; trying again is right
│   ├── NotRecorded          503  certainly not in the log
│   ├── Undecided            504  nobody can tell; safe to repeat with the same key
│   └── Unavailable               a server that a projection or a reader needs is away
├── PositionMoved          a projection's position is not the expected one: drop the batch, start at the stored one
├── BadRecord              a record of the log that cannot be read or breaks a rule: rejected, counting goes on
└── Fatal                  going on would give wrong numbers: stop, and say why
    ├── WrongLog             the position names another log, or the log is not what it was
    ├── DataInUse            another process has the data directory
    ├── NewerData            the data were written by a newer version
    └── Misconfigured        settings that are missing or contradict each other
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from aplauso.domain.position import Position


class FieldError(NamedTuple):
    """One field at fault.

    Attributes:
        field: the field's name as the sender wrote it, or "" for the whole.
        message: what is wrong with it, for a person.
    """

    field: str
    message: str


class AplausoError(Exception):
    """The root of the tree."""

    reason: str = "error"
    """A word of a closed list, for metrics and other programs."""


class Refused(AplausoError):  # noqa: N818 - the names say what happened, not that it is an error
    """The sender has to change something before it is sent again."""

    reason = "refused"


class MalformedBody(Refused):
    """The body is not JSON."""

    reason = "malformed"


class UnknownContest(Refused):
    """There is no such contest."""

    reason = "unknown-contest"

    def __init__(self, contest: str) -> None:
        super().__init__(f"there is no contest {contest!r}")
        self.contest = contest


class NotOpen(Refused):
    """The vote came before its contest opened or after it closed."""

    reason = "not-open"


class InvalidVote(Refused):
    """One or more fields of a vote are wrong; all of them are named."""

    reason = "invalid"

    def __init__(self, errors: Sequence[FieldError]) -> None:
        super().__init__("; ".join(f"{e.field}: {e.message}" if e.field else e.message for e in errors))
        self.errors: Final = tuple(errors)


class InvalidContest(Refused):
    """A contest file is wrong; all that is wrong with it is named."""

    reason = "invalid-contest"

    def __init__(self, source: str, errors: Sequence[FieldError]) -> None:
        lines = [f"{e.field}: {e.message}" if e.field else e.message for e in errors]
        super().__init__(f"{source}: " + "; ".join(lines))
        self.errors: Final = tuple(errors)


class TryLater(AplausoError):  # noqa: N818
    """Nobody did anything wrong; trying again is right."""

    reason = "try-later"


class NotRecorded(TryLater):
    """The vote was certainly not recorded."""

    reason = "not-recorded"


class Undecided(TryLater):
    """The vote may or may not be in the log.

    Attributes:
        id: the vote's id, under which it would be found.
    """

    reason = "undecided"

    def __init__(self, id: str, why: str = "") -> None:  # noqa: A002 - the field's name everywhere
        super().__init__(why or "the answer of the log did not come")
        self.id = id


class Unavailable(TryLater):
    """A server that is needed is away or cannot do its job now; wait and try again."""

    reason = "unavailable"


class PositionMoved(AplausoError):  # noqa: N818
    """A projection's stored position is not the expected one; nothing was applied.

    Attributes:
        stored: the position that the store holds, or None when it holds none.
    """

    reason = "position-moved"

    def __init__(self, stored: "Position | None") -> None:
        super().__init__(f"the stored position is {stored}")
        self.stored = stored


class BadRecord(AplausoError):  # noqa: N818
    """A record of the log that cannot be read or breaks a rule.

    Attributes:
        reason: which rule, a word of a closed list (see `aplauso.domain.record`).
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Fatal(AplausoError):  # noqa: N818
    """Going on would give wrong numbers: stop, and say why."""

    reason = "fatal"


class WrongLog(Fatal):
    """The position names another log, or the log is no longer what it was."""

    reason = "wrong-log"


class DataInUse(Fatal):
    """Another process has the data directory."""

    reason = "data-in-use"


class NewerData(Fatal):
    """The data were written by a newer version."""

    reason = "newer-data"


class Misconfigured(Fatal):
    """Settings are missing or contradict each other."""

    reason = "misconfigured"
