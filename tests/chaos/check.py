"""The end of a round: journal, log, standings and archive held together by ids, and the round's contests recounted."""

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence

from aplauso.domain.errors import BadRecord
from aplauso.domain.journal import Attempt
from aplauso.domain.record import decode
from aplauso.domain.tally import PartitionTally, merge
from aplauso.domain.verdict import Verdict
from aplauso.flow.verify import verify
from aplauso.ports.archive import ArchivedVote, ArchiveReader
from aplauso.ports.log import LogReader, Record
from aplauso.wiring import Readers


class Since:
    """A log as if it began where a round did (a `LogReader`).

    That weakens nothing. A round has contests of its own and keys of its own, so that no vote of it lies before
    its beginning, and no id of it was counted before: folding from there tells every copy of a vote of this round from
    a new one. What comes late from former rounds is of other contests, which the checker passes over; the recount of
    the whole log, after the last round, holds these too.
    """

    def __init__(self, log: LogReader, starts: Mapping[int, int]) -> None:
        self._log = log
        self._starts = starts

    @property
    def partitions(self) -> int:
        return self._log.partitions

    def topic(self) -> str:
        return self._log.topic()

    def ends(self) -> Mapping[int, int]:
        return self._log.ends()

    def read(self, partition: int, start: int, stop: int) -> Iterable[Sequence[Record]]:
        begin = max(start, self._starts[partition])
        return self._log.read(partition, begin, stop) if begin < stop else ()

    def close(self) -> None:
        self._log.close()


class OfContests:
    """The archive of some contests only (an `ArchiveReader`): the index gives them without the others."""

    def __init__(self, archive: ArchiveReader, contests: Iterable[str]) -> None:
        self._archive = archive
        self._contests = tuple(contests)

    def latest(self, contest: str, limit: int) -> Sequence[ArchivedVote]:
        return self._archive.latest(contest, limit)

    def find(self, vote_id: str) -> ArchivedVote | None:
        return self._archive.find(vote_id)

    def partitions(self) -> Mapping[int, object]:
        return self._archive.partitions()

    def scan(self, stops: Mapping[int, int]) -> Iterable[Sequence[ArchivedVote]]:
        for contest in self._contests:
            votes = self._archive.latest(contest, 10_000_000)
            yield [vote for vote in votes if vote.offset < stops.get(vote.partition, 0)]

    def close(self) -> None:
        self._archive.close()


@dataclasses.dataclass(frozen=True)
class Checked:
    """What the end of a round showed.

    Attributes:
        verdict: of the journal.
        differences: bands whose standings are not what the pure fold of the log gives, in words.
        stamps: by contest, the latest stamp that is archived, in milliseconds since the epoch.
    """

    verdict: Verdict
    differences: list[str]
    stamps: Mapping[str, int]


def check(journal: Sequence[Attempt], starts: Mapping[int, int], readers: Readers) -> Checked:
    """Holds a round's journal against the system, which must be at rest.

    Raises:
        Unavailable: it is not, or a part is away.
    """
    contests = {attempt.contest for attempt in journal if attempt.contest is not None}
    log, archive = Since(readers.log, starts), OfContests(readers.archive, sorted(contests))
    while True:
        before = log.ends()
        verdict = verify(journal, log, readers.standings, archive)  # type: ignore[arg-type]
        differences = list(_recount(log, before, readers, contests))
        # An undecided vote may still come: what was read is one state only when nothing came meanwhile.
        if log.ends() == before:
            return Checked(verdict, differences, _stamps(readers.archive, contests))


def _recount(log: Since, ends: Mapping[int, int], readers: Readers, contests: set[str]) -> Iterable[str]:
    """Folds the round's part of the log and compares standings in full: ranks, albums and spellings too."""
    tallies = []
    for partition, end in ends.items():
        tally = PartitionTally()
        for record in itertools.chain.from_iterable(log.read(partition, 0, end)):
            try:
                tally.fold([decode(record.key, record.value, partition, log.partitions)])
            except BadRecord:
                continue
        tallies.append(tally.contests)
    ours = merge(tallies)
    for contest in sorted(contests):
        mine, live = ours.get(contest, {}), readers.standings.read(contest)
        for band in sorted(mine.keys() | live.keys()):
            if mine.get(band) != live.get(band):
                yield f"{contest}: {band!r} is {live.get(band)}, the log says {mine.get(band)}"


def _stamps(archive: ArchiveReader, contests: set[str]) -> dict[str, int]:
    latest = {contest: archive.latest(contest, 1) for contest in contests}
    return {contest: votes[0].cast_at for contest, votes in latest.items() if votes}
