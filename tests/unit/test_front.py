"""A gateway's front hands on what a board answers, and waits for none without end."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from aplauso.domain.errors import Unavailable
from aplauso.web.front import Front
from aplauso.web.http import Request, Response, Stream

_PATIENCE = 0.2
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: "
Say = Callable[[asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def _front(say: Say) -> AsyncIterator[Front]:
    """A front of a board that takes a request's head and then says what it is told to."""

    talks: set[asyncio.Task[None]] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await say(writer)
        finally:
            writer.close()

    def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks.add(asyncio.create_task(talk(reader, writer)))

    board = await asyncio.start_server(serve, "127.0.0.1", 0)
    front = Front(f"http://127.0.0.1:{board.sockets[0].getsockname()[1]}", _PATIENCE)
    try:
        yield front
    finally:
        await front.close()
        board.close()
        for each in talks:
            each.cancel()
        await asyncio.gather(*talks, return_exceptions=True)


def _request() -> Request:
    nobody: Any = None
    return Request("GET", "/v1/contests/gt/standings", {}, (), lambda: "an-id", nobody)


async def _silent(writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def _half_a_page(writer: asyncio.StreamWriter) -> None:
    writer.write(_HEAD + b"application/json\r\ncontent-length: 100\r\n\r\n{")
    await asyncio.Event().wait()


@pytest.mark.parametrize("say", [_silent, _half_a_page])
async def test_a_board_that_says_nothing_is_away(say: Say) -> None:
    """A page that does not come, or not to its end, is an error that says so, after the patience that there is."""
    async with _front(say) as front:
        with pytest.raises(Unavailable, match=r"the board does not answer: nothing came in 0\.2 s"):
            await asyncio.wait_for(front.get(_request()), 10)


async def test_a_page_is_handed_on() -> None:
    """Status, type and body are the board's."""

    async def page(writer: asyncio.StreamWriter) -> None:
        writer.write(_HEAD + b"application/json\r\ncontent-length: 2\r\n\r\n{}")

    async with _front(page) as front:
        answer = await asyncio.wait_for(front.get(_request()), 10)
    assert isinstance(answer, Response)
    assert (answer.status, answer.body) == (200, b"{}")
    assert ("content-type", "application/json") in answer.headers


async def test_a_stream_may_take_longer() -> None:
    """Once a stream has begun, what comes later than the patience for pages comes all the same."""
    begun = asyncio.Event()

    async def stream(writer: asyncio.StreamWriter) -> None:
        writer.write(_HEAD + b"text/event-stream\r\n\r\n")
        await begun.wait()
        writer.write(b"data: late\n\n")

    async with _front(stream) as front:
        answer = await asyncio.wait_for(front.get(_request()), 10)
        assert isinstance(answer, Stream)
        assert not callable(answer.chunks)
        asyncio.get_running_loop().call_later(2 * _PATIENCE, begun.set)
        assert [chunk async for chunk in answer.chunks] == [b"data: late\n\n"]
