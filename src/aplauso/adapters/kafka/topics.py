"""The votes' topic from outside: its identity, its bounds, how it is made, and whether it is as it must be."""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Final, NamedTuple
from uuid import UUID

from confluent_kafka import KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # it does not say what it exports
    AdminClient,
    ConfigResource,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from aplauso.adapters.kafka.config import KafkaSettings
from aplauso.domain.errors import Unavailable, WrongLog

_FOREVER: Final = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
_REPLICATED: Final = {"min.insync.replicas": "2", "unclean.leader.election.enable": "false"}
_SAFE_BROKERS: Final = 3
_FIRST: Final[Any] = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
_LAST: Final[Any] = OffsetSpec.latest()  # type: ignore[no-untyped-call]
_DENIED: Final = (KafkaError._AUTHENTICATION, KafkaError._SSL)
_HALF: Final = (1 << 64) - 1


class Topic(NamedTuple):
    """A topic as the brokers describe it.

    Attributes:
        id: its UUID; another topic of the same name has another.
        partitions: how many it has.
        replicas: the least number of replicas that a partition has.
    """

    id: str
    partitions: int
    replicas: int


class Bounds(NamedTuple):
    """The first offset that a partition still has, and the one that its next record would get."""

    low: int
    high: int


class Findings(NamedTuple):
    """What is wrong with the topics, and what is only worth knowing."""

    problems: list[str]
    remarks: list[str]


class Topics:
    """Asks the brokers about topics. Any thread may use it.

    Args:
        settings: where they are.
        timeout: of a question, in seconds.
    """

    def __init__(self, settings: KafkaSettings, timeout: float = 3.0) -> None:
        self._settings = settings
        self._timeout = timeout
        self._heard = ""
        self._admin = self._make()
        self._warm = False

    def _make(self) -> AdminClient:
        properties: dict[str, Any] = {**self._settings.admin(), "error_cb": self._hear}
        return AdminClient(properties)

    def _why(self) -> str:
        self._admin.poll(0)  # the driver tells errors of connections only when it is asked
        heard, self._heard = self._heard, ""
        return heard

    def _hear(self, error: KafkaError) -> None:
        """Keeps why no connection comes about: a question that waits for one would only say that it took too long."""
        if error.code() in _DENIED:
            self._heard = f": {error.str().split(' (after ')[0]}"  # the same text each time

    def ask(self, name: str = "") -> Future[Any]:
        """Asks the brokers for a topic, the votes' when no name is given. The answer is for `check` to read."""
        name = name or self._settings.topic
        futures: dict[str, Future[Any]] = self._admin.describe_topics(
            TopicCollection([name]), request_timeout=self._timeout
        )
        return futures[name]

    def describe(self, name: str = "") -> Topic:
        """A topic, the votes' when no name is given.

        Raises:
            Unavailable: no broker answers, or there is no such topic.
        """
        return self._read(self.ask(name), name)

    def _read(self, asked: Future[Any], name: str = "") -> Topic:
        found = self._result(asked, f"topic {name or self._settings.topic!r}")
        replicas = min((len(partition.replicas) for partition in found.partitions), default=0)
        return Topic(_uuid(found.topic_id), len(found.partitions), replicas)

    def check(self, expected_id: str | None = None, asked: Future[Any] | None = None) -> Topic:
        """The votes' topic, once it is seen to be the right one.

        Args:
            expected_id: the id that it must have; None for any.
            asked: what `ask` gave; without it, the brokers are asked now.

        Raises:
            Unavailable: no broker answers, or there is no such topic.
            WrongLog: it has another number of partitions or another id.
        """
        found = self._read(asked or self.ask())
        named = f"topic {self._settings.topic!r}"
        if expected_id is not None and found.id != expected_id:
            raise WrongLog(f"{named} was deleted and made again: its id is {found.id}, no longer {expected_id}")
        if found.partitions != self._settings.partitions:
            raise WrongLog(f"{named} has {found.partitions} partitions, but {self._settings.partitions} are configured")
        return found

    def bounds(self, partitions: Sequence[int], name: str = "") -> dict[int, Bounds]:
        """Where partitions begin and end. Raises `Unavailable`."""
        lows = self._offsets(name, partitions, _FIRST)
        highs = self._offsets(name, partitions, _LAST)
        return {partition: Bounds(lows[partition], highs[partition]) for partition in partitions}

    def ends(self, partitions: Sequence[int], name: str = "") -> dict[int, int]:
        """The offset that the next record of each partition would get. Raises `Unavailable`."""
        return self._offsets(name, partitions, _LAST)

    def create(self) -> None:
        """Makes the votes' topic and the rejected ones'; leaves those that are there as they are.

        Raises:
            Unavailable: it could not be done now.
        """
        ours = self._settings
        replicas = _SAFE_BROKERS if self.brokers() >= _SAFE_BROKERS else 1
        config = {**_FOREVER, **(_REPLICATED if replicas > 1 else {})}
        sizes = ((ours.topic, ours.partitions, ours.max_bytes), (ours.rejected_topic, 1, ours.rejected_max_bytes))
        topics = [
            NewTopic(name, count, replicas, config={**config, "max.message.bytes": str(size)})
            for name, count, size in sizes
        ]
        futures = self._admin.create_topics(topics, request_timeout=self._timeout, operation_timeout=self._timeout)
        for name, future in futures.items():
            self._result(future, f"topic {name!r} could not be made", KafkaError.TOPIC_ALREADY_EXISTS)
        for name, count, _size in sizes:
            self._await_leaders(name, count)

    def _await_leaders(self, name: str, partitions: int) -> None:
        """Waits until a new topic's partitions can be used: it is there before its leaders are."""
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                self.bounds(range(min(partitions, self.describe(name).partitions)), name)
            except Unavailable:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return

    def brokers(self) -> int:
        """How many brokers there are. Raises `Unavailable`."""
        try:
            return len(self._admin.list_topics(timeout=self._timeout).brokers)
        except KafkaException as error:
            raise Unavailable(f"Kafka: {error.args[0]}{self._why()}") from error

    def examine(self) -> Findings:
        """Holds both topics against what the votes' safety needs. Raises `Unavailable` when no broker answers."""
        brokers = self.brokers()
        findings = Findings([], [])
        if brokers < _SAFE_BROKERS:
            findings.remarks.append(f"Kafka has {brokers} broker(s): the votes do not survive the loss of its disk")
        names = ((self._settings.topic, self._settings.max_bytes),
                 (self._settings.rejected_topic, self._settings.rejected_max_bytes))  # fmt: skip
        for name, size in names:
            try:
                topic, config = self.describe(name), self.config(name)
            except Unavailable as error:
                findings.problems.append(str(error))
                continue
            findings.problems.extend(f"topic {name!r}: {what}" for what in _faults(topic, config, brokers, size))
        findings.problems.extend(self._count_fault())
        return findings

    def problems(self) -> list[str]:
        """What is wrong with the topics, in words for a person. Raises `Unavailable` when no broker answers."""
        return self.examine().problems

    def config(self, name: str) -> dict[str, str]:
        """A topic's settings as they are in force. Raises `Unavailable`."""
        resource = ConfigResource(ResourceType.TOPIC, name)
        future = self._admin.describe_configs([resource], request_timeout=self._timeout)[resource]
        entries = self._result(future, f"the settings of topic {name!r}")
        return {key: str(entry.value) for key, entry in entries.items()}

    def _count_fault(self) -> list[str]:
        try:
            self.check()
        except WrongLog as error:
            return [str(error)]
        except Unavailable:
            pass  # said already
        return []

    def _offsets(self, name: str, partitions: Sequence[int], which: Any) -> dict[int, int]:
        try:
            return self._ask_offsets(name or self._settings.topic, partitions, which)
        except Unavailable:
            # The driver remembers the leaders that it has once learned, and would ask the former ones for ever.
            self._admin = self._make()
            self._warm = False
            raise

    def _ask_offsets(self, name: str, partitions: Sequence[int], which: Any) -> dict[int, int]:
        if not self._warm:
            # Asked for offsets while it still looks for the brokers, it may wait in vain.
            self.brokers()
            self._warm = True
        asked = {TopicPartition(name, partition): which for partition in partitions}
        futures: Mapping[TopicPartition, Future[Any]] = (
            self._admin.list_offsets(asked, request_timeout=self._timeout) if asked else {}
        )
        return {
            where.partition: int(self._result(future, f"offsets of topic {name!r}").offset)
            for where, future in futures.items()
        }

    def _result(self, future: Future[Any], what: str, tolerated: int | None = None) -> Any:
        """A question's answer; every failure is `Unavailable`."""
        try:
            return future.result(self._timeout + 1)
        except KafkaException as error:
            cause: KafkaError = error.args[0]
            if cause.code() == tolerated:
                return None
            if cause.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise Unavailable(f"{what}: Kafka does not have it") from error
            raise Unavailable(f"{what}: {cause}{self._why()}") from error
        except TimeoutError as error:
            raise Unavailable(f"{what}: no broker answered in {self._timeout} s{self._why()}") from error


def _faults(topic: Topic, config: Mapping[str, str], brokers: int, size: int) -> list[str]:
    """What is wrong with one topic."""
    wanted = dict(_FOREVER)
    faults = []
    if brokers >= _SAFE_BROKERS:
        wanted |= _REPLICATED
        if topic.replicas < _SAFE_BROKERS:
            faults.append(f"it has {topic.replicas} replica(s), and there are brokers enough for {_SAFE_BROKERS}")
    for name, value in wanted.items():
        found = config.get(name, "")
        enough = found == value or (name == "min.insync.replicas" and int(found or 0) >= int(value))
        if not enough:
            faults.append(f"{name} is {found or 'unknown'}, and has to be {value}: votes could be lost")
    if int(config.get("max.message.bytes", 0)) < size:
        faults.append(f"max.message.bytes is {config.get('max.message.bytes')}, and has to be {size} at least")
    return faults


def _uuid(found: Any) -> str:
    """A topic's id as other programs write UUIDs."""
    most, least = found.get_most_significant_bits() & _HALF, found.get_least_significant_bits() & _HALF
    return str(UUID(int=most << 64 | least))
