"""The log folded again, and compared: anybody can recount.

Each projection is compared at its own position, read in one step with its standings, so that a recount
holds beside a running system too. Memory is bounded by the ids of one partition.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import Final

import msgspec

from aplauso.domain.batch import read_batch
from aplauso.domain.columns import Columns
from aplauso.domain.errors import BadRecord
from aplauso.domain.position import Position
from aplauso.domain.tally import Bands, Contests, PartitionTally
from aplauso.domain.vote import Vote
from aplauso.flow.ahead import ahead
from aplauso.flow.garbage import rarely_collected
from aplauso.ports.archive import ArchivedVote, ArchiveReader
from aplauso.ports.log import LogReader, Record
from aplauso.ports.standings import PartitionStandings, StandingsReader
from aplauso.ports.stretch import columns

Records = Sequence[Record]
Chunk = tuple[tuple[int, bool], Records]
"""Records, behind the stretch of the log that they are of: its partition, and whether it lies beyond the first stop."""

EXAMPLES: Final = 20
"""Differences that are told in full; the others are only counted."""


class Difference(msgspec.Struct, frozen=True):
    """Something that the log says otherwise.

    Attributes:
        where: "standings" or "archive".
        partition: of the log.
        what: the band or the vote, and what differs, for a person.
    """

    where: str
    partition: int
    what: str


class Report(msgspec.Struct):
    """What a recount found.

    Attributes:
        topic: the log's id.
        records: read from the log.
        votes: counted from it, up to the standings' positions.
        repeated: copies of votes that were counted once.
        rejected: records that cannot be counted.
        archived: votes compared with the archive.
        behind: records that the standings had not counted yet when they were read.
        totals: votes by contest.
        differing: how many differences there are.
        differences: the first of them.
    """

    topic: str
    records: int = 0
    votes: int = 0
    repeated: int = 0
    rejected: int = 0
    archived: int = 0
    behind: int = 0
    totals: dict[str, int] = {}
    differing: int = 0
    differences: list[Difference] = []

    @property
    def ok(self) -> bool:
        """Whether everything is as the log says."""
        return self.differing == 0

    def differ(self, where: str, partition: int, what: str) -> None:
        """Adds a difference."""
        self.differing += 1
        if len(self.differences) < EXAMPLES:
            self.differences.append(Difference(where, partition, what))


def recount(
    log: LogReader,
    standings: StandingsReader,
    archive: ArchiveReader,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Report:
    """Replays the log through the pure fold and compares it with the standings and the archive.

    Args:
        log: the truth.
        standings: what the tally made of it.
        archive: what the archive made of it.
        progress: told now and then how many records of how many have been read.

    Raises:
        Unavailable: one of them is away.
        WrongLog: the log does not hold all of its records any more.
    """
    with rarely_collected():
        return _Recount(log, standings, archive, progress).run()


class _Recount:
    def __init__(
        self,
        log: LogReader,
        standings: StandingsReader,
        archive: ArchiveReader,
        progress: Callable[[int, int], None],
    ) -> None:
        self.log, self.standings, self.archive, self.progress = log, standings, archive, progress
        self.report = Report(log.topic())
        self.ends: Mapping[int, int] = {}

    def run(self) -> Report:
        archived = self.archive.partitions()
        parts = {partition: self.standings.partition(partition) for partition in range(self.log.partitions)}
        self.ends = self.log.ends()  # read last: no position can lie beyond it
        self.check_partitions("standings", self.standings.partitions())
        self.check_partitions("archive", archived)
        stops = {partition: self.stop(partition, "archive", archived.get(partition)) for partition in parts}
        counted = {partition: self.stop(partition, "standings", part.position) for partition, part in parts.items()}
        both = {partition: (counted[partition], stops[partition]) for partition in parts}
        # All of the archive against all of the log would not fit into memory: sums tell which partitions differ.
        with ahead(self.stretches(both)) as chunks:
            taken = _Stretches(chunks)
            sums = {each: self.partition(each, parts[each], *both[each], taken) for each in parts}
        for votes in self.archive.scan(stops):
            self.report.archived += len(votes)
            for vote in votes:
                sums[vote.partition] -= _digest(vote)
        for partition, rest in sums.items():
            if rest:
                self.compare_archive(partition, stops[partition])
        total = sum(self.ends.values())
        self.progress(total, total)
        return self.report

    def stretches(self, both: Mapping[int, tuple[int, int]]) -> Generator[Chunk, None, None]:
        """Each partition's records up to the projection that is behind, and then up to the other."""
        for partition, stops in both.items():
            for is_second, start, stop in ((False, 0, min(stops)), (True, min(stops), max(stops))):
                if start < stop:
                    for records in self.log.read(partition, start, stop):
                        yield (partition, is_second), records

    def partition(
        self, partition: int, part: PartitionStandings, counted: int, stored: int, taken: "_Stretches"
    ) -> int:
        """Compares a partition's standings; returns the sum of the digests that its archived votes must have."""
        tally = PartitionTally()
        digests = self.digests(partition, taken((partition, False)), tally)
        if counted <= stored:
            self.compare(partition, tally, part.contests)
            digests += self.digests(partition, taken((partition, True)), tally)
        else:
            self.fold(partition, taken((partition, True)), tally)
            self.compare(partition, tally, part.contests)
        self.report.behind += self.ends[partition] - counted
        return digests

    def check_partitions(self, where: str, positions: Mapping[int, Position]) -> None:
        """What lies in partitions that the log does not have is shown by the board, and must not be."""
        for partition in sorted(positions.keys() - set(range(self.log.partitions))):
            self.report.differ(where, partition, "the log has no such partition")

    def stop(self, partition: int, where: str, position: Position | None) -> int:
        """The offset up to which a projection has gone; a position of another log is a difference of its own."""
        if position is None:
            return 0
        if position.topic != self.report.topic:
            self.report.differ(where, partition, f"its position names the log {position.topic}")
            return 0
        if position.offset > self.ends[partition]:
            self.report.differ(where, partition, f"its position {position.offset} lies beyond the log's end")
            return 0
        return position.offset

    def digests(self, partition: int, chunks: Iterable[Records], tally: PartitionTally) -> int:
        """Folds a stretch of the log; returns the sum of the digests of its new votes."""
        return sum(sum(map(_digest, votes)) for votes in self.new(partition, chunks, tally))

    def new(self, partition: int, chunks: Iterable[Records], tally: PartitionTally) -> Iterator[list[Vote]]:
        """Folds a stretch of the log; gives its new votes."""
        for found in self.read(partition, chunks):
            if isinstance(found, Columns):
                repeated = tally.fold_columns(found)
                yield [vote for at, vote in enumerate(found.votes()) if at not in repeated]
            else:
                yield tally.fold(found)

    def fold(self, partition: int, chunks: Iterable[Records], tally: PartitionTally) -> None:
        """Folds a stretch of the log."""
        for found in self.read(partition, chunks):
            if isinstance(found, Columns):
                tally.fold_columns(found)
            else:
                tally.fold(found)

    def read(self, partition: int, chunks: Iterable[Records]) -> Iterator[Columns | list[Vote]]:
        """The votes of a stretch of the log; what is rejected is counted and left out."""
        for records in chunks:
            keys, values = columns(records)
            found: Columns | list[Vote] | list[Vote | BadRecord]
            found = read_batch(keys, values, partition, self.log.partitions)
            if not isinstance(found, Columns):
                found = [vote for vote in found if isinstance(vote, Vote)]
                self.report.rejected += len(records) - len(found)
            self.report.records += len(records)
            self.progress(self.report.records, sum(self.ends.values()))
            yield found

    def compare(self, partition: int, tally: PartitionTally, live: Contests) -> None:
        self.report.votes += tally.counted
        self.report.repeated += tally.repeated
        for contest in sorted(tally.contests.keys() | live.keys()):
            ours, theirs = tally.contests.get(contest, {}), live.get(contest, {})
            votes = sum(band.votes for band in ours.values())
            self.report.totals[contest] = self.report.totals.get(contest, 0) + votes
            for what in _differences(ours, theirs):
                self.report.differ("standings", partition, f"{contest}: {what}")

    def compare_archive(self, partition: int, stop: int) -> None:
        """Says which votes of a partition that differs are wrong, one by one."""
        tally = PartitionTally()
        read = self.report.records, self.report.rejected
        again = self.log.read(partition, 0, stop) if stop else ()
        kept = {vote.id: _digest(vote) for votes in self.new(partition, again, tally) for vote in votes}
        self.report.records, self.report.rejected = read  # the second look is not a second reading
        for votes in self.archive.scan({partition: stop}):
            for vote in votes:
                digest = kept.pop(vote.id, None)
                if digest is None:
                    self.report.differ("archive", partition, f"{vote.id} is not in the log, or is there twice")
                elif digest != _digest(vote):
                    self.report.differ("archive", partition, f"{vote.id} is not as the log has it")
        for vote_id in kept:
            self.report.differ("archive", partition, f"{vote_id} is missing")


class _Stretches:
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


_DIGESTED: Final = attrgetter("id", "contest", "name", "album", "year", "rank", "cast_at")


def _digest(vote: Vote | ArchivedVote) -> int:
    """A vote in 64 bits, other ones in each process (Python's hash of text is seeded): nobody can aim at a sum."""
    return hash(_DIGESTED(vote))


def _differences(ours: Bands, theirs: Bands) -> Iterable[str]:
    for key in sorted(ours.keys() | theirs.keys()):
        mine, live = ours.get(key), theirs.get(key)
        if mine != live:
            counted = mine.votes if mine else 0
            shown = live.votes if live else 0
            detail = f"{shown} votes, the log has {counted}" if shown != counted else "ranks, albums or spelling differ"
            yield f"{key!r}: {detail}"
