"""The only module that builds adapters."""

import threading
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Final, NamedTuple

from uuid_utils import uuid7

from aplauso.adapters.sqlite.archive import SqliteArchive, SqliteArchiveReader
from aplauso.adapters.sqlite.directory import DataDirectory, check_directory
from aplauso.adapters.sqlite.log import SqliteLog
from aplauso.adapters.sqlite.rejected import SqliteRejected
from aplauso.adapters.sqlite.source import SqliteReader, SqliteSource
from aplauso.adapters.sqlite.standings import SqliteStandings, SqliteStandingsReader
from aplauso.adapters.system.clock import SystemClock
from aplauso.domain.contest import Contest, parse
from aplauso.domain.errors import AplausoError, FieldError, InvalidContest, Misconfigured, WrongLog
from aplauso.flow.board import Board
from aplauso.flow.cast import Batcher, Caster, Limits
from aplauso.flow.collect import Collector, NearIntake
from aplauso.flow.project import Projection, RejectionLimit, Watch
from aplauso.ports.archive import ArchiveReader
from aplauso.ports.log import LogReader, VoteLog, VoteSource
from aplauso.ports.rejected import RejectedLog
from aplauso.ports.standings import StandingsReader
from aplauso.settings import Settings

PACE: Final = 0.03
"""Seconds that an embedded projection leaves to the others between two batches, at least."""


class Readers(NamedTuple):
    """What a recount reads."""

    log: LogReader
    standings: StandingsReader
    archive: ArchiveReader

    def close(self) -> None:
        """Lets go of all of them."""
        for reader in self:
            reader.close()


class Projecting(NamedTuple):
    """A projection and what it reads from, which tells its lag."""

    projection: Projection
    source: VoteSource
    wake: Callable[[], None]
    close: Callable[[], None]


class Embedded:
    """All rooms' parts over one data directory.

    Args:
        directory: opened, and so locked, by this process.
        contests: by id.
        settings: limits.
    """

    def __init__(self, directory: DataDirectory, contests: Mapping[str, Contest], settings: Settings) -> None:
        self._directory = directory
        self._settings = settings
        self._arrivals = [threading.Event(), threading.Event()]
        self.log: VoteLog = SqliteLog(directory.log, appended=self._wake)
        self.collector = Collector(contests, self.log)
        limits = Limits(settings.batch_wait_ms / 1000, settings.batch_flights, settings.max_waiting)
        self.clock = SystemClock()
        self.caster = Caster(contests, Batcher(NearIntake(self.collector), limits), self.clock, new_id)

    def _wake(self) -> None:
        for event in self._arrivals:
            event.set()

    def tally(self, watch: Watch) -> Projecting:
        """The projection into the standings."""
        store, sink = SqliteStandings(self._directory.standings), SqliteRejected(self._directory.rejected)
        source = SqliteSource(self._directory.log, self._arrivals[0], PACE)
        limit = RejectionLimit(self._settings.rejected_share)

        def close() -> None:
            for part in (source, store, sink):
                part.close()

        return Projecting(Projection(source, store, watch, sink, limit), source, self._arrivals[0].set, close)

    def archive(self, watch: Watch) -> Projecting:
        """The projection into the archive."""
        store = SqliteArchive(self._directory.archive)
        source = SqliteSource(self._directory.log, self._arrivals[1], PACE)

        def close() -> None:
            for part in (source, store):
                part.close()

        return Projecting(Projection(source, store, watch), source, self._arrivals[1].set, close)

    def board(self) -> Board:
        """The board; the projections' files must be there."""
        return Board(
            SqliteStandingsReader(self._directory.standings), SqliteArchiveReader(self._directory.archive), self.clock
        )


def embedded_readers(data: Path) -> Readers:
    """Readers over embedded data, beside whoever writes them. Raises `Unavailable` and `NewerData`."""
    directory = DataDirectory.existing(data)
    return Readers(
        SqliteReader(directory.log),
        SqliteStandingsReader(directory.standings),
        SqliteArchiveReader(directory.archive),
    )


def new_id() -> str:
    """A new UUIDv7."""
    return str(uuid7())


def load_contests(directory: Path | None) -> dict[str, Contest]:
    """The contests of a directory (`*.toml`), or the example contest that ships with the package.

    Raises:
        Misconfigured: the directory is not there, or holds no contest.
        InvalidContest: a file is wrong, or two have the same id.
    """
    if directory is None:
        files = list(resources.files("aplauso").joinpath("contests").iterdir())
        texts = {entry.name: entry.read_text(encoding="utf-8") for entry in files if entry.name.endswith(".toml")}
    else:
        if not directory.is_dir():
            raise Misconfigured(f"{directory}, the directory of contests, is not there")
        texts = {str(path): read_contest_file(path) for path in sorted(directory.glob("*.toml"))}
    contests: dict[str, Contest] = {}
    for source, text in texts.items():
        contest = parse(text, source)
        if contest.id in contests:
            raise InvalidContest(source, [FieldError("id", f"{contest.id} is another file's id, too")])
        contests[contest.id] = contest
    if not contests:
        raise Misconfigured(f"there is no contest (*.toml) in {directory}")
    return contests


def read_contest_file(path: Path) -> str:
    """A contest file's text. Raises `InvalidContest` when it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidContest(str(path), [FieldError("", f"cannot be read: {error}")]) from None


def embedded_rejected(data: Path) -> RejectedLog:
    """The rejected records of embedded data. Raises `Unavailable` and `NewerData`."""
    return SqliteRejected(DataDirectory.existing(data).rejected)


class Finding(NamedTuple):
    """What `doctor` says of a part."""

    part: str
    ok: bool
    text: str


def examine(settings: Settings) -> list[Finding]:
    """Reaches every configured part and says how it is."""
    return [_finding(part, check) for part, check in _embedded_checks(settings).items()]


def _finding(part: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(part, True, check())
    except AplausoError as error:
        return Finding(part, False, str(error))


def _embedded_checks(settings: Settings) -> dict[str, Callable[[], str]]:
    return {
        "contests": lambda: ", ".join(load_contests(settings.contests)),
        "data": lambda: check_directory(settings.data),
        "log": lambda: _log_state(settings.data),
        "standings": lambda: _positions_state(embedded_readers(settings.data)),
    }


def _log_state(data: Path) -> str:
    reader = SqliteReader(DataDirectory.existing(data).log)
    try:
        return f"{reader.topic()}, {sum(reader.ends().values()):,} records in {reader.partitions} partitions"
    finally:
        reader.close()


def _positions_state(readers: Readers) -> str:
    """How far the projections are. Raises `WrongLog` when one of them stands in another log."""
    try:
        ends, topic, texts = readers.log.ends(), readers.log.topic(), []
        for name, positions in (("tally", readers.standings.partitions()), ("archive", readers.archive.partitions())):
            if any(position.topic != topic for position in positions.values()):
                raise WrongLog(f"the {name}'s position names another log")
            behind = sum(end - (positions[p].offset if p in positions else 0) for p, end in ends.items())
            texts.append(f"{name} {behind:,} records behind")
        return ", ".join(texts)
    finally:
        readers.close()
