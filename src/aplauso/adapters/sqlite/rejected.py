"""The rejected records in one SQLite file."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from aplauso.adapters.sqlite.database import connect, transaction, translated
from aplauso.ports.rejected import Mark, Place, Rejection

SCHEMA: Final = """
    CREATE TABLE IF NOT EXISTS rejections (
        topic TEXT NOT NULL, partition INTEGER NOT NULL, "offset" INTEGER NOT NULL,
        reason TEXT NOT NULL, detail TEXT NOT NULL, key BLOB, value BLOB,
        PRIMARY KEY (topic, partition, "offset")
    );
    CREATE TABLE IF NOT EXISTS marks (
        topic TEXT NOT NULL, partition INTEGER NOT NULL, "offset" INTEGER NOT NULL, mark TEXT NOT NULL,
        PRIMARY KEY (topic, partition, "offset")
    );
"""
_OPEN: Final = """
    SELECT topic, partition, "offset", reason, detail, key, value FROM rejections
    WHERE NOT EXISTS (
        SELECT * FROM marks WHERE marks.topic = rejections.topic
        AND marks.partition = rejections.partition AND marks."offset" = rejections."offset"
    ) ORDER BY topic, partition, "offset"
"""


class SqliteRejected:
    """Implements `RejectedSink` and `RejectedLog` of `aplauso.ports.rejected`.

    Raises:
        Unavailable: the file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = connect(path, synchronous="FULL", schema=SCHEMA)

    def add(self, rejections: Sequence[Rejection]) -> None:
        """As `RejectedSink`."""
        rows = [(*r.place, r.reason, r.detail, r.key, r.value) for r in rejections]
        with translated(self._path), transaction(self._connection, "IMMEDIATE"):
            self._connection.executemany("INSERT OR IGNORE INTO rejections VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    def open(self) -> Iterable[Rejection]:
        """As `RejectedLog`."""
        with translated(self._path):
            rows = self._connection.execute(_OPEN).fetchall()
        return [Rejection(Place(*row[:3]), *row[3:]) for row in rows]

    def mark(self, places: Sequence[Place], mark: Mark) -> None:
        """As `RejectedLog`."""
        with translated(self._path), transaction(self._connection, "IMMEDIATE"):
            rows = [(*place, mark.value) for place in places]
            self._connection.executemany("INSERT OR REPLACE INTO marks VALUES (?, ?, ?, ?)", rows)

    def close(self) -> None:
        """As both."""
        self._connection.close()
