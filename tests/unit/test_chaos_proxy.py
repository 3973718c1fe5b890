"""The fault proxy, over real sockets."""

import asyncio
import contextlib
import gc
import socket
import sys
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest

from aplauso.stack.kafka import free_low_port
from chaos.proxy import Mode, Proxy
from chaos.waiting import until, until_async

_SHORT = 0.3
_LONG = 10.0


class Server:
    """Answers every line with "echo: " before it, and remembers what it got."""

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.errors: list[Exception] = []
        self.ended = asyncio.Event()
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                self.got.append(line)
                writer.write(b"echo: " + line)
        except OSError as error:
            self.errors.append(error)
        self.ended.set()
        writer.close()


class Link(NamedTuple):
    """A server and the proxy before it."""

    server: Server
    proxy: Proxy


@pytest.fixture
async def link() -> AsyncIterator[Link]:
    server = Server()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    proxy = Proxy("test", free_low_port(), server.port, delay=_SHORT)
    await proxy.start()
    yield Link(server, proxy)
    await proxy.close()
    listening.close()


class Client:
    """A connection through the proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, proxy: Proxy) -> "Client":
        return cls(*await asyncio.open_connection("127.0.0.1", proxy.port))

    def send(self, line: bytes) -> None:
        self.writer.write(line)

    async def line(self, within: float = _LONG) -> bytes:
        async with asyncio.timeout(within):
            return await self.reader.readline()

    async def ask(self, line: bytes) -> bytes:
        self.send(line)
        return await self.line()

    def close(self) -> None:
        self.writer.close()


async def eventually(condition: "asyncio.Event") -> None:
    async with asyncio.timeout(_LONG):
        await condition.wait()


async def test_pass(link: Link) -> None:
    """A link that passes hands every byte on in order, and the end of either side to the other."""
    client = await Client.open(link.proxy)
    long = b"x" * 50_000 + b"\n"
    assert await client.ask(long) == b"echo: " + long
    assert await client.ask(b"two\n") == b"echo: two\n"
    client.close()
    await eventually(link.server.ended)
    assert link.proxy.connections == 0
    assert not link.proxy.hits


async def test_delay(link: Link) -> None:
    """A link that delays hands every byte on in order, later."""
    client = await Client.open(link.proxy)
    await client.ask(b"one\n")
    link.proxy.switch(Mode.DELAY)
    loop = asyncio.get_running_loop()
    start = loop.time()
    client.send(b"two\n")
    client.send(b"three\n")
    assert await client.line() == b"echo: two\n"
    assert await client.line() == b"echo: three\n"
    assert loop.time() - start >= 2 * _SHORT * 0.9
    assert link.proxy.hits[Mode.DELAY] > 0
    client.close()


async def test_delay_ends_in_order(link: Link) -> None:
    """What was late when a delay ended still comes before what was sent after."""
    client = await Client.open(link.proxy)
    link.proxy.switch(Mode.DELAY)
    client.send(b"one\n")
    await until(lambda: link.proxy.hits[Mode.DELAY] > 0, _LONG, "the proxy got nothing")
    link.proxy.switch(Mode.PASS)
    client.send(b"two\n")
    assert [await client.line(), await client.line()] == [b"echo: one\n", b"echo: two\n"]
    client.close()


async def test_blackhole(link: Link) -> None:
    """Through a black hole nothing passes and nobody is told; afterwards what was sent arrives."""
    client = await Client.open(link.proxy)
    await client.ask(b"one\n")
    link.proxy.switch(Mode.BLACKHOLE)
    client.send(b"two\n")
    newcomer = await Client.open(link.proxy)
    newcomer.send(b"new\n")
    with pytest.raises(TimeoutError):
        await client.line(within=_SHORT)
    assert link.server.got == [b"one\n"]
    assert link.proxy.hits[Mode.BLACKHOLE] == len(b"two\nnew\n")
    link.proxy.switch(Mode.PASS)
    assert await client.line() == b"echo: two\n"
    assert await newcomer.line() == b"echo: new\n"
    client.close()
    newcomer.close()


async def test_reset(link: Link) -> None:
    """A reset tears down what is there and what comes, on both sides, until it ends."""
    client = await Client.open(link.proxy)
    await client.ask(b"one\n")
    link.proxy.switch(Mode.RESET)
    with pytest.raises(ConnectionResetError):
        await client.line()
    await eventually(link.server.ended)
    with pytest.raises(ConnectionError):  # noqa: PT012 - a reset may come while connecting, or afterwards
        late = await Client.open(link.proxy)
        if not await late.ask(b"two\n"):
            raise ConnectionError
    assert link.proxy.hits[Mode.RESET] == 2
    link.proxy.switch(Mode.PASS)
    healed = await Client.open(link.proxy)
    assert await healed.ask(b"three\n") == b"echo: three\n"
    assert link.server.got == [b"one\n", b"three\n"]
    for each in (client, healed):
        each.close()


async def test_half_open(link: Link) -> None:
    """Of a half-open connection the server's end is gone and the client is never told; new ones pass.

    What counts as a hit is what the client sends into it.
    """
    client = await Client.open(link.proxy)
    await client.ask(b"one\n")
    link.proxy.switch(Mode.HALF_OPEN)
    await eventually(link.server.ended)
    assert not link.proxy.hits[Mode.HALF_OPEN]
    client.send(b"two\n")
    newcomer = await Client.open(link.proxy)
    assert await newcomer.ask(b"new\n") == b"echo: new\n"
    link.proxy.switch(Mode.PASS)
    with pytest.raises(TimeoutError):
        await client.line(within=_SHORT)
    assert link.server.got == [b"one\n", b"new\n"]
    assert link.proxy.hits[Mode.HALF_OPEN] == len(b"two\n")
    client.close()
    newcomer.close()


async def test_answer_lost(link: Link) -> None:
    """A lost answer: the server has done its work, the client gets nothing but a reset."""
    client = await Client.open(link.proxy)
    await client.ask(b"one\n")
    link.proxy.switch(Mode.ANSWER_LOST)
    client.send(b"two\n")
    with pytest.raises(ConnectionResetError):
        await client.line()
    assert link.server.got == [b"one\n", b"two\n"]
    late = await Client.open(link.proxy)
    late.send(b"hello\n")
    with pytest.raises(ConnectionResetError):
        await late.line()
    assert link.proxy.hits[Mode.ANSWER_LOST] == 1, "who came meanwhile had nothing to lose"
    link.proxy.switch(Mode.PASS)
    healed = await Client.open(link.proxy)
    assert await healed.ask(b"three\n") == b"echo: three\n"
    for each in (client, late, healed):
        each.close()


async def test_no_server() -> None:
    """Where nobody listens behind it, connections are refused, until somebody does."""
    target = free_low_port()
    proxy = Proxy("nobody", free_low_port(), target)
    await proxy.start()
    client = await Client.open(proxy)
    with contextlib.suppress(ConnectionError):
        assert await client.line() == b""
    client.close()
    with pytest.raises(ConnectionRefusedError):
        (await Client.open(proxy)).close()
    server = Server()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", target)
    await until_async(lambda: _answers(proxy), _LONG, "the proxy did not notice the server")
    assert proxy.connections == 0
    await proxy.close()
    listening.close()


async def _answers(proxy: Proxy) -> bool:
    try:
        client = await Client.open(proxy)
    except ConnectionRefusedError:
        return False
    answer = await client.ask(b"one\n")
    client.close()
    await until(lambda: proxy.connections == 0, _LONG, "the connection was not closed")
    return answer == b"echo: one\n"


@pytest.mark.parametrize("turns", range(6))
async def test_closing_as_a_client_comes(turns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that closes in any of the loop's turns in which a client is accepted leaves no open socket behind."""
    left: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda told: left.append(told.exc_value))
    proxy = Proxy("test", free_low_port(), free_low_port())
    await proxy.start()
    with socket.create_connection(("127.0.0.1", proxy.port)):
        for _ in range(turns):
            await asyncio.sleep(0)
        await proxy.close()
        gc.collect()
    assert not left
