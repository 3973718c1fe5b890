"""Large batches take turns: each holds several times its bytes until it is answered."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aplauso.domain.errors import NotRecorded

LARGE: Final = 1 << 18
"""Bytes from which on a batch is a large one."""
WAITING: Final = 1 << 25
"""Bytes of all batches that wait for their turn, at most: some hundred of 5,000 votes."""


class Turns:
    """Lets so many large batches be at work at once, and others wait in the order in which they came.

    Args:
        at_once: of them; the processor does one at a time, and others are on their way meanwhile.
        most: bytes that may wait.
    """

    def __init__(self, at_once: int, most: int = WAITING) -> None:
        self._free = asyncio.Semaphore(at_once)
        self._room = most
        self._waits: set[asyncio.Timeout] = set()
        self._closed = False

    @asynccontextmanager
    async def turn(self, size: int, seconds: float, *, large: bool) -> AsyncIterator[None]:
        """The turn of a batch of `size` bytes; one that is not large does not wait.

        Raises:
            NotRecorded: its turn did not come in so many seconds, too much waits already, or turns are closed.
        """
        if not large:
            yield
            return
        await self._take(size, seconds)
        try:
            yield
        finally:
            self._free.release()

    async def _take(self, size: int, seconds: float) -> None:
        self._check()
        if self._free.locked() and size > self._room:
            raise NotRecorded("too many large batches wait for their turn")
        wait = asyncio.timeout(seconds)
        self._room -= size
        try:
            async with wait:
                self._waits.add(wait)
                await self._free.acquire()
        except TimeoutError:
            self._check()
            raise NotRecorded("too many large batches are under way") from None
        finally:
            self._waits.discard(wait)
            self._room += size
        if self._closed:
            self._free.release()
            self._check()

    def _check(self) -> None:
        if self._closed:
            raise NotRecorded("stopping")

    def close(self) -> None:
        """Refuses those who wait, and large batches that come from now on."""
        self._closed = True
        for wait in self._waits:
            if not wait.expired():
                wait.reschedule(asyncio.get_running_loop().time())
