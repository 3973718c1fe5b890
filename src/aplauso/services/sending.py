"""One client's connection, the writing side: answers, and streams that somebody pushes."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, cast

import structlog

from aplauso.services.clients import TICK_SECONDS, Clients
from aplauso.web import wire
from aplauso.web.http import Answer, Request, Sink, Stream

IDLE_SECONDS: Final = 75.0
"""How long a connection is kept on which nothing is asked."""
STALL_SECONDS: Final = 30.0
"""How long a client may leave what it is sent unread, when more waits than the system takes."""
LINGER_SECONDS: Final = 2.0
"""How long a client is heard out that still sends when it has been refused: cut off, it might not see why."""
log = structlog.get_logger("aplauso.http")


class Sending(asyncio.Protocol):
    """Sends one answer after the other.

    Args:
        clients: all of them.
    """

    __slots__ = (
        "_pump",
        "_ready",
        "clients",
        "current",
        "due",
        "finished",
        "lingers",
        "old",
        "stalled",
        "streams",
        "transport",
    )

    transport: asyncio.Transport

    def __init__(self, clients: Clients) -> None:
        self.clients = clients
        self.current: Request | None = None
        """The request that is being answered."""
        self.finished = False
        """The client has nothing more to say, or nothing that is listened to."""
        self.lingers = False
        """It may be sending all the same."""
        self.old = False
        """It speaks HTTP/1.0, which has no chunks, and closes unless it is told not to."""
        self.stalled = False
        """It does not read what it is sent."""
        self.streams = False
        self.due = math.inf
        self._pump: asyncio.Task[None] | None = None
        self._ready: asyncio.Event | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """As `asyncio.Protocol`."""
        self.transport = cast(asyncio.Transport, transport)
        self.clients.all.add(self)
        self.wait(IDLE_SECONDS)

    def connection_lost(self, error: Exception | None) -> None:
        """As `asyncio.Protocol`."""
        self.clients.leave(self)
        self.finished, self.current = True, None
        if self._pump is not None:
            self._pump.cancel()

    def pause_writing(self) -> None:
        """As `asyncio.Protocol`."""
        self.stalled = True
        self.wait(STALL_SECONDS)

    def resume_writing(self) -> None:
        """As `asyncio.Protocol`."""
        self.stalled = False
        if self.transport.is_closing():  # what is left has to be read as well
            self.wait(STALL_SECONDS)
            return
        self.due = math.inf
        if self._ready is not None:
            self._ready.set()
        if self.current is None:
            self.answered()

    def wait(self, seconds: float) -> None:
        """Has `expire` called unless something comes meanwhile."""
        self.due = self.clients.now + TICK_SECONDS + seconds

    def begin(self, request: Request) -> None:
        """A request is to be answered, by `send`."""
        self.current = request
        self.due = math.inf

    def forget(self) -> None:
        """What was asked behind the last answer is not done: its client may ask again (RFC 9112, section 9.6)."""
        raise NotImplementedError

    def answered(self) -> None:
        """An answer is on its way, and whoever waits for that is next."""
        raise NotImplementedError

    def expire(self) -> None:
        """As `Client`."""
        raise NotImplementedError

    def finish(self) -> None:
        """As `Client`."""
        raise NotImplementedError

    def send(self, request: Request, answer: Answer) -> None:
        """Answers the request that is being answered; another one's client has gone."""
        if request is not self.current:
            if isinstance(answer, Stream) and isinstance(answer.chunks, AsyncIterator):
                _forget(answer.chunks)
            return
        if isinstance(answer, Stream):
            self._stream(request, answer)
            return
        more, says_so = self.clients.date, wire.ends_connection(answer.headers)
        last = says_so or not request.keep
        if last and not says_so:
            more += "connection: close\r\n"
        elif self.old and not last:
            more += "connection: keep-alive\r\n"
        self.transport.write(wire.answer(answer, more, head_only=request.method == "HEAD"))
        self.current = None
        if last:
            self.forget()
        self.answered()

    def leave(self) -> None:
        """Ends the connection when everything is sent; a client that still sends is heard out, for a moment."""
        if self.lingers and self.transport.can_write_eof():
            self.transport.write_eof()
            self.transport.resume_reading()  # what is never read would reset the connection, and the answer with it
            self.wait(LINGER_SECONDS)
        else:
            self.transport.close()
            self.wait(STALL_SECONDS)

    def abort(self) -> None:
        """As `Client`."""
        self.transport.abort()

    # Streams. They end their connection: what a viewer asks meanwhile is not listened to.

    def _stream(self, request: Request, stream: Stream) -> None:
        more = (
            self.clients.date if wire.ends_connection(stream.headers) else f"{self.clients.date}connection: close\r\n"
        )
        if not self.old:
            more += "transfer-encoding: chunked\r\n"
        self.transport.write(wire.stream_head(stream.headers, more))
        self.finished = self.streams = True
        chunks = stream.chunks
        if request.method == "HEAD":
            self.transport.close()
            if isinstance(chunks, AsyncIterator):
                _forget(chunks)
        elif isinstance(chunks, AsyncIterator):
            self._pump = asyncio.ensure_future(self._send_all(chunks))
        else:
            self._open(chunks)

    def _open(self, pushes: Callable[[Sink], None]) -> None:
        try:
            pushes(self)
        except Exception:
            log.exception("a stream could not begin")
            self.transport.abort()

    @property
    def unsent(self) -> int:
        """As `Sink`."""
        return self.transport.get_write_buffer_size()

    def push(self, chunk: bytes) -> bool:
        """As `Sink`."""
        if self.transport.is_closing():
            return False
        self.transport.write(chunk if self.old else wire.chunk(chunk))
        return True

    def end(self) -> None:
        """As `Sink`."""
        if not self.transport.is_closing():
            if not self.old:
                self.transport.write(wire.LAST_CHUNK)
            self.transport.close()
            self.wait(STALL_SECONDS)

    async def _send_all(self, chunks: AsyncIterator[bytes]) -> None:
        self._ready = asyncio.Event()
        try:
            async for chunk in chunks:
                if not self.push(chunk):
                    return
                while self.stalled:
                    self._ready.clear()
                    await self._ready.wait()
            self.end()
        except Exception as error:  # noqa: BLE001 - whatever it is, the viewer is to know that this is not the end
            log.warning("a stream broke", why=repr(error))
            self.transport.abort()
        finally:
            await _close(chunks)


async def _close(chunks: AsyncIterator[bytes]) -> None:
    close: Any = getattr(chunks, "aclose", None)
    if close is not None:
        await close()


def _forget(chunks: AsyncIterator[bytes]) -> None:
    """Lets go of chunks that nobody wants any more."""
    task = asyncio.ensure_future(_close(chunks))
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
