"""A small world in which a projection's replicas can be stopped, failed, killed and woken between any two steps.

Every replica runs the real `Projection.run` in a greenlet of its own and gives way at each point where it touches
something outside: before and after every answer of the log, the store and the rejected sink. Whoever drives the
world decides who goes on, and how: on, with an error, torn in the middle, or not at all.
"""

import copy
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, Final, Protocol

import greenlet  # type: ignore[import-untyped]

from aplauso.domain.errors import Fatal, PositionMoved, Unavailable, WrongLog
from aplauso.domain.position import Position
from aplauso.domain.record import decode, encode, partition_of
from aplauso.domain.tally import Contests, PartitionTally
from aplauso.domain.vote import Vote
from aplauso.flow.project import LOOK, Projection
from aplauso.flow.worker import Inline
from aplauso.ports.archive import ArchivedVote
from aplauso.ports.log import Record
from aplauso.ports.projection import Applied, LoggedVote, ProjectionStore
from aplauso.ports.rejected import Place, Rejection
from fakes_archive import archived
from fakes_log import MemorySource, MemoryStore
from fakes_rejected import MemoryRejected, MemoryShelf
from unit.fakes import NOW, FakeWatch, a_vote, anonymous_id, keyed_id

PARTITIONS: Final = 3
REPLICAS: Final = 3
MIDDLE: Final = ("insert", "write position")
"""Points in the middle of an application."""
PATIENCE: Final = 20_000
"""Steps after which a world that was healed has to be at rest."""

Point = Callable[[str], "Order"]


class Order(Enum):
    """What happens to a replica at the point where it stands."""

    GO = "go"
    FAIL = "fail"
    """What it asks for is away, or the answer is lost: `Unavailable`."""
    TEAR = "tear"
    """The store dies in the middle of this application; only standings, which must notice it."""
    DIE = "die"
    """The process is gone."""


class Killed(BaseException):
    """Ends a replica's greenlet as `kill -9` ends a process: nothing after it has any effect."""


class Disk(Protocol):
    """What outlives the replicas: a store's data."""

    def snapshot(self) -> Callable[[], None]:
        """Remembers everything; calling the result puts it back."""
        ...

    def wipe(self) -> None:
        """Everything is gone."""
        ...

    def positions(self) -> Mapping[int, Position]:
        """The stored positions."""
        ...

    def check(self, log: "Log") -> None:
        """Fails unless the effects are those of the log up to each position."""
        ...

    def check_end(self, log: "Log") -> None:
        """Fails unless nothing else is there, once every position is at the end."""
        ...


class Log(MemoryStore):
    """The log, and what the pure fold says about every stretch from its beginning."""

    def __init__(self) -> None:
        super().__init__(PARTITIONS)
        self.bad: dict[Place, tuple[bytes | None, bytes | None]] = {}
        self.firsts: list[dict[str, ArchivedVote]] = [{} for _ in range(PARTITIONS)]
        self._tallies = [PartitionTally() for _ in range(PARTITIONS)]
        self._folded: list[list[Contests]] = [[{}] for _ in range(PARTITIONS)]

    def cast(self, vote: Vote) -> None:
        """A vote enters the log."""
        key = vote.id.encode()
        self.put(partition_of(key, PARTITIONS), key, encode(vote))

    def put(self, partition: int, key: bytes | None, value: bytes | None) -> None:
        """Any record enters the log."""
        offset = self.end(partition)
        super().put(partition, key, value)
        try:
            vote = decode(key, value, partition, PARTITIONS)
        except Exception:  # noqa: BLE001 - whatever the reason
            self.bad[Place(self.topic, partition, offset)] = (key, value)
        else:
            self._tallies[partition].fold([vote])
            self.firsts[partition].setdefault(vote.id, archived(partition, offset, vote))
        self._folded[partition].append(copy.deepcopy(self._tallies[partition].contests))

    def folded(self, partition: int, position: Position | None) -> Contests:
        """The pure fold of a partition up to a position."""
        return self._folded[partition][position.offset if position else 0]


# The two stores. Each says at every step where it is, so that anything can happen there. -------------------------


class TallyDisk:
    """Standings: of each partition, position and tally as one; and which of them are half written."""

    def __init__(self) -> None:
        self.stored: dict[int, Position] = {}
        self.tallies: dict[int, PartitionTally] = {}
        self.dirty: set[int] = set()

    def snapshot(self) -> Callable[[], None]:
        kept = copy.deepcopy(self.__dict__)
        return lambda: self.__dict__.update(copy.deepcopy(kept))

    def wipe(self) -> None:
        self.stored.clear()
        self.tallies.clear()
        self.dirty.clear()

    def positions(self) -> Mapping[int, Position]:
        return self.stored

    def check(self, log: Log) -> None:
        for partition in range(PARTITIONS):
            if partition not in self.dirty:  # nobody is shown one that is
                held, position = self.tallies.get(partition, PartitionTally()), self.stored.get(partition)
                assert held.contests == log.folded(partition, position), f"partition {partition} at {position}"

    def check_end(self, log: Log) -> None:
        assert not self.dirty


class TallyStore:
    """A standings' store over a disk: one atomic step a batch, which may be torn and is then marked dirty."""

    def __init__(self, disk: TallyDisk, point: Point) -> None:
        self.disk = disk
        self.point = point

    def positions(self, partitions: Sequence[int]) -> dict[int, Position | None]:
        self.point("positions")
        for partition in partitions:
            self.clean(partition)
        found = {partition: self.disk.stored.get(partition) for partition in partitions}
        self.point("positions told")
        return found

    def apply(
        self, partition: int, expected: Position | None, following: Position, votes: Sequence[LoggedVote]
    ) -> Applied:
        order = self.point("apply")
        if self.clean(partition):
            raise PositionMoved(None)
        self.compare(self.disk.stored.get(partition), expected)
        tally = self.disk.tallies.setdefault(partition, PartitionTally())
        if order is Order.TEAR:
            self.tear(partition, tally, votes)
            raise Unavailable("the store died in the middle")
        counted = self.write(partition, tally, following, [entry.vote for entry in votes])
        self.point("applied")
        return Applied(dict(counted), dict(Counter(entry.vote.contest for entry in votes) - counted))

    def compare(self, stored: Position | None, expected: Position | None) -> None:
        if stored != expected:
            raise PositionMoved(stored)

    def write(self, partition: int, tally: PartitionTally, following: Position, votes: list[Vote]) -> Counter[str]:
        counted = Counter(vote.contest for vote in self.fold(tally, votes))
        self.disk.stored[partition] = following
        return counted

    def fold(self, tally: PartitionTally, votes: list[Vote]) -> list[Vote]:
        return tally.fold(votes)

    def tear(self, partition: int, tally: PartitionTally, votes: Sequence[LoggedVote]) -> None:
        self.disk.dirty.add(partition)
        tally.fold([entry.vote for entry in votes[: (len(votes) + 1) // 2]])

    def clean(self, partition: int) -> bool:
        """Wipes a partition that is dirty; whether it was."""
        if partition not in self.disk.dirty:
            return False
        self.disk.dirty.discard(partition)
        self.disk.tallies.pop(partition, None)
        self.disk.stored.pop(partition, None)
        return True

    def close(self) -> None:
        pass


class ArchiveDisk:
    """The archive: documents by id, and positions beside them."""

    def __init__(self) -> None:
        self.stored: dict[int, Position] = {}
        self.votes: dict[str, ArchivedVote] = {}

    def snapshot(self) -> Callable[[], None]:
        votes, stored = dict(self.votes), dict(self.stored)

        def put_back() -> None:
            self.votes, self.stored = dict(votes), dict(stored)

        return put_back

    def wipe(self) -> None:
        self.votes, self.stored = {}, {}

    def positions(self) -> Mapping[int, Position]:
        return self.stored

    def check(self, log: Log) -> None:
        for partition, position in self.stored.items():
            for vote_id, first in log.firsts[partition].items():
                if first.offset < position.offset:
                    assert self.votes.get(vote_id) == first, f"below {position} of partition {partition}"

    def check_end(self, log: Log) -> None:
        firsts = {vote_id: vote for part in log.firsts for vote_id, vote in part.items()}
        assert self.votes == firsts


class ArchiveStore:
    """An archive's store over a disk, in the steps that MongoDB's takes: look, insert each, move the position."""

    def __init__(self, disk: ArchiveDisk, point: Point) -> None:
        self.disk = disk
        self.point = point

    def positions(self, partitions: Sequence[int]) -> dict[int, Position | None]:
        self.point("positions")
        found = {partition: self.disk.stored.get(partition) for partition in partitions}
        self.point("positions told")
        return found

    def apply(
        self, partition: int, expected: Position | None, following: Position, votes: Sequence[LoggedVote]
    ) -> Applied:
        self.point("apply")
        self.compare(partition, expected)
        self.write(partition, expected, following, votes)
        self.point("applied")
        return Applied({}, {})

    def write(
        self, partition: int, expected: Position | None, following: Position, votes: Sequence[LoggedVote]
    ) -> None:
        self.insert(partition, votes)
        self.point("write position")
        self.move(partition, expected, following)

    def compare(self, partition: int, expected: Position | None) -> None:
        stored = self.disk.stored.get(partition)
        if stored != expected:
            raise PositionMoved(stored)

    def insert(self, partition: int, votes: Sequence[LoggedVote]) -> None:
        firsts: dict[str, ArchivedVote] = {}
        for offset, vote in votes:
            firsts.setdefault(vote.id, archived(partition, offset, vote))
        for vote_id, ours in firsts.items():
            self.point("insert")
            there = self.disk.votes.setdefault(vote_id, ours)
            if there.partition != partition or there.offset > ours.offset:
                raise WrongLog(f"vote {vote_id} lies at {ours.offset}, but is archived from {there.offset}")

    def move(self, partition: int, expected: Position | None, following: Position) -> None:
        self.compare(partition, expected)
        self.disk.stored[partition] = following

    def close(self) -> None:
        pass


class Sink(MemoryRejected):
    """The rejected records; keeping them may fail before and after."""

    def __init__(self, shelf: MemoryShelf, point: Point) -> None:
        super().__init__(shelf)
        self.point = point

    def add(self, rejections: Sequence[Rejection]) -> None:
        self.point("reject")
        super().add(rejections)
        self.point("rejected")


class GroupSource(MemorySource):
    """A replica's source: its partitions are those that the group gives it, as far as it has heard."""

    def __init__(self, world: "World", replica: "Replica") -> None:
        super().__init__(world.log)
        self.world = world
        self.replica = replica
        self.idle = 0
        self.noted: dict[int, Position] = world.noted

    def poll(self, timeout: float, limit: int) -> Sequence[Record]:
        self.replica.point("poll")
        self.follow()
        records = self.fetch(limit)
        self.idle = 0 if records else self.idle + 1
        return records

    def follow(self) -> None:
        """Takes what the group has given since, where the projection says; lets go of what it has taken."""
        mine = self.replica.hears()
        self.at = {partition: at for partition, at in self.at.items() if partition in mine}
        given = sorted(mine - self.at.keys())
        if given and self._ask is not None:
            stored = self._ask(given)
            self.at.update({partition: self.place(partition, stored[partition]) for partition in given})

    def topic(self) -> str:
        self.replica.point("topic")
        return super().topic()

    def note_progress(self, positions: Mapping[int, Position]) -> None:
        self.noted.update(positions)


class _Never(threading.Event):
    """Stops nobody, and makes nobody wait."""

    def is_set(self) -> bool:
        return False

    def wait(self, timeout: float | None = None) -> bool:
        return True


class Replica:
    """One process of the projection.

    Attributes:
        at: the name of the point where it stands.
        gone: whether it has ended.
    """

    def __init__(self, world: "World", number: int) -> None:
        self.world = world
        self.number = number
        self.at = "born"
        self.gone = False
        self.deaf = False
        self._heard: frozenset[int] = frozenset()
        parts = world.parts
        self.source = parts.source(world, self)
        sink = Sink(world.shelf, self.point) if parts.rejects else None
        store = parts.store(world.disk, self.point)
        self.projection = parts.projection(
            self.source, store, FakeWatch(), sink, batch=world.batch, worker=world.worker, clock=lambda: world.time
        )
        self._error: Fatal | None = None
        self._greenlet = greenlet.greenlet(self._live)

    def hears(self) -> frozenset[int]:
        """The partitions that it has, as far as it knows."""
        if not self.deaf:
            self._heard = frozenset(p for p, owner in enumerate(self.world.owners) if owner == self.number)
        return self._heard

    def point(self, name: str) -> Order:
        """Gives way; says how to go on. Raises `Unavailable` and `Killed` where that is the order."""
        if self.gone:
            raise Killed
        self.at = name
        parent = greenlet.getcurrent().parent
        assert parent is not None
        order: Order = parent.switch()
        if order is Order.DIE:
            self.gone = True
            raise Killed
        if order is Order.FAIL:
            raise Unavailable(f"away at {name}")
        return order

    def go(self, order: Order = Order.GO) -> None:
        """Goes on to its next point."""
        if self.at == "born":
            self.at = "started"
            if order is Order.DIE:
                self.gone = True
                return
            self._greenlet.switch()
        elif not self.gone:
            self._greenlet.switch(order)
        if self._error is not None:
            raise AssertionError(f"the projection stopped: {self._error}")

    def _live(self) -> None:
        try:
            self.projection.run(_Never())
        except Killed:
            pass
        except Fatal as error:
            self.gone = True
            self._error = error


class Parts:
    """What a world is built of; broken variants replace one.

    Attributes:
        rejects: whether this projection keeps rejected records: only the tally does.
    """

    rejects: bool = True
    projection: Callable[..., Projection] = Projection
    source: Callable[["World", Replica], GroupSource] = GroupSource
    disk: Callable[[], Any] = TallyDisk
    store: Callable[[Any, Point], ProjectionStore] = TallyStore


class TallyParts(Parts):
    """The tally."""


class ArchiveParts(Parts):
    """The archive."""

    rejects = False
    disk = ArchiveDisk
    store = ArchiveStore


class World:
    """A log, a store, a group of replicas.

    Args:
        parts: what it is built of.
        batch: records applied together, at most.
        beside: whether a batch is with the store while the next is read, as with a store on a thread of its own.
    """

    def __init__(self, parts: type[Parts], batch: int, *, beside: bool) -> None:
        self.parts = parts()
        self.worker = Inline() if beside else None
        self.batch = batch
        self.log = Log()
        self.disk: Disk = self.parts.disk()
        self.shelf = MemoryShelf()
        self.owners = [0] * PARTITIONS
        self.noted: dict[int, Position] = {}
        self.snapshots = [self.disk.snapshot()]
        self.time = 0.0
        self.replicas = [Replica(self, number) for number in range(REPLICAS)]

    def kill(self, number: int) -> None:
        """A process dies where it stands, and another takes its place."""
        self.replicas[number].go(Order.DIE)
        self.replicas[number] = Replica(self, number)

    def time_passes(self) -> None:
        """So long that each replica looks where the store stands, as soon as it has no batch there."""
        self.time += LOOK

    def restore(self, put_back: Callable[[], None]) -> None:
        """The store's data become older ones, or none, under running replicas.

        Its server is down meanwhile: an application that consists of several calls breaks. (One that did not could
        move a position that is the same again over documents that are gone: nothing but a transaction prevents it.)
        """
        for replica in self.replicas:
            if replica.at in MIDDLE and not replica.gone:
                replica.go(Order.FAIL)
        put_back()

    def check(self) -> None:
        """What holds at every moment: effects are those of the log up to the position; rejections are no good ones."""
        self.disk.check(self.log)
        for place, rejection in self.shelf.rejections.items():
            assert self.log.bad[place] == (rejection.key, rejection.value)
        if self.parts.rejects:
            passed = self.disk.positions()
            for place in self.log.bad:
                position = passed.get(place.partition)
                assert not position or position.offset <= place.offset or place in self.shelf.rejections

    def heal(self) -> None:
        """All faults end; everything comes to rest at the log's end, and is then what the log says."""
        for replica in self.replicas:
            replica.deaf = False
        self.rest()
        self.time_passes()  # a store that went back may have nothing to refuse: it is found out by a look
        self.rest()
        self.check_end()

    def rest(self) -> None:
        """Everybody goes on until nothing has come to anybody for a whole round."""
        for replica in self.replicas:
            replica.source.idle = 0
        for step in range(PATIENCE):
            self.replicas[step % REPLICAS].go()
            if all(each.source.idle > 1 for each in self.replicas):
                return
        raise AssertionError("the projection does not come to rest")

    def check_end(self) -> None:
        """What holds once everything is at rest."""
        self.check()
        self.disk.check_end(self.log)
        ends = {partition: self.log.end(partition) for partition in range(PARTITIONS) if self.log.end(partition)}
        assert {partition: position.offset for partition, position in self.disk.positions().items()} == ends
        assert set(self.shelf.rejections) == (set(self.log.bad) if self.parts.rejects else set())

    def end(self) -> None:
        """Ends all processes."""
        for replica in self.replicas:
            replica.go(Order.DIE)


def pool(size: int = 16) -> list[Vote]:
    """Votes with few ids, so that copies with other bodies meet: half of them from keys, half anonymous.

    Stamps go up to half an hour on, so that anonymous ids are forgotten as time passes.
    """
    made = []
    for serial in range(size):
        name = ("Alux Nahual", "alux  nahual", "Estrés")[serial % 3]
        vote_id = keyed_id(serial // 2 % 4) if serial % 2 else anonymous_id(serial // 2 % 4)
        made.append(a_vote(serial, name, rank=serial % 10, at=NOW + serial % 5 * 360_000, vote_id=vote_id))
    return made
