"""Requests and answers, as the calls see them: what comes over the wire is `aplauso.services.connection`'s."""

import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import parse_qs, unquote

import msgspec

from aplauso.domain.errors import AplausoError

READ_SECONDS: Final = 10.0
"""How long a client may take for a body, in all."""
DISCARD_BYTES: Final = 16 * 1024 * 1024
"""A body that is refused is read to its end up to so many bytes: most clients look for an answer only then."""
ASKED: Final = frozenset((
    "accept", "accept-language", "authorization", "cache-control", "content-encoding", "content-length",
    "content-type", "expect", "idempotency-key", "if-none-match", "origin", "x-request-id",
))  # fmt: skip
"""The headers that some call looks at; others are not kept."""
Headers = Sequence[tuple[str, str]]
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


class HTTPError(AplausoError):
    """A request that cannot be answered as it is, with the status that says so."""

    def __init__(self, status: int, detail: str, reason: str, headers: Headers = ()) -> None:
        super().__init__(detail)
        self.status = status
        self.reason = reason
        self.headers = headers


class Response(msgspec.Struct, gc=False):
    """What is answered."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class Sink(Protocol):
    """Where an answer that goes on is sent to."""

    def push(self, chunk: bytes) -> bool:
        """Sends some more without waiting. False: the client has gone."""
        ...

    @property
    def unsent(self) -> int:
        """Bytes that the client has not taken yet."""
        ...

    def end(self) -> None:
        """Ends the answer, and with it the connection."""
        ...


class Stream(NamedTuple):
    """An answer that goes on: in chunks, or as somebody pushes who is told where to; then until that one ends it."""

    headers: list[tuple[str, str]]
    chunks: AsyncIterator[bytes] | Callable[[Sink], None]


Answer = Response | Stream


class Body(NamedTuple):
    """What a request's body may be.

    Attributes:
        limit: bytes, at most.
        seconds: that the client may take for it.
        kept: whether anybody will look at it.
    """

    limit: int
    seconds: float = READ_SECONDS
    kept: bool = True


IGNORED: Final = Body(DISCARD_BYTES, kept=False)
"""Of a request whose call has no use for one."""


class Replies(Protocol):
    """Whoever sees to it that a request is answered; see `aplauso.web.app.App`."""

    def reply(self, request: "Request", answer: Answer) -> None:
        """Answers it."""
        ...

    def fail(self, request: "Request", error: Exception) -> None:
        """Answers it with what an error stands for."""
        ...


class Request:
    """One request: its head at first, and its body once all of it is there.

    Args:
        method: in upper case.
        target: of the request line, in origin form (RFC 9112, section 3.2.1).
        headers: those of `ASKED` that came, names in lower case, values as they came; see `header`.
        repeated: names of those that came more than once.
        new_id: makes the request's id, unless the client has given one.
        replies: answers it.
    """

    __slots__ = (
        "_repeated", "_replies", "body", "call", "gap", "headers", "id", "keep", "method", "path", "send", "target",
    )  # fmt: skip

    def __init__(
        self,
        method: str,
        target: str,
        headers: Mapping[str, bytes],
        repeated: Sequence[str],
        new_id: Callable[[], str],
        replies: Replies,
    ) -> None:
        self.method = method
        self.headers = headers
        self._repeated = repeated
        self._replies = replies
        given = self.header("x-request-id") if "x-request-id" in headers else None
        self.id = given if given is not None and _REQUEST_ID.fullmatch(given) else new_id()
        self.body = b""
        self.keep = True
        self.call: Any = None
        self.gap: str | None = None
        self.send: Callable[[Request, Answer], None]
        self.target = target
        path = target.partition("?")[0] if "?" in target else target
        self.path = unquote(path) if "%" in path else path

    def header(self, name: str) -> str | None:
        """A header's value; `name` in lower case. A value that is not ASCII is "", not as if it were absent."""
        value = self.headers.get(name)
        if value is None:
            assert name in ASKED, name
            return None
        return value.decode("ascii").strip(" \t") if value.isascii() else ""

    def single(self, name: str) -> str | None:
        """The same, and "" when the header came more than once: nobody can tell which one is meant."""
        return "" if name in self._repeated else self.header(name)

    def query(self, name: str) -> str | None:
        """A query parameter's first value."""
        values = parse_qs(self.target.partition("?")[2], keep_blank_values=True).get(name)
        return values[0] if values else None

    def reply(self, answer: Answer) -> None:
        """Answers it; for whoever is called back when the answer is known."""
        self._replies.reply(self, answer)

    def fail(self, error: Exception) -> None:
        """Answers it with what an error stands for."""
        self._replies.fail(self, error)


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
