"""The onlooker, against a board of our own."""

import asyncio
from time import monotonic

from chaos.onlooker import Onlooker
from chaos.waiting import until


async def test_pages_are_told_from_what_is_none() -> None:
    """Somebody has seen a board after a moment when both pages were asked for and came; a 503 is no page."""
    broken = False

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readuntil(b"\r\n\r\n")
        status = b"503 Unavailable" if broken and b"/records" in asked else b"200 OK"
        writer.write(b"HTTP/1.1 " + status + b"\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        onlooker = Onlooker(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/contests/one")
        assert not onlooker.since(0.0)
        async with onlooker.looking():
            await until(lambda: onlooker.since(0.0), 20, "no page came")
            broken, moment = True, monotonic()
            await until(lambda: max(onlooker.read.values()) > moment + 0.5, 20, "the standings did not go on")
            assert not onlooker.since(moment + 0.3)
            broken, moment = False, monotonic()
            await until(lambda: onlooker.since(moment), 20, "the records did not come back")
