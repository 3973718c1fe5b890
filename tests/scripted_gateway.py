"""A gateway that answers, and fails to answer, as a test says."""

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from types import TracebackType
from typing import Any, NamedTuple, Self

from aplauso.domain.vote import id_from_key

CONTEST = "bandas-gt"
ANONYMOUS = "01890000-0000-7000-8000-000000000000"


class Request(NamedTuple):
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def key(self) -> str | None:
        """The Idempotency-Key."""
        return self.headers.get("idempotency-key")

    @property
    def id(self) -> str:
        """The id that its vote gets."""
        return id_from_key(CONTEST, self.key) if self.key else ANONYMOUS


class Then(Enum):
    """What becomes of the connection after the bytes of a reply."""

    KEEP = "keep"
    CLOSE = "close"
    RESET = "reset"
    HANG = "hang"


class Reply(NamedTuple):
    """Bytes to send, and what is done then."""

    data: bytes = b""
    then: Then = Then.KEEP


def http(status: int, body: bytes, headers: dict[str, str] | None = None) -> bytes:
    """An answer of HTTP/1.1."""
    lines = {"content-type": "application/json", "content-length": str(len(body)), **(headers or {})}
    return f"HTTP/1.1 {status} Because\r\n".encode() + (
        "".join(f"{name}: {value}\r\n" for name, value in lines.items()).encode() + b"\r\n" + body
    )


def recorded(request: Request) -> Reply:
    """A receipt."""
    return Reply(http(201, json.dumps({"id": request.id, "contest": CONTEST, "status": "recorded"}).encode()))


def problem(status: int, headers: dict[str, str] | None = None, **members: Any) -> Reply:
    """A problem document."""
    body = json.dumps({"type": "about:blank", "status": status, "title": f"Title {status}", **members}).encode()
    return Reply(http(status, body, {"content-type": "application/problem+json", **(headers or {})}))


Script = Callable[[Request], Reply]


def in_turn(*replies: Reply | Script) -> Script:
    """The replies one after the other, the last one for ever."""
    left = list(replies)

    def script(request: Request) -> Reply:
        reply = left.pop(0) if len(left) > 1 else left[0]
        return reply(request) if callable(reply) else reply

    return script


@dataclass
class ScriptedGateway:
    """Listens on a free port of the loopback address while it is entered.

    Attributes:
        script: gives the reply to each vote.
        contests: the reply to all other requests.
        votes: the requests that sent votes, in the order in which they came.
    """

    script: Script = recorded
    contests: Reply = field(default_factory=lambda: problem(404))
    votes: list[Request] = field(default_factory=list)
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _came: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        """Its address."""
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def came(self, votes: int) -> None:
        """Waits until so many requests have come."""
        while len(self.votes) < votes:
            self._came.clear()
            await self._came.wait()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                while await self._answer(await _read(reader), writer):
                    pass
        finally:
            writer.transport.abort()

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> bool:
        if request.method != "POST":
            return await _send(self.contests, writer)
        self.votes.append(request)
        self._came.set()
        return await _send(self.script(request), writer)


async def _send(reply: Reply, writer: asyncio.StreamWriter) -> bool:
    """Sends a reply; returns whether the connection is kept."""
    writer.write(reply.data)
    await writer.drain()
    if reply.then is Then.HANG:
        await asyncio.Event().wait()
    if reply.then is Then.RESET:
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    if reply.then is Then.CLOSE:
        writer.close()
        await writer.wait_closed()
    return reply.then is Then.KEEP


async def _read(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, path, _ = head[0].split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(method, path, headers, body)
