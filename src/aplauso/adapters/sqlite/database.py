"""One SQLite file: how it is opened, and what its errors mean."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

from aplauso.domain.errors import Unavailable

BUSY_MS: Final = 5_000
"""How long a statement waits for another connection's lock."""


def connect(path: Path, *, synchronous: Literal["FULL", "NORMAL"], schema: str) -> sqlite3.Connection:
    """Opens a file for writing, in WAL mode, and makes its tables.

    Args:
        path: the file; made when it is not there.
        synchronous: FULL syncs at each commit; NORMAL only at checkpoints, which may lose the last commits
            when the machine loses power, but never a part of one.
        schema: statements that do nothing when they have been run before.

    Raises:
        Unavailable: the file cannot be opened or written.
    """
    with translated(path):
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=BUSY_MS / 1000)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute(f"PRAGMA synchronous={synchronous}")
            # 16 MiB between checkpoints, and 4 MiB of cache: neither grows with the number of votes.
            connection.execute("PRAGMA wal_autocheckpoint=4000")
            connection.execute("PRAGMA journal_size_limit=67108864")
            connection.execute("PRAGMA cache_size=-4096")
            connection.executescript(schema)
        except BaseException:
            connection.close()
            raise
        return connection


def connect_reader(path: Path) -> sqlite3.Connection:
    """Opens a file that a writer has made, for reading beside it.

    Raises:
        Unavailable: it is not there, or cannot be read.
    """
    if not path.exists():
        raise Unavailable(f"{path} is not there")
    with translated(path):
        # Not mode=ro: a reader of a WAL file takes part in its shared memory. Where that cannot be, on read-only media
        # or another's data, and nobody is writing, the file alone is all there is.
        alone = not os.access(path.parent, os.W_OK) and not path.with_name(path.name + "-wal").exists()
        where = f"{path.absolute().as_uri()}?mode=ro&immutable=1" if alone else str(path)
        connection = sqlite3.connect(
            where, isolation_level=None, check_same_thread=False, timeout=BUSY_MS / 1000, uri=alone
        )
        connection.execute("PRAGMA query_only=1")
        connection.execute("PRAGMA cache_size=-2048")
        return connection


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turns the driver's errors into ours."""
    try:
        yield
    except sqlite3.Error as error:
        raise Unavailable(f"{path}: {error}") from error


@contextmanager
def transaction(connection: sqlite3.Connection, kind: Literal["DEFERRED", "IMMEDIATE"]) -> Iterator[None]:
    """BEGIN … COMMIT, or ROLLBACK when the body raises."""
    connection.execute(f"BEGIN {kind}")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
