"""A projection's position in one partition of one log."""

from typing import NamedTuple


class Position(NamedTuple):
    """The place in a partition from which reading goes on.

    Attributes:
        topic: id of the log (Kafka's topic id, a UUID), so that another log of the same name is told apart.
        offset: of the next record to read, from 0.
        epoch: leader epoch of the last record read, -1 where there was none, so that a truncated log is seen.
    """

    topic: str
    offset: int
    epoch: int = -1
