"""Standings in Redis: one atomic script a batch, one hash slot a partition."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from aplauso.adapters.redis.client import Connection, RedisSettings, Script, hmget, translated
from aplauso.adapters.redis.packing import Packed, pack
from aplauso.domain.errors import PositionMoved
from aplauso.domain.position import Position
from aplauso.domain.tally import AlbumTally, Bands, BandTally, Spelling
from aplauso.ports.projection import Applied, LoggedVote, LoggedVotes
from aplauso.ports.standings import PartitionStandings

_POSITION: Final = ("topic", "next", "epoch")


class RedisStandings:
    """`StandingsStore` over Redis 6.2 or later, Valkey, or a Redis Cluster.

    A partition that a script left half written is marked dirty; whoever finds it so wipes it, and it is
    counted again from its beginning.
    """

    def __init__(self, settings: RedisSettings) -> None:
        self._connection = Connection(settings)
        self._count = Script(self._connection, "count.lua")
        self._wipe = Script(self._connection, "wipe.lua")

    def positions(self, partitions: Sequence[int]) -> dict[int, Position | None]:
        """As `ProjectionStore.positions`; a dirty partition is wiped, and has none."""
        with translated():
            states = hmget(self._connection, partitions, (*_POSITION, "dirty"))
            for partition, state in zip(partitions, states, strict=True):
                if state[3] is not None:
                    self._wipe(partition)
        return {
            partition: None if state[3] is not None else _position(state)
            for partition, state in zip(partitions, states, strict=True)
        }

    def prepare(self, partition: int, votes: LoggedVotes) -> None:
        """As `Prepares`."""
        votes.prepared = pack(votes)

    def apply(
        self, partition: int, expected: Position | None, following: Position, votes: Sequence[LoggedVote]
    ) -> Applied:
        """As `ProjectionStore.apply`. A dirty partition is wiped, and its stored position is then none."""
        ready = votes.prepared if isinstance(votes, LoggedVotes) else None
        batch = ready if isinstance(ready, Packed) else pack(votes)
        with translated():
            answer = self._count(partition, *(expected or ("", "", "")), *following, *batch.arguments)
            if answer[0] == b"dirty":
                self._wipe(partition)
                raise PositionMoved(None)
        if answer[0] == b"moved":
            raise PositionMoved(_position([*answer[1:], None, None, None][:3]))
        return _applied(batch.contests, answer[1])

    def close(self) -> None:
        """Closes the connections."""
        self._connection.close()


def _applied(contests: Mapping[str, int], new: Sequence[int]) -> Applied:
    counted = {contest: number for contest, number in zip(contests, new, strict=True) if number}
    repeated = {contest: votes - counted.get(contest, 0) for contest, votes in contests.items()}
    return Applied(counted, {contest: number for contest, number in repeated.items() if number})


def _position(state: Sequence[bytes | None]) -> Position | None:
    topic, offset, epoch = state[:3]
    if topic is None or offset is None or epoch is None:
        return None
    return Position(topic.decode(), int(offset), int(epoch))


class _Band(msgspec.Struct, array_like=True, gc=False):
    """A value of a contest's hash of bands."""

    band: str
    votes: int
    rank_sum: int
    cast_at: int
    id: str
    shown: str


class _Album(msgspec.Struct, array_like=True, gc=False):
    """A value of a contest's hash of albums."""

    band: str
    album: str
    votes: int
    cast_at: int
    id: str
    shown: str


_bands: Final = msgspec.msgpack.Decoder(list[_Band]).decode
_albums: Final = msgspec.msgpack.Decoder(list[_Album]).decode


class RedisStandingsReader:
    """`StandingsReader` over the same Redis."""

    def __init__(self, settings: RedisSettings) -> None:
        self._partitions = range(settings.partitions)
        self._connection = Connection(settings)
        self._read = Script(self._connection, "read.lua")

    def version(self) -> tuple[tuple[bytes | None, ...], ...]:
        """As `StandingsReader.version`: the positions, as they are stored."""
        with translated():
            return tuple(tuple(state) for state in hmget(self._connection, self._partitions, (*_POSITION, "dirty")))

    def read(self, contest: str) -> Bands:
        """As `StandingsReader.read`."""
        lines = _Lines()
        with translated():
            for answer in self._read.each(self._partitions, contest):
                if answer:
                    lines.add(answer[4], answer[5])
        return lines.tallies()

    def partition(self, partition: int) -> PartitionStandings:
        """As `StandingsReader.partition`."""
        with translated():
            answer = self._read(partition)
        contests: dict[str, Bands] = {}
        for at in range(3, len(answer), 3):
            lines = _Lines()
            lines.add(answer[at + 1], answer[at + 2])
            contests[answer[at].decode()] = lines.tallies()
        return PartitionStandings(_position(answer) if answer else None, contests)

    def partitions(self) -> Mapping[int, Position]:
        """As `StandingsReader.partitions`."""
        with translated():
            states = hmget(self._connection, self._partitions, (*_POSITION, "dirty"))
        found = {at: _position(state) for at, state in zip(self._partitions, states, strict=True) if state[3] is None}
        return {at: position for at, position in found.items() if position is not None}

    def close(self) -> None:
        """Closes the connections."""
        self._connection.close()


class _Lines:
    """The lines of one contest, those of several partitions added up: a band's, and an album's, that came first."""

    def __init__(self) -> None:
        self._bands: dict[str, _Band] = {}
        self._albums: dict[tuple[str, str], _Album] = {}

    def add(self, bands: bytes, albums: bytes) -> None:
        """Adds one partition's, as read.lua answers them."""
        # Both loops run for every line of every partition: a call in them, or a tuple to compare, would be felt.
        known_bands, known_albums = self._bands, self._albums
        for line in _bands(bands):
            ours = known_bands.get(line.band)
            if ours is None:
                known_bands[line.band] = line
                continue
            ours.votes += line.votes
            ours.rank_sum += line.rank_sum
            if line.cast_at <= ours.cast_at and (line.cast_at < ours.cast_at or line.id < ours.id):
                ours.cast_at, ours.id, ours.shown = line.cast_at, line.id, line.shown
        for row in _albums(albums):
            key = (row.band, row.album)
            mine = known_albums.get(key)
            if mine is None:
                known_albums[key] = row
                continue
            mine.votes += row.votes
            if row.cast_at <= mine.cast_at and (row.cast_at < mine.cast_at or row.id < mine.id):
                mine.cast_at, mine.id, mine.shown = row.cast_at, row.id, row.shown

    def tallies(self) -> Bands:
        """What they come to."""
        whole = {at: BandTally(line.votes, line.rank_sum, _spelling(line), {}) for at, line in self._bands.items()}
        for (band, album), row in self._albums.items():
            whole[band].albums[album] = AlbumTally(row.votes, _spelling(row))
        return whole


def _spelling(line: _Band | _Album) -> Spelling:
    return Spelling(line.cast_at, line.id, line.shown)
