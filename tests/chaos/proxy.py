"""A TCP proxy that breaks its link on demand: between two parts stands one of these, and passes until it is told else.

What each way of breaking means, for connections that are there and those that come while it lasts:

- delay: every byte arrives, later.
- blackhole: nothing passes and nobody is told. Bytes are held, and go on when it ends: TCP would send them again.
- reset: connections are torn down (RST), new ones at once.
- half-open: the server's end is gone and the client is never told, not even afterwards. New connections pass.
- answer-lost: requests arrive and are worked on; the answer is dropped, and then the connection is reset.
"""

import asyncio
import socket
import struct
from collections import Counter, deque
from enum import StrEnum
from typing import Final, cast

_LOOK_S: Final = 0.05
_LINGER: Final = struct.pack("ii", 1, 0)  # closing sends RST, and forgets what was not sent


class Mode(StrEnum):
    """What a link does."""

    PASS = "pass"
    DELAY = "delay"
    BLACKHOLE = "blackhole"
    RESET = "reset"
    HALF_OPEN = "half-open"
    ANSWER_LOST = "answer-lost"


class Proxy:
    """Listens on a loopback port and hands connections on. Used by one event loop.

    Args:
        name: of the link, for messages.
        port: where it listens.
        target: port of the server behind it, on loopback.
        delay: seconds that each byte is late by, in `Mode.DELAY`.
    """

    def __init__(self, name: str, port: int, target: int, delay: float = 0.25) -> None:
        self.name = name
        self.port = port
        self.target = target
        self.delay = delay
        self.mode = Mode.PASS
        self.hits: Counter[Mode] = Counter()
        """By mode, what was really hit: bytes that were late, held or swallowed, answers dropped, connections reset."""
        self._pairs: set[_Pair] = set()
        self._server: asyncio.Server | None = None
        self._waiting: asyncio.Task[None] | None = None
        self._closed = False

    async def start(self) -> None:
        """Listens. Raises `OSError` when the port is taken."""
        await self._listen()

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Pair(self).client, "127.0.0.1", self.port, backlog=1024)

    def refused(self) -> None:
        """The server behind is away: connections are refused here, too, until it is back."""
        if self._waiting is None and not self._closed:
            self._waiting = asyncio.get_running_loop().create_task(self._wait_for_server())

    async def _wait_for_server(self) -> None:
        await self._stop_listening()
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.target)
            except OSError:
                await asyncio.sleep(_LOOK_S)
            else:
                writer.close()
                break
        self._waiting = None
        await self._listen()

    async def close(self) -> None:
        """Stops listening and ends all connections."""
        self._closed = True
        if self._waiting is not None:
            self._waiting.cancel()
            await asyncio.wait([self._waiting])
        await self._stop_listening()
        for pair in list(self._pairs):
            pair.end()

    async def _stop_listening(self) -> None:
        """Lets go of the address.

        asyncio makes a transport of a socket a turn after it was accepted. A server that is closed between the two
        breaks off in the middle of that, and leaves the socket open, whoever has it.
        """
        if self._server is None:
            return
        for listening in self._server.sockets:
            asyncio.get_running_loop().remove_reader(listening)
        await asyncio.sleep(0)
        self._server.close()

    @property
    def connections(self) -> int:
        """Connections that are there."""
        return len(self._pairs)

    def switch(self, mode: Mode) -> None:
        """From now on the link does this. Switching to `PASS` lets go what is held; half-open ones stay silent."""
        self.mode = mode
        for pair in list(self._pairs):
            pair.switch(mode)

    def add(self, pair: "_Pair") -> None:
        """A connection came."""
        self._pairs.add(pair)

    def remove(self, pair: "_Pair") -> None:
        """A connection is over."""
        self._pairs.discard(pair)


class _Pair:
    """A client's connection, and ours to the server on its behalf."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.client = _Side(self)
        self.server = _Side(self)
        self.silent = False
        self.found_in: Mode | None = None
        """What the link was switched to while this connection was there."""
        self.task: asyncio.Task[None] | None = None

    def opened(self) -> None:
        """The client is there: the server is called, unless the link resets or holds."""
        self.proxy.add(self)
        if self.proxy.mode is Mode.RESET:
            self.reset()
        elif self.proxy.mode is not Mode.BLACKHOLE:
            self.call()

    def call(self) -> None:
        """Connects to the server."""
        if self.task is None:
            self.task = asyncio.get_running_loop().create_task(self._call())

    async def _call(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: self.server, "127.0.0.1", self.proxy.target)
        except OSError:
            self.end()
            self.proxy.refused()
            return
        if self.client.transport is None or self.client.transport.is_closing():
            self.server.abort()
            return
        if not self.holding:
            self.release()

    @property
    def holding(self) -> bool:
        """Whether bytes wait."""
        return self.proxy.mode is Mode.BLACKHOLE

    def switch(self, mode: Mode) -> None:
        self.found_in = mode
        if mode is Mode.RESET:
            self.reset()
        elif mode is Mode.HALF_OPEN:
            self.silent = True
            self.server.abort()
        elif mode is not Mode.BLACKHOLE and not self.silent:
            self.call()
            self.release()

    def release(self) -> None:
        """Hands on what was held, in order."""
        for side in (self.client, self.server):
            side.flush()

    def reset(self) -> None:
        """RST to both."""
        self.proxy.hits[self.proxy.mode] += 1
        self.end()

    def end(self) -> None:
        """Tears both down."""
        self.proxy.remove(self)
        self.client.abort()
        self.server.abort()

    def received(self, side: "_Side", data: bytes) -> None:
        """Bytes came from a side."""
        mode, hits = self.proxy.mode, self.proxy.hits
        if self.silent:
            hits[Mode.HALF_OPEN] += len(data)  # only that: a connection nobody uses any more hits nobody
        elif mode is Mode.ANSWER_LOST and side is self.server:
            # A connection that comes meanwhile loses the answer to its greeting, which is a reset and no more.
            hits[mode] += self.found_in is mode
            self.end()
        elif mode is Mode.DELAY:
            hits[mode] += len(data)
            side.held.append(data)
            asyncio.get_running_loop().call_later(self.proxy.delay, side.flush_one)
        else:
            if mode is Mode.BLACKHOLE:
                hits[mode] += len(data)
            side.held.append(data)
            if not self.holding:
                side.flush()

    def lost(self, side: "_Side") -> None:
        """A side closed its connection."""
        side.ended = True
        if side is self.client:
            if self.silent or self.holding or not side.held:
                self.end()
            return
        if not self.silent and not self.holding and not side.held:
            self.close_other(side)

    def other(self, side: "_Side") -> "_Side":
        return self.server if side is self.client else self.client

    def close_other(self, side: "_Side") -> None:
        """Ends the other side's connection, once what was written to it has been sent."""
        transport = self.other(side).transport
        if transport is not None:
            transport.close()
        self.proxy.remove(self)


class _Side(asyncio.Protocol):
    """One of the two connections of a pair.

    Attributes:
        held: bytes from this side that the other has not been given yet.
        ended: this side has closed.
    """

    def __init__(self, pair: _Pair) -> None:
        self.pair = pair
        self.transport: asyncio.Transport | None = None
        self.held: deque[bytes] = deque()
        self.ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # of uvloop, whose class is none of asyncio's
        if self is self.pair.client:
            self.pair.opened()

    def data_received(self, data: bytes) -> None:
        self.pair.received(self, data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.pair.lost(self)

    def pause_writing(self) -> None:
        if (other := self.pair.other(self).transport) is not None and not other.is_closing():
            other.pause_reading()

    def resume_writing(self) -> None:
        if (other := self.pair.other(self).transport) is not None and not other.is_closing():
            other.resume_reading()

    def flush(self) -> None:
        """Hands on all that is held; then, when this side has closed, closes the other."""
        while self.held and self._hand_on(self.held[0]):
            self.held.popleft()
        if self.ended and not self.held:
            self.pair.close_other(self)

    def flush_one(self) -> None:
        """Hands on the oldest that is held. Called once for each, so that order is kept whatever the timers do."""
        if self.pair.silent or self.pair.holding:
            return  # what has waited goes on when the link does
        if self.held and self._hand_on(self.held[0]):
            self.held.popleft()
        if self.ended and not self.held:
            self.pair.close_other(self)

    def _hand_on(self, data: bytes) -> bool:
        """Writes to the other side; False while there is none yet."""
        other = self.pair.other(self).transport
        if other is None:
            return False
        if not other.is_closing():
            other.write(data)
        return True

    def abort(self) -> None:
        """Ends this connection with RST."""
        if self.transport is None or self.transport.is_closing():
            return
        sock = self.transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
        self.transport.abort()
