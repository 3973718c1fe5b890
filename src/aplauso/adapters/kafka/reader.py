"""Reading partitions of a topic alone, without a group: for a recount, and for the rejected records."""

import contextlib
import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from aplauso.adapters.kafka.config import KafkaSettings
from aplauso.adapters.kafka.records import READING, AnyMessage, fault_of, to_stretch
from aplauso.adapters.kafka.topics import Topics
from aplauso.domain.errors import Unavailable, WrongLog
from aplauso.ports.log import Record

CHUNK: Final = 10_000
"""Messages read together, at most: they share one look at the topic's identity. With five times as many the fold took a
fifth more of the processor: what has just been read lies in its caches no longer."""
_SILENCE_SECONDS: Final = 15.0
"""After so long without a message that has to be there, the log is called away."""

Messages = list[AnyMessage]


class KafkaReader:
    """Implements `aplauso.ports.log.LogReader`."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._topics = Topics(settings)
        self._topic: str | None = None
        self._idle: Consumer | None = None

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
        if start >= stop:
            return
        # One that is in use belongs to its reading alone; to connect anew for each partition takes longer than to read.
        consumer, self._idle = self._idle or _consumer(self._settings), None
        try:
            for messages in _read(consumer, TopicPartition(self._settings.topic, partition, start), stop):
                # What was fetched before the answer comes from this topic, not from one made later.
                asked = self._topics.ask()
                stretch = to_stretch(messages)
                self._topics.check(self._topic, asked)
                yield stretch
        except BaseException:
            _close(consumer)
            raise
        if self._idle is None:
            self._idle = consumer
        else:
            _close(consumer)

    def close(self) -> None:
        """As `LogReader`."""
        consumer, self._idle = self._idle, None
        if consumer is not None:
            _close(consumer)


def read_messages(settings: KafkaSettings, topic: str, partition: int, start: int, stop: int) -> Iterator[Messages]:
    """The messages of a partition from offset `start` up to, not including, `stop`, in chunks that are not empty.

    Raises:
        Unavailable: the brokers are away.
        WrongLog: messages that were there are gone.
    """
    if start >= stop:
        return
    consumer = _consumer(settings)
    try:
        yield from _read(consumer, TopicPartition(topic, partition, start), stop)
    finally:
        _close(consumer)


def _consumer(settings: KafkaSettings) -> Consumer:
    # A group's name is asked for by the driver; as nothing is subscribed or committed, no group comes to be.
    # Nothing that is still to come is waited for: a fetch that waits at one partition's end holds up the next one's.
    ours = READING | {"fetch_wait_max_ms": 10}
    return Consumer(settings.client(group_id="aplauso.reader", enable_partition_eof=True, **ours))


def _close(consumer: Consumer) -> None:
    with contextlib.suppress(KafkaException, RuntimeError):
        consumer.close()


def _read(consumer: Consumer, start: TopicPartition, stop: int) -> Iterator[Messages]:
    try:
        consumer.assign([start])
        yield from _until(consumer, stop)
        consumer.unassign()
    except KafkaException as error:
        raise Unavailable(f"Kafka: {error.args[0]}") from error


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
        # An error is always true, and the call that says so stays inside the interpreter's own code.
        failed = [m for m in messages if m.error() is not None] if any(map(Message.error, messages)) else []
        records = [m for m in messages if m.error() is None] if failed else messages
        good = records[: bisect_left(records, stop, key=_offset)]
        if good:
            yield good
        # Of records, the last one lies furthest.
        if any(_is_past(m, stop) for m in (*failed, *records[-1:])):
            return
        for message in failed:
            fault = fault_of(message)
            if fault is not None:
                raise fault


def _offset(message: AnyMessage) -> int:
    return message.offset() or 0


def _is_past(message: AnyMessage, stop: int) -> bool:
    """Whether nothing below `stop` comes after a message: it lies at the last place or beyond, or is the end's mark."""
    error, offset = message.error(), message.offset()
    if offset is None or (error is not None and error.code() != KafkaError._PARTITION_EOF):
        return False
    return offset >= (stop - 1 if error is None else stop)
