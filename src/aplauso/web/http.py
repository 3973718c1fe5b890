"""Requests and responses over RSGI, Granian's own interface (Granian's RSGI specification 1.5).

Granian limits neither bodies nor the time that a client takes for one, and a body that ends early looks
like one that is complete: all three are watched here.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import parse_qs

import msgspec

from aplauso.domain.errors import AplausoError

READ_SECONDS: Final = 10.0
"""How long a client may take for a body, in all."""
DISCARD_BYTES: Final = 16 * 1024 * 1024
"""A body that is refused is read to its end up to so many bytes: most clients look for an answer only then."""
Headers = Sequence[tuple[str, str]]
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Scope(Protocol):
    """What RSGI tells of a request."""

    proto: str
    method: str
    path: str
    query_string: str
    client: str
    headers: Any


class HTTPError(AplausoError):
    """A request that cannot be answered as it is, with the status that says so."""

    def __init__(self, status: int, detail: str, reason: str, headers: Headers = ()) -> None:
        super().__init__(detail)
        self.status = status
        self.reason = reason
        self.headers = headers


class ClientGone(AplausoError):  # noqa: N818
    """The client hung up before it had sent what it announced."""

    reason = "client-gone"


class Response(NamedTuple):
    """What is answered."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


Push = Callable[[bytes], bool]
"""Sends some more of an answer without waiting; False when the client has gone."""


class Stream(NamedTuple):
    """An answer that goes on: in chunks, or as somebody pushes who is told how; it ends when nobody can any more."""

    headers: list[tuple[str, str]]
    chunks: AsyncIterator[bytes] | Callable[[Push], None]


class Deadlines:
    """Cancels tasks that are late, looked after once a second.

    `asyncio.timeout` does the same to the millisecond, with a timer for each request: a fifth of what a vote
    costs here, for a precision that a slow client does not deserve. Used by one event loop.
    """

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Task[Any], float] = {}
        self._late: set[asyncio.Task[Any]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._now = 0.0  # of the loop's time, at the latest look
        self._watched = False

    def start(self, seconds: float) -> "asyncio.Task[Any]":
        """The running task, which is returned, has to call `end` within so many seconds, and up to two more."""
        task = asyncio.current_task(self._loop)
        assert task is not None
        if not self._watched:
            self._loop = asyncio.get_running_loop()
            self._now, self._watched = self._loop.time(), True
            self._loop.call_later(1.0, self._sweep, self._loop)
        self._waiting[task] = self._now + 1.0 + seconds
        return task

    def end(self, task: "asyncio.Task[Any]") -> bool:
        """The task is there; says whether it was late and has been cancelled."""
        if self._waiting.pop(task, None) is not None:
            return False
        self._late.discard(task)
        return True

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        self._now = loop.time()
        for late in [task for task, at in self._waiting.items() if at <= self._now]:
            del self._waiting[late]
            self._late.add(late)
            late.cancel()
        self._watched = bool(self._waiting)
        if self._watched:
            loop.call_later(1.0, self._sweep, loop)


class Request:
    """One request."""

    __slots__ = ("_begun", "_deadlines", "_names", "_proto", "id", "method", "path", "scope")

    def __init__(self, scope: Scope, proto: Any, new_id: Callable[[], str], deadlines: Deadlines) -> None:
        self.scope = scope
        self._proto = proto
        self._deadlines = deadlines
        self._begun = False
        # Asked for once: a look at the headers themselves costs as much as all of their names.
        self._names: Sequence[str] = scope.headers.keys()
        given = self.header("x-request-id")
        self.id = given if given is not None and _REQUEST_ID.fullmatch(given) else new_id()
        self.method = scope.method
        self.path = scope.path

    def header(self, name: str) -> str | None:
        """A header's value; `name` in lower case. A value that is not visible ASCII is "", not as if it were absent."""
        if name not in self._names:
            return None
        value: str | None = self.scope.headers.get(name)
        return "" if value is None else value

    def single(self, name: str) -> str | None:
        """The same, and "" when the header came more than once: nobody can tell which one is meant."""
        value = self.header(name)
        return value if value is None or len(self.scope.headers.get_all(name)) == 1 else ""

    def query(self, name: str) -> str | None:
        """A query parameter's first value."""
        values = parse_qs(self.scope.query_string, keep_blank_values=True).get(name)
        return values[0] if values else None

    async def body(self, limit: int, seconds: float = READ_SECONDS) -> bytes:
        """The whole body.

        Args:
            limit: bytes, at most.
            seconds: that the client may take.

        Raises:
            HTTPError: 413 when it is longer, 408 when it takes longer, 400 when its length is not a number.
            ClientGone: it ended before the announced length.
        """
        self._begun = True
        announced = self._announced(limit)
        task = self._deadlines.start(seconds)
        try:
            body = await (self._counted(limit) if announced is None or announced > limit else self._proto())
        except asyncio.CancelledError:
            if not self._deadlines.end(task):
                raise
            task.uncancel()
            raise HTTPError(408, f"the body did not come within {seconds:.0f} s", "too-slow", CLOSE) from None
        except AplausoError:
            raise
        except Exception as error:  # noqa: BLE001 - Granian's own errors: the connection broke
            raise ClientGone(str(error)) from None
        finally:
            self._deadlines.end(task)
        if announced is not None and len(body) != announced:
            raise ClientGone(f"{len(body)} bytes of {announced}")
        return bytes(body)

    async def discard(self) -> None:
        """Reads a body that nobody has asked for and forgets it, as far as `DISCARD_BYTES` and `READ_SECONDS` go."""
        if not self._begun and self.method not in ("GET", "HEAD") and self.header("expect") is None:
            with contextlib.suppress(AplausoError):
                await self.body(0)

    def _announced(self, limit: int) -> int | None:
        length = self.header("content-length")
        if length is None:
            return None
        if not length.isdigit():
            raise HTTPError(400, "Content-Length is not a number", "malformed", CLOSE)
        announced = int(length)
        # Who expects "100 Continue" has not begun to send, and need not.
        if announced > limit and (announced > DISCARD_BYTES or self.header("expect") is not None):
            raise too_large(limit, CLOSE)
        return announced

    async def _counted(self, limit: int) -> bytearray:
        body, size, empty = bytearray(), 0, 0
        async for chunk in self._proto:
            size += len(chunk)
            empty += not chunk
            if size <= limit:
                body += chunk
            elif size > DISCARD_BYTES:
                raise too_large(limit, CLOSE)
        if size > limit:
            raise too_large(limit)
        # Granian ends every body with an empty chunk, and makes one more of an error, or of trailers.
        if empty > 1:
            raise ClientGone("the last chunk did not come, or trailers did")
        return body


CLOSE: Final = (("connection", "close"),)
"""Ends the connection: what is left of the body is not read."""


def too_large(limit: int, headers: Headers = ()) -> HTTPError:
    """413, with the limit in words."""
    size = f"{limit // 1024} KiB" if limit < 1024 * 1024 else f"{limit // (1024 * 1024)} MiB"
    return HTTPError(413, f"the body is larger than {size}", "too-large", headers)


def nothing_here() -> HTTPError:
    """404 for an address that means nothing."""
    return HTTPError(404, "there is nothing at this address", "not-found")


def json_response(request: Request, value: object, status: int = 200) -> Response:
    """A value (or its JSON in bytes) that nobody may keep."""
    headers = [("content-type", "application/json"), ("cache-control", "no-store"), ("x-request-id", request.id)]
    return Response(status, headers, value if isinstance(value, bytes) else msgspec.json.encode(value))
