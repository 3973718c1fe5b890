"""The archive over connections whose other end is gone without a word."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest

from aplauso.adapters.mongo.archive import MongoArchive
from aplauso.adapters.mongo.client import MongoSettings
from aplauso.domain.errors import Unavailable
from aplauso.domain.position import Position
from aplauso.stack.kafka import free_low_port
from aplauso.stack.mongo import MongoServer
from chaos.proxy import Mode, Proxy

pytestmark = [pytest.mark.servers, pytest.mark.slow]
_BACK_SECONDS = 10.0
_TOPIC = "a-topic"


class Line(NamedTuple):
    """An archive, and the proxy between it and its server."""

    archive: MongoArchive
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
    archive = MongoArchive(MongoSettings(f"mongodb://127.0.0.1:{proxy.port}/"))
    yield Line(archive, proxy)
    await asyncio.to_thread(archive.close)
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
    assert line.proxy.hits[Mode.HALF_OPEN] > 0
    assert await asyncio.to_thread(_move, line.archive, first, second) < _BACK_SECONDS
