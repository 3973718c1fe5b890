"""The archive in memory: the reference that its contract is written against, and ways to break it."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from aplauso.domain.errors import PositionMoved, Unavailable
from aplauso.domain.position import Position
from aplauso.domain.vote import Vote
from aplauso.ports.archive import ArchivedVote, ArchiveReader
from aplauso.ports.projection import Applied, LoggedVote


class World:
    """What would lie on the disk."""

    def __init__(self) -> None:
        self.votes: dict[str, ArchivedVote] = {}
        self.positions: dict[int, Position] = {}


class FakeArchive:
    """An archive's store over a `World`; it inserts one vote at a time, then moves the position.

    Args:
        world: shared with other stores and with readers.
        dies_at: name of the step at which it dies, as `step` is given it; None for never.
    """

    def __init__(self, world: World, dies_at: str | None = None) -> None:
        self.world = world
        self.dies_at = dies_at

    def step(self, name: str) -> None:
        """Dies here when it is to; it stays dead."""
        if self.dies_at in (name, "dead"):
            self.dies_at = "dead"
            raise Unavailable(f"died at {name}")

    def positions(self, partitions: Sequence[int]) -> dict[int, Position | None]:
        self.step("read positions")
        return {partition: self.world.positions.get(partition) for partition in partitions}

    def apply(
        self, partition: int, expected: Position | None, following: Position, votes: Sequence[LoggedVote]
    ) -> Applied:
        self.step("begin")
        self.check(partition, expected)
        self.step("checked")
        new = [vote.contest for at, (offset, vote) in enumerate(votes) if self.insert(at, partition, offset, vote)]
        self.step("inserted")
        self.move(partition, following)
        self.step("moved")
        total, counted = Counter(vote.contest for _, vote in votes), Counter(new)
        return Applied(dict(counted), dict(total - counted))

    def check(self, partition: int, expected: Position | None) -> None:
        stored = self.world.positions.get(partition)
        if stored != expected:
            raise PositionMoved(stored)

    def insert(self, at: int, partition: int, offset: int, vote: Vote) -> bool:
        """Keeps a vote unless there is one of its id; whether the archive has this very copy."""
        kept = self.world.votes.setdefault(vote.id, archived(partition, offset, vote))
        self.step(f"inserted {at}")
        return (kept.partition, kept.offset) == (partition, offset)

    def move(self, partition: int, following: Position) -> None:
        self.world.positions[partition] = following

    def close(self) -> None:
        pass


class FakeArchiveReader:
    """An archive's reader over a `World`."""

    def __init__(self, world: World) -> None:
        self.world = world

    def latest(self, contest: str, limit: int) -> Sequence[ArchivedVote]:
        ours = [vote for vote in self.world.votes.values() if vote.contest == contest]
        return sorted(ours, key=lambda vote: (vote.cast_at, vote.id), reverse=True)[:limit]

    def find(self, vote_id: str) -> ArchivedVote | None:
        return self.world.votes.get(vote_id)

    def partitions(self) -> Mapping[int, Position]:
        return dict(self.world.positions)

    def scan(self, stops: Mapping[int, int]) -> Iterator[Sequence[ArchivedVote]]:
        ours = [vote for vote in self.world.votes.values() if vote.offset < stops.get(vote.partition, 0)]
        for start in range(0, len(ours), 1000):
            yield ours[start : start + 1000]

    def close(self) -> None:
        pass


def archived(partition: int, offset: int, vote: Vote) -> ArchivedVote:
    """The archive's document of a vote."""
    return ArchivedVote(
        vote.id, vote.contest, vote.name, vote.album, vote.year, vote.rank, vote.cast_at, partition, offset
    )


class FakePlace:
    """Makes stores and readers over one `World`; by default the right ones."""

    POINTS: Final = ("begin", "checked", "inserted 0", "inserted 1", "inserted 4", "inserted", "moved")

    def __init__(
        self,
        points: Sequence[str] = POINTS,
        store: Callable[..., FakeArchive] = FakeArchive,
        reader: Callable[[World], FakeArchiveReader] = FakeArchiveReader,
    ) -> None:
        self.world = World()
        self.points = points
        self._store, self._reader = store, reader

    def store(self) -> FakeArchive:
        return self._store(self.world)

    def reader(self) -> FakeArchiveReader:
        return self._reader(self.world)

    def dying_stores(self) -> Iterator[FakeArchive]:
        yield from (self._store(self.world, step) for step in self.points)

    def state(self, partition: int) -> list[ArchivedVote]:
        return state_of(self.reader(), partition)

    def snapshot(self) -> Callable[[], None]:
        votes, positions = dict(self.world.votes), dict(self.world.positions)

        def put_back() -> None:
            self.world.votes, self.world.positions = dict(votes), dict(positions)

        return put_back

    def close(self) -> None:
        pass


def state_of(reader: ArchiveReader, partition: int) -> list[ArchivedVote]:
    """What a reader sees of a partition below its position, as if it were partition 0, so that two can be compared."""
    position = reader.partitions().get(partition)
    found = [vote for chunk in reader.scan({partition: position.offset}) for vote in chunk] if position else []
    return sorted((msgspec.structs.replace(vote, partition=0) for vote in found), key=lambda vote: vote.id)


# From here on: broken archives, one for each promise. The contract's suite has to catch every one of them.


class LastWins(FakeArchive):
    def insert(self, at: int, partition: int, offset: int, vote: Vote) -> bool:
        self.world.votes[vote.id] = archived(partition, offset, vote)
        return super().insert(at, partition, offset, vote)


class LastOfTheBatchWins(FakeArchive):
    def apply(
        self, partition: int, expected: Position | None, following: Position, votes: Sequence[LoggedVote]
    ) -> Applied:
        return super().apply(partition, expected, following, votes[::-1])


class CountsRepeats(FakeArchive):
    def insert(self, at: int, partition: int, offset: int, vote: Vote) -> bool:
        super().insert(at, partition, offset, vote)
        return True


class StopsAtARepeat(FakeArchive):
    """As an ordered insert would."""

    def insert(self, at: int, partition: int, offset: int, vote: Vote) -> bool:
        if at and self.stopped:
            return False
        new = super().insert(at, partition, offset, vote)
        self.stopped = not new
        return new

    stopped = False


class PositionFirst(FakeArchive):
    """For the second of the suite's batches."""

    def insert(self, at: int, partition: int, offset: int, vote: Vote) -> bool:
        if at == 0 and offset == 2:
            self.world.positions[partition] = Position("log", 7, 3)
        return super().insert(at, partition, offset, vote)


class AsksNobody(FakeArchive):
    def check(self, partition: int, expected: Position | None) -> None:
        pass


class BeginsBlindly(FakeArchive):
    def check(self, partition: int, expected: Position | None) -> None:
        if expected is not None:
            super().check(partition, expected)


class ComparesOffsetsOnly(FakeArchive):
    def check(self, partition: int, expected: Position | None) -> None:
        stored = self.world.positions.get(partition)
        if (stored and stored.offset) != (expected and expected.offset):
            raise PositionMoved(stored)


class RefusesWithoutTelling(FakeArchive):
    def check(self, partition: int, expected: Position | None) -> None:
        if self.world.positions.get(partition) != expected:
            raise PositionMoved(expected)


class InsertsBeforeItAsks(FakeArchive):
    def apply(
        self, partition: int, expected: Position | None, following: Position, votes: Sequence[LoggedVote]
    ) -> Applied:
        for offset, vote in votes:
            self.world.votes.setdefault(vote.id, archived(partition, offset, vote))
        return super().apply(partition, expected, following, votes)


class ForgetsTheEpoch(FakeArchive):
    def move(self, partition: int, following: Position) -> None:
        super().move(partition, following._replace(epoch=3))


class StandsStillWithoutVotes(FakeArchive):
    def apply(
        self, partition: int, expected: Position | None, following: Position, votes: Sequence[LoggedVote]
    ) -> Applied:
        return super().apply(partition, expected, following, votes) if votes else Applied({}, {})


class OnePositionForAll(FakeArchive):
    def move(self, partition: int, following: Position) -> None:
        for one in {partition, *self.world.positions}:
            super().move(one, following)


class KeepsInMemory(FakeArchive):
    def close(self) -> None:
        self.world.votes.clear()


class CutsAtNul(FakeArchive):
    def insert(self, at: int, partition: int, offset: int, vote: Vote) -> bool:
        cut = Vote(
            vote.id, vote.contest, vote.name.split("\x00")[0], vote.album, vote.year, vote.rank, vote.cast_at,
            vote.band, vote.record,
        )  # fmt: skip
        return super().insert(at, partition, offset, cut)


class Offsets32(FakeArchive):
    def insert(self, at: int, partition: int, offset: int, vote: Vote) -> bool:
        return super().insert(at, partition, offset & 0x7FFFFFFF, vote)


class TakesWhatRanAheadForAll(FakeArchive):
    """Where a batch's first document is there already, it thinks that all of them are."""

    def insert(self, at: int, partition: int, offset: int, vote: Vote) -> bool:
        if at == 0:
            self.there = vote.id in self.world.votes
        return not self.there and super().insert(at, partition, offset, vote)

    there = False


class OldestFirst(FakeArchiveReader):
    def latest(self, contest: str, limit: int) -> Sequence[ArchivedVote]:
        return super().latest(contest, limit)[::-1]


class ByStampAlone(FakeArchiveReader):
    def latest(self, contest: str, limit: int) -> Sequence[ArchivedVote]:
        ours = [vote for vote in self.world.votes.values() if vote.contest == contest]
        return sorted(ours, key=lambda vote: -vote.cast_at)[:limit]


class NoneMeansAll(FakeArchiveReader):
    """As MongoDB's own limit."""

    def latest(self, contest: str, limit: int) -> Sequence[ArchivedVote]:
        return super().latest(contest, limit or 1000)


class MixesContests(FakeArchiveReader):
    def latest(self, contest: str, limit: int) -> Sequence[ArchivedVote]:
        both = [*super().latest("bandas-gt", limit), *super().latest("bandas-sv", limit)]
        return sorted(both, key=lambda vote: (vote.cast_at, vote.id), reverse=True)[:limit]


class AnswersFromMemory(FakeArchiveReader):
    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.answers: dict[tuple[str, int], Sequence[ArchivedVote]] = {}

    def latest(self, contest: str, limit: int) -> Sequence[ArchivedVote]:
        return self.answers.setdefault((contest, limit), super().latest(contest, limit))


class FloorTooHigh(FakeArchiveReader):
    """Remembers the stamp of its last answer's last vote, and takes only what is newer."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.floors: dict[tuple[str, int], int] = {}

    def latest(self, contest: str, limit: int) -> Sequence[ArchivedVote]:
        found = [v for v in super().latest(contest, 1000) if v.cast_at > self.floors.get((contest, limit), 0)][:limit]
        if len(found) == limit:
            self.floors[contest, limit] = found[-1].cast_at
        return found


class ScansBeyond(FakeArchiveReader):
    def scan(self, stops: Mapping[int, int]) -> Iterator[Sequence[ArchivedVote]]:
        return super().scan({partition: stop + 1 for partition, stop in stops.items()})


class ScansAll(FakeArchiveReader):
    def scan(self, stops: Mapping[int, int]) -> Iterator[Sequence[ArchivedVote]]:
        yield [vote for vote in self.world.votes.values() if vote.offset < max(stops.values())]


class ScansTwice(FakeArchiveReader):
    def scan(self, stops: Mapping[int, int]) -> Iterator[Sequence[ArchivedVote]]:
        chunks = list(super().scan(stops))
        yield from chunks
        yield from chunks[:1]


class OneChunkOnly(FakeArchiveReader):
    def scan(self, stops: Mapping[int, int]) -> Iterator[Sequence[ArchivedVote]]:
        yield from list(super().scan(stops))[:1]


class FindsByPrefix(FakeArchiveReader):
    def find(self, vote_id: str) -> ArchivedVote | None:
        return next((vote for vote in self.world.votes.values() if vote.id.startswith(vote_id)), None)
