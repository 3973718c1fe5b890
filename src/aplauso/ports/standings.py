"""The live standings: what the tally writes and the board reads."""

from collections.abc import Hashable, Mapping
from typing import NamedTuple, Protocol

from aplauso.domain.position import Position
from aplauso.domain.tally import Bands, Contests
from aplauso.ports.projection import ProjectionStore


class PartitionStandings(NamedTuple):
    """One partition's part of the standings, read in one step with its position.

    Attributes:
        position: up to which it has been counted; None when nothing has.
        contests: the tallies by contest and band.
    """

    position: Position | None
    contests: Contests


class StandingsStore(ProjectionStore, Protocol):
    """The tally's store: folds votes into standings as `aplauso.domain.tally.PartitionTally` does.

    Remembers ids as `aplauso.domain.tally.Memory` does, in the same atomic step.
    """


class StandingsReader(Protocol):
    """Reads standings while they are being written. Any thread may use it, one at a time."""

    def version(self) -> Hashable:
        """A value that changes when any standings may have. Cheap. Raises `Unavailable`."""
        ...

    def read(self, contest: str) -> Bands:
        """A contest's tallies over all partitions; empty when it has no votes. Raises `Unavailable`."""
        ...

    def partition(self, partition: int) -> PartitionStandings:
        """One partition's standings and position, read in one step. Raises `Unavailable`."""
        ...

    def partitions(self) -> Mapping[int, Position]:
        """Every partition that has a position. Raises `Unavailable`."""
        ...

    def close(self) -> None:
        """Lets go."""
        ...
