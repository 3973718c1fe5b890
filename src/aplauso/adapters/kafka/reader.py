"""Reading partitions of a topic alone, without a group: for a recount, and for the rejected records."""

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from aplauso.adapters.kafka.config import KafkaSettings
from aplauso.adapters.kafka.records import READING, AnyMessage, fault_of, to_records
from aplauso.adapters.kafka.topics import Topics
from aplauso.domain.errors import Unavailable, WrongLog
from aplauso.ports.log import Record

CHUNK: Final = 20_000
_SILENCE_SECONDS: Final = 15.0
"""After so long without a message that has to be there, the log is called away."""

Messages = list[AnyMessage]


class KafkaReader:
    """Implements `aplauso.ports.log.LogReader`."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._topics = Topics(settings)
        self._topic: str | None = None

    @property
    def partitions(self) -> int:
        """As `LogReader`."""
        return self._settings.partitions

    def topic(self) -> str:
        """As `LogReader`. Raises `WrongLog` too, when the topic is not the configured one or was made again."""
        self._topic = self._topics.check(self._topic).id
        return self._topic

    def ends(self) -> Mapping[int, int]:
        """As `LogReader`. Raises `WrongLog` as `topic` does."""
        self.topic()
        return self._topics.ends(range(self.partitions))

    def read(self, partition: int, start: int, stop: int) -> Iterable[Sequence[Record]]:
        """As `LogReader`."""
        self.topic()
        low, high = self._topics.bounds([partition])[partition]
        if start < low:
            raise WrongLog(f"partition {partition} was trimmed: it begins at offset {low}, after {start}")
        if stop > high:
            raise WrongLog(f"partition {partition} ends at offset {high}, before {stop}")
        for messages in read_messages(self._settings, self._settings.topic, partition, start, stop):
            self.topic()  # what was fetched before this answer comes from this topic, not from one made later
            yield to_records(messages)

    def close(self) -> None:
        """As `LogReader`: nothing is held between calls."""


def read_messages(settings: KafkaSettings, topic: str, partition: int, start: int, stop: int) -> Iterator[Messages]:
    """The messages of a partition from offset `start` up to, not including, `stop`, in chunks that are not empty.

    Raises:
        Unavailable: the brokers are away.
        WrongLog: messages that were there are gone.
    """
    if start >= stop:
        return
    # A group's name is asked for by the driver; as nothing is subscribed or committed, no group comes to be.
    consumer = Consumer(settings.client(group_id="aplauso.reader", enable_partition_eof=True, **READING))
    try:
        consumer.assign([TopicPartition(topic, partition, start)])
        yield from _until(consumer, stop)
    except KafkaException as error:
        raise Unavailable(f"Kafka: {error.args[0]}") from error
    finally:
        with contextlib.suppress(KafkaException, RuntimeError):
            consumer.close()


def _until(consumer: Consumer, stop: int) -> Iterator[Messages]:
    """Consumes up to an offset, or to the end where only gaps (the marks of transactions, say) lie before it."""
    heard_at = time.monotonic()
    while True:
        messages = consumer.consume(1, 1.0)
        if messages:
            heard_at = time.monotonic()
            messages += consumer.consume(CHUNK - 1, 0.0)
        elif time.monotonic() - heard_at > _SILENCE_SECONDS:
            raise Unavailable(f"Kafka has sent nothing for {_SILENCE_SECONDS:.0f} s")
        good = [m for m in messages if m.error() is None and (m.offset() or 0) < stop]
        if good:
            yield good
        if any(_is_past(m, stop) for m in messages):
            return
        for message in messages:
            fault = fault_of(message)
            if fault is not None:
                raise fault


def _is_past(message: AnyMessage, stop: int) -> bool:
    """Whether nothing below `stop` comes after a message: it lies at the last place or beyond, or is the end's mark."""
    error, offset = message.error(), message.offset()
    if offset is None or (error is not None and error.code() != KafkaError._PARTITION_EOF):
        return False
    return offset >= (stop - 1 if error is None else stop)
