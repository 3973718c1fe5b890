"""The live standings in one SQLite file: effects and position in one transaction."""

import sqlite3
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from aplauso.adapters.sqlite import positions
from aplauso.adapters.sqlite.database import connect, connect_reader, transaction, translated
from aplauso.domain.columns import Columns
from aplauso.domain.position import Position
from aplauso.domain.record import is_anonymous
from aplauso.domain.slots import by_slot
from aplauso.domain.sums import Sums
from aplauso.domain.tally import (
    SLOT_MS,
    AlbumTally,
    Bands,
    BandTally,
    Contests,
    Spelling,
    count,
    is_forgotten,
    merge,
    put_sums,
    slot_of,
)
from aplauso.domain.vote import Vote
from aplauso.ports.projection import Applied, LoggedVote, LoggedVotes
from aplauso.ports.standings import PartitionStandings

SCHEMA: Final = (
    positions.SCHEMA
    + """
    CREATE TABLE IF NOT EXISTS times (partition INTEGER PRIMARY KEY, time INTEGER NOT NULL);
    -- Remembered ids; slot -1 holds those that are remembered for ever.
    CREATE TABLE IF NOT EXISTS ids (
        partition INTEGER NOT NULL, slot INTEGER NOT NULL, id TEXT NOT NULL,
        PRIMARY KEY (partition, slot, id)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS bands (
        partition INTEGER NOT NULL, contest TEXT NOT NULL, band TEXT NOT NULL,
        votes INTEGER NOT NULL, rank_sum INTEGER NOT NULL,
        shown_at INTEGER NOT NULL, shown_id TEXT NOT NULL, shown TEXT NOT NULL,
        PRIMARY KEY (contest, partition, band)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS albums (
        partition INTEGER NOT NULL, contest TEXT NOT NULL, band TEXT NOT NULL, record TEXT NOT NULL,
        votes INTEGER NOT NULL,
        shown_at INTEGER NOT NULL, shown_id TEXT NOT NULL, shown TEXT NOT NULL,
        PRIMARY KEY (contest, partition, band, record)
    ) WITHOUT ROWID;
"""
)
_FOR_EVER: Final = -1
_REMEMBER: Final = "INSERT OR IGNORE INTO ids SELECT ?, ?, value FROM json_each(?)"
_LEAST: Final = """
    shown = iif((excluded.shown_at, excluded.shown_id) < (shown_at, shown_id), excluded.shown, shown),
    (shown_at, shown_id) = (
        SELECT min(shown_at, excluded.shown_at),
               iif((excluded.shown_at, excluded.shown_id) < (shown_at, shown_id), excluded.shown_id, shown_id)
    )
"""
_ADD_BAND: Final = f"""
    INSERT INTO bands (partition, contest, band, votes, rank_sum, shown_at, shown_id, shown)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (contest, partition, band) DO UPDATE SET
        votes = votes + excluded.votes, rank_sum = rank_sum + excluded.rank_sum, {_LEAST}
"""
_ADD_ALBUM: Final = f"""
    INSERT INTO albums (partition, contest, band, record, votes, shown_at, shown_id, shown)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (contest, partition, band, record) DO UPDATE SET votes = votes + excluded.votes, {_LEAST}
"""


def _json(ids: Sequence[str]) -> str:
    return msgspec.json.encode(ids).decode()


def _repeated(votes: Sequence[LoggedVote], counted: Mapping[str, int]) -> dict[str, int]:
    """By contest, the votes that were not counted."""
    if sum(counted.values()) == len(votes):
        return {}
    return dict(Counter(vote.contest for _, vote in votes) - Counter(counted))


class SqliteStandings:
    """Implements `aplauso.ports.standings.StandingsStore`. Raises `Unavailable` when the file cannot be opened."""

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
        with translated(self._path), transaction(self._connection, "IMMEDIATE"):
            positions.move(self._connection, partition, expected, following)
            contests = self._count_new(partition, votes.columns) if isinstance(votes, LoggedVotes) else None
            if contests is None:
                contests = count(self._remember(partition, [vote for _, vote in votes]))
            self._add(partition, contests)
        counted = {contest: sum(band.votes for band in bands.values()) for contest, bands in contests.items()}
        return Applied(counted, _repeated(votes, counted))

    def _count_new(self, partition: int, votes: Columns) -> Contests | None:
        """Counts votes of which no id is remembered, as nearly always; None, and nothing is done, when one may be."""
        before = self._time(partition)
        time, asked = max(before, *votes.stamps), by_slot(votes.ids)
        if any(slot is not None and is_forgotten(slot, time) for slot in asked):
            return None
        self._connection.execute("SAVEPOINT ids")
        rows = ((partition, _FOR_EVER if slot is None else slot, _json(ids)) for slot, ids in asked.items())
        inserted = sum(self._connection.execute(_REMEMBER, row).rowcount for row in rows)
        if inserted < len(votes.ids):
            self._connection.execute("ROLLBACK TO ids")
            return None
        self._move_time(partition, before, time)
        sums, contests = Sums(), Contests()
        sums.add(votes, ())
        put_sums(sums, contests)
        return contests

    def _time(self, partition: int) -> int:
        row = self._connection.execute("SELECT time FROM times WHERE partition = ?", (partition,)).fetchone()
        return row[0] if row else 0

    def _remember(self, partition: int, votes: Sequence[Vote]) -> list[Vote]:
        """Those of the votes that are new, as `aplauso.domain.tally.Memory` tells; remembers them."""
        before = time = self._time(partition)
        slots: list[int | None] = []
        asked: dict[int, list[str]] = {}
        for vote in votes:
            time = max(time, vote.cast_at)
            slot = slot_of(vote.id) if is_anonymous(vote.id) else _FOR_EVER
            if slot != _FOR_EVER and is_forgotten(slot, time):
                slots.append(None)
            else:
                slots.append(slot)
                asked.setdefault(slot, []).append(vote.id)
        fresh = self._insert_ids(partition, asked)
        self._move_time(partition, before, time)
        new = []
        for vote, at in zip(votes, slots, strict=True):
            if at is None:
                new.append(vote)
            elif vote.id in fresh:
                fresh.discard(vote.id)
                new.append(vote)
        return new

    def _insert_ids(self, partition: int, asked: Mapping[int, Sequence[str]]) -> set[str]:
        fresh: set[str] = set()
        for slot, ids in asked.items():
            rows = self._connection.execute(f"{_REMEMBER} RETURNING id", (partition, slot, _json(ids)))
            fresh.update(vote_id for (vote_id,) in rows)
        return fresh

    def _move_time(self, partition: int, before: int, time: int) -> None:
        if time == before:
            return
        self._connection.execute("INSERT OR REPLACE INTO times VALUES (?, ?)", (partition, time))
        if time // SLOT_MS > before // SLOT_MS:
            self._connection.execute(
                "DELETE FROM ids WHERE partition = ? AND slot <> ? AND slot + 1 < ?",
                (partition, _FOR_EVER, time // SLOT_MS),
            )

    def _add(self, partition: int, contests: Contests) -> None:
        bands, albums = [], []
        for contest, tallies in contests.items():
            for key, band in tallies.items():
                bands.append((partition, contest, key, band.votes, band.rank_sum, *band.shown))
                for record, album in band.albums.items():
                    albums.append((partition, contest, key, record, album.votes, *album.shown))
        self._connection.executemany(_ADD_BAND, bands)
        self._connection.executemany(_ADD_ALBUM, albums)

    def close(self) -> None:
        """As `ProjectionStore`."""
        self._connection.close()


class SqliteStandingsReader:
    """Implements `aplauso.ports.standings.StandingsReader`. Raises `Unavailable` when there is no such file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = connect_reader(path)

    def version(self) -> Hashable:
        """As `StandingsReader`."""
        return frozenset(self.partitions().items())

    def partitions(self) -> Mapping[int, Position]:
        """As `StandingsReader`."""
        with translated(self._path):
            return positions.load(self._connection)

    def read(self, contest: str) -> Bands:
        """As `StandingsReader`."""
        with translated(self._path), transaction(self._connection, "DEFERRED"):
            parts = _load(self._connection, "contest = ?", contest)
        return merge(parts.values()).get(contest, {})

    def partition(self, partition: int) -> PartitionStandings:
        """As `StandingsReader`."""
        with translated(self._path), transaction(self._connection, "DEFERRED"):
            position = positions.load(self._connection).get(partition)
            parts = _load(self._connection, "partition = ?", partition)
        return PartitionStandings(position, parts.get(partition, {}))

    def close(self) -> None:
        """As `StandingsReader`."""
        self._connection.close()


def _load(connection: sqlite3.Connection, where: str, value: object) -> dict[int, Contests]:
    """Tallies by partition, as far as a condition of ours lets through."""
    parts: dict[int, Contests] = {}
    bands: Iterable[tuple[int, str, str, int, int, int, str, str]] = connection.execute(
        f"SELECT partition, contest, band, votes, rank_sum, shown_at, shown_id, shown FROM bands WHERE {where}",
        (value,),
    )
    for partition, contest, band, votes, rank_sum, at, vote_id, text in bands:
        found = BandTally(votes, rank_sum, Spelling(at, vote_id, text), {})
        parts.setdefault(partition, {}).setdefault(contest, {})[band] = found
    albums: Iterable[tuple[int, str, str, str, int, int, str, str]] = connection.execute(
        f"SELECT partition, contest, band, record, votes, shown_at, shown_id, shown FROM albums WHERE {where}",
        (value,),
    )
    for partition, contest, band, record, votes, at, vote_id, text in albums:
        tally = parts.get(partition, {}).get(contest, {}).get(band)
        if tally is not None:  # somebody deleted the band: a recount tells that, and must not fail over its albums
            tally.albums[record] = AlbumTally(votes, Spelling(at, vote_id, text))
    return parts
