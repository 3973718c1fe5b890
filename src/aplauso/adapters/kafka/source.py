"""The vote log in Kafka: the reading side of a projection's replica.

The group decides which partitions a replica has; where it reads on is the projection's own position. Before
records are handed out, the topic's id is asked for: Kafka's consumers know topics by name, and would go on
at the same offset of another topic that was made in its place.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from itertools import compress, repeat
from operator import is_not
from typing import Any, Final, Literal

from confluent_kafka import OFFSET_INVALID, Consumer, KafkaException, Message, TopicPartition

from aplauso.adapters.kafka.config import KafkaSettings
from aplauso.adapters.kafka.epochs import EpochGuard
from aplauso.adapters.kafka.records import READING, AnyMessage, fault_of, offset_at, to_stretches
from aplauso.adapters.kafka.topics import Topics
from aplauso.domain.errors import AplausoError, Fatal, Unavailable, WrongLog
from aplauso.domain.position import Position
from aplauso.ports.log import Record
from aplauso.ports.stretch import Stretch, Stretches, stretch_of

Protocol = Literal["classic", "consumer"]
_SLICE_SECONDS: Final = 0.1
"""How long the driver waits at a time: partitions that come meanwhile are placed in between."""
_AHEAD: Final[dict[str, Any]] = {"fetch_max_bytes": 1_048_576, "queued_max_messages_kbytes": 1_024}
"""How much the driver may fetch before it is asked for: what lies there is memory, and over a backlog it is always
full. A tally had a peak of 223 MiB with the driver's own 50 MB a fetch and 32 MiB waiting, and was no faster."""
_FULL_MS: Final = 10
"""How long the driver fetches nothing once that much waits; its own second would leave a projection without work."""
_FETCHED: Final = 65_536
"""Bytes that the broker waits for before it answers, for as long as the source gathers at most: records that came one
after the other would otherwise each cost the broker an answer, and the driver a turn of three threads."""
_IDENTITY_SECONDS: Final = 1.0
"""How often the topic and its bounds are looked at while nothing comes."""
GATHER_SECONDS: Final = 0.025
"""Records are handed out once in so long, at most, unless there are enough."""
_COMMIT_SECONDS: Final = 1.0
"""How often progress is told. The group's coordinator answers one commit after the other, and heartbeats behind them:
when each batch was told, the queue grew until the group took the replica for dead."""


class KafkaSource:
    """Implements `aplauso.ports.log.VoteSource`.

    Args:
        settings: where the topic is.
        group: the consumer group.
        protocol: how the group shares partitions: Kafka's classic one (cooperative-sticky), or the newer
            `consumer` one, whose timeouts the brokers decide.
        session_timeout: of the classic protocol, in seconds, after which a dead replica's partitions move.
        gather: seconds between two rounds of records at least, unless there are enough: each round costs a look at the
            topic, and the store a step a partition. Records that come after a pause do not wait.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        group: str,
        protocol: Protocol = "classic",
        session_timeout: float = 6.0,
        gather: float = GATHER_SECONDS,
    ) -> None:
        self._settings = settings
        self._group = group
        self._protocol = protocol
        self._session_timeout = session_timeout
        self._gather = gather
        self._topics = Topics(settings)
        self._topic: str | None = None
        self._consumer: Consumer | None = None
        self._ask: Callable[[Sequence[int]], Mapping[int, Position | None]] = lambda partitions: {}
        self._unplaced: set[int] = set()  # given by the group, and not being read yet
        self._sought: dict[int, Position | None] = {}  # where to place them, for those that were told
        self._following: dict[int, int] = {}  # of those that are being read, the next offset to hand out
        self._guards: dict[int, EpochGuard] = {}  # of the same
        self._held: dict[int, Stretch] = {}  # by partition, what was fetched and not handed out yet
        self._fault: AplausoError | None = None  # to be raised once what was fetched is safe
        self._seen_at = 0.0
        self._fetched_at = 0.0
        self._progress: dict[int, int] = {}  # offsets that have not been told yet
        self._told_at = 0.0

    @property
    def partitions(self) -> int:
        """As `VoteSource`."""
        return self._settings.partitions

    @property
    def assigned(self) -> frozenset[int]:
        """The partitions that this replica reads now."""
        return frozenset(self._following)

    def topic(self) -> str:
        """As `VoteSource`. Raises `WrongLog` too, when the topic is not the configured one."""
        if self._topic is None:
            self._topic = self._topics.check().id
        return self._topic

    def start(self, positions: Callable[[Sequence[int]], Mapping[int, Position | None]]) -> None:
        """As `VoteSource`."""
        self._ask = positions
        self._consumer = Consumer(self._properties())
        self._consumer.subscribe(
            [self._settings.topic], on_assign=self._given, on_revoke=self._taken, on_lost=self._taken
        )

    def poll(self, timeout: float, limit: int) -> Sequence[Record]:
        """As `VoteSource`."""
        consumer = self._running()
        self._tell(consumer)
        deadline, asked = time.monotonic() + timeout, None
        while not self._held:
            if self._unplaced:
                self._place(consumer)
            waited = deadline - time.monotonic()
            asked = self._fetch(consumer, max(0.0, min(_SLICE_SECONDS, waited)), limit)
            if waited <= 0:
                break
        if self._held:
            self._verify(asked)
        elif time.monotonic() - self._seen_at > _IDENTITY_SECONDS:
            self._verify()
            self._verify_bounds()
        return Stretches(self._hand_out(limit))

    def _hand_out(self, limit: int) -> list[Stretch]:
        """Takes out of what is held, so many records at most."""
        parts: list[Stretch] = []
        for partition, held in list(self._held.items()):
            part = held[:limit]
            limit -= len(part)
            if not part:
                break
            if len(part) < len(held):
                self._held[partition] = held[len(part) :]
            else:
                del self._held[partition]
            parts.append(part)
            if partition in self._following:
                self._following[partition] = part.offsets[-1] + 1
        return parts

    def seek(self, partition: int, position: Position | None) -> None:
        """As `VoteSource`; the position is checked by the next `poll`."""
        if partition not in self._following and partition not in self._unplaced:
            return
        with self._faults_kept():
            self._drop(self._running(), [partition])
        self._unplaced.add(partition)
        self._sought[partition] = position

    def note_progress(self, positions: Mapping[int, Position]) -> None:
        """As `VoteSource`: the offsets will be committed, which nobody reads from."""
        self._progress.update((partition, where.offset) for partition, where in positions.items())

    def _tell(self, consumer: Consumer) -> None:
        """Commits the offsets that were noted, when it is time."""
        if not self._progress or time.monotonic() - self._told_at < _COMMIT_SECONDS:
            return
        offsets = [self._at(partition, offset) for partition, offset in self._progress.items()]
        self._progress.clear()
        self._told_at = time.monotonic()
        with contextlib.suppress(KafkaException):  # a dashboard may wait
            consumer.commit(offsets=offsets, asynchronous=True)

    def lags(self) -> Mapping[int, int]:
        """As `VoteSource`: up to the log's end as it was when records were last fetched."""
        consumer = self._running()
        lags = {}
        for partition, following in self._following.items():
            bounds = consumer.get_watermark_offsets(self._at(partition), cached=True)
            if bounds is not None and bounds[1] >= 0:
                lags[partition] = max(0, bounds[1] - following)
        return lags

    def close(self) -> None:
        """As `VoteSource`."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            self._told_at = 0.0
            with contextlib.suppress(KafkaException, RuntimeError):
                self._tell(consumer)
                consumer.close()
        self._forget([*self._following, *self._unplaced])

    def _properties(self) -> dict[str, Any]:
        classic = {
            "partition_assignment_strategy": "cooperative-sticky",
            "session_timeout_ms": int(self._session_timeout * 1000),
            "heartbeat_interval_ms": int(self._session_timeout * 1000 / 4),
        }
        ours = classic if self._protocol == "classic" else {}
        ahead = READING | _AHEAD | {"fetch_queue_backoff_ms": _FULL_MS}
        if self._gather:
            ahead |= {"fetch_wait_max_ms": max(1, int(self._gather * 1000)), "fetch_min_bytes": _FETCHED}
        return self._settings.client(group_id=self._group, group_protocol=self._protocol, **ahead, **ours)

    def _running(self) -> Consumer:
        if self._consumer is None:
            raise Unavailable("the source is not started, or closed")
        return self._consumer

    def _fetch(self, consumer: Consumer, timeout: float, limit: int) -> Future[Any] | None:
        """Waits for the next message and holds it with those that have come too; the group's callbacks run here.

        Returns what `_hold` does.
        """
        # Asked for many, the driver would wait for all of them: so for one, and then for what comes in a moment.
        messages = self._consume(consumer, 1, timeout)
        if messages and limit > 1:
            moment = self._fetched_at + self._gather - time.monotonic()
            messages += self._consume(consumer, limit - 1, max(0.0, moment))
            self._fetched_at = time.monotonic()
        asked = self._hold(messages)
        if self._fault is not None:
            fault, self._fault = self._fault, None
            if isinstance(fault, Fatal):
                with contextlib.suppress(Unavailable):
                    self._verify()  # it may know the reason better
            raise fault
        return asked

    def _consume(self, consumer: Consumer, limit: int, timeout: float) -> list[AnyMessage]:
        try:
            return consumer.consume(limit, timeout)
        except KafkaException as error:
            self._fault = Unavailable(f"Kafka: {error.args[0]}")
            return []

    def _hold(self, messages: list[AnyMessage]) -> Future[Any] | None:
        """Keeps the records of the partitions that this replica still has; remembers what has failed.

        Returns the question which topic the records came from, where there are any: it was asked after they came.
        """
        # By identity: the driver's errors cannot be compared with None.
        failed = list(compress(messages, map(is_not, map(Message.error, messages), repeat(None))))
        for fault in map(fault_of, failed):
            if not isinstance(self._fault, Fatal):
                self._fault = fault or self._fault
        good = [message for message in messages if message.error() is None] if failed else messages
        asked = self._topics.ask() if good else None  # the brokers answer while the records are taken apart
        for stretch in to_stretches(good):
            guard = self._guards.get(stretch.partition)
            if guard is None:
                continue
            if set(stretch.epochs) == {guard.unchanged}:
                self._keep(stretch)
            else:
                self._admit(guard, stretch)
        return asked

    def _keep(self, stretch: Stretch) -> None:
        held = self._held.get(stretch.partition)
        self._held[stretch.partition] = held + stretch if held else stretch

    def _admit(self, guard: EpochGuard, records: Stretch) -> None:
        """Holds a partition's records up to where its epoch changes, and has it placed anew from there."""
        partition = records.partition
        try:
            admitted, position = guard.admit(records)
        except WrongLog as error:
            self._fault = error
            return
        if admitted:
            self._keep(stretch_of(admitted))
        if position is not None:
            with self._faults_kept():
                self._stop(self._running(), [partition])
            self._unplaced.add(partition)
            self._sought[partition] = position._replace(topic=self.topic())

    def _verify(self, asked: Future[Any] | None = None) -> None:
        """Raises `WrongLog` when the topic is not the one that reading began with. Raises `Unavailable`."""
        self._topics.check(self.topic(), asked)
        self._seen_at = time.monotonic()

    def _verify_bounds(self) -> None:
        """Raises `WrongLog` when a partition no longer holds the place that is read next. Raises `Unavailable`."""
        bounds = self._topics.bounds(list(self._following))
        for partition, following in self._following.items():
            offset_at(partition, Position(self.topic(), following), self.topic(), bounds[partition])

    # In the two callbacks below nothing may be raised: the driver would drop the messages that it holds in hand.

    def _given(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """The group gives partitions. They are read once `_place` has placed them, outside of this callback.

        What fails there can be tried again; here, the driver would begin at the group's own offsets.
        """
        with self._faults_kept():
            consumer.incremental_assign([])
        self._unplaced.update(partition.partition for partition in partitions)

    def _taken(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """The group takes partitions away, or has given them to others already."""
        numbers = [partition.partition for partition in partitions]
        with self._faults_kept():
            self._drop(consumer, numbers)
        self._forget(numbers)

    @contextlib.contextmanager
    def _faults_kept(self) -> Iterator[None]:
        """Has the next `poll` raise what fails."""
        try:
            yield
        except KafkaException as error:
            self._fault = Unavailable(f"Kafka: {error.args[0]}")

    def _drop(self, consumer: Consumer, partitions: Sequence[int]) -> None:
        """Stops reading partitions, and lets go of what was fetched from them."""
        for partition in partitions:
            self._held.pop(partition, None)
        self._stop(consumer, partitions)

    def _stop(self, consumer: Consumer, partitions: Sequence[int]) -> None:
        """Stops reading partitions."""
        reading = [self._at(partition) for partition in partitions if partition in self._following]
        for partition in partitions:
            self._following.pop(partition, None)
            self._guards.pop(partition, None)
        consumer.incremental_unassign(reading)

    def _forget(self, partitions: Sequence[int]) -> None:
        for partition in partitions:
            self._progress.pop(partition, None)
            self._unplaced.discard(partition)
            self._sought.pop(partition, None)
            self._following.pop(partition, None)
            self._guards.pop(partition, None)

    def _place(self, consumer: Consumer) -> None:
        """Begins to read the partitions that were given, where the projection says."""
        partitions = sorted(self._unplaced)
        asked = [partition for partition in partitions if partition not in self._sought]
        positions = {**(self._ask(asked) if asked else {}), **self._sought}
        topic = self._topics.check(self.topic()).id
        bounds = self._topics.bounds(partitions)
        guards, following = {}, {}
        for partition in partitions:
            position = positions[partition]
            following[partition] = offset_at(partition, position, topic, bounds[partition])
            guards[partition] = EpochGuard(partition, position, bounds[partition].low)
        try:
            consumer.incremental_assign([self._at(partition, guard.start) for partition, guard in guards.items()])
        except KafkaException as error:
            raise Unavailable(f"Kafka: {error.args[0]}") from error
        self._following.update(following)
        self._guards.update(guards)
        self._unplaced.clear()
        self._sought.clear()

    def _at(self, partition: int, offset: int = OFFSET_INVALID) -> TopicPartition:
        return TopicPartition(self._settings.topic, partition, offset)
