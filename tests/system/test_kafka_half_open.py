"""The vote log over connections whose other end is gone without a word."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest

from aplauso.adapters.kafka.config import KafkaSettings
from aplauso.adapters.kafka.log import KafkaLog
from aplauso.adapters.kafka.topics import Topics
from aplauso.domain.record import partition_of
from aplauso.ports.log import Appended, Entry
from aplauso.stack.kafka import Kafka, free_low_port
from chaos.proxy import Mode, Proxy
from servers_kafka import _started

pytestmark = pytest.mark.servers
_BACK_SECONDS = 10.0
_PARTITIONS = 3


class Line(NamedTuple):
    """A log, and the proxy between it and its broker."""

    log: KafkaLog
    proxy: Proxy


@pytest.fixture
async def line(tmp_path: Path) -> AsyncIterator[Line]:
    port = free_low_port()
    proxy = Proxy("kafka", free_low_port(), port)
    await proxy.start()
    direct = f"127.0.0.1:{free_low_port()}"
    broker = _broker(tmp_path, port, proxy, direct)
    settings = KafkaSettings(f"127.0.0.1:{proxy.port}", partitions=_PARTITIONS)
    Topics(KafkaSettings(direct, partitions=_PARTITIONS)).create()
    log = KafkaLog(settings)
    yield Line(log, proxy)
    await log.close()
    broker.kill()
    await proxy.close()


def _broker(data: Path, port: int, proxy: Proxy, direct: str) -> Kafka:
    """A broker that sends the log's clients to the proxy, and has a listener of its own for everybody else."""
    broker = Kafka(data / "kafka", port, heap_mb=256)
    ours = broker.properties()
    broker._settings.update({
        "listeners": f"{ours['listeners']},DIRECT://{direct}",
        "listener.security.protocol.map": f"{ours['listener.security.protocol.map']},DIRECT:PLAINTEXT",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{proxy.port},DIRECT://{direct}",
        "inter.broker.listener.name": "DIRECT",
    })  # fmt: skip
    broker._ready = lambda: bool(Topics(KafkaSettings(direct))._admin.list_topics(timeout=2).brokers)
    return _started(broker)


async def _append_until(log: KafkaLog, seconds: float) -> float:
    """Appends until a record is recorded, and returns how long that took."""
    start = time.monotonic()
    number = 0
    while time.monotonic() - start < seconds:
        number += 1
        key = f"{time.monotonic_ns()}".encode()
        results = await log.append([Entry(key, b"x", partition_of(key, _PARTITIONS))])
        if results == [Appended.RECORDED]:
            return time.monotonic() - start
        await asyncio.sleep(0.05)  # what is refused at once is asked again, but not for all of a processor
    pytest.fail(f"nothing was recorded in {seconds:g} s and {number} tries")


async def test_silent_connections_are_given_up(line: Line) -> None:
    """Connections whose other end is gone without a word are given up, and votes are recorded again within 10 s."""
    await _append_until(line.log, 30)
    before = line.proxy.hits[Mode.HALF_OPEN]
    line.proxy.switch(Mode.HALF_OPEN)
    line.proxy.switch(Mode.PASS)
    assert await _append_until(line.log, 70) < _BACK_SECONDS
    assert line.proxy.hits[Mode.HALF_OPEN] > before
