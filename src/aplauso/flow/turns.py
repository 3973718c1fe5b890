"""Large batches take turns: each holds several times its bytes until it is answered."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aplauso.domain.errors import NotRecorded

LARGE: Final = 1 << 18
"""Bytes from which on a batch waits for its turn."""


class Turns:
    """Lets so many large batches be at work at once, and others wait in the order in which they came.

    Args:
        at_once: of them; the processor does one at a time, and others are on their way meanwhile.
    """

    def __init__(self, at_once: int) -> None:
        self._free = asyncio.Semaphore(at_once)

    @asynccontextmanager
    async def turn(self, size: int, seconds: float) -> AsyncIterator[None]:
        """The turn of a batch of `size` bytes; a small one does not wait.

        Raises:
            NotRecorded: its turn did not come in so many seconds.
        """
        if size < LARGE:
            yield
            return
        try:
            async with asyncio.timeout(seconds):
                await self._free.acquire()
        except TimeoutError:
            raise NotRecorded("too many large batches are under way") from None
        try:
            yield
        finally:
            self._free.release()
