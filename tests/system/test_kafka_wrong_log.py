"""A topic that is no longer what it was stops its readers and its writer: never a wrong number."""

import json
import shutil
import time
from collections.abc import Sequence
from typing import Any

import pytest
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType  # type: ignore[attr-defined]

from aplauso.adapters.kafka.config import KafkaSettings
from aplauso.adapters.kafka.log import KafkaLog
from aplauso.adapters.kafka.reader import KafkaReader
from aplauso.adapters.kafka.source import KafkaSource
from aplauso.adapters.kafka.topics import Topics
from aplauso.domain.errors import Unavailable, WrongLog
from aplauso.domain.position import Position
from aplauso.ports.log import Appended, Record
from aplauso.stack.kafka import Kafka
from servers_kafka import fresh_name, kafka, own_kafka
from system.kafka_world import World, entries, recorded, wait_for

__all__ = ["kafka", "own_kafka"]
pytestmark = pytest.mark.servers


@pytest.fixture
def world(kafka: Kafka) -> World:
    return World(kafka.bootstrap)


@pytest.fixture(params=["classic", "consumer"])
def protocol(request: pytest.FixtureRequest) -> Any:
    return request.param


def started(world: World, protocol: Any, positions: dict[int, Position] | None = None) -> KafkaSource:
    """A source at some positions, at the beginning elsewhere. It may ask again, after it was away for long."""
    stored = {} if positions is None else positions
    source = KafkaSource(world.settings, fresh_name("group"), protocol)
    source.start(lambda partitions: {partition: stored.get(partition) for partition in partitions})
    return source


def read(source: KafkaSource, count: int) -> list[Record]:
    """The next records."""
    records: list[Record] = []

    def enough() -> bool:
        records.extend(source.poll(0.1, 1000))
        return len(records) >= count

    wait_for(enough, 60)
    return records


def stopped(source: KafkaSource, seconds: float = 20) -> tuple[str, list[Record]]:
    """Why the source refuses to go on, and what it returned before."""
    records: list[Record] = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            records += source.poll(0.1, 1000)
        except WrongLog as error:
            source.close()
            return str(error), records
        except Unavailable:
            continue
    raise AssertionError(f"it goes on, and returned {records}")


async def refused(log: KafkaLog, why: str) -> None:
    """The log soon names the reason, and appends nothing."""
    faults: list[str] = []

    async def wrong() -> bool:
        try:
            await log.ready()
        except WrongLog as error:
            faults.append(str(error))
        except Unavailable:
            pass
        return bool(faults)

    deadline = time.monotonic() + 10
    while not await wrong():
        assert time.monotonic() < deadline
    assert why in faults[0]
    assert set(await log.append(entries("refused", [0]))) == {Appended.NOT_RECORDED}
    await log.close()


async def test_more_partitions_stop_everybody(world: World, protocol: Any) -> None:
    """A topic that was given more partitions stops source, log and reader, and they say so."""
    log = world.log()
    await recorded(log, entries("a", range(4)))
    source = started(world, protocol)
    read(source, 4)
    world.grow(6)
    why, records = stopped(source)
    assert "6 partitions, but 4 are configured" in why
    assert records == []
    await refused(log, "6 partitions, but 4 are configured")
    with pytest.raises(WrongLog):
        KafkaReader(world.settings).ends()


async def test_a_topic_made_again_stops_everybody(world: World, protocol: Any) -> None:
    """A topic that was deleted and made again stops source, log and reader, though it may hold as many records."""
    log = world.log()
    await recorded(log, entries("a", range(4)))
    source, reader = started(world, protocol), KafkaReader(world.settings)
    read(source, 4)
    reader.topic()
    world.recreate()
    world.produce(*((partition, b"stranger", b"%d" % number) for partition in range(4) for number in range(20)))
    why, records = stopped(source)
    assert "made again" in why
    assert records == []
    await refused(log, "made again")
    with pytest.raises(WrongLog):
        list(reader.read(0, 0, 1))


async def test_trimmed_records_stop_a_source_that_has_not_read_them(world: World, protocol: Any) -> None:
    """Records that are deleted before they were read stop the source, and the reader that wants them."""
    world.produce(*((0, b"k", b"%d" % number) for number in range(20)))
    source = started(world, protocol)
    read(source, 20)
    source.seek(0, Position(source.topic(), 3, 0))
    world.trim(0, 12)
    why, records = stopped(source)
    assert "trimmed: it begins at 12, after 3" in why
    assert records == []
    why, records = stopped(started(world, protocol))
    assert "trimmed: it begins at 12, and nothing was read yet" in why
    with pytest.raises(WrongLog):
        list(KafkaReader(world.settings).read(0, 0, 20))


def truncate(broker: Kafka, world: World, partitions: Sequence[int]) -> None:
    """The broker dies, and comes back having lost what some partitions held, as after an unclean election."""
    broker.kill()
    for partition in partitions:
        shutil.rmtree(broker.data / "log" / f"{world.settings.topic}-{partition}")
    (broker.data / "log" / "recovery-point-offset-checkpoint").unlink(missing_ok=True)
    (broker.data / "log" / "replication-offset-checkpoint").unlink(missing_ok=True)
    broker.start()


@pytest.mark.slow
async def test_a_truncated_log_stops_a_running_source(own_kafka: Kafka, protocol: Any) -> None:
    """A source whose next offset is beyond the end of a log that has lost records stops."""
    world = World(own_kafka.bootstrap, 2)
    world.produce(*((0, b"k", b"%d" % number) for number in range(20)))
    positions: dict[int, Position] = {}
    source = started(world, protocol, positions)
    positions[0] = Position(source.topic(), 20, read(source, 20)[-1].epoch)
    truncate(own_kafka, world, [0])
    why, records = stopped(source, 60)
    assert "truncated" in why
    assert records == []


@pytest.mark.slow
@pytest.mark.parametrize("running", [True, False])
async def test_other_records_at_a_position_stop_a_source(own_kafka: Kafka, protocol: Any, running: bool) -> None:
    """A log that has lost records and gained others is told from the old one, by a source that was there or is new."""
    world = World(own_kafka.bootstrap, 2)
    world.produce(*((0, b"k", b"%d" % number) for number in range(20)))
    positions: dict[int, Position] = {}
    source = started(world, protocol, positions)
    positions[0] = Position(source.topic(), 20, read(source, 20)[-1].epoch)
    if not running:
        source.close()
    truncate(own_kafka, world, [0])
    wait_for(lambda: world.topics.bounds([0])[0].high == 0, 60)
    world.produce(*((0, b"other", b"%d" % number) for number in range(40)))
    why, records = stopped(source if running else started(world, protocol, positions), 60)
    assert "truncated" in why
    assert records == []


@pytest.mark.slow
async def test_a_new_leader_is_no_new_log(own_kafka: Kafka, protocol: Any) -> None:
    """A broker that comes back leads in a new epoch: sources go on, running or new, and read each record once."""
    world = World(own_kafka.bootstrap, 2)
    world.produce(*((0, b"k", b"%d" % number) for number in range(20)))
    positions: dict[int, Position] = {}
    source = started(world, protocol, positions)
    before = read(source, 20)
    positions[0] = Position(source.topic(), 20, before[-1].epoch)
    own_kafka.kill()
    own_kafka.start()
    world.produce(*((0, b"k", b"%d" % number) for number in range(20, 40)))
    after = read(source, 20)
    assert [record.value for record in before + after] == [b"%d" % number for number in range(40)]
    assert after[-1].epoch > before[-1].epoch
    source.seek(0, Position(source.topic(), 15, before[14].epoch))
    assert [record.offset for record in read(source, 25)] == list(range(15, 40))
    source.close()
    again = started(world, protocol, {0: Position(source.topic(), 20, before[-1].epoch)})
    assert read(again, 20) == after
    again.close()


async def test_a_topic_that_may_lose_votes_is_reported(world: World) -> None:
    """What is wrong with the topics is told in words: retention, clean-up, size, number of partitions, absence."""
    assert world.topics.problems() == []
    assert "do not survive" in world.topics.examine().remarks[0]
    resource = ConfigResource(
        ResourceType.TOPIC,
        world.settings.topic,
        incremental_configs=[
            ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
            for name, value in (
                ("retention.ms", "60000"), ("cleanup.policy", "compact"), ("max.message.bytes", "1000"),
            )
        ],
    )  # fmt: skip
    world.admin.incremental_alter_configs([resource])[resource].result(10)
    world.grow(5)
    world.admin.delete_topics([world.settings.rejected_topic])[world.settings.rejected_topic].result(10)
    wait_for(lambda: len(world.topics.problems()) == 5, 10)
    told = "\n".join(world.topics.problems())
    for word in ("retention.ms is 60000", "cleanup.policy is compact", "max.message.bytes is 1000",
                 "5 partitions, but 4", f"{world.settings.rejected_topic}': Kafka does not have it"):  # fmt: skip
        assert word in told, json.dumps(told)


async def test_a_missing_topic_is_waited_for(kafka: Kafka) -> None:
    """Before its topic is made the log is unavailable, not wrong; afterwards it works without being made anew."""
    settings = KafkaSettings(kafka.bootstrap, fresh_name(), 4)
    log = KafkaLog(settings)
    with pytest.raises(Unavailable, match="Kafka does not have it"):
        await log.ready()
    assert list(await log.append(entries("a", [0]))) == [Appended.NOT_RECORDED]
    Topics(settings).create()
    deadline = time.monotonic() + 10
    while list(await log.append(entries("a", [0]))) != [Appended.RECORDED]:
        assert time.monotonic() < deadline
    await log.close()
