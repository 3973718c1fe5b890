"""Kafka's messages as records of the log, and its errors as ours."""

from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from confluent_kafka import KafkaError, Message

from aplauso.adapters.kafka.topics import Bounds
from aplauso.domain.errors import AplausoError, Unavailable, WrongLog
from aplauso.domain.position import Position
from aplauso.ports.log import Record
from aplauso.ports.stretch import Stretch

if TYPE_CHECKING:
    AnyMessage = Message[Any, Any]
else:
    AnyMessage = Message  # which has no parameters when it runs

READING: Final[dict[str, Any]] = {
    "enable_auto_commit": False,
    "enable_auto_offset_store": False,
    # An offset that is not there stops the reader: the default would silently skip to the log's end.
    "auto_offset_reset": "error",
    # What lies in the log is read, whether a foreign writer's transaction was committed, aborted or never ended.
    "isolation_level": "read_uncommitted",
    "fetch_wait_max_ms": 100,
    "fetch_error_backoff_ms": 100,
    "queued_max_messages_kbytes": 32_768,
}
"""Properties of every consumer."""

_LOST: Final = {
    KafkaError._AUTO_OFFSET_RESET: "the log was trimmed or truncated under its reader",
    KafkaError.OFFSET_OUT_OF_RANGE: "the log was trimmed or truncated under its reader",
    KafkaError._LOG_TRUNCATION: "the log was truncated, and other records lie there now",
}
_HARMLESS: Final = frozenset({KafkaError._PARTITION_EOF, KafkaError._MAX_POLL_EXCEEDED})
"""The end of a partition; having been away too long, after which the group gives partitions again."""


_record: Final[Callable[[Any], Record]] = partial(tuple.__new__, Record)


def to_records(messages: Sequence[AnyMessage]) -> list[Record]:
    """Messages without errors, as records."""
    # Column by column: calls that stay inside the interpreter's own code take half the time.
    epochs = [-1 if epoch is None else epoch for epoch in map(Message.leader_epoch, messages)]
    rows = zip(
        map(Message.partition, messages),
        map(Message.offset, messages),
        epochs,
        map(Message.key, messages),
        map(Message.value, messages),
        strict=True,
    )
    return list(map(_record, rows))


def to_stretch(messages: Sequence[AnyMessage]) -> Stretch:
    """Messages of one partition without errors, as records; there is at least one."""
    epochs = [-1 if epoch is None else epoch for epoch in map(Message.leader_epoch, messages)]
    offsets: list[int] = list(map(Message.offset, messages))  # type: ignore[arg-type]  # a message without error has one
    keys, values = list(map(Message.key, messages)), list(map(Message.value, messages))
    return Stretch(messages[0].partition() or 0, offsets, epochs, keys, values)


def fault_of(message: AnyMessage) -> AplausoError | None:
    """What a message that is an error means: `WrongLog`, `Unavailable`, or nothing that matters."""
    error = message.error()
    if error is None or error.code() in _HARMLESS:
        return None
    if error.code() in _LOST:
        return WrongLog(f"partition {message.partition()}: {_LOST[error.code()]}: {error.str()}")
    return Unavailable(f"Kafka: {error}")


def offset_at(partition: int, position: Position | None, topic: str, bounds: Bounds) -> int:
    """The offset at which reading goes on at a position.

    Raises:
        WrongLog: the position names another log, or the log no longer holds the record at that place.
    """
    if position is None:
        if bounds.low > 0:
            raise WrongLog(f"partition {partition} was trimmed: it begins at {bounds.low}, and nothing was read yet")
        return 0
    if position.topic != topic:
        raise WrongLog(f"the position of partition {partition} names the log {position.topic}, not {topic}")
    if position.offset < bounds.low:
        raise WrongLog(f"partition {partition} was trimmed: it begins at {bounds.low}, after {position.offset}")
    if position.offset > bounds.high:
        raise WrongLog(f"partition {partition} was truncated: it ends at {bounds.high}, before {position.offset}")
    return position.offset


_place: Final[Callable[[Record], tuple[int, int]]] = itemgetter(0, 1)  # of the fields, the partition and the offset


def positions_after(records: Sequence[Record]) -> dict[int, int]:
    """By partition, the offset after the last of its records."""
    return {partition: offset + 1 for partition, offset in dict(map(_place, records)).items()}
