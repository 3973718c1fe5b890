"""The archive over connections whose other end is gone without a word."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest

from aplauso.adapters.mongo.archive import MongoArchive, MongoArchiveReader
from aplauso.adapters.mongo.client import SCAN_PATIENCE, MongoSettings, connect
from aplauso.domain.errors import Unavailable
from aplauso.domain.position import Position
from aplauso.stack.kafka import free_low_port
from aplauso.stack.mongo import MongoServer
from chaos.proxy import Mode, Proxy
from contract.archive_suite import logged, vote

pytestmark = [pytest.mark.servers, pytest.mark.slow]
_BACK_SECONDS = 10.0
_TOPIC = "a-topic"


class Line(NamedTuple):
    """An archive and its reader, and the proxy between them and their server."""

    archive: MongoArchive
    reader: MongoArchiveReader
    proxy: Proxy


@pytest.fixture
async def line(tmp_path: Path) -> AsyncIterator[Line]:
    server = MongoServer(tmp_path / "mongo", tmp_path / "mongo.log", free_low_port())
    try:
        await asyncio.to_thread(server.start)
    except Unavailable as error:
        pytest.skip(str(error))
    proxy = Proxy("mongo", free_low_port(), server.port)
    await proxy.start()
    settings = MongoSettings(f"mongodb://127.0.0.1:{proxy.port}/")
    archive, reader = MongoArchive(settings), MongoArchiveReader(settings)
    yield Line(archive, reader, proxy)
    await asyncio.to_thread(archive.close)
    await asyncio.to_thread(reader.close)
    server.kill()
    await proxy.close()


def _move(archive: MongoArchive, expected: Position | None, following: Position) -> float:
    """Moves a partition's position, as a projection does, and returns how long that took."""
    start = time.monotonic()
    while time.monotonic() - start < 60:
        try:
            if archive.positions([0])[0] == expected:
                archive.apply(0, expected, following, [])
        except Unavailable:
            continue
        return time.monotonic() - start
    pytest.fail("the archive was not reached again")


async def test_silent_connections_are_given_up(line: Line) -> None:
    """Connections whose other end is gone without a word are given up, and votes are archived again within 10 s."""
    first, second = Position(_TOPIC, 1, 0), Position(_TOPIC, 2, 0)
    await asyncio.to_thread(_move, line.archive, None, first)
    line.proxy.switch(Mode.HALF_OPEN)
    line.proxy.switch(Mode.PASS)
    assert await asyncio.to_thread(_move, line.archive, first, second) < _BACK_SECONDS
    assert line.proxy.hits[Mode.HALF_OPEN] > 0


async def test_a_patient_scan_does_not_wait_for_a_server_that_is_gone(line: Line) -> None:
    """A scan in the middle of which the server is gone without a word says so within 10 s, for all its patience."""
    votes = logged(map(vote, range(12_000)))
    await asyncio.to_thread(line.archive.apply, 0, None, Position(_TOPIC, len(votes), 0), votes)
    chunks = iter(line.reader.scan({0: len(votes)}))
    assert len(await asyncio.to_thread(next, chunks)) == 5_000
    line.proxy.switch(Mode.HALF_OPEN)
    line.proxy.switch(Mode.PASS)
    start = time.monotonic()
    with pytest.raises(Unavailable, match="reading the votes"):
        await asyncio.to_thread(list, chunks)
    assert time.monotonic() - start < _BACK_SECONDS


def test_a_scan_is_more_patient_than_other_reads() -> None:
    """A pass over millions of votes may wait for its next ones for minutes, unless the connection string forbids it."""
    for query, patience, seconds in (
        ("", 30, 30),
        ("", SCAN_PATIENCE, 600),
        ("?socketTimeoutMS=5000", SCAN_PATIENCE, 5),
    ):
        client = connect(MongoSettings(f"mongodb://127.0.0.1/{query}"), patience).client
        assert client.options.pool_options.socket_timeout == seconds
        client.close()
