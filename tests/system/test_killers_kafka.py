"""What no other test over a real broker would notice when it was lost: each kills a mutant (docs/mutants.md)."""

from collections.abc import Sequence

import pytest

from aplauso.adapters.kafka.source import KafkaSource
from aplauso.adapters.kafka.topics import Bounds
from aplauso.domain.errors import WrongLog
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
