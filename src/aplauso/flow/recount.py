"""The log folded again, and compared: anybody can recount.

Each projection is compared at its own position, read in one step with its standings, so that a recount
holds beside a running system too. Memory is bounded by the ids of one partition.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

import msgspec

from aplauso.domain.position import Position
from aplauso.domain.tally import Bands, Contests
from aplauso.flow.garbage import rarely_collected
from aplauso.flow.refold import Folded, Folds, Stops, digest, fold_here, new_votes
from aplauso.ports.archive import ArchiveReader
from aplauso.ports.log import LogReader
from aplauso.ports.standings import PartitionStandings, StandingsReader

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
    folds: Folds = fold_here,
) -> Report:
    """Replays the log through the pure fold and compares it with the standings and the archive.

    Args:
        log: the truth.
        standings: what the tally made of it.
        archive: what the archive made of it.
        progress: told now and then how many records of how many have been read.
        folds: how the log's partitions are folded.

    Raises:
        Unavailable: one of them is away.
        WrongLog: the log does not hold all of its records any more.
    """
    with rarely_collected():
        return _Recount(log, standings, archive, progress).run(folds)


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

    def run(self, folds: Folds) -> Report:
        archived = self.archive.partitions()
        parts = {partition: self.standings.partition(partition) for partition in range(self.log.partitions)}
        self.ends = self.log.ends()  # read last: no position can lie beyond it
        self.check_partitions("standings", self.standings.partitions())
        self.check_partitions("archive", archived)
        stops = {
            partition: Stops(
                self.stop(partition, "standings", part.position),
                self.stop(partition, "archive", archived.get(partition)),
            )
            for partition, part in parts.items()
        }
        # All of the archive against all of the log would not fit into memory: sums tell which partitions differ.
        sums = {
            folded.partition: self.counted(folded, parts[folded.partition], stops[folded.partition].counted)
            for folded in folds(self.log, stops, self.read)
        }
        for votes in self.archive.scan({partition: both.stored for partition, both in stops.items()}):
            self.report.archived += len(votes)
            for vote in votes:
                sums[vote.partition] -= digest(vote)
        for partition, rest in sorted(sums.items()):
            if rest:
                self.compare_archive(partition, stops[partition].stored)
        total = sum(self.ends.values())
        self.progress(total, total)
        return self.report

    def read(self, records: int) -> None:
        self.report.records += records
        self.progress(self.report.records, sum(self.ends.values()))

    def counted(self, folded: Folded, part: PartitionStandings, stop: int) -> int:
        """Compares a partition's standings; returns the sum of the digests that its archived votes must have."""
        self.report.votes += folded.votes
        self.report.repeated += folded.repeated
        self.report.rejected += folded.rejected
        self.report.behind += self.ends[folded.partition] - stop
        self.compare(folded.partition, folded.contests, part.contests)
        return folded.digests

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

    def compare(self, partition: int, folded: Contests, live: Contests) -> None:
        for contest in sorted(folded.keys() | live.keys()):
            ours, theirs = folded.get(contest, {}), live.get(contest, {})
            votes = sum(band.votes for band in ours.values())
            self.report.totals[contest] = self.report.totals.get(contest, 0) + votes
            for what in _differences(ours, theirs):
                self.report.differ("standings", partition, f"{contest}: {what}")

    def compare_archive(self, partition: int, stop: int) -> None:
        """Says which votes of a partition that differs are wrong, one by one."""
        kept = {vote.id: digest(vote) for vote in new_votes(self.log, partition, stop)}
        for votes in self.archive.scan({partition: stop}):
            for vote in votes:
                ours = kept.pop(vote.id, None)
                if ours is None:
                    self.report.differ("archive", partition, f"{vote.id} is not in the log, or is there twice")
                elif ours != digest(vote):
                    self.report.differ("archive", partition, f"{vote.id} is not as the log has it")
        for vote_id in kept:
            self.report.differ("archive", partition, f"{vote_id} is missing")


def _differences(ours: Bands, theirs: Bands) -> Iterable[str]:
    for key in sorted(ours.keys() | theirs.keys()):
        mine, live = ours.get(key), theirs.get(key)
        if mine != live:
            counted = mine.votes if mine else 0
            shown = live.votes if live else 0
            detail = f"{shown} votes, the log has {counted}" if shown != counted else "ranks, albums or spelling differ"
            yield f"{key!r}: {detail}"
