"""Standings in Redis: one atomic script a batch, one hash slot a partition."""

from collections.abc import Iterator, Mapping, Sequence
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
from aplauso.adapters.redis.lines import Lines, values_of
from aplauso.adapters.redis.packing import Packed, pack
from aplauso.domain.errors import PositionMoved
from aplauso.domain.position import Position
from aplauso.domain.tally import Bands
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


class _Changes(msgspec.Struct, array_like=True, gc=False):
    """What a batch added to the lines of a contest."""

    contest: str
    bands: list[msgspec.Raw]
    albums: list[msgspec.Raw]


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


_batch: Final = msgspec.msgpack.Decoder(_Batch).decode


class _Part(NamedTuple):
    """A partition's state, and its lines of one contest, read in one step."""

    state: Sequence[bytes | None]
    bands: Sequence[bytes] = ()
    albums: Sequence[bytes] = ()


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
                state, lines = (answer[:3], answer[4:]) if answer else ([None] * 3, [])
                yield _Part([*state, None], *map(values_of, lines))
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
            yield _Part(state, *(lines if _stands(state) else []))

    def partition(self, partition: int) -> PartitionStandings:
        """As `StandingsReader.partition`."""
        with translated():
            answer = self._read(partition)
        contests: dict[str, Bands] = {}
        for at in range(3, len(answer), 3):
            lines = Lines()
            lines.add(values_of(answer[at + 1]), values_of(answer[at + 2]))
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
        self.lines = Lines()
        self._contest = contest

    def add(self, partition: int, part: _Part) -> None:
        """Adds a whole partition."""
        self.states[partition] = part.state
        self.lines.add(part.bands, part.albums)

    def follow(self, partition: int, batches: Sequence[bytes]) -> bool:
        """Adds a partition's batches since its known state; False when they do not go back to it: forget this then."""
        here = tuple((value or b"").decode() for value in self.states[partition][:3])
        end: _Place | None = None
        for batch in map(_batch, reversed(batches)):
            # A recount passes the same positions with the same standings, so whoever wrote the batch, it follows.
            end = end or batch.end
            for changes in batch.contests:
                if changes.contest == self._contest:
                    self.lines.add([*map(bytes, changes.bands)], [*map(bytes, changes.albums)])
            if batch.start == here:
                self.states[partition] = [*(value.encode() for value in end), None]
                return True
        return False
