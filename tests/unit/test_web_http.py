"""How a request's body is read, against a transport that does as Granian does."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from aplauso.web.http import DISCARD_BYTES, ClientGone, Deadlines, HTTPError, Request


class Headers(dict[str, str | None]):
    """Headers; None stands for bytes that are no text, which Granian does not show."""

    def get_all(self, name: str) -> list[str]:
        """The values that are text."""
        value = self[name]
        return [] if value is None else value.split("|")


class Proto:
    """A body in chunks; it ends with an empty one, and an error is another empty one."""

    def __init__(self, chunks: Sequence[bytes], *, silent: bool = False) -> None:
        self.chunks = iter([*chunks, b""])
        self.silent = silent
        self.read = 0

    def __aiter__(self) -> "Proto":
        return self

    async def __anext__(self) -> bytes:
        if self.silent:
            await asyncio.Event().wait()
        for chunk in self.chunks:
            self.read += len(chunk)
            return chunk
        raise StopAsyncIteration

    async def __call__(self) -> bytes:
        if self.silent:
            await asyncio.Event().wait()
        return b"".join(self.chunks)


class Scope:
    """A request's head."""

    proto, path, query_string, client = "http", "/insert", "", ""

    def __init__(self, method: str, headers: Headers) -> None:
        self.method = method
        self.headers: Any = headers


def request(proto: Proto, method: str = "POST", **headers: str | None) -> Request:
    """A request; underscores of header names stand for hyphens."""
    named = Headers({name.replace("_", "-"): value for name, value in headers.items()})
    return Request(Scope(method, named), proto, lambda: "id", Deadlines())


async def test_a_body_is_read_whole() -> None:
    """A body comes back as it was sent, announced or in chunks."""
    assert await request(Proto([b"ab", b"c"])).body(10) == b"abc"
    assert await request(Proto([b"ab", b"c"]), content_length="3").body(10) == b"abc"
    assert await request(Proto([])).body(10) == b""


async def test_a_body_without_its_end_is_refused() -> None:
    """An error in the middle, which looks like an empty chunk, and a short body are the client's hanging up."""
    for proto, headers in ((Proto([b"ab", b""]), {}), (Proto([b"ab"]), {"content_length": "3"})):
        with pytest.raises(ClientGone):
            await request(proto, **headers).body(10)


async def test_a_large_body_is_read_to_its_end_and_refused() -> None:
    """A body over the limit is forgotten as it comes and refused on a connection that may go on."""
    proto = Proto([b"x" * 1000] * 100)
    with pytest.raises(HTTPError) as caught:
        await request(proto).body(999)
    assert (caught.value.status, tuple(caught.value.headers)) == (413, ())
    assert proto.read == 100_000


async def test_a_huge_body_is_cut_off() -> None:
    """A body that has no end in sight, or announces none, is refused with its connection."""
    proto = Proto([b"x" * 2**20] * 100)
    for request_ in (request(proto), request(Proto([]), content_length=str(DISCARD_BYTES + 1))):
        with pytest.raises(HTTPError) as caught:
            await request_.body(999)
        assert (caught.value.status, tuple(caught.value.headers)) == (413, (("connection", "close"),))
    assert proto.read <= DISCARD_BYTES + 2**20


async def test_who_waits_for_a_word_is_told_before_sending() -> None:
    """A client that waits for "100 Continue" with a large body is refused before a byte of it is read."""
    proto = Proto([b"x" * 1000])
    with pytest.raises(HTTPError):
        await request(proto, content_length="1000", expect="100-continue").body(10)
    assert proto.read == 0


@pytest.mark.parametrize("headers", [{}, {"content_length": "5"}])
async def test_a_late_body_is_408(headers: dict[str, str]) -> None:
    """A body that does not come in time is 408, and the task goes on unharmed."""
    with pytest.raises(HTTPError) as caught:
        await request(Proto([], silent=True), **headers).body(10, seconds=0.01)
    assert caught.value.status == 408
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_cancelled_read_stays_cancelled() -> None:
    """A cancellation that is not the deadline's goes through."""
    reading = asyncio.create_task(request(Proto([], silent=True)).body(10))
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading


async def test_a_refused_body_is_discarded_once() -> None:
    """A body that nobody asked for is read and forgotten; one that was read, or that a GET has, is left alone."""
    proto = Proto([b"abc"])
    await request(proto).discard()
    assert proto.read == 3
    for other in (request(proto := Proto([b"abc"]), "GET"), request(proto, expect="100-continue")):
        await other.discard()
        assert proto.read == 0


def test_headers_that_are_no_text_are_not_absent() -> None:
    """A header of other bytes is "", a missing one None, and one that came twice is "" where one is wanted."""
    found = request(Proto([]), authorization=None, idempotency_key="a|b", x="y")
    assert (found.header("authorization"), found.header("none"), found.header("x")) == ("", None, "y")
    assert (found.single("idempotency-key"), found.single("x"), found.single("none")) == ("", "y", None)
    assert found.single("authorization") == ""
