"""The clients of one listening address: what their connections share, and who is late."""

import asyncio
from collections.abc import Callable
from email.utils import formatdate
from typing import Final, Protocol

import structlog

from aplauso.services.heads import Heads
from aplauso.web.app import App

TICK_SECONDS: Final = 1.0
"""How often it is looked who is late: a timer for each request would cost more than the vote in it."""
log = structlog.get_logger("aplauso.http")


class Client(Protocol):
    """A connection."""

    due: float
    """The loop's time at which `expire` is to be called, up to a tick later."""

    def expire(self) -> None:
        """It is too late for what was waited for."""
        ...

    def finish(self) -> None:
        """Ends: at once, or with the answer that is under way."""
        ...

    def abort(self) -> None:
        """Ends at once, whatever is under way."""
        ...


class Clients:
    """Made on the event loop that serves them.

    Args:
        app: answers their requests.
    """

    def __init__(self, app: App) -> None:
        self.app = app
        self.loop = asyncio.get_running_loop()
        self.all: set[Client] = set()
        self.heads = Heads()
        self.now = 0.0
        """The loop's time at the latest tick."""
        self.date = ""
        """The head's line that tells the time (RFC 9110, section 6.6.1)."""
        self._timer: asyncio.TimerHandle | None = None
        self._gone = asyncio.Event()
        self._tick()

    def leave(self, client: Client) -> None:
        """A connection has ended."""
        self.all.discard(client)
        if not self.all:
            self._gone.set()

    async def end(self, seconds: float) -> None:
        """Ends all connections; those that take longer than so many seconds are cut off."""
        for client in list(self.all):
            _guarded(client, client.finish)
        if not await self._ended(seconds):
            for client in list(self.all):
                client.abort()
            await self._ended(1.0)
        if self._timer is not None:
            self._timer.cancel()

    async def _ended(self, seconds: float) -> bool:
        self._gone.clear()
        if self.all:
            try:
                await asyncio.wait_for(self._gone.wait(), seconds)
            except TimeoutError:
                return False
        return True

    def _tick(self) -> None:
        self._timer = self.loop.call_later(TICK_SECONDS, self._tick)
        self.look(self.loop.time())

    def look(self, now: float) -> None:
        """Ends the waiting of all who are late at a moment of the loop's time."""
        self.now = now
        self.date = f"date: {formatdate(usegmt=True)}\r\n"
        for client in [client for client in self.all if client.due <= now]:
            _guarded(client, client.expire)


def _guarded(client: Client, call: Callable[[], None]) -> None:
    """Calls what is a client's; one that fails loses its connection, and nobody else anything."""
    try:
        call()
    except Exception:
        log.exception("a connection failed")
        client.abort()
