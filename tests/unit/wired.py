"""A connection without a network: what is sent to it, and what it sends, as bytes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple

from aplauso.domain.errors import AplausoError, NotRecorded
from aplauso.metrics import Metrics
from aplauso.services.clients import Clients
from aplauso.services.connection import Connection
from aplauso.web.app import App, Route
from aplauso.web.http import Body, HTTPError, Request, Response, Sink, Stream

LIMIT = 500
"""Bytes of a body, at first."""


class Wire(asyncio.Transport):
    """The transport: keeps what is written, and what was done to it."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = bytearray()
        self.closed = self.aborted = self.half = False
        self.paused = False
        self.unread = 0

    def write(self, data: Any) -> None:
        assert not self.aborted
        self.sent += data

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True

    def is_closing(self) -> bool:
        return self.closed or self.aborted

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.half = True

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def get_write_buffer_size(self) -> int:
        return self.unread

    @property
    def ended(self) -> bool:
        """Whether nothing more will be sent."""
        return self.closed or self.aborted or self.half


class Answered(NamedTuple):
    """One answer, taken apart."""

    status: int
    headers: dict[str, str]
    body: bytes


def answers(sent: bytes) -> list[Answered]:
    """Takes apart what was sent; every answer must have its length."""
    found = []
    while sent:
        head, _, rest = sent.partition(b"\r\n\r\n")
        line, *lines = head.decode("latin-1").split("\r\n")
        headers = dict(one.split(": ", 1) for one in lines)
        assert len(headers) == len(lines), "a header is there twice"
        length = int(headers.get("content-length", 0))
        assert len(rest) >= length
        found.append(Answered(int(line.split(" ")[1]), headers, rest[:length]))
        sent = rest[length:]
    return found


class Room:
    """An application whose calls do what the tests need.

    Attributes:
        asked: requests of `/later`, in the order in which they were to be answered.
        sinks: of the streams that were opened.
        limit: bytes of a body, in `/echo` and `/later`.
    """

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.sinks: list[Sink] = []
        self.wires: list[Wire] = []
        self.closed_streams = 0
        self.limit = LIMIT
        routes = [
            Route("GET", "/", self._root),
            Route("POST", "/echo", self._echo, self._head),
            Route("POST", "/later", self._later, self._head),
            Route("POST", "/refused", self._echo, self._refuse),
            Route("GET", "/wrong", self._wrong),
            Route("GET", "/away", self._away),
            Route("GET", "/pushed", self._pushed),
            Route("GET", "/chunks", self._chunks),
            Route("GET", "/broken", self._broken),
            Route("GET", "/items/{}", self._item),
        ]
        self.app = App(routes, Metrics())
        self.clients = Clients(self.app)

    def connect(self) -> tuple[Connection, Wire]:
        """A new client."""
        connection, wire = Connection(self.clients), Wire()
        connection.connection_made(wire)
        self.wires.append(wire)
        return connection, wire

    def pass_time(self, seconds: float) -> None:
        """So many seconds have passed."""
        self.clients.look(self.clients.now + seconds)

    def _root(self, request: Request) -> Response:
        return Response(200, [], b"root")

    def _head(self, request: Request) -> Body:
        return Body(self.limit)

    def _refuse(self, request: Request) -> Body:
        raise HTTPError(401, "no", "unauthorized")

    def _echo(self, request: Request) -> Response:
        return Response(201, [], request.body)

    def _later(self, request: Request) -> None:
        self.asked.append(request)

    def _wrong(self, request: Request) -> Response:
        raise RuntimeError("a secret")

    async def _away(self, request: Request) -> Response:
        raise NotRecorded("away")

    def _item(self, request: Request, gap: str) -> Response:
        return Response(200, [], gap.encode())

    def _pushed(self, request: Request) -> Stream:
        return Stream([], self.sinks.append)

    def _chunks(self, request: Request) -> Stream:
        return Stream([], self._iterate([b"one", b"two"]))

    def _broken(self, request: Request) -> Stream:
        return Stream([], self._iterate([b"one", AplausoError("gone")]))

    async def _iterate(self, parts: Sequence[bytes | Exception]) -> AsyncIterator[bytes]:
        try:
            for part in parts:
                if isinstance(part, Exception):
                    raise part
                yield part
                await asyncio.sleep(0)
        finally:
            self.closed_streams += 1


@contextlib.asynccontextmanager
async def room() -> AsyncIterator[Room]:
    """A room on the running loop, and its end."""
    made = Room()
    yield made
    for client in list(made.clients.all):
        client.abort()
        client.connection_lost(None)  # type: ignore[attr-defined]
    await made.clients.end(0.1)
