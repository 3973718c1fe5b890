"""Somebody who reads standings and records from a board, again and again, while its links break."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from time import monotonic
from typing import Final

import aiohttp

_EVERY_SECONDS: Final = 0.1
_ANSWER_SECONDS: Final = 15.0


class Onlooker:
    """Reads two pages, each on its own: one that hangs does not keep the other from being read.

    Args:
        base: address of a contest at the board.
    """

    def __init__(self, base: str) -> None:
        self.read: dict[str, float] = {f"{base}/{page}": 0.0 for page in ("standings", "records")}
        """By address, when the latest request was sent that got its page (monotonic seconds)."""

    def since(self, moment: float) -> bool:
        """Whether both were asked for after a moment, and came."""
        return all(sent > moment for sent in self.read.values())

    @contextlib.asynccontextmanager
    async def looking(self) -> AsyncIterator[None]:
        """Reads while the context lasts."""
        timeout = aiohttp.ClientTimeout(total=_ANSWER_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            tasks = [asyncio.create_task(self._look(session, url)) for url in self.read]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _look(self, session: aiohttp.ClientSession, url: str) -> None:
        while True:
            sent = monotonic()
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with session.get(url) as answer:
                    await answer.read()
                    if answer.status == 200:
                        self.read[url] = sent
            await asyncio.sleep(_EVERY_SECONDS)
