"""Handing a board's pages and results on, so that gateway and board share an address without a proxy beside them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import aiohttp
from yarl import URL

from aplauso.domain.errors import Unavailable
from aplauso.flow.feed import HEARTBEAT
from aplauso.web.http import Request, Response, Stream

_PASSED: Final = ("accept", "accept-language", "if-none-match", "cache-control")
_KEPT: Final = frozenset((
    "content-type", "cache-control", "etag", "vary", "content-security-policy", "x-content-type-options",
    "referrer-policy", "content-language", "x-request-id", "retry-after", "permissions-policy", "x-frame-options",
    "cross-origin-opener-policy", "cross-origin-resource-policy", "allow", "x-accel-buffering",
))  # fmt: skip
_EVENTS: Final = "text/event-stream"
PATIENCE: Final = 6.0
"""Seconds that a page may take: a board whose own store is silent says so after five. A connection whose other end is
gone without a word would be waited for without end."""
_SILENCE: Final = 3 * HEARTBEAT
"""Seconds after which a stream counts as dead: the board sends a sign of life more often."""


class Front:
    """Answers GET with what a board answers.

    Args:
        board_url: where the board is.
        patience: seconds that a page, or the beginning of a stream, may take.
    """

    def __init__(self, board_url: str, patience: float = PATIENCE) -> None:
        self._board = board_url.rstrip("/")
        self._patience = patience
        self._session: aiohttp.ClientSession | None = None

    async def get(self, request: Request) -> Response | Stream:
        """The board's answer; a stream goes on for as long as both sides want. Raises `Unavailable`."""
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=2.0, sock_read=_SILENCE)
            self._session = aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0))
        headers = {name: value for name in _PASSED if (value := request.header(name)) is not None}
        headers["x-request-id"] = request.id
        try:
            async with asyncio.timeout(self._patience):
                answer = await self._session.get(URL(self._board + request.target, encoded=True), headers=headers)
                kept = [(name.lower(), value) for name, value in answer.headers.items() if name.lower() in _KEPT]
                if answer.content_type == _EVENTS and answer.status == 200:
                    return Stream(kept, _chunks(answer))
                return Response(answer.status, kept, await answer.read())
        except (aiohttp.ClientError, TimeoutError) as error:
            why = str(error) or f"nothing came in {self._patience:g} s"
            raise Unavailable(f"the board does not answer: {why}") from None

    async def close(self) -> None:
        """Lets go of the connections."""
        if self._session is not None:
            await self._session.close()


async def _chunks(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    try:
        async for chunk in answer.content.iter_any():
            yield chunk
    except (aiohttp.ClientError, TimeoutError):
        return  # the board has gone: the viewer's browser connects again
    finally:
        answer.close()
