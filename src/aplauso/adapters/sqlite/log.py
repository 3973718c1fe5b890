"""The vote log in one SQLite file: appending with group commit.

One thread writes. It takes all the records that wait, whoever brought them, and commits them together, so
that many votes share one fsync; and each partition's share of a commit is one row, a segment, so that the thread
takes Python's lock once a commit and not once a vote. An acknowledgement leaves only after the commit has
returned, and with `synchronous=FULL` it returns only after the write-ahead log has been synced (SQLite's
documentation of PRAGMA synchronous).
"""

import asyncio
import contextlib
import functools
import sqlite3
import threading
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Final

import msgspec

from aplauso.adapters.sqlite.database import connect, translated
from aplauso.domain.errors import Unavailable, WrongLog
from aplauso.ports.log import Appended, Entry
from aplauso.ports.stretch import entry_columns

SCHEMA: Final = """
    CREATE TABLE IF NOT EXISTS log (topic TEXT NOT NULL, partitions INTEGER NOT NULL);
    -- The records of one partition that were committed together: their offsets are `first` to `last`.
    CREATE TABLE IF NOT EXISTS segments (
        partition INTEGER NOT NULL, last INTEGER NOT NULL, first INTEGER NOT NULL, records BLOB NOT NULL,
        PRIMARY KEY (partition, last)
    ) WITHOUT ROWID;
"""
_CERTAIN: Final = (
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR_WRITE,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_BUSY,
)
"""Errors of COMMIT after which the records are certainly not there.

A commit counts through its last frame of the write-ahead log, whose checksum covers the frames before it; when
a write fails, that frame is not whole. A failed fsync, on the other hand, decides nothing.
"""
_CLOSE_SECONDS: Final = 10.0

_Columns = tuple[Sequence[bytes], Sequence[bytes], Sequence[int]]
"""The keys, the values and the partitions of a call's records."""
_Waiting = tuple[Sequence[Entry], asyncio.AbstractEventLoop, "asyncio.Future[Appended]"]


class SqliteLog:
    """Implements `aplauso.ports.log.VoteLog`.

    Args:
        path: the file; made when it is not there.
        partitions: of a new log; an older one must have as many.
        appended: called on the writing thread after each commit.

    Raises:
        Unavailable: the file cannot be opened.
        WrongLog: the file's log has another number of partitions.
    """

    def __init__(self, path: Path, partitions: int = 1, appended: Callable[[], None] = lambda: None) -> None:
        self._path = path
        self._partitions = partitions
        self._appended = appended
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._closed = False
        self._failure: str | None = None
        self._connection: sqlite3.Connection | None = None
        self._next: list[int] = []
        self._open()
        self._thread = threading.Thread(target=self._write, name="vote-log", daemon=True)
        self._thread.start()

    @property
    def partitions(self) -> int:
        """As `VoteLog`."""
        return self._partitions

    async def append(self, entries: Sequence[Entry]) -> Sequence[Appended]:
        """As `VoteLog`: the records of one call are in one transaction, and share their fate."""
        if not entries:
            return []
        if self._closed:
            return [Appended.NOT_RECORDED] * len(entries)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Appended] = loop.create_future()
        self._queue.put((entries, loop, future))
        return [await future] * len(entries)

    async def ready(self) -> None:
        """As `VoteLog`: fails while the last commit did, and tries the disk again."""
        if self._closed:
            raise Unavailable("the log is closed")
        if self._failure is not None:
            self._queue.put(((), asyncio.get_running_loop(), probe := asyncio.get_running_loop().create_future()))
            if await probe is not Appended.RECORDED:
                raise Unavailable(self._failure or "the log cannot be written")

    async def close(self) -> None:
        """As `VoteLog`."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
        await asyncio.to_thread(self._thread.join, _CLOSE_SECONDS)

    def _open(self) -> sqlite3.Connection:
        connection = connect(self._path, synchronous="FULL", schema=SCHEMA)
        with translated(self._path):
            connection.execute(
                "INSERT INTO log SELECT ?, ? WHERE NOT EXISTS (SELECT * FROM log)",
                (str(uuid.uuid4()), self._partitions),
            )
            (partitions,) = connection.execute("SELECT partitions FROM log").fetchone()
            if partitions != self._partitions:
                connection.close()
                raise WrongLog(f"{self._path} has {partitions} partitions, not {self._partitions}")
            self._next = [_end(connection, partition) for partition in range(partitions)]
        self._connection = connection
        return connection

    def _write(self) -> None:
        """The writing thread: takes what waits, commits it, answers, until it is told to end."""
        while (first := self._queue.get()) is not None:
            batch = [first]
            ended = False
            while not self._queue.empty():
                waiting = self._queue.get()
                if waiting is None:
                    ended = True
                    break
                batch.append(waiting)
            outcome = self._commit([entry_columns(entries) for entries, _, _ in batch])
            self._answer(batch, outcome)
            if ended:
                break
        if self._connection is not None:
            self._connection.close()

    def _commit(self, calls: Sequence[_Columns]) -> Appended:
        try:
            connection = self._connection or self._open()
        except (Unavailable, WrongLog) as error:
            return self._fail(error, Appended.NOT_RECORDED)
        following, segments = self._segments(calls)
        try:
            # One statement outside a transaction is one of its own: when it returns, it has been synced.
            if segments:
                connection.execute(_insert(len(segments)), [value for segment in segments for value in segment])
            else:
                # `ready` asks whether a commit would work: only one that writes can tell. An UPDATE that changes
                # nothing writes nothing; setting this version, which nobody reads, always writes a page.
                connection.execute("PRAGMA user_version = 0")
        except sqlite3.Error as error:
            certain = error.sqlite_errorcode in _CERTAIN
            return self._fail(error, Appended.NOT_RECORDED if certain else Appended.UNDECIDED)
        self._next = following
        self._failure = None
        return Appended.RECORDED

    def _segments(self, calls: Sequence[_Columns]) -> tuple[list[int], list[tuple[int, int, int, bytes]]]:
        """The rows that hold the records, and the offsets that come next."""
        parts: dict[int, list[tuple[bytes, bytes]]] = {}
        for keys, values, partitions in calls:
            if self._partitions == 1:
                parts.setdefault(0, []).extend(zip(keys, values, strict=True))
                continue
            for partition, key, value in zip(partitions, keys, values, strict=True):
                parts.setdefault(partition, []).append((key, value))
        following, segments = self._next.copy(), []
        for partition, records in parts.items():
            first = following[partition]
            following[partition] += len(records)
            segments.append((partition, following[partition] - 1, first, pack(records)))
        return following, segments

    def _fail(self, error: Exception, outcome: Appended) -> Appended:
        """Remembers why, and lets go of the connection: the next commit opens the log again."""
        self._failure = f"{self._path}: {error}" if isinstance(error, sqlite3.Error) else str(error)
        connection, self._connection = self._connection, None
        if connection is not None:
            # The disk that failed the commit may fail the last checkpoint too.
            with contextlib.suppress(sqlite3.Error):
                connection.close()
        return outcome

    def _answer(self, batch: Sequence[_Waiting], outcome: Appended) -> None:
        """Wakes each event loop once for all of its records."""
        by_loop: dict[asyncio.AbstractEventLoop, list[asyncio.Future[Appended]]] = {}
        for _, loop, future in batch:
            by_loop.setdefault(loop, []).append(future)
        for loop, futures in by_loop.items():
            # A loop that has been closed raises: nobody waits for these answers any more.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(_resolve, futures, outcome)
        if outcome is Appended.RECORDED:
            self._appended()


def _resolve(futures: Sequence["asyncio.Future[Appended]"], outcome: Appended) -> None:
    for future in futures:
        if not future.done():
            future.set_result(outcome)


pack: Final = msgspec.msgpack.Encoder().encode
"""A segment's records, pairs of key and value, as MessagePack."""
unpack: Final = msgspec.msgpack.Decoder(list[tuple[bytes | None, bytes | None]]).decode


@functools.cache
def _insert(segments: int) -> str:
    return "INSERT INTO segments (partition, last, first, records) VALUES " + ", ".join(["(?, ?, ?, ?)"] * segments)


def _end(connection: sqlite3.Connection, partition: int) -> int:
    """The offset that a partition's next record gets."""
    (last,) = connection.execute("SELECT max(last) FROM segments WHERE partition = ?", (partition,)).fetchone()
    return 0 if last is None else int(last) + 1
