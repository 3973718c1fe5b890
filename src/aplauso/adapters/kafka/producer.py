"""Hands records to librdkafka's producer and gathers what became of them, on one polling thread."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from itertools import repeat
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Producer

from aplauso.adapters.kafka.config import KafkaSettings
from aplauso.ports.log import Appended, Entry
from aplauso.ports.stretch import entry_columns

_LOG: Final = logging.getLogger(__name__)
LINGER_MS: Final = 2
"""How long a record waits for others of its partition."""
_SPARE: Final = 16  # calls that are kept to be used again
_POLL: Final = 0.1  # seconds that an idle poll waits; a report wakes it
_ON_ITS_WAY, _DELIVERED, _FAILED = range(3)
_RESULTS: Final = (Appended.UNDECIDED, Appended.RECORDED, Appended.UNDECIDED)
"""By mark: what was handed over may be in the log until its delivery is told."""
Report = Callable[[KafkaError | None, object], None]
"""Is told, on the polling thread, of a record's delivery or its failure."""


class Handover:
    """The records of one call on their way, and what became of each.

    The caller's thread hands over, the polling thread settles: each record has a mark of its own, so that no lock is
    needed. Once complete it may be used for another call: making what tells of each record would cost as much as
    handing it over.
    """

    __slots__ = ("_handed", "_marks", "_reports", "_size", "error")

    def __init__(self) -> None:
        self._reports: list[Report] = []
        self._marks = bytearray()
        self._clear(0)

    def _clear(self, size: int) -> None:
        self._marks[:] = bytes(max(size, len(self._reports)))
        while len(self._reports) < size:
            self._reports.append(self._report_of(len(self._reports)))
        self.error: KafkaError | None = None
        self._handed = -1
        self._size = size

    @property
    def complete(self) -> bool:
        """Whether the fate of every record is known."""
        return self._handed >= 0 and self._marks.find(_ON_ITS_WAY, 0, self._handed) < 0

    @property
    def results(self) -> list[Appended]:
        """What is known of each record by now."""
        handed = max(self._handed, 0)
        if self._marks.count(_DELIVERED, 0, handed) == self._size:  # as nearly always
            return [Appended.RECORDED] * self._size
        known = [_RESULTS[mark] for mark in self._marks[:handed]]
        return known + [Appended.NOT_RECORDED] * (self._size - handed)

    def run(self, producer: Producer, topic: str, entries: Sequence[Entry]) -> None:
        """Hands the records over, in order, up to the first that the producer does not take."""
        self._clear(len(entries))
        keys, values, partitions = entry_columns(entries)
        handed = 0
        try:
            for _ in map(producer.produce, repeat(topic), values, keys, partitions, self._reports):
                handed += 1
        except (BufferError, KafkaException) as error:
            _LOG.warning("Kafka's producer took %d of %d records: %s", handed, len(entries), error)
        self._handed = handed

    def _report_of(self, index: int) -> Report:
        """What librdkafka calls for a record: a closure costs a third less than a method bound to its number."""
        marks = self._marks

        def report(error: KafkaError | None, _message: object) -> None:
            if error is None:
                marks[index] = _DELIVERED
            else:
                self.error = error
                marks[index] = _FAILED

        return report


class PollingProducer:
    """An idempotent producer and the thread that polls it.

    Args:
        settings: where the topic is.
        settled: called on the polling thread after each round of reports.
        brokers_lost: called on the polling thread when the last connection to a broker is gone.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        settled: Callable[[], None],
        brokers_lost: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._settled = settled
        self._brokers_lost = brokers_lost
        self._broken = False
        self._closing: float | None = None
        self._spare: list[Handover] = []
        self._producer = self._make()
        self._thread = threading.Thread(target=self._run, name="kafka-producer", daemon=True)
        self._thread.start()

    def hand_over(self, entries: Sequence[Entry]) -> Handover:
        """Gives records to the producer; never waits."""
        call = self._spare.pop() if self._spare else Handover()
        call.run(self._producer, self._settings.topic, entries)
        return call

    def release(self, call: Handover) -> None:
        """Keeps a call whose results have been read for another one, when nothing tells of its records any more."""
        if call.complete and len(self._spare) < _SPARE:
            self._spare.append(call)

    def purge(self) -> None:
        """Drops what has not been answered yet; its fate is undecided."""
        self._producer.purge()

    def close(self, timeout: float) -> None:
        """Waits for what was handed over, `timeout` seconds at most, and drops the rest."""
        self._closing = time.monotonic() + timeout
        self._thread.join()

    def _make(self) -> Producer:
        return Producer(
            self._settings.client(
                enable_idempotence=True,
                acks="all",
                compression_type="lz4",
                # What a gateway hands in at once mostly lies in one partition (docs/adr/0008): waiting for more brings
                # little, but none at all would make a request of every few records of votes with keys.
                linger_ms=LINGER_MS,
                message_timeout_ms=300_000,
                request_timeout_ms=5_000,
                message_max_bytes=self._settings.max_bytes,
                queue_buffering_max_messages=200_000,
                queue_buffering_max_kbytes=131_072,
            )
            | {"error_cb": self._on_error}
        )

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal() or error.code() == KafkaError._FATAL:
            self._broken = True
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self._brokers_lost(f"Kafka: {error}")

    def _run(self) -> None:
        while self._closing is None or (len(self._producer) and time.monotonic() < self._closing):
            if self._producer.poll(_POLL):
                self._settled()
            if self._broken:
                self._replace()
        self._drop(self._producer)

    def _replace(self) -> None:
        """Goes on with a new producer after an error that an idempotent one cannot recover from."""
        _LOG.error("Kafka's producer failed for good and is made anew; what it had not delivered is undecided")
        old, self._producer = self._producer, self._make()
        self._broken = False
        self._drop(old)

    def _drop(self, producer: Producer) -> None:
        producer.purge()
        producer.poll(0)
        self._settled()
