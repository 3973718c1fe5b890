"""Positions of a projection beside its effects, in the same SQLite file."""

import sqlite3
from collections.abc import Sequence
from typing import Final

from aplauso.domain.errors import PositionMoved
from aplauso.domain.position import Position

SCHEMA: Final = """
    CREATE TABLE IF NOT EXISTS positions (
        partition INTEGER PRIMARY KEY, topic TEXT NOT NULL, "offset" INTEGER NOT NULL, epoch INTEGER NOT NULL
    );
"""
_SAVE: Final = """
    INSERT INTO positions (partition, topic, "offset", epoch) VALUES (?, ?, ?, ?)
    ON CONFLICT (partition) DO UPDATE SET topic = excluded.topic, "offset" = excluded."offset", epoch = excluded.epoch
"""


def load(connection: sqlite3.Connection) -> dict[int, Position]:
    """Every partition's position."""
    rows = connection.execute('SELECT partition, topic, "offset", epoch FROM positions')
    return {partition: Position(topic, offset, epoch) for partition, topic, offset, epoch in rows}


def load_some(connection: sqlite3.Connection, partitions: Sequence[int]) -> dict[int, Position | None]:
    """The positions of some partitions, None where there is none."""
    stored = load(connection)
    return {partition: stored.get(partition) for partition in partitions}


def move(connection: sqlite3.Connection, partition: int, expected: Position | None, following: Position) -> None:
    """Compare-and-set inside the caller's transaction. Raises `PositionMoved`."""
    stored = load(connection).get(partition)
    if stored != expected:
        raise PositionMoved(stored)
    connection.execute(_SAVE, (partition, *following))
