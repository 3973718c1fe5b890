"""What the gRPC tests stand on: collectors here and in processes of their own, and a proxy that swallows answers."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Self

from aplauso.adapters.grpc.server import CollectorServer
from aplauso.adapters.system.clock import SystemClock
from aplauso.domain.vote import Vote
from aplauso.ports.intake import Receipt
from contract.intake_suite import CONTEST, Authority, until

TOKEN = "the-gateways-token"


def collector(authority: Authority, port: int = 0, **options: Any) -> CollectorServer:
    """A collector on loopback that knows `TOKEN`, unless told otherwise."""
    given: dict[str, Any] = {
        "gateway_tokens": [TOKEN], "contests": {CONTEST.id: CONTEST}, "clock": SystemClock(), "notice": 0.0
    }  # fmt: skip
    return CollectorServer(authority, f"127.0.0.1:{port}", **(given | options))


class Proxy:
    """A TCP proxy; while it swallows, nothing that the server says comes through."""

    def __init__(self, port: int) -> None:
        self.swallowing = False
        self._target = port
        self._server: asyncio.Server | None = None
        self._pumps: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    def cut(self) -> None:
        """Cuts every connection."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers += [writer, back]
        for source, sink, answers in ((reader, back, False), (there, writer, True)):
            self._pumps.add(asyncio.create_task(self._pump(source, sink, answers)))

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while chunk := await source.read(65536):
                if not (answers and self.swallowing):
                    sink.write(chunk)
                    await sink.drain()
            sink.close()


class _Reporter(Authority):
    """Says on stdout what it takes, and never answers a vote for "hang"."""

    async def collect(self, votes: Sequence[Vote], values: Sequence[bytes]) -> Sequence[Receipt]:
        if any(vote.name == "hang" for vote in votes):
            self.open.clear()
        for vote in votes:
            print(vote.id, flush=True)
        return await super().collect(votes, values)


class CollectorProcess:
    """A collector in a process of its own, which may be killed."""

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self.taken: list[str] = []
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        tests = Path(__file__).parent
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "grpc_world", str(self.port), stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(tests)},
        )  # fmt: skip
        assert self._process.stdout is not None
        self.port = int(await self._process.stdout.readline())
        self._reading = asyncio.create_task(self._read(self._process.stdout))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()

    async def _read(self, stdout: asyncio.StreamReader) -> None:
        while line := await stdout.readline():
            self.taken.append(line.decode().strip())

    async def kill(self) -> None:
        """kill -9; returns once it is gone."""
        assert self._process is not None
        assert self._reading is not None
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await self._reading


@contextlib.asynccontextmanager
async def closing(thing: Any) -> AsyncIterator[Any]:
    """Closes the thing at the end."""
    try:
        yield thing
    finally:
        await thing.close()


async def _main(port: int) -> None:
    async with collector(_Reporter(), port) as server:
        print(server.port, flush=True)
        await server.wait()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1])))

__all__ = ["TOKEN", "CollectorProcess", "Proxy", "closing", "collector", "until"]
