"""Kafka's messages as records of the log, and its errors as ours."""

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from confluent_kafka import KafkaError, Message

from aplauso.adapters.kafka.topics import Bounds
from aplauso.domain.errors import AplausoError, Unavailable, WrongLog
from aplauso.domain.position import Position
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


def to_stretch(messages: Sequence[AnyMessage]) -> Stretch:
    """Messages of one partition without errors, as records; there is at least one."""
    first, last = messages[0], messages[-1]
    keys, values = list(map(Message.key, messages)), list(map(Message.value, messages))
    start, stop, epoch = first.offset() or 0, (last.offset() or 0) + 1, first.leader_epoch()
    if stop - start != len(messages) or epoch != last.leader_epoch():
        return Stretch(first.partition() or 0, *_columns(messages))
    # Offsets grow and epochs never fall in a partition: where the ends leave no room, they tell all between them.
    return Stretch(
        first.partition() or 0, range(start, stop), [-1 if epoch is None else epoch] * len(keys), keys, values
    )


def to_stretches(messages: Sequence[AnyMessage]) -> list[Stretch]:
    """Messages without errors, as records by partition, in order within each."""
    parts: dict[int, Stretch] = {}
    at = 0
    for partition, run in groupby(map(Message.partition, messages)):
        stop = at + len([*run])
        part, earlier = to_stretch(messages[at:stop]), parts.get(partition or 0)
        parts[partition or 0] = earlier + part if earlier else part
        at = stop
    return list(parts.values())


def _columns(messages: Sequence[AnyMessage]) -> tuple[list[Any], list[Any], list[Any], list[Any]]:
    """Offsets, epochs, keys and values: calls that stay inside the interpreter's own code take half the time."""
    epochs = list(map(Message.leader_epoch, messages))
    if None in set(epochs):
        epochs = [-1 if epoch is None else epoch for epoch in epochs]
    return (
        list(map(Message.offset, messages)), epochs, list(map(Message.key, messages)),
        list(map(Message.value, messages)),
    )  # fmt: skip


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
