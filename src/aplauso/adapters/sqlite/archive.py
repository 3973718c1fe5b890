"""The vote archive in one SQLite file: documents and position in one transaction."""

import functools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, repeat
from operator import itemgetter
from pathlib import Path
from typing import Final

from aplauso.adapters.sqlite import positions
from aplauso.adapters.sqlite.database import connect, connect_reader, transaction, translated
from aplauso.domain.position import Position
from aplauso.ports.archive import ArchivedVote
from aplauso.ports.projection import Applied, LoggedVote, LoggedVotes

SCHEMA: Final = (
    positions.SCHEMA
    + """
    CREATE TABLE IF NOT EXISTS votes (
        id TEXT NOT NULL UNIQUE, contest TEXT NOT NULL, name TEXT NOT NULL, album TEXT NOT NULL,
        year INTEGER NOT NULL, rank INTEGER NOT NULL, cast_at INTEGER NOT NULL,
        partition INTEGER NOT NULL, "offset" INTEGER NOT NULL
    );
    CREATE INDEX IF NOT EXISTS latest ON votes (contest, cast_at, id);
"""
)
_COLUMNS: Final = 'id, contest, name, album, year, rank, cast_at, partition, "offset"'
_ROWS: Final = 200
"""Votes inserted by one statement: the driver takes Python's lock for each statement, not for each row of it."""


@functools.cache
def _insert(rows: int) -> str:
    return f"INSERT OR IGNORE INTO votes ({_COLUMNS}) VALUES " + ", ".join(["(?, ?, ?, ?, ?, ?, ?, ?, ?)"] * rows)


CHUNK: Final = 5_000
"""Votes read in one short transaction."""


Row = tuple[str | int, ...]
"""A vote's `_COLUMNS`."""
_contest: Final = itemgetter(1)


def _rows(partition: int, votes: Sequence[LoggedVote]) -> list[Row]:
    if isinstance(votes, LoggedVotes) and not votes.columns.odd:
        *fields, _band, _record = votes.columns.fields()
        return list(zip(*fields, repeat(partition, len(votes)), votes.offsets, strict=True))
    return [(v.id, v.contest, v.name, v.album, v.year, v.rank, v.cast_at, partition, offset) for offset, v in votes]


class SqliteArchive:
    """Implements `aplauso.ports.archive.ArchiveStore`. Raises `Unavailable` when the file cannot be opened."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = connect(path, synchronous="NORMAL", schema=SCHEMA)

    def positions(self, partitions: Sequence[int]) -> dict[int, Position | None]:
        """As `ProjectionStore`."""
        with translated(self._path):
            return positions.load_some(self._connection, partitions)

    def apply(
        self, partition: int, expected: Position | None, following: Position, votes: Sequence[LoggedVote]
    ) -> Applied:
        """As `ProjectionStore`."""
        rows = _rows(partition, votes)
        with translated(self._path), transaction(self._connection, "IMMEDIATE"):
            positions.move(self._connection, partition, expected, following)
            inserted = sum(self._add(rows[at : at + _ROWS]) for at in range(0, len(rows), _ROWS))
            if inserted == len(rows):
                return Applied(dict(Counter(map(_contest, rows))), {})
            return self._applied(partition, votes)

    def _add(self, rows: Sequence[Row]) -> int:
        return self._connection.execute(_insert(len(rows)), list(chain.from_iterable(rows))).rowcount

    def _applied(self, partition: int, votes: Sequence[LoggedVote]) -> Applied:
        counted: dict[str, int] = {}
        repeated: dict[str, int] = {}
        for offset, vote in votes:
            into = counted if self._holds(vote.id, partition, offset) else repeated
            into[vote.contest] = into.get(vote.contest, 0) + 1
        return Applied(counted, repeated)

    def _holds(self, vote_id: str, partition: int, offset: int) -> bool:
        query = 'SELECT 1 FROM votes WHERE id = ? AND partition = ? AND "offset" = ?'
        return self._connection.execute(query, (vote_id, partition, offset)).fetchone() is not None

    def close(self) -> None:
        """As `ProjectionStore`."""
        self._connection.close()


class SqliteArchiveReader:
    """Implements `aplauso.ports.archive.ArchiveReader`. Raises `Unavailable` when there is no such file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = connect_reader(path)

    def latest(self, contest: str, limit: int) -> Sequence[ArchivedVote]:
        """As `ArchiveReader`."""
        query = f"SELECT {_COLUMNS} FROM votes WHERE contest = ? ORDER BY cast_at DESC, id DESC LIMIT ?"
        with translated(self._path):
            return [ArchivedVote(*row) for row in self._connection.execute(query, (contest, limit))]

    def find(self, vote_id: str) -> ArchivedVote | None:
        """As `ArchiveReader`."""
        query = f"SELECT {_COLUMNS} FROM votes WHERE id = ?"
        with translated(self._path):
            row = self._connection.execute(query, (vote_id,)).fetchone()
        return None if row is None else ArchivedVote(*row)

    def partitions(self) -> Mapping[int, Position]:
        """As `ArchiveReader`."""
        with translated(self._path):
            return positions.load(self._connection)

    def scan(self, stops: Mapping[int, int]) -> Iterable[Sequence[ArchivedVote]]:
        """As `ArchiveReader`."""
        query = f"SELECT rowid, {_COLUMNS} FROM votes WHERE rowid > ? ORDER BY rowid LIMIT ?"
        last = 0
        while True:
            with translated(self._path):
                rows = self._connection.execute(query, (last, CHUNK)).fetchall()
            if not rows:
                return
            last = rows[-1][0]
            votes = (ArchivedVote(*row[1:]) for row in rows)
            yield [vote for vote in votes if vote.offset < stops.get(vote.partition, 0)]

    def close(self) -> None:
        """As `ArchiveReader`."""
        self._connection.close()
