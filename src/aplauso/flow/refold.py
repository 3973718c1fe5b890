"""Partitions of the log folded again from their beginnings, up to where their projections stand."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import Final, NamedTuple, Protocol

from aplauso.domain.batch import read_batch
from aplauso.domain.columns import Columns
from aplauso.domain.errors import BadRecord
from aplauso.domain.tally import Contests, PartitionTally
from aplauso.domain.vote import Vote
from aplauso.flow.ahead import ahead
from aplauso.ports.archive import ArchivedVote
from aplauso.ports.log import LogReader, Record
from aplauso.ports.stretch import columns

Records = Sequence[Record]
Chunk = tuple[tuple[int, bool], Records]
"""Records, behind the stretch of the log that they are of: its partition, and whether it lies beyond the first stop."""
Told = Callable[[int], None]
"""Is told how many records more were read."""


class Stops(NamedTuple):
    """The offsets up to which a partition's projections have gone.

    Attributes:
        counted: the standings'.
        stored: the archive's.
    """

    counted: int
    stored: int


class Folded(NamedTuple):
    """What a partition comes to.

    Attributes:
        partition: its number.
        contests: the standings that its records make, up to `Stops.counted`.
        votes: counted in them.
        repeated: copies of votes that were counted once, up to there.
        records: read, up to both stops.
        rejected: of these, those that cannot be counted.
        digests: the sum of the digests of the votes up to `Stops.stored`.
    """

    partition: int
    contests: Contests
    votes: int
    repeated: int
    records: int
    rejected: int
    digests: int


class Folds(Protocol):
    """A way to fold partitions: here, or in several processes."""

    def __call__(self, log: LogReader, stops: Mapping[int, Stops], told: Told) -> Iterator[Folded]:
        """Folds each partition, and gives them in any order.

        Args:
            log: the truth.
            stops: of each partition.
            told: called as records are read.

        Raises:
            Unavailable: the log is away.
            WrongLog: it does not hold all of its records any more.
        """
        ...


def fold_here(log: LogReader, stops: Mapping[int, Stops], told: Told) -> Iterator[Folded]:
    """As `Folds`: one after the other in this process, the next records being read meanwhile."""
    with ahead(_stretches(log, stops)) as chunks:
        yield from _folded(chunks, log.partitions, stops, told)


def fold_in_turn(log: LogReader, stops: Mapping[int, Stops], told: Told) -> Iterator[Folded]:
    """As `Folds`: read and folded in turn, where no processor is idle that could read meanwhile."""
    return _folded(_stretches(log, stops), log.partitions, stops, told)


def new_votes(log: LogReader, partition: int, stop: int) -> Iterator[Vote]:
    """The votes of a partition, each once, up to an offset."""
    folding, tally = _Partition(log.partitions, partition, lambda records: None), PartitionTally()
    for votes in folding.new(log.read(partition, 0, stop) if stop else (), tally):
        yield from votes


_DIGESTED: Final = attrgetter("id", "contest", "name", "album", "year", "rank", "cast_at")


def digest(vote: Vote | ArchivedVote) -> int:
    """A vote in 64 bits, other ones in each process but a forked one (Python's hash of text is seeded).

    So nobody can aim at a sum.
    """
    return hash(_DIGESTED(vote))


def _stretches(log: LogReader, stops: Mapping[int, Stops]) -> Generator[Chunk, None, None]:
    """Each partition's records up to the projection that is behind, and then up to the other."""
    for partition, both in stops.items():
        for is_second, start, stop in ((False, 0, min(both)), (True, min(both), max(both))):
            if start < stop:
                for records in log.read(partition, start, stop):
                    yield (partition, is_second), records


def _folded(chunks: Iterator[Chunk], partitions: int, stops: Mapping[int, Stops], told: Told) -> Iterator[Folded]:
    taken = ByStretch(chunks)
    for partition, both in stops.items():
        yield _Partition(partitions, partition, told).fold(both, taken)


class ByStretch:
    """Chunks as they come, by the stretch that they are of; each stretch is asked for in its turn."""

    def __init__(self, chunks: Iterator[Chunk]) -> None:
        self._groups = groupby(chunks, itemgetter(0))
        self._next: tuple[tuple[int, bool], Iterator[Chunk]] | None = None

    def __call__(self, stretch: tuple[int, bool]) -> Iterator[Records]:
        """The chunks of a stretch; none when it has none."""
        if self._next is None:
            self._next = next(self._groups, None)
        if self._next is not None and self._next[0] == stretch:
            chunks, self._next = self._next[1], None
            yield from map(itemgetter(1), chunks)


class _Partition:
    """The folding of one partition.

    Args:
        partitions: the log's.
        partition: this one.
        told: called as records are read.
    """

    def __init__(self, partitions: int, partition: int, told: Told) -> None:
        self._partitions, self._partition, self._told = partitions, partition, told
        self._records = self._rejected = 0

    def fold(self, stops: Stops, taken: Callable[[tuple[int, bool]], Iterator[Records]]) -> Folded:
        """Folds its two stretches."""
        tally = PartitionTally()
        first, second = (taken((self._partition, is_second)) for is_second in (False, True))
        digests = self._digests(first, tally)
        if stops.counted > stops.stored:
            for _ in self._found(second, tally):
                pass
        standings, votes, repeated = tally.contests, tally.counted, tally.repeated
        if stops.counted < stops.stored:  # counted by themselves: the standings end before them
            digests += self._digests(second, PartitionTally(tally.memory))
        return Folded(self._partition, standings, votes, repeated, self._records, self._rejected, digests)

    def new(self, chunks: Iterable[Records], tally: PartitionTally) -> Iterator[list[Vote]]:
        """Folds chunks; gives their new votes."""
        for found, repeated in self._found(chunks, tally):
            if isinstance(found, Columns):
                yield [vote for at, vote in enumerate(found.votes()) if at not in repeated]
            else:
                yield found

    def _digests(self, chunks: Iterable[Records], tally: PartitionTally) -> int:
        """Folds chunks; returns the sum of the digests of their new votes."""
        return sum(sum(map(digest, votes)) for votes in self.new(chunks, tally))

    def _found(
        self, chunks: Iterable[Records], tally: PartitionTally
    ) -> Iterator[tuple[Columns, set[int]] | tuple[list[Vote], set[int]]]:
        """Folds chunks; of each its votes and the places of those that are repeated, or its new votes."""
        for records in chunks:
            found = read_batch(*columns(records), self._partition, self._partitions)
            if isinstance(found, Columns):
                yield found, tally.fold_columns(found)
            else:
                votes = [vote for vote in found if not isinstance(vote, BadRecord)]
                self._rejected += len(records) - len(votes)
                yield tally.fold(votes), set()
            self._records += len(records)
            self._told(len(records))
