"""The rejected records: what lies in the log and cannot be counted, kept as it was, with the reason."""

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import NamedTuple, Protocol


class Place(NamedTuple):
    """Where a rejected record lies; its name for ever."""

    topic: str
    partition: int
    offset: int


class Rejection(NamedTuple):
    """A record that was passed over.

    Attributes:
        place: where it lies in the log.
        reason: one of `aplauso.domain.record.REASONS`.
        detail: for a person.
        key: the record's key as it was.
        value: the record's value as it was.
    """

    place: Place
    reason: str
    detail: str
    key: bytes | None
    value: bytes | None


class Mark(Enum):
    """What somebody decided about a rejected record."""

    RETRIED = "retried"
    DROPPED = "dropped"


class RejectedSink(Protocol):
    """The writing side. Used by the tally's thread; nobody else writes rejections."""

    def add(self, rejections: Sequence[Rejection]) -> None:
        """Keeps rejections; returns once they are on disk. The same place may be added again: it stays one.

        Raises:
            Unavailable: they may or may not be kept; adding them again is right.
        """
        ...

    def close(self) -> None:
        """Lets go."""
        ...


class RejectedLog(Protocol):
    """The reading and marking side, for people."""

    def open(self) -> Iterable[Rejection]:
        """Rejections without a mark, by place, one for each place. Raises `Unavailable`."""
        ...

    def mark(self, places: Sequence[Place], mark: Mark) -> None:
        """Marks rejections, for ever: a rebuild that rejects them again leaves them marked. Raises `Unavailable`."""
        ...

    def close(self) -> None:
        """Lets go."""
        ...
