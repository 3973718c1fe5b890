"""Step 4: standings, the live stream, records.

However many people look, the store is read once for each change and at most five times a second; everybody
gets the same bytes.
"""

import asyncio
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

import msgspec

from aplauso.domain.contest import Contest, instant
from aplauso.domain.tally import Bands, standings
from aplauso.flow.feed import Current, Feed, Frame, Viewer
from aplauso.ports.archive import ArchivedVote, ArchiveReader
from aplauso.ports.clock import Clock
from aplauso.ports.standings import StandingsReader

T = TypeVar("T")
_FRESH: Final = 0.02
"""Seconds for which a look at the store's version is good."""


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

    def watch(self, contest: Contest, first: Current, viewer: Viewer) -> None:
        """Shows a viewer a contest's standings: what `current` gave at once, or what is newer, then each change.

        A store that is away only makes a viewer wait.
        """
        self._feeds.setdefault(contest.id, Feed(lambda: self.current(contest))).join(first, viewer)

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
