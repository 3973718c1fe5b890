"""The outside world in memory, for the tests of the flow: a clock, an intake, a tally's store, a sink, a watch."""

import asyncio
import copy
import gc
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, Protocol, TypeVar

from hypothesis import strategies as st

from aplauso.domain.contest import Contest
from aplauso.domain.errors import PositionMoved, Unavailable
from aplauso.domain.position import Position
from aplauso.domain.record import encode, partition_of
from aplauso.domain.tally import Bands, Contests, PartitionTally, merge
from aplauso.domain.text import fold, normalise
from aplauso.domain.vote import Vote, id_from_key
from aplauso.ports.intake import Receipt, Status
from aplauso.ports.projection import Applied, LoggedVote
from aplauso.ports.rejected import Place, Rejection
from aplauso.ports.standings import PartitionStandings

T = TypeVar("T")
NOW: Final = 1_795_000_000_000
"""The moment at which most votes of the tests are cast; the beginning of no ten-minute slot."""
DEADLINE: Final = 5.0
"""Seconds after which a test that waits for something gives up."""


async def until(condition: Callable[[], bool], what: str) -> None:
    """Waits until a condition holds."""
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, f"it did not come to this: {what}"
        await asyncio.sleep(0.001)


@contextmanager
def uncollected() -> Iterator[None]:
    """No garbage is collected meanwhile: what is free then is so as nobody refers to it."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def soon(awaitable: Awaitable[T]) -> T:
    """The result of what has to come soon."""
    async with asyncio.timeout(DEADLINE):
        return await awaitable


def anonymous_id(serial: int, at: int = NOW) -> str:
    """A UUIDv7 of the moment `at`, in milliseconds since the epoch (RFC 9562, section 5.7)."""
    text = f"{at:012x}7{serial >> 62 & 0xFFF:03x}{1 << 63 | serial & (1 << 62) - 1:016x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def keyed_id(serial: int) -> str:
    """The id of a vote that was sent with a key."""
    return id_from_key("gt", f"a-key-of-the-tests-{serial}")


def a_vote(
    serial: int = 0, name: str = "Alux Nahual", album: str = "Alto al Fuego", *,
    rank: int = 7, at: int = NOW, contest: str = "gt", vote_id: str | None = None,
) -> Vote:  # fmt: skip
    """A vote; without an id of its own, an anonymous one."""
    shown, record = normalise(name), normalise(album)
    return Vote(
        vote_id or anonymous_id(serial, at), contest, shown, record, 1988, rank, at, fold(shown), fold(record)
    )  # fmt: skip


def put(store: "Puts", vote: Vote) -> int:
    """Writes a vote's record into the log, and returns its partition."""
    key = vote.id.encode()
    partition = partition_of(key, store.partitions)
    store.put(partition, key, encode(vote))
    return partition


class Puts(Protocol):
    """What `put` needs of `fakes_log.MemoryStore`."""

    @property
    def partitions(self) -> int:
        """The configured number."""
        ...

    def put(self, partition: int, key: bytes | None, value: bytes | None) -> None:
        """Writes a record."""
        ...


def votes_strategy(contests: Sequence[str] = ("gt", "mx"), ids: int = 40) -> st.SearchStrategy[Vote]:
    """Votes of few bands and few ids, so that spellings meet and ids repeat."""
    names = st.sampled_from(["Alux Nahual", "alux  nahual", "ALUX NAHUAL", "Estrés", "estrés", "Y-find", "=1+1"])
    albums = st.sampled_from(["Sub", "sub", "SUB ", "Mil “Palabras”", "水 🎸"])

    def build(number: int, keyed: bool, contest: str, name: str, album: str, rank: int, minutes: int) -> Vote:
        at = NOW + minutes * 60_000
        vote_id = keyed_id(number) if keyed else anonymous_id(number, NOW)
        return a_vote(number, name, album, rank=rank, at=at, contest=contest, vote_id=vote_id)

    whole = st.integers
    return st.builds(
        build, whole(0, ids), st.booleans(), st.sampled_from(contests), names, albums, whole(0, 10), whole(0, 25)
    )


def a_contest(**changes: object) -> Contest:
    """A contest without bands, windows or surprises."""
    return Contest(**{"id": "gt", "title": {"es": "Bandas", "en": "Bands"}, **changes})  # type: ignore[arg-type]


class FakeClock:
    """Stands still unless it is moved."""

    def __init__(self, now: int = NOW) -> None:
        self.now = now

    def now_ms(self) -> int:
        return self.now


class FakeIntake:
    """Takes every vote; with `hold`, only once `release` is called. Raises `error` when there is one."""

    def __init__(self, *, hold: bool = False) -> None:
        self.batches: list[list[Vote]] = []
        self.error: Exception | None = None
        self.answer: Callable[[Vote], Receipt] = lambda vote: Receipt(vote.id, Status.RECORDED)
        self.short = 0
        self._open = asyncio.Event()
        if not hold:
            self._open.set()

    def release(self) -> None:
        """Answers what is held, and what comes."""
        self._open.set()

    def hold(self) -> None:
        """Answers nothing from now on."""
        self._open.clear()

    async def submit(self, votes: Sequence[Vote]) -> Sequence[Receipt]:
        self.batches.append(list(votes))
        await self._open.wait()
        if self.error is not None:
            raise self.error
        return [self.answer(vote) for vote in votes[: len(votes) - self.short]]

    async def close(self) -> None:
        pass


class FakeStandings:
    """A tally's store and its reader, a `PartitionTally` for each partition.

    Attributes:
        fails: what the next applications do: "before" raises before applying, "after" once applied, "" works.
        applied: the batches that were applied, as (partition, expected, following, votes).
        asked: how often positions were asked for.
    """

    def __init__(self) -> None:
        self.tallies: dict[int, PartitionTally] = {}
        self.stored: dict[int, Position] = {}
        self.fails: list[str] = []
        self.away = False
        self.applied: list[tuple[int, Position | None, Position, list[LoggedVote]]] = []
        self.asked = 0

    def positions(self, partitions: Sequence[int]) -> dict[int, Position | None]:
        self.asked += 1
        if self.away:
            raise Unavailable("the store is away")
        return {partition: self.stored.get(partition) for partition in partitions}

    def apply(
        self, partition: int, expected: Position | None, following: Position, votes: Sequence[LoggedVote]
    ) -> Applied:
        failure = self.fails.pop(0) if self.fails else ""
        if failure == "before":
            raise Unavailable("died before applying")
        if self.stored.get(partition) != expected:
            raise PositionMoved(self.stored.get(partition))
        tally = self.tallies.setdefault(partition, PartitionTally())
        counted = Counter(vote.contest for vote in tally.fold(vote for _, vote in votes))
        repeated = Counter(vote.contest for _, vote in votes) - counted
        self.stored[partition] = following
        self.applied.append((partition, expected, following, list(votes)))
        if failure == "after":
            raise Unavailable("died after applying")
        return Applied(dict(counted), dict(repeated))

    def contests(self) -> Contests:
        """The standings over all partitions."""
        return merge(tally.contests for tally in self.tallies.values())

    def lose(self) -> None:
        """All is gone, as after a flush."""
        self.tallies.clear()
        self.stored.clear()

    def snapshot(self) -> tuple[dict[int, PartitionTally], dict[int, Position]]:
        """All that is held, to be restored."""
        return copy.deepcopy(self.tallies), dict(self.stored)

    def restore(self, snapshot: tuple[dict[int, PartitionTally], dict[int, Position]]) -> None:
        """Goes back to a snapshot."""
        self.tallies, self.stored = copy.deepcopy(snapshot[0]), dict(snapshot[1])

    def version(self) -> Hashable:
        if self.away:
            raise Unavailable("the store is away")
        return tuple(sorted(self.stored.items()))

    def read(self, contest: str) -> Bands:
        if self.away:
            raise Unavailable("the store is away")
        return self.contests().get(contest, {})

    def partition(self, partition: int) -> PartitionStandings:
        tally = self.tallies.get(partition, PartitionTally())
        return PartitionStandings(self.stored.get(partition), tally.contests)

    def partitions(self) -> Mapping[int, Position]:
        return dict(self.stored)

    def close(self) -> None:
        pass


class FakeSink:
    """Keeps rejections by place; raises `Unavailable` as often as `fails` says."""

    def __init__(self) -> None:
        self.kept: dict[Place, Rejection] = {}
        self.fails = 0

    def add(self, rejections: Sequence[Rejection]) -> None:
        if self.fails:
            self.fails -= 1
            raise Unavailable("the rejected topic is away")
        self.kept |= {rejection.place: rejection for rejection in rejections}

    def close(self) -> None:
        pass


class FakeWatch:
    """Notes what a projection tells."""

    def __init__(self) -> None:
        self.counted = 0
        self.repeated = 0
        self.passed_over: list[Rejection] = []
        self.moves: list[tuple[int, Position | None]] = []
        self.waits: list[float] = []
        self.rounds = 0

    def applied(self, partition: int, votes: Sequence[LoggedVote], applied: Applied) -> None:
        self.counted += sum(applied.counted.values())
        self.repeated += sum(applied.repeated.values())

    def rejected(self, rejections: Sequence[Rejection]) -> None:
        self.passed_over += rejections

    def moved(self, partition: int, stored: Position | None) -> None:
        self.moves.append((partition, stored))

    def waiting(self, error: Unavailable, seconds: float) -> None:
        self.waits.append(seconds)

    def working(self) -> None:
        self.rounds += 1
