"""Step 4, continued: one contest's stream, from one task to all of its viewers.

A task for each viewer that is woken for each frame costs twelve microseconds a frame; a call from here costs three.
The rest, fifteen, is the sockets': thousands of viewers get as many frames as a part of one core can send.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from typing import Final

import msgspec

from aplauso.domain.errors import TryLater
from aplauso.domain.tally import Standing

INTERVAL: Final = 0.2
"""Seconds between two frames of a stream, at least."""
TICK: Final = 0.05
"""Seconds between two looks at the store while somebody watches."""
HEARTBEAT: Final = 15.0
"""Seconds of silence after which a stream says that it is alive."""
SLICE: Final = 250
"""Viewers who are shown a frame before others who wait for this process have their turn."""
SHARE: Final = 0.4
"""Of a core, what frames may take: when five a second to each viewer would take more, they come less often."""
SLOWEST: Final = 0.8
"""Seconds after which each viewer has its next frame all the same, if the process can do that at all."""
COST: Final = (20e-6, 100e-6)
"""Seconds of processor time that a frame to a viewer takes, at least and at most. Less is not believed: the process
is kept from running and will take them later. More is not the viewers' fault."""

Viewer = Callable[[bytes | None], bool]
"""Is shown a frame's JSON, or None as a sign of life, and never waits. False: it has gone, or has had enough."""


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


class Seat:
    """A viewer, the number of the frame that it has seen, and when (loop time) it was last shown something."""

    __slots__ = ("at", "seen", "viewer")

    def __init__(self, viewer: Viewer, seen: int, at: float) -> None:
        self.viewer = viewer
        self.seen = seen
        self.at = at


class Feed:
    """One contest's stream: reads while somebody watches, and shows everybody the newest frame in turn.

    Args:
        read: the newest standings. May raise `TryLater`.
    """

    def __init__(self, read: Callable[[], Awaitable[Current]]) -> None:
        self._read = read
        self._current: Current | None = None
        self._number = 0
        self._changed = 0.0
        self._closed = False
        # Who was shown something longest ago is first, and so has seen the oldest frame.
        self._seats: deque[Seat] = deque()
        self._task: asyncio.Task[None] | None = None

    @property
    def viewers(self) -> int:
        """How many streams are open."""
        return len(self._seats)

    def join(self, first: Current, viewer: Viewer) -> None:
        """Shows a viewer `first`, or what is newer, at once, and then each change."""
        now = asyncio.get_running_loop().time()
        if self._current is None or self._current.checked < first.checked:
            self._publish(first, now)
            self._current = first
        assert self._current is not None
        if viewer(self._current.body) and not self._closed:
            self._seats.append(Seat(viewer, self._number, now))
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Ends the stream for all viewers."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self._seats.clear()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        before, free = time.process_time(), 0.0
        while self._seats:
            if loop.time() - self._changed >= INTERVAL:
                await self._look(loop)
            now = loop.time()
            shown = self._show(now)
            taken, before = time.process_time() - before, time.process_time()
            if shown < SLICE:
                await asyncio.sleep(TICK)
                continue
            # Counted from when it should have been this slice's turn: a busy machine wakes nobody in time.
            free = max(free, now - INTERVAL) + pause(shown, len(self._seats), taken)
            await asyncio.sleep(max(0.0, free - loop.time()))

    async def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            self._publish(await self._read(), loop.time())
        except TryLater:
            return  # the store is away: the viewers keep what they have, and signs of life go on

    def _publish(self, current: Current, now: float) -> None:
        if self._current is None or self._current.frame.standings != current.frame.standings:
            self._current, self._changed = current, now
            self._number += 1

    def _show(self, now: float) -> int:
        """Shows what there is to those whose turn it is, as many as make a slice; returns how many."""
        assert self._current is not None
        seats, number, body = self._seats, self._number, self._current.body
        for shown in range(min(SLICE, len(seats))):
            seat = seats[0]
            is_new = seat.seen != number and now - seat.at >= INTERVAL
            if not is_new and now - seat.at < HEARTBEAT:
                return shown
            seats.popleft()
            seat.seen, seat.at = number, now
            if seat.viewer(body if is_new else None):
                seats.append(seat)
        return min(SLICE, len(seats))


def pause(shown: int, viewers: int, taken: float) -> float:
    """Seconds from a slice to the next one.

    Args:
        shown: viewers in it.
        viewers: all of them.
        taken: processor time of the process since the slice before: what was shown then is sent meanwhile.
    """
    least, most = COST
    cost = min(max(taken, least * shown), most * shown)
    return min(cost / SHARE, SLOWEST * shown / max(shown, viewers))
