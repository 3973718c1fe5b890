"""What HTTP/1.1 (RFC 9112) makes of an answer, and of a request's target."""

from collections.abc import Sequence
from functools import lru_cache
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from aplauso.web.http import CLOSE, Headers, HTTPError, Response

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK: Final = b"0\r\n\r\n"
_BODILESS: Final = frozenset({204, 304})


def answer(response: Response, more: str, *, head_only: bool = False) -> bytes:
    """A whole answer.

    Args:
        response: what is answered.
        more: lines of the head besides its own headers, each with its end.
        head_only: whether the body is left out, as HEAD wants it.
    """
    status, body = response.status, response.body
    head = _head(status, response.headers)
    if status in _BODILESS:
        return f"{head}{more}\r\n".encode("latin-1")
    head = f"{head}content-length: {len(body)}\r\n{more}\r\n"
    return head.encode("latin-1") + (b"" if head_only else body)


def stream_head(headers: Headers, more: str) -> bytes:
    """The head of an answer that goes on."""
    return f"{_head(200, headers)}{more}\r\n".encode("latin-1")


@lru_cache(maxsize=4)  # of a frame that thousands of viewers get, there is one copy
def chunk(data: bytes) -> bytes:
    """A part of a body whose length is not known (RFC 9112, section 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def ends_connection(headers: Sequence[tuple[str, str]]) -> bool:
    """Whether an answer says that it is the last one."""
    return ("connection", "close") in headers


def _head(status: int, headers: Headers) -> str:
    head = _status_line(status)
    for name, value in headers:
        head += f"{name}: {value}\r\n"
    return head


@lru_cache(maxsize=64)
def _status_line(status: int) -> str:
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"


def origin_form(target: bytes) -> tuple[str, HTTPError | None]:
    """A request's target as path and query, whatever form it came in (RFC 9112, section 3.2), or what is wrong."""
    try:
        text = target.decode("ascii")
        if text.startswith("/") or text == "*":
            return text, None
        parts = urlsplit(text)
    except ValueError:
        return "/", HTTPError(400, "the request's target cannot be read", "malformed", CLOSE)
    return (f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"), None
