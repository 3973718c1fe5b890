"""The rejected records in Kafka: a topic with one partition, in which marks are records too.

A rejection's value is the rejected record's, byte for byte; what else there is to know is in the headers,
texts in UTF-8:

    kind       "rejection" or "mark"
    topic, partition, offset    the place; the record's key is the three, parted by slashes
    reason, detail              of a rejection
    key        of a rejection: the rejected record's key, absent when it had none
    cut        of a rejection: the value's size, when it was too large to be kept and is left out
    mark       of a mark: a value of `aplauso.ports.rejected.Mark`
"""

import logging
import threading
from collections.abc import Iterable, Sequence
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer

from aplauso.adapters.kafka.config import KafkaSettings
from aplauso.adapters.kafka.reader import read_messages
from aplauso.adapters.kafka.records import AnyMessage
from aplauso.adapters.kafka.topics import Topics
from aplauso.domain.errors import Unavailable
from aplauso.ports.rejected import Mark, Place, Rejection

_LOG: Final = logging.getLogger(__name__)
_FLUSH_SECONDS: Final = 10.0
_MAX_DETAIL: Final = 4_000  # characters; with the other headers it stays below the topic's extra 64 KiB
_TOO_LARGE: Final = (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE)

_Headers = list[tuple[str, bytes]]


class KafkaRejected:
    """Implements `RejectedSink` and `RejectedLog` of `aplauso.ports.rejected`."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._topics = Topics(settings)
        self._producer: Producer | None = None
        self._lock = threading.Lock()

    def add(self, rejections: Sequence[Rejection]) -> None:
        """As `RejectedSink`. A value that the topic cannot take is left out; its place tells where it lies."""
        refused = self._write([(rejection.value, _headers(rejection)) for rejection in rejections])
        without = [
            (None, [*_headers(r), ("cut", b"%d" % len(r.value or b""))]) for r in map(rejections.__getitem__, refused)
        ]
        if self._write(without):
            raise Unavailable("Kafka refuses rejected records as too large even without their values")

    def open(self) -> Iterable[Rejection]:
        """As `RejectedLog`."""
        found: dict[Place, Rejection] = {}
        marked: set[Place] = set()
        name = self._settings.rejected_topic
        low, high = self._topics.bounds([0], name)[0]
        for messages in read_messages(self._settings, name, 0, low, high):
            for message in messages:
                _gather(message, found, marked)
        return [found[place] for place in sorted(found.keys() - marked)]

    def mark(self, places: Sequence[Place], mark: Mark) -> None:
        """As `RejectedLog`."""
        headers = [("kind", b"mark"), ("mark", mark.value.encode())]
        if self._write([(None, [*headers, *_place_headers(place)]) for place in places]):
            raise Unavailable("Kafka refuses marks as too large")

    def close(self) -> None:
        """As both."""
        self._producer = None

    def _write(self, records: Sequence[tuple[bytes | None, _Headers]]) -> list[int]:
        """Appends records and returns once they are on disk; returns the indexes of those that are too large.

        Raises:
            Unavailable: they may or may not be there.
        """
        errors: dict[int, KafkaError | None] = {}
        with self._lock:
            producer = self._producer = self._producer or Producer(self._properties())
            for index, (value, headers) in enumerate(records):
                self._produce(producer, index, value, headers, errors)
            producer.flush(_FLUSH_SECONDS)
            if len(producer) or any(error is not None and error.fatal() for error in errors.values()):
                self._producer = None  # what is still on its way ends with it
                producer.purge()
        failed = [error for error in errors.values() if error is not None and error.code() not in _TOO_LARGE]
        if failed or len(errors) < len(records):
            why = failed[0] if failed else f"no answer within {_FLUSH_SECONDS:.0f} s"
            raise Unavailable(f"topic {self._settings.rejected_topic!r}: {why}")
        return sorted(index for index, error in errors.items() if error is not None)

    def _produce(
        self, producer: Producer, index: int, value: bytes | None, headers: _Headers,
        errors: dict[int, KafkaError | None],
    ) -> None:  # fmt: skip
        def settle(error: KafkaError | None, _message: object) -> None:
            errors[index] = error

        place = {name: text for name, text in headers if name in Place._fields}
        key = b"/".join(place[name] for name in Place._fields)
        while True:
            try:
                producer.produce(self._settings.rejected_topic, value, key, 0, settle, headers=headers)  # type: ignore[arg-type]
            except BufferError:
                if producer.poll(_FLUSH_SECONDS) == 0:
                    raise Unavailable(
                        f"topic {self._settings.rejected_topic!r}: the producer's queue is full"
                    ) from None
            except KafkaException as error:
                errors[index] = error.args[0]
                return
            else:
                return

    def _properties(self) -> dict[str, Any]:
        return self._settings.client(
            acks="all",  # a retry may write one twice: copies are one
            compression_type="zstd",
            message_timeout_ms=int(_FLUSH_SECONDS * 1000),
            # What counts is the size of a compressed batch, which only the broker knows: this is that of a
            # record before it is compressed.
            message_max_bytes=100_000_000,
            batch_size=self._settings.max_bytes // 2,
            linger_ms=0,
        )


def _place_headers(place: Place) -> _Headers:
    return [(name, str(value).encode()) for name, value in zip(Place._fields, place, strict=True)]


def _headers(rejection: Rejection) -> _Headers:
    headers = [
        ("kind", b"rejection"), *_place_headers(rejection.place),
        ("reason", rejection.reason.encode()),
        ("detail", rejection.detail[:_MAX_DETAIL].encode(errors="replace")),
    ]  # fmt: skip
    return headers if rejection.key is None else [*headers, ("key", rejection.key)]


def _gather(message: AnyMessage, found: dict[Place, Rejection], marked: set[Place]) -> None:
    """Adds what a message says to the rejections, the first for each place, or to the marks."""
    try:
        pairs: Any = message.headers() or ()
        headers = {name: value for name, value in pairs if isinstance(value, bytes)}
        place = Place(headers["topic"].decode(), int(headers["partition"]), int(headers["offset"]))
        if headers["kind"] == b"mark":
            marked.add(place)
        elif place not in found:
            found[place] = _rejection(place, headers, message.value())
    except (KeyError, ValueError) as error:
        _LOG.warning("record %s of the rejected topic is none of ours: %s", message.offset(), error)


def _rejection(place: Place, headers: dict[str, bytes], value: bytes | None) -> Rejection:
    detail = headers["detail"].decode()
    if "cut" in headers:
        detail += f" (its {headers['cut'].decode()} bytes were too many to be kept here)"
    return Rejection(place, headers["reason"].decode(), detail, headers.get("key"), value)
