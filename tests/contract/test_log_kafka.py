"""The vote log's contract, held against a real Kafka, with both protocols by which a group shares partitions."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from aplauso.adapters.kafka.config import KafkaSettings
from aplauso.adapters.kafka.log import KafkaLog
from aplauso.adapters.kafka.reader import KafkaReader
from aplauso.adapters.kafka.source import KafkaSource, Protocol
from aplauso.adapters.kafka.topics import Topics
from aplauso.domain.errors import Unavailable
from aplauso.ports.log import LogReader, VoteLog, VoteSource
from aplauso.stack.kafka import Kafka
from servers_kafka import fresh_name, kafka

pytest.register_assert_rewrite("contract.log_suite")
from contract.log_suite import CASES, LogHarness  # noqa: E402 - after the line above, so that failures are explained

__all__ = ["kafka"]
pytestmark = pytest.mark.servers


class KafkaHarness(LogHarness):
    """A topic of its own on the shared broker."""

    def __init__(self, bootstrap: str, protocol: Protocol) -> None:
        self.settings = KafkaSettings(bootstrap, fresh_name(), self.partitions)
        self.topics = Topics(self.settings)
        self.topics.create()
        self._protocol = protocol
        self._admin = AdminClient(self.settings.admin())
        self._closers: list[Callable[[], Any]] = []

    def log(self, partitions: int | None = None) -> VoteLog:
        log = KafkaLog(KafkaSettings(self.settings.bootstrap, self.settings.topic, partitions or self.partitions))
        self._closers.append(lambda: run_aside(log.close()))
        return log

    def source(self) -> VoteSource:
        source = KafkaSource(self.settings, fresh_name("group"), self._protocol)
        self._closers.append(source.close)
        return source

    def reader(self) -> LogReader:
        return KafkaReader(self.settings)

    def trim(self, partition: int, before: int) -> None:
        where = TopicPartition(self.settings.topic, partition, before)
        self._admin.delete_records([where])[where].result(10)

    def recreate(self) -> None:
        former = self.topics.describe().id
        self._admin.delete_topics([self.settings.topic])[self.settings.topic].result(10)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with contextlib.suppress(Unavailable, KafkaException):
                self.topics.create()
                if self.topics.describe().id != former:
                    return
        raise AssertionError("the topic was not made again")

    def close(self) -> None:
        while self._closers:
            self._closers.pop()()
        self._admin.delete_topics([self.settings.topic, self.settings.rejected_topic])


def run_aside(work: Coroutine[Any, Any, Any]) -> None:
    """Runs a coroutine in a thread of its own: a test's event loop may be running in this one."""
    thread = threading.Thread(target=asyncio.run, args=[work])
    thread.start()
    thread.join()


@pytest.fixture(params=["classic", "consumer"])
def harness(request: pytest.FixtureRequest, kafka: Kafka) -> Iterator[LogHarness]:
    made = KafkaHarness(kafka.bootstrap, request.param)
    yield made
    made.close()


@pytest.mark.parametrize("case", CASES)
async def test_contract(harness: LogHarness, case: str) -> None:
    """The log keeps the promise that the case is named after."""
    await CASES[case](harness)
