"""Standings in Redis: one atomic script a batch, one hash slot a partition."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from aplauso.adapters.redis.client import (
    Connection,
    RedisSettings,
    Script,
    hmget,
    key,
    of_each,
    transactions,
    translated,
)
from aplauso.adapters.redis.packing import Packed, pack
from aplauso.domain.errors import PositionMoved
from aplauso.domain.position import Position
from aplauso.domain.tally import AlbumTally, Bands, BandTally, Spelling
from aplauso.ports.projection import Applied, LoggedVote, LoggedVotes
from aplauso.ports.standings import PartitionStandings

_POSITION: Final = ("topic", "passed", "epoch")
_STATE: Final = (*_POSITION, "dirty")


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
            states = hmget(self._connection, partitions, _STATE)
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
        arguments = (*(expected or ("", "", "")), *following, *batch.sums)
        with translated():
            answer = self._count(partition, *arguments, b"")
            if answer[0] == b"votes":
                answer = self._count(partition, *arguments, batch.votes())
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

    votes: int
    rank_sum: int
    cast_at: int
    id: str
    band: str
    shown: str


class _Album(msgspec.Struct, array_like=True, gc=False):
    """A value of a contest's hash of albums."""

    votes: int
    cast_at: int
    id: str
    band: str
    album: str
    shown: str


class _Changes(msgspec.Struct, array_like=True, gc=False):
    """What a batch added to the lines of a contest."""

    contest: str
    bands: list[_Band]
    albums: list[_Album]


_Place = tuple[str, str, str]
"""Topic, offset and epoch as they are stored; empty where there is no position."""


class _Batch(msgspec.Struct, array_like=True):
    """A value of a partition's list of recent batches."""

    topic: str
    passed: str
    epoch: str
    next_topic: str
    next_passed: str
    next_epoch: str
    contests: list[_Changes]

    @property
    def start(self) -> _Place:
        return self.topic, self.passed, self.epoch

    @property
    def end(self) -> _Place:
        return self.next_topic, self.next_passed, self.next_epoch


_bands: Final = msgspec.msgpack.Decoder(list[_Band]).decode
_albums: Final = msgspec.msgpack.Decoder(list[_Album]).decode
_batch: Final = msgspec.msgpack.Decoder(_Batch).decode


def _array(values: Collection[bytes]) -> bytes:
    """Values that are MessagePack already as an array: a header with them behind it."""
    return b"\xdd" + len(values).to_bytes(4) + b"".join(values)


_NO_LINES: Final = _array([])


class _Part(NamedTuple):
    """A partition's state, and its lines of one contest as MessagePack arrays, read in one step."""

    state: Sequence[bytes | None]
    bands: bytes
    albums: bytes


class RedisStandingsReader:
    """`StandingsReader` over the same Redis."""

    def __init__(self, settings: RedisSettings) -> None:
        self._partitions = range(settings.partitions)
        self._connection = Connection(settings)
        self._read = Script(self._connection, "read.lua")
        self._known: dict[str, _Known] = {}

    def version(self) -> tuple[tuple[bytes | None, ...], ...]:
        """As `StandingsReader.version`: the positions, as they are stored."""
        with translated():
            return tuple(tuple(state) for state in self._states())

    def read(self, contest: str) -> Bands:
        """As `StandingsReader.read`. Brings what was read before up to date by the latest batches, where it can."""
        # Put back when all is well: what a failure left half done is read anew.
        known = self._known.pop(contest, None)
        with translated():
            if known is None or not self._follow(known, contest):
                known = _Known(contest)
                for partition, part in zip(self._partitions, self._parts(contest), strict=True):
                    known.add(partition, part)
        self._known[contest] = known
        return known.lines.tallies()

    def _follow(self, known: "_Known", contest: str) -> bool:
        states = dict(zip(self._partitions, self._states(), strict=True))
        moved = [partition for partition, state in states.items() if state != known.states[partition]]
        if not moved:
            return True
        if not all(map(_stands, map(states.__getitem__, moved))):
            return False
        batches = of_each(self._connection, moved, "LRANGE", "recent", 0, -1)
        return all(map(known.follow, moved, batches))

    def _parts(self, contest: str) -> Iterator[_Part]:
        if self._connection.settings.cluster:
            # A script names its keys, by which a slot on the move is noticed. The nodes are asked one by one.
            for partition in self._partitions:
                answer = self._read(partition, contest)
                state, lines = (answer[:3], answer[4:]) if answer else ([None] * 3, [_NO_LINES, _NO_LINES])
                yield _Part([*state, None], *lines)
            return
        # Plain commands: a script's answer passes through Lua, which takes the server five times as long.
        commands = [
            (
                ("HMGET", key(partition, "state"), *_STATE),
                ("HVALS", key(partition, f"b:{contest}")),
                ("HVALS", key(partition, f"a:{contest}")),
            )
            for partition in self._partitions
        ]
        for state, *lines in transactions(self._connection, commands):
            yield _Part(state, *(map(_array, lines) if _stands(state) else [_NO_LINES, _NO_LINES]))

    def partition(self, partition: int) -> PartitionStandings:
        """As `StandingsReader.partition`."""
        with translated():
            answer = self._read(partition)
        contests: dict[str, Bands] = {}
        for at in range(3, len(answer), 3):
            lines = _Lines()
            lines.add(_bands(answer[at + 1]), _albums(answer[at + 2]))
            contests[answer[at].decode()] = lines.tallies()
        return PartitionStandings(_position(answer) if answer else None, contests)

    def partitions(self) -> Mapping[int, Position]:
        """As `StandingsReader.partitions`."""
        with translated():
            states = self._states()
        found = {at: _position(state) for at, state in zip(self._partitions, states, strict=True) if state[3] is None}
        return {at: position for at, position in found.items() if position is not None}

    def _states(self) -> list[list[bytes | None]]:
        return hmget(self._connection, self._partitions, _STATE)

    def close(self) -> None:
        """Closes the connections."""
        self._connection.close()


def _stands(state: Sequence[bytes | None]) -> bool:
    """Whether a partition has a position, and is not about to be wiped."""
    return state[1] is not None and state[3] is None


class _Known:
    """What has been read of a contest: the lines of all partitions added up, and the states that they belong to."""

    def __init__(self, contest: str) -> None:
        self.states: dict[int, Sequence[bytes | None]] = {}
        self.lines = _Lines()
        self._contest = contest

    def add(self, partition: int, part: _Part) -> None:
        """Adds a whole partition."""
        self.states[partition] = part.state
        self.lines.add(_bands(part.bands), _albums(part.albums))

    def follow(self, partition: int, batches: Sequence[bytes]) -> bool:
        """Adds a partition's batches since its known state; False when they do not go back to it: forget this then."""
        here = tuple((value or b"").decode() for value in self.states[partition][:3])
        end: _Place | None = None
        for batch in map(_batch, reversed(batches)):
            # A recount passes the same positions with the same standings, so whoever wrote the batch, it follows.
            end = end or batch.end
            for changes in batch.contests:
                if changes.contest == self._contest:
                    self.lines.add(changes.bands, changes.albums)
            if batch.start == here:
                self.states[partition] = [*(value.encode() for value in end), None]
                return True
        return False


class _Lines:
    """The lines of one contest, those of several partitions added up: a band's, and an album's, that came first."""

    def __init__(self) -> None:
        self._bands: dict[str, _Band] = {}
        self._albums: dict[tuple[str, str], _Album] = {}

    def add(self, bands: Iterable[_Band], albums: Iterable[_Album]) -> None:
        """Adds lines of one partition; they are not the caller's any more."""
        # Both loops run for every line of every partition: a call in them, or a tuple to compare, would be felt.
        known_bands, known_albums = self._bands, self._albums
        for line in bands:
            ours = known_bands.get(line.band)
            if ours is None:
                known_bands[line.band] = line
                continue
            ours.votes += line.votes
            ours.rank_sum += line.rank_sum
            if line.cast_at <= ours.cast_at and (line.cast_at < ours.cast_at or line.id < ours.id):
                ours.cast_at, ours.id, ours.shown = line.cast_at, line.id, line.shown
        for row in albums:
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
