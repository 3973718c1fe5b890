"""The embedded parts: all rooms over one data directory."""

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from aplauso.adapters.sqlite.archive import SqliteArchive, SqliteArchiveReader
from aplauso.adapters.sqlite.directory import DataDirectory, check_directory
from aplauso.adapters.sqlite.log import SqliteLog
from aplauso.adapters.sqlite.rejected import SqliteRejected
from aplauso.adapters.sqlite.source import SqliteReader, SqliteSource
from aplauso.adapters.sqlite.standings import SqliteStandings, SqliteStandingsReader
from aplauso.adapters.system.clock import SystemClock
from aplauso.adapters.system.ids import SteeredIds
from aplauso.domain.contest import Contest
from aplauso.domain.errors import DataInUse
from aplauso.flow.board import Board
from aplauso.flow.cast import Batcher, Caster
from aplauso.flow.collect import Collector, NearIntake
from aplauso.flow.project import Projection, RejectionLimit, Watch
from aplauso.ports.log import VoteLog
from aplauso.ports.rejected import RejectedLog
from aplauso.settings import Settings
from aplauso.wiring.parts import Appending, Projecting, Readers, limits, load_contests

TALLY_PACE: Final = 0.08
"""Seconds that the embedded tally leaves to the others between two batches of votes, at least."""
ARCHIVE_PACE: Final = 0.2
"""The same for the archive, which nobody watches: what a batch costs is shared by more votes."""


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
        self.clock = SystemClock()
        batcher, ids = Batcher(NearIntake(self.collector), limits(settings)), SteeredIds(1)
        self.caster = Caster(contests, batcher, self.clock, ids, ids.many)

    def _wake(self) -> None:
        for event in self._arrivals:
            event.set()

    def tally(self, watch: Watch) -> Projecting:
        """The projection into the standings."""
        store, sink = SqliteStandings(self._directory.standings), SqliteRejected(self._directory.rejected)
        source = SqliteSource(self._directory.log, self._arrivals[0], TALLY_PACE)
        limit = RejectionLimit(self._settings.rejected_share)

        def close() -> None:
            for part in (source, store, sink):
                part.close()

        return Projecting(Projection(source, store, watch, sink, limit), source, self._arrivals[0].set, close)

    def archive(self, watch: Watch) -> Projecting:
        """The projection into the archive."""
        store = SqliteArchive(self._directory.archive)
        source = SqliteSource(self._directory.log, self._arrivals[1], ARCHIVE_PACE)

        def close() -> None:
            for part in (source, store):
                part.close()

        return Projecting(Projection(source, store, watch), source, self._arrivals[1].set, close)

    def board(self) -> Board:
        """The board; the projections' files must be there."""
        return Board(
            SqliteStandingsReader(self._directory.standings), SqliteArchiveReader(self._directory.archive), self.clock
        )


def readers(data: Path) -> Readers:
    """Readers over embedded data, beside whoever writes them. Raises `Unavailable` and `NewerData`."""
    directory = DataDirectory.existing(data)
    return Readers(
        SqliteReader(directory.log),
        SqliteStandingsReader(directory.standings),
        SqliteArchiveReader(directory.archive),
    )


def rejected(data: Path) -> RejectedLog:
    """The rejected records of embedded data. Raises `Unavailable` and `NewerData`."""
    return SqliteRejected(DataDirectory.existing(data).rejected)


def appending(settings: Settings) -> Appending:
    """The log, to append to, and its rejected records: for the one process that has the data.

    Raises:
        DataInUse: `aplauso up` is running on them.
        Unavailable: there are no data, or they cannot be written.
        NewerData: a newer version wrote them.
    """
    DataDirectory.existing(settings.data)
    try:
        directory = DataDirectory.open(settings.data)
    except DataInUse as error:
        raise DataInUse(f"{error}, and only one process may append to embedded data: stop it first") from None
    log, rejected = SqliteLog(directory.log), SqliteRejected(directory.rejected)

    async def close() -> None:
        await log.close()
        rejected.close()
        directory.close()

    return Appending(log, rejected, close)


def checks(settings: Settings) -> dict[str, Callable[[], str]]:
    """What `doctor` asks of the embedded parts."""
    return {
        "contests": lambda: ", ".join(load_contests(settings.contests)),
        "data": lambda: check_directory(settings.data),
        "log": lambda: _log_state(settings.data),
        "standings": lambda: _positions_state(readers(settings.data)),
    }


def _log_state(data: Path) -> str:
    reader = SqliteReader(DataDirectory.existing(data).log)
    try:
        return f"{reader.topic()}, {sum(reader.ends().values()):,} records in {reader.partitions} partitions"
    finally:
        reader.close()


def _positions_state(readers: Readers) -> str:
    try:
        return readers.lag_state()
    finally:
        readers.close()
