"""A Kafka broker for the tests, started once and shared by every suite that asks for it.

Suites keep apart by their own topics and groups (`fresh_name`); whoever stops or kills a broker makes one of
their own (`own_kafka`). A machine without Java or Kafka's jars skips these tests, but fails them under CI.
"""

import atexit
import functools
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from aplauso.domain.errors import Unavailable
from aplauso.stack.kafka import Kafka

USER, PASSWORD = "aplauso", "una-clave-de-prueba"


@functools.cache  # imported fixtures are instantiated once for each module: the broker is not
def _shared() -> Kafka:
    data = Path(tempfile.mkdtemp(prefix="aplauso-kafka-"))
    broker = Kafka(data, users={USER: PASSWORD})
    atexit.register(shutil.rmtree, data, ignore_errors=True)
    atexit.register(broker.kill)
    return _started(broker)


def _started(broker: Kafka) -> Kafka:
    try:
        broker.start()
    except Unavailable as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    return broker


def fresh_name(prefix: str = "votes") -> str:
    """A name for a topic or a group that nobody else uses."""
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def kafka() -> Kafka:
    """The shared broker: running, never to be stopped; SCRAM users `USER` on its SASL_PLAINTEXT listener."""
    return _shared()


@pytest.fixture
def own_kafka(tmp_path: Path) -> Iterator[Kafka]:
    """A broker of the test's own, to be killed and started at will."""
    broker = _started(Kafka(tmp_path / "kafka", heap_mb=256))
    yield broker
    broker.kill()
