"""A real Kafka that dies, hangs and comes back; strangers' records; logins and TLS."""

import asyncio
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import jgo
import pytest
from confluent_kafka import Producer

import certs
from aplauso.adapters.kafka.config import KafkaSettings
from aplauso.adapters.kafka.log import KafkaLog
from aplauso.adapters.kafka.reader import KafkaReader
from aplauso.adapters.kafka.rejected import KafkaRejected
from aplauso.adapters.kafka.source import KafkaSource
from aplauso.adapters.kafka.topics import Topics
from aplauso.domain.errors import Unavailable
from aplauso.ports.log import Appended, Record
from aplauso.ports.rejected import Place, Rejection
from aplauso.stack.kafka import Kafka, Tls, class_path
from servers_kafka import PASSWORD, USER, fresh_name, kafka, own_kafka
from system.kafka_world import Projection, World, entries, recorded, wait_for

__all__ = ["kafka", "own_kafka"]
pytestmark = pytest.mark.servers


def read(source: KafkaSource, count: int) -> list[Record]:
    """The next records; the brokers may be away meanwhile."""
    records: list[Record] = []

    def enough() -> bool:
        records.extend(source.poll(0.1, 1000))
        return len(records) >= count

    wait_for(enough, 60)
    return records


async def until_recorded(log: KafkaLog, partition: int) -> None:
    """Appends one record as soon as the log takes it."""
    deadline = time.monotonic() + 60
    while list(await log.append(entries("back", [partition]))) != [Appended.RECORDED]:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


async def refusing(log: KafkaLog) -> float:
    """Waits until the log is not ready; returns the seconds that it took."""
    began = time.monotonic()
    while time.monotonic() - began < 10:
        try:
            await log.ready()
        except Unavailable:
            return time.monotonic() - began
        await asyncio.sleep(0.02)
    raise AssertionError("the log calls itself ready")


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["classic", "consumer"])
async def test_a_broker_dies_and_comes_back(own_kafka: Kafka, protocol: Any) -> None:
    """Votes are refused within 2 s of a kill -9, nothing recorded is lost, and both sides recover by themselves."""
    world = World(own_kafka.bootstrap)
    log, source = world.log(), KafkaSource(world.settings, fresh_name("group"), protocol)
    projection = Projection()
    source.start(projection.ask)
    await recorded(log, entries("before", range(4)))
    first = read(source, 4)
    projection.apply(source.topic(), first)  # it is asked again when the broker is away for long
    own_kafka.kill()
    assert await refusing(log) < 2
    began = time.monotonic()
    assert set(await log.append(entries("refused", range(4)))) == {Appended.NOT_RECORDED}
    assert time.monotonic() - began < 0.5
    await asyncio.to_thread(own_kafka.start)
    await until_recorded(log, 0)
    await recorded(log, entries("after", range(4)))
    # What was undecided while the broker came back may lie there too; what was refused may not.
    later = read(source, 5)
    assert sorted(str(record.key) for record in first) == sorted(str(e.key) for e in entries("before", range(4)))
    assert {e.key for e in [*entries("after", range(4)), *entries("back", [0])]} <= {r.key for r in later}
    assert not {entry.key for entry in entries("refused", range(4))} & {record.key for record in later}
    source.close()
    await log.close()


@pytest.mark.slow
async def test_a_hung_broker_is_noticed(own_kafka: Kafka) -> None:
    """A broker that keeps its connections and says nothing is noticed within 2 s; what it had got is undecided."""
    world = World(own_kafka.bootstrap)
    log = world.log(deadline=3.0)
    await recorded(log, entries("before", range(4)))
    os.kill(own_kafka.pid, signal.SIGSTOP)
    under_way = asyncio.create_task(log.append(entries("under way", range(4))))
    assert await refusing(log) < 2
    assert set(await log.append(entries("refused", [0]))) == {Appended.NOT_RECORDED}
    assert set(await under_way) == {Appended.UNDECIDED}
    os.kill(own_kafka.pid, signal.SIGCONT)
    await until_recorded(log, 0)
    await log.close()


async def test_strange_records_are_read_as_they_are(kafka: Kafka) -> None:
    """Records without key or value, of garbage, or in any partition come out as they lie; nothing is judged here."""
    world = World(kafka.bootstrap)
    noise = random.Random(3).randbytes(900_000)
    strange = [(0, None, None), (0, b"", b""), (0, b"\xff\xfe", b"\x00garbage"), (0, None, b"v"), (0, b"big", noise)]
    world.produce(*strange)
    source = KafkaSource(world.settings, fresh_name("group"))
    source.start(dict.fromkeys)
    records = read(source, len(strange))
    source.close()
    assert [(record.partition, record.key, record.value) for record in records] == strange
    assert [record for chunk in KafkaReader(world.settings).read(0, 0, 5) for record in chunk] == records


async def test_marks_of_transactions_are_gaps(kafka: Kafka) -> None:
    """Gaps in the offsets, at the end too, neither stop the reader nor the source; open transactions hold up nobody."""
    world = World(kafka.bootstrap)
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "transactional.id": fresh_name("tx")})
    producer.init_transactions(30)
    for round_ in range(3):
        producer.begin_transaction()
        producer.produce(world.settings.topic, b"%d" % round_, b"k", 0)
        producer.commit_transaction(30)
    reader = KafkaReader(world.settings)
    end = reader.ends()[0]
    assert end == 6
    found = [record for chunk in reader.read(0, 0, end) for record in chunk]
    assert [(record.offset, record.value) for record in found] == [(0, b"0"), (2, b"1"), (4, b"2")]
    assert [record.value for chunk in reader.read(0, 4, 5) for record in chunk] == [b"2"]
    assert list(reader.read(0, 5, 6)) == []
    producer.begin_transaction()
    producer.produce(world.settings.topic, b"open", b"k", 0)
    producer.flush(10)
    source = KafkaSource(world.settings, fresh_name("group"))
    source.start(dict.fromkeys)
    assert [record.value for record in read(source, 4)] == [b"0", b"1", b"2", b"open"]
    producer.abort_transaction(30)
    source.close()


async def test_a_rejected_record_may_be_as_large_as_a_record(kafka: Kafka) -> None:
    """The largest record that the votes' topic takes fits into the rejected one; a larger goes without its value."""
    world = World(kafka.bootstrap)
    noise = random.Random(5).randbytes(2_000_000)
    largest = noise[: world.settings.max_bytes - 100]
    world.produce((0, b"k", largest), **{"message.max.bytes": 3_000_000})
    rejections = [
        Rejection(Place("t", 0, 0), "unreadable", "x" * 4000, b"k", largest),
        Rejection(Place("t", 0, 1), "unreadable", "huge", b"k", noise),
        Rejection(Place("t", 0, 2), "unreadable", "zeros", b"k", bytes(5_000_000)),
        Rejection(Place("t", 0, 3), "unreadable", "small", b"k", b"v"),
    ]
    rejected = KafkaRejected(world.settings)
    rejected.add(rejections)
    found = list(KafkaRejected(world.settings).open())
    assert [found[0], *found[2:]] == [rejections[0], *rejections[2:]]
    assert found[1].place == rejections[1].place
    assert found[1].value is None
    assert "2000000 bytes" in found[1].detail
    rejected.close()


async def test_a_rejected_topic_that_is_away_is_unavailable(kafka: Kafka) -> None:
    """What cannot be kept is said to be unavailable, and neither taken for kept nor for nothing to see."""
    rejected = KafkaRejected(KafkaSettings(kafka.bootstrap, fresh_name(), 1))
    with pytest.raises(Unavailable, match="rejected"):
        list(rejected.open())
    with pytest.raises(Unavailable, match="rejected"):
        rejected.add([Rejection(Place("t", 0, 0), "unreadable", "", b"k", b"v")])


async def everything_works(settings: KafkaSettings) -> None:
    """Appends through a log, and reads through a source and a reader."""
    Topics(settings).create()
    log, source = KafkaLog(settings), KafkaSource(settings, fresh_name("group"))
    await log.ready()
    await recorded(log, entries("a", range(2)))
    source.start(dict.fromkeys)
    assert len(read(source, 2)) == 2
    assert KafkaReader(settings).ends() == {0: 1, 1: 1}
    KafkaRejected(settings).add([Rejection(Place("t", 0, 0), "unreadable", "", b"k", b"v")])
    source.close()
    await log.close()


def scram(password: str) -> dict[str, str]:
    return {
        "security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": USER, "sasl.password": password,
    }  # fmt: skip


async def test_a_broker_that_demands_a_login_gets_one(kafka: Kafka) -> None:
    """With the right password everything works over SCRAM; with a wrong one, or none, nothing is recorded."""
    address, topic = kafka.address("SASL_PLAINTEXT"), fresh_name()
    await everything_works(KafkaSettings(address, topic, 2, scram(PASSWORD)))
    for security in (scram("wrong"), {}):
        log = KafkaLog(KafkaSettings(address, topic, 2, security))
        with pytest.raises(Unavailable):
            await log.ready()
        assert list(await log.append(entries("b", [0]))) == [Appended.NOT_RECORDED]
        await log.close()
    assert KafkaReader(KafkaSettings(kafka.bootstrap, topic, 2)).ends() == {0: 1, 1: 1}


def test_a_password_is_not_shown() -> None:
    """Settings can be printed without giving their secrets away."""
    assert PASSWORD not in repr(KafkaSettings("b:1", security=scram(PASSWORD)))


@pytest.mark.slow
async def test_a_broker_that_speaks_tls_only(tmp_path: Path) -> None:
    """Everything works over TLS with both certificates; a client that trusts another authority records nothing."""
    ours, others = certs.make(tmp_path / "ours"), certs.make(tmp_path / "others")
    keystore = tmp_path / "broker.pem"
    key = tmp_path / "pkcs8.pem"
    # The broker wants the key as PKCS#8.
    from cryptography.hazmat.primitives import serialization as form

    loaded = form.load_pem_private_key(ours.server_key.read_bytes(), None)
    key.write_bytes(loaded.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()))
    keystore.write_bytes(key.read_bytes() + ours.server.read_bytes())
    broker = Kafka(tmp_path / "kafka", users={USER: PASSWORD}, tls=Tls(keystore, ours.ca), heap_mb=256)
    broker.start()
    tls = {"security.protocol": "SSL", "ssl.ca.location": str(ours.ca),
           "ssl.certificate.location": str(ours.client), "ssl.key.location": str(ours.client_key)}  # fmt: skip
    await everything_works(KafkaSettings(broker.address("SSL"), "votes", 2, tls))
    both = {**scram(PASSWORD), "security.protocol": "SASL_SSL", "ssl.ca.location": str(ours.ca)}
    await everything_works(KafkaSettings(broker.address("SASL_SSL"), "others", 2, both))
    for wrong in ({**tls, "ssl.ca.location": str(others.ca)},
                  {**tls, "ssl.certificate.location": str(others.client), "ssl.key.location": str(others.client_key)},
                  {"security.protocol": "PLAINTEXT"}):  # fmt: skip
        log = KafkaLog(KafkaSettings(broker.address("SSL"), "votes", 2, wrong))
        with pytest.raises(Unavailable):
            await log.ready()
        assert list(await log.append(entries("b", [0]))) == [Appended.NOT_RECORDED]
        await log.close()
    broker.stop()


def test_jars_that_cannot_be_fetched_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Kafka's jars and without a way to get them, the message names them and the reason."""

    def build(endpoint: str) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(jgo, "build", build)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(Unavailable, match=r"kafka_2\.13.*no route to host"):
        class_path()
