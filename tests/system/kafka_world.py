"""What the Kafka system tests share: a topic of the test's own, and replicas that remember their positions."""

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions  # type: ignore[attr-defined]

from aplauso.adapters.kafka.config import KafkaSettings
from aplauso.adapters.kafka.log import KafkaLog
from aplauso.adapters.kafka.source import KafkaSource
from aplauso.adapters.kafka.topics import Topics
from aplauso.domain.errors import Unavailable
from aplauso.domain.position import Position
from aplauso.ports.log import Appended, Entry, Record
from servers_kafka import fresh_name


class World:
    """A fresh topic, and what operators and strangers do to it."""

    def __init__(self, bootstrap: str, partitions: int = 4) -> None:
        self.settings = KafkaSettings(bootstrap, fresh_name(), partitions)
        self.topics = Topics(self.settings)
        self.topics.create()
        self.admin = AdminClient(self.settings.admin())

    def log(self, deadline: float = 10.0) -> KafkaLog:
        return KafkaLog(self.settings, deadline)

    def produce(self, *records: tuple[int, bytes | None, bytes | None], **properties: Any) -> None:
        """A stranger writes records: partition, key, value."""
        producer = Producer({"bootstrap.servers": self.settings.bootstrap, **properties})
        errors: list[Any] = []
        for partition, key, value in records:
            producer.produce(
                self.settings.topic, value, key, partition, lambda error, _: errors.append(error) if error else None
            )
        assert producer.flush(20) == 0
        assert not errors

    def grow(self, partitions: int) -> None:
        """Somebody gives the topic more partitions."""
        done = self.admin.create_partitions([NewPartitions(self.settings.topic, partitions)])
        done[self.settings.topic].result(10)

    def trim(self, partition: int, before: int) -> None:
        """Somebody deletes the records before an offset."""
        where = TopicPartition(self.settings.topic, partition, before)
        self.admin.delete_records([where])[where].result(10)

    def recreate(self) -> None:
        """Somebody deletes the topic and makes another of the same name."""
        former = self.topics.describe().id
        self.admin.delete_topics([self.settings.topic])[self.settings.topic].result(10)

        def made() -> bool:
            self.topics.create()
            return self.topics.describe().id != former

        wait_for(made, 20)


def entries(name: str, partitions: Sequence[int]) -> list[Entry]:
    """One record for each of some partitions."""
    return [Entry(f"{name}-{partition}".encode(), b"value", partition) for partition in partitions]


async def recorded(log: KafkaLog, wanted: Sequence[Entry]) -> None:
    """Appends records, all of which have to be recorded."""
    assert list(await log.append(wanted)) == [Appended.RECORDED] * len(wanted)


def wait_for(condition: Callable[[], object], seconds: float) -> float:
    """Waits until something is so; `Unavailable` is "not yet". Returns the seconds that it took."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        with contextlib.suppress(Unavailable):
            if condition():
                return time.monotonic() - began
        time.sleep(0.02)
    raise AssertionError(f"it was not so within {seconds} s")


class Projection:
    """Positions and counted records, as a projection's store keeps them, for all replicas together."""

    def __init__(self) -> None:
        self.positions: dict[int, Position] = {}
        self.counted: list[bytes | None] = []

    def ask(self, partitions: Sequence[int]) -> Mapping[int, Position | None]:
        return {partition: self.positions.get(partition) for partition in partitions}

    def apply(self, topic: str, records: Sequence[Record]) -> None:
        """Counts the records that lie at the positions, and drops those that another replica has counted."""
        for record in records:
            expected = self.positions.get(record.partition)
            if record.offset >= (expected.offset if expected else 0):
                self.counted.append(record.key)
                self.positions[record.partition] = Position(topic, record.offset + 1, record.epoch)


class Replica:
    """A source that is polled now and then, over a projection that replicas share."""

    def __init__(self, world: World, group: str, projection: Projection, protocol: Any) -> None:
        self.source = KafkaSource(world.settings, group, protocol)
        self.projection = projection
        self.source.start(projection.ask)

    def step(self) -> None:
        with contextlib.suppress(Unavailable):
            self.projection.apply(self.source.topic(), self.source.poll(0.05, 1000))

    @property
    def partitions(self) -> set[int]:
        return set(self.source.assigned)
