"""What no other test over a real broker would notice when it was lost: each kills a mutant (docs/mutants.md)."""

from collections.abc import Sequence
from typing import NoReturn

import pytest

from aplauso.adapters.kafka.source import KafkaSource
from aplauso.adapters.kafka.topics import Bounds
from aplauso.domain.errors import Unavailable, WrongLog
from aplauso.domain.position import Position
from aplauso.ports.log import Record
from aplauso.stack.kafka import Kafka
from servers_kafka import fresh_name, kafka
from system.kafka_world import World, wait_for

__all__ = ["kafka"]
pytestmark = pytest.mark.servers


async def test_records_trimmed_after_the_look_are_not_skipped(kafka: Kafka, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where records go between the look at the log's bounds and the fetch, the source stops: nothing is skipped."""
    world = World(kafka.bootstrap)
    world.produce(*((0, b"k", b"%d" % number) for number in range(20)))
    source = KafkaSource(world.settings, fresh_name("group"))
    stored = Position(source.topic(), 3, -1)
    before = source._topics.bounds(range(4))
    world.trim(0, 12)

    def stale(partitions: Sequence[int], name: str = "") -> dict[int, Bounds]:
        return {partition: before[partition] for partition in partitions}

    monkeypatch.setattr(source._topics, "bounds", stale)
    source.start(lambda partitions: {partition: stored if partition == 0 else None for partition in partitions})
    records, faults = list[Record](), list[str]()

    def stopped() -> bool:
        try:
            records.extend(source.poll(0.1, 1000))
        except WrongLog as error:
            faults.append(str(error))
        return bool(faults or records)

    wait_for(stopped, 60)
    assert records == []
    assert "trimmed or truncated under its reader" in faults[0]
    source.close()


async def test_what_was_fetched_before_a_failure_is_dropped(kafka: Kafka, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records that were fetched and not handed out, because the brokers went away, are dropped by a seek."""
    world, records = World(kafka.bootstrap), list[Record]()
    source = KafkaSource(world.settings, fresh_name("group"))
    source.start(dict.fromkeys)
    world.produce((0, b"k", b"0"))

    def read(count: int) -> bool:
        records.extend(source.poll(0.1, 1000))
        return len(records) >= count

    wait_for(lambda: read(1), 60)
    world.produce(*((0, b"k", b"%d" % number) for number in range(1, 5)))

    def away(*_question: object) -> NoReturn:
        raise Unavailable("away")

    def holds() -> bool:
        try:
            source.poll(0.1, 1000)
        except Unavailable:
            return sum(map(len, source._held.values())) == 4
        return False

    with monkeypatch.context() as patched:
        patched.setattr(source._topics, "check", away)
        wait_for(holds, 60)
    source.seek(0, None)
    records.clear()
    wait_for(lambda: read(5), 60)
    assert [record.offset for record in records] == [0, 1, 2, 3, 4]
    source.close()
