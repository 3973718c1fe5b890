"""Reading a system back at rest, so that a journal of answers can be held against it."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from aplauso.domain.batch import decode_batch
from aplauso.domain.errors import Unavailable
from aplauso.domain.journal import Attempt
from aplauso.domain.readback import ReadBack, body_of, shown
from aplauso.domain.verdict import Journal, Verdict, judge
from aplauso.domain.vote import Vote
from aplauso.flow.garbage import rarely_collected
from aplauso.ports.archive import ArchiveReader
from aplauso.ports.log import LogReader
from aplauso.ports.standings import StandingsReader
from aplauso.ports.stretch import columns


def verify(
    attempts: Iterable[Attempt],
    log: LogReader,
    standings: StandingsReader,
    archive: ArchiveReader,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Verdict:
    """Holds a journal against log, standings and archive, by ids, bodies and bands.

    Args:
        attempts: the journal.
        log: the truth.
        standings: of the same system, having counted all of the log.
        archive: likewise.
        progress: told how many records of how many have been read.

    Raises:
        Unavailable: one of them is away, or has not counted all of the log yet.
        WrongLog: the log does not hold all of its records any more.
    """
    ends = log.ends()
    _check_at_rest(standings, archive, ends)
    with rarely_collected():
        journal, back = Journal(attempts), _read_back(log, archive, ends, progress)
        # Also of those of which the log has nothing: the standings must not show anything either.
        back.standings = {contest: shown(standings.read(contest)) for contest in journal.contests}
        return judge(journal, back)


def _read_back(
    log: LogReader, archive: ArchiveReader, ends: Mapping[int, int], progress: Callable[[int, int], None]
) -> ReadBack:
    back = ReadBack()
    total, done = sum(ends.values()), 0
    for partition, end in ends.items():
        back.fold_partition(_votes(log, partition, end, back))
        done += end
        progress(done, total)
    for votes in archive.scan(ends):
        for v in votes:
            back.archived[v.id] = back.share(body_of(v.contest, v.name, v.album, v.year, v.rank))
    return back


def _check_at_rest(standings: StandingsReader, archive: ArchiveReader, ends: Mapping[int, int]) -> None:
    for name, positions in (("standings", standings.partitions()), ("archive", archive.partitions())):
        behind = sum(end - (positions[p].offset if p in positions else 0) for p, end in ends.items())
        if behind > 0:
            raise Unavailable(f"the {name} are {behind:,} records behind the log: verify when they have caught up")


def _votes(log: LogReader, partition: int, end: int, back: ReadBack) -> Iterator[Vote]:
    for records in log.read(partition, 0, end) if end else ():
        keys, values = columns(records)
        for key, found in zip(keys, decode_batch(keys, values, partition, log.partitions), strict=True):
            if isinstance(found, Vote):
                yield found
            elif key is not None:
                back.rejected.setdefault(key.decode(errors="replace"), found.reason)
