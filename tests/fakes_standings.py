"""Standings in memory: the reference that their contracts are written against, and ways to break it."""

import copy
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any

from aplauso.domain.errors import PositionMoved, Unavailable
from aplauso.domain.position import Position
from aplauso.domain.tally import Bands, Memory, PartitionTally, merge
from aplauso.domain.vote import Vote
from aplauso.ports.projection import Applied, LoggedVote, LoggedVotes
from aplauso.ports.standings import PartitionStandings


class World:
    """What would lie in the server."""

    def __init__(self) -> None:
        self.partitions: dict[int, tuple[Position, PartitionTally]] = {}
        self.tallies: dict[int, PartitionTally] = {}


class FakeStandings:
    """A standings' store over a `World`: each partition with its position is replaced as a whole.

    Args:
        world: shared with other stores and with readers.
        dies_at: name of the step at which it dies; None for never.
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
        self.step("positions")
        return {partition: self.held(partition)[0] for partition in partitions}

    def apply(
        self, partition: int, expected: Position | None, following: Position, votes: Sequence[LoggedVote]
    ) -> Applied:
        self.step("begin")
        stored, tally = self.held(partition)
        self.compare(stored, expected)
        changed = copy.deepcopy(tally)
        new = self.fold(changed, [entry.vote for entry in votes])
        self.step("folded")
        self.keep(partition, following, changed)
        self.step("kept")
        counted = Counter(vote.contest for vote in new)
        return Applied(dict(counted), dict(Counter(entry.vote.contest for entry in votes) - counted))

    def held(self, partition: int) -> tuple[Position | None, PartitionTally]:
        return self.world.partitions.get(partition, (None, PartitionTally()))

    def compare(self, stored: Position | None, expected: Position | None) -> None:
        if stored != expected:
            raise PositionMoved(stored)

    def fold(self, tally: PartitionTally, votes: Sequence[Vote]) -> list[Vote]:
        return tally.fold(votes)

    def keep(self, partition: int, following: Position, tally: PartitionTally) -> None:
        self.world.partitions[partition] = (following, tally)

    def close(self) -> None:
        pass


class FakeStandingsReader:
    """A standings' reader over a `World`."""

    def __init__(self, world: World) -> None:
        self.world = world

    def version(self) -> Hashable:
        return tuple(sorted(self.partitions().items()))

    def read(self, contest: str) -> Bands:
        parts = [tally.contests for _, tally in self.world.partitions.values()]
        return merge(parts).get(contest, {})

    def partition(self, partition: int) -> PartitionStandings:
        position, tally = self.world.partitions.get(partition, (None, PartitionTally()))
        return PartitionStandings(position, copy.deepcopy(tally.contests))

    def partitions(self) -> Mapping[int, Position]:
        return {partition: position for partition, (position, _) in self.world.partitions.items()}

    def close(self) -> None:
        pass


class FakePlace:
    """A `World` as the suites take it.

    Args:
        store: the class of its stores.
        reader: the class of its readers.
    """

    def __init__(
        self, store: type[FakeStandings] = FakeStandings, reader: type[FakeStandingsReader] = FakeStandingsReader
    ) -> None:
        self.world = World()
        self._store, self._reader = store, reader

    def store(self) -> FakeStandings:
        return self._store(self.world)

    def dying_stores(self) -> Iterator[FakeStandings]:
        for step in ("begin", "folded", "half", "kept"):
            if step != "half" or self._store is PositionLast:
                yield self._store(self.world, dies_at=step)

    def reader(self) -> FakeStandingsReader:
        return self._reader(self.world)

    def state(self, partition: int) -> Any:
        return self.reader().partition(partition).contests

    def snapshot(self) -> Callable[[], None]:
        kept = copy.deepcopy(self.world.__dict__)
        return lambda: self.world.__dict__.update(copy.deepcopy(kept))

    def close(self) -> None:
        pass


# Each of the following breaks one promise.


class AsksNobody(FakeStandings):
    """Applies whatever it is given."""

    def compare(self, stored: Position | None, expected: Position | None) -> None:
        pass


class ComparesOffsetsOnly(FakeStandings):
    """Does not see another topic or another epoch."""

    def compare(self, stored: Position | None, expected: Position | None) -> None:
        if (stored and stored.offset) != (expected and expected.offset):
            raise PositionMoved(stored)


class RefusesWithoutTelling(FakeStandings):
    """Refuses with the expected position in place of the stored one."""

    def compare(self, stored: Position | None, expected: Position | None) -> None:
        if stored != expected:
            raise PositionMoved(expected)


class ForgetsTheEpoch(FakeStandings):
    """Keeps topic and offset only."""

    def keep(self, partition: int, following: Position, tally: PartitionTally) -> None:
        super().keep(partition, following._replace(epoch=0), tally)


class PreparesTooMuch(FakeStandings):
    """Counts what it is to make ready."""

    def prepare(self, partition: int, votes: LoggedVotes) -> None:
        _, tally = self.held(partition)
        self.fold(tally, [entry.vote for entry in votes])


class StandsStillWithoutVotes(FakeStandings):
    """Takes an empty batch for nothing to do."""

    def apply(
        self, partition: int, expected: Position | None, following: Position, votes: Sequence[LoggedVote]
    ) -> Applied:
        return super().apply(partition, expected, following, votes) if votes else Applied({}, {})


class PositionLast(FakeStandings):
    """Counts first and moves the position in a step of its own."""

    def keep(self, partition: int, following: Position, tally: PartitionTally) -> None:
        position, _ = self.held(partition)
        fresh = copy.deepcopy(tally)
        fresh.memory = self.held(partition)[1].memory if position else PartitionTally().memory
        self.world.partitions[partition] = (position or following._replace(offset=0), fresh)
        self.step("half")
        super().keep(partition, following, tally)


class PositionFirst(FakeStandings):
    """Moves the position, then counts."""

    def apply(
        self, partition: int, expected: Position | None, following: Position, votes: Sequence[LoggedVote]
    ) -> Applied:
        self.step("begin")
        stored, tally = self.held(partition)
        self.compare(stored, expected)
        self.world.partitions[partition] = (following, tally)
        self.step("folded")
        new = self.fold(tally, [entry.vote for entry in votes])
        self.step("kept")
        counted = Counter(vote.contest for vote in new)
        return Applied(dict(counted), dict(Counter(entry.vote.contest for entry in votes) - counted))


class RemembersNothing(FakeStandings):
    """Counts every record."""

    def fold(self, tally: PartitionTally, votes: Sequence[Vote]) -> list[Vote]:
        tally.memory = PartitionTally().memory
        return [new for vote in votes for new in self._fold_one(tally, vote)]

    def _fold_one(self, tally: PartitionTally, vote: Vote) -> list[Vote]:
        tally.memory = PartitionTally().memory
        return tally.fold([vote])


class RemembersWhileOpen(FakeStandings):
    """Keeps its ids in the process."""

    def __init__(self, world: World, dies_at: str | None = None) -> None:
        super().__init__(world, dies_at)
        self._memories: dict[int, Any] = {}

    def fold(self, tally: PartitionTally, votes: Sequence[Vote]) -> list[Vote]:
        tally.memory = self._memories.setdefault(0, PartitionTally().memory)
        return tally.fold(votes)


class OneForAll(FakeStandings):
    """Keeps one position for all partitions."""

    def held(self, partition: int) -> tuple[Position | None, PartitionTally]:
        return super().held(0)

    def keep(self, partition: int, following: Position, tally: PartitionTally) -> None:
        super().keep(0, following, tally)


class RemembersElsewhere(FakeStandings):
    """Keeps its ids in another server than its counts, one that no backup goes back on."""

    def fold(self, tally: PartitionTally, votes: Sequence[Vote]) -> list[Vote]:
        tally.memory = self.world.__dict__.setdefault("elsewhere", Elsewhere())
        return tally.fold(votes)


class Elsewhere(Memory):
    """Ids that are not copied with the rest."""

    def __deepcopy__(self, memo: Any) -> "Elsewhere":
        return self


class ForgetsKeys(FakeStandings):
    """Forgets the ids of keys after two slots, as anonymous ones."""

    def fold(self, tally: PartitionTally, votes: Sequence[Vote]) -> list[Vote]:
        before = tally.memory.time
        new = tally.fold(votes)
        if before and tally.memory.time - before > 1_200_000:
            tally.memory.keyed.clear()
        return new


class RemembersAllForEver(FakeStandings):
    """Never forgets anonymous ids."""

    def fold(self, tally: PartitionTally, votes: Sequence[Vote]) -> list[Vote]:
        new: list[Vote] = []
        for vote in votes:
            if vote.id in tally.memory.keyed:
                tally.repeated += 1
            else:
                tally.memory.keyed.add(vote.id)
                again = PartitionTally()
                again.contests.update(tally.contests)
                new += again.fold([vote])
                tally.contests.update(again.contests)
        return new


class ForgetsByBatch(FakeStandings):
    """Takes the time of the whole batch for that of each of its records."""

    def fold(self, tally: PartitionTally, votes: Sequence[Vote]) -> list[Vote]:
        if votes:
            tally.memory._move(max(tally.memory.time, *(vote.cast_at for vote in votes), 0))
        return tally.fold(votes)


class FindsAcrossIds(FakeStandings):
    """Looks for an id anywhere in a text of all of them."""

    def fold(self, tally: PartitionTally, votes: Sequence[Vote]) -> list[Vote]:
        new = [vote for vote in tally.fold(votes) if vote.id.replace("-", "") not in self._text()]
        self.world.__dict__["text"] = self._text() + "".join(vote.id.replace("-", "") for vote in new)
        return new

    def _text(self) -> str:
        return str(self.world.__dict__.get("text", ""))


class FirstSpellingStays(FakeStandings):
    """Shows the spelling that the log has first."""

    def fold(self, tally: PartitionTally, votes: Sequence[Vote]) -> list[Vote]:
        before = {(c, b): band.shown for c, bands in tally.contests.items() for b, band in bands.items()}
        new = tally.fold(votes)
        for (contest, band), shown in before.items():
            tally.contests[contest][band].shown = shown
        return new


class SpellingByStampAlone(FakeStandings):
    """Of votes of one stamp, takes the last one's spelling."""

    def fold(self, tally: PartitionTally, votes: Sequence[Vote]) -> list[Vote]:
        new = tally.fold(votes)
        for vote in new:
            band = tally.contests[vote.contest][vote.band]
            if vote.cast_at == band.shown.cast_at:
                band.shown = type(band.shown)(vote.cast_at, vote.id, vote.name)
        return new


class MixesContests(FakeStandings):
    """Tells nobody of which contest a repeated vote is."""

    def apply(
        self, partition: int, expected: Position | None, following: Position, votes: Sequence[LoggedVote]
    ) -> Applied:
        applied = super().apply(partition, expected, following, votes)
        return Applied(applied.counted, {"": sum(applied.repeated.values())})


class ReadsOnePartition(FakeStandingsReader):
    """Reads the first partition only."""

    def read(self, contest: str) -> Bands:
        return self.partition(0).contests.get(contest, {})


class KeepsWhatItRead(FakeStandingsReader):
    """Reads a contest once."""

    def read(self, contest: str) -> Bands:
        kept: dict[str, Bands] = self.__dict__.setdefault("kept", {})
        return kept.setdefault(contest, super().read(contest))


class NeverChanges(FakeStandingsReader):
    """Has one version for ever."""

    def version(self) -> Hashable:
        return 0


class AlwaysChanges(FakeStandingsReader):
    """Has a new version whenever it is asked."""

    def version(self) -> Hashable:
        return object()


class ReadsInTwoSteps(FakeStandingsReader):
    """Reads the position, and only then the counts."""

    def partition(self, partition: int) -> PartitionStandings:
        position = super().partition(partition).position
        # Gives way to the writer in between, until it has gone on or has ended.
        for _ in range(200):
            if super().partition(partition).position != position:
                break
            __import__("time").sleep(0.0005)
        return PartitionStandings(position, super().partition(partition).contests)


class ListsEveryPartition(FakeStandingsReader):
    """Gives a position to partitions that have none."""

    def partitions(self) -> Mapping[int, Position]:
        return {0: Position("", 0)} | dict(super().partitions())


class CutsAtNul(FakeStandings):
    """Ends every text at its first NUL."""

    def fold(self, tally: PartitionTally, votes: Sequence[Vote]) -> list[Vote]:
        new = tally.fold(votes)
        for bands in tally.contests.values():
            for band in bands.values():
                band.shown = band.shown._replace(text=band.shown.text.split("\0")[0])
        return new
