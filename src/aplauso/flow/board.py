"""Step 4: standings, the live stream, records.

However many people look, the store is read once for each change and at most five times a second; everybody
gets the same bytes.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

import msgspec

from aplauso.domain.contest import Contest, instant
from aplauso.domain.errors import TryLater
from aplauso.domain.tally import Bands, Standing, standings
from aplauso.ports.archive import ArchivedVote, ArchiveReader
from aplauso.ports.clock import Clock
from aplauso.ports.standings import StandingsReader

T = TypeVar("T")
INTERVAL: Final = 0.2
"""Seconds between two frames of a stream, at least."""
TICK: Final = 0.05
"""Seconds between two looks at the store while somebody watches."""
HEARTBEAT: Final = 15.0
"""Seconds of silence after which a stream says that it is alive."""
_FRESH: Final = 0.02
"""Seconds for which a look at the store's version is good."""


class Frame(msgspec.Struct, frozen=True):
    """A contest's standings as everybody gets them.

    Attributes:
        contest: its id.
        total: votes counted.
        standings: a line for each band.
        as_of: when the standings were read, RFC 3339.
    """

    contest: str
    total: int
    standings: tuple[Standing, ...]
    as_of: str


class Current(msgspec.Struct):
    """A frame, its JSON, the store's version that it shows, and when (loop time) that was last looked at."""

    version: Hashable
    frame: Frame
    body: bytes
    checked: float


class Board:
    """Reads standings and records for any number of people. Used by one event loop.

    Args:
        standings: the live standings.
        archive: the vote archive.
        clock: tells when standings were read.
    """

    def __init__(self, standings: StandingsReader, archive: ArchiveReader, clock: Clock) -> None:
        self._standings = standings
        self._archive = archive
        self._clock = clock
        # A thread each: a reader is used by one at a time, and a slow archive does not hold up the standings.
        self._standings_thread = ThreadPoolExecutor(1, "board-standings")
        self._archive_thread = ThreadPoolExecutor(1, "board-archive")
        self._cache: dict[str, Current] = {}
        self._reading: dict[str, asyncio.Task[Current]] = {}
        self._feeds: dict[str, Feed] = {}

    async def frame(self, contest: Contest) -> Frame:
        """A contest's standings now. Raises `Unavailable`."""
        return (await self.current(contest)).frame

    async def body(self, contest: Contest) -> bytes:
        """The same as JSON. Raises `Unavailable`."""
        return (await self.current(contest)).body

    async def records(self, contest: Contest, limit: int) -> Sequence[ArchivedVote]:
        """The newest votes of a contest, newest first. Raises `Unavailable`."""
        return await self._in(self._archive_thread, lambda: self._archive.latest(contest.id, limit))

    async def find(self, vote_id: str) -> ArchivedVote | None:
        """The archived vote of an id. Raises `Unavailable`."""
        return await self._in(self._archive_thread, lambda: self._archive.find(vote_id))

    async def ready(self) -> None:
        """Checks that both stores can be read now. Raises `Unavailable`."""
        await self._in(self._standings_thread, self._standings.version)
        await self._in(self._archive_thread, self._archive.partitions)

    async def stream(self, contest: Contest) -> AsyncIterator[bytes | None]:
        """A contest's standings as JSON: one at once, then one for each change; None is a sign of life.

        A reader that is slow gets the newest frame and misses those in between. Raises `Unavailable` when the
        first frame cannot be read; later failures only make the stream wait.
        """
        current = await self.current(contest)
        feed = self._feeds.setdefault(contest.id, Feed(lambda: self.current(contest)))
        async with contextlib.aclosing(feed.follow(current)) as frames:
            async for body in frames:
                yield body

    def viewers(self) -> int:
        """How many streams are open."""
        return sum(feed.viewers for feed in self._feeds.values())

    async def close(self) -> None:
        """Ends all streams and lets go of the readers."""
        for feed in self._feeds.values():
            await feed.close()
        self._feeds.clear()
        self._standings_thread.shutdown(wait=True)
        self._archive_thread.shutdown(wait=True)

    async def _in(self, thread: ThreadPoolExecutor, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(thread, call)

    async def current(self, contest: Contest) -> Current:
        """The newest standings; those who ask at the same time share one look at the store."""
        cached = self._cache.get(contest.id)
        if cached is not None and asyncio.get_running_loop().time() - cached.checked < _FRESH:
            return cached
        task = self._reading.get(contest.id)
        if task is None:
            task = asyncio.create_task(self._refresh(contest, cached))
            self._reading[contest.id] = task
            task.add_done_callback(lambda _: self._reading.pop(contest.id, None))
        return await asyncio.shield(task)

    async def _refresh(self, contest: Contest, cached: Current | None) -> Current:
        started = asyncio.get_running_loop().time()
        found = await self._in(self._standings_thread, lambda: self._look(contest, cached and cached.version))
        if found is None and cached is not None:
            cached.checked = started
            return cached
        assert found is not None
        version, frame = found
        fresh = Current(version, frame, msgspec.json.encode(frame), started)
        self._cache[contest.id] = fresh
        return fresh

    def _look(self, contest: Contest, known: Hashable) -> tuple[Hashable, Frame] | None:
        """On the readers' thread: what the store holds, or None when it is the known version."""
        # The version is read first: standings that are newer than it are read again, never missed.
        version = self._standings.version()
        if known is not None and version == known:
            return None
        return version, make_frame(contest.id, self._standings.read(contest.id), self._clock.now_ms())


def make_frame(contest: str, bands: Bands, at: int) -> Frame:
    """The standings of a contest from its tallies, read at `at` (milliseconds since the epoch)."""
    return Frame(contest, sum(band.votes for band in bands.values()), standings(bands), instant(at))


class Feed:
    """One contest's stream: reads while somebody watches, and wakes all viewers at once.

    Args:
        read: the newest standings. May raise `TryLater`.
    """

    def __init__(self, read: Callable[[], Awaitable[Current]]) -> None:
        self._read = read
        self._current: Current | None = None
        self._number = 0
        self._closed = False
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.viewers = 0

    async def follow(self, first: Current) -> AsyncGenerator[bytes | None, None]:
        """Frames for one viewer, as `Board.stream`, from `first` on."""
        self.viewers += 1
        try:
            shown, seen = self._join(first), self._number
            yield shown.body
            while not self._closed:
                if self._number == seen:
                    await self._wake.wait()
                newest, is_new = self._current or shown, self._number != seen
                seen = self._number
                if not is_new:
                    yield None
                elif newest.frame.standings != shown.frame.standings:
                    shown = newest
                    yield shown.body
        finally:
            self.viewers -= 1

    def _join(self, first: Current) -> Current:
        """What a viewer who comes is shown first. The others hear nothing of it: their next frame has its time."""
        if self._task is None or self._task.done():
            self._current = first  # nobody watched, so what was shown last is old
            self._task = asyncio.create_task(self._run())
        if self._current is None or self._current.checked < first.checked:
            return first
        return self._current

    async def close(self) -> None:
        """Ends the stream for all viewers."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self._rouse()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        last = loop.time()
        while self.viewers:
            await asyncio.sleep(TICK)
            silence = loop.time() - last
            if silence >= INTERVAL and await self._changed():
                last = loop.time()
            elif silence >= HEARTBEAT:
                last = loop.time()
                self._rouse()

    async def _changed(self) -> bool:
        try:
            return self._publish(await self._read())
        except TryLater:
            return False  # the store is away: the viewers keep what they have, and signs of life go on

    def _publish(self, current: Current) -> bool:
        if self._current is not None and self._current.frame.standings == current.frame.standings:
            return False
        self._current = current
        self._number += 1
        self._rouse()
        return True

    def _rouse(self) -> None:
        self._wake.set()
        self._wake = asyncio.Event()
