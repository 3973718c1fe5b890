"""People who look on during a soak: stream viewers, and somebody who reads the standings once a second."""

import asyncio
from typing import Final

import aiohttp
import msgspec

_MARK: Final = b"event: standings"
_AGAIN_SECONDS: Final = 0.25


class _Total(msgspec.Struct):
    """What is read of the standings."""

    total: int


_decode: Final = msgspec.json.Decoder(_Total).decode


class Audience:
    """Looks on until it is cancelled.

    Args:
        streams: addresses of streams of standings, one for each viewer.
        standings: address of the standings.
        every: seconds between two readings of them.
    """

    def __init__(self, streams: list[str], standings: str, every: float = 1.0) -> None:
        self.frames = [0] * len(streams)
        """Frames that each viewer has seen."""
        self.reads = 0
        """Answers with standings."""
        self.failures = 0
        """Connections and calls that failed; a stream that ends, as each does after 4 MiB, is none."""
        self.backwards = 0
        """Standings with fewer votes than those read before."""
        self._streams, self._standings, self._every = streams, standings, every
        self._total = 0

    async def run(self) -> None:
        """Looks on."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None, sock_read=30.0)) as session:
            await asyncio.gather(
                self._read(session), *(self._view(session, at, url) for at, url in enumerate(self._streams))
            )

    async def _view(self, session: aiohttp.ClientSession, at: int, url: str) -> None:
        while True:
            try:
                async with session.get(url) as answer:
                    answer.raise_for_status()
                    rest = b""
                    async for chunk in answer.content.iter_any():
                        rest += chunk
                        self.frames[at] += rest.count(_MARK)
                        rest = rest[-len(_MARK) + 1 :]  # a mark may come in two pieces
            except (aiohttp.ClientError, TimeoutError):
                self.failures += 1
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _read(self, session: aiohttp.ClientSession) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            try:
                async with session.get(self._standings) as answer:
                    answer.raise_for_status()
                    self._look(_decode(await answer.read()).total)
            except (aiohttp.ClientError, TimeoutError):
                self.failures += 1
            due = max(due + self._every, loop.time())
            await asyncio.sleep(due - loop.time())

    def _look(self, total: int) -> None:
        self.reads += 1
        self.backwards += total < self._total
        self._total = total
