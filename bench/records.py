"""Backlogs: valid records, made by the project's own encoder, straight into Kafka."""

import random
import time
from collections.abc import Iterator, Sequence

from confluent_kafka import Producer
from uuid_utils import uuid7

from aplauso.domain.record import encode, partition_of
from aplauso.domain.vote import Vote, id_from_key
from bench.world import CONTEST, World

Entry = tuple[bytes, bytes, int]
CHUNK = 100_000


def votes(count: int, bands: int = 100, keyed: float = 0.1, seed: int = 6) -> Iterator[Vote]:
    """Votes as gateways make them: four albums a band, a share of the ids from keys, the others UUIDv7."""
    chance = random.Random(seed)
    now = int(time.time() * 1000)
    for number in range(count):
        band, album = chance.randrange(bands), chance.randrange(4)
        name, title = f"Banda de prueba {band}", f'Disco, con comas "{album}"'
        has_key = chance.random() < keyed
        vote_id = id_from_key(CONTEST, f"bench-{seed:08}-{number:016}") if has_key else str(uuid7())
        year, rank = 1960 + number % 64, number % 10 + 1
        yield Vote(vote_id, CONTEST, name, title, year, rank, now, name.casefold(), title.casefold())


def entries(count: int, partitions: int, bands: int = 100, keyed: float = 0.1, seed: int = 6) -> Iterator[list[Entry]]:
    """Records in chunks; every hundredth comes twice, as a gateway's second try would make it."""
    chunk: list[Entry] = []
    for number, vote in enumerate(votes(count, bands, keyed, seed)):
        key = vote.id.encode()
        chunk.append((key, encode(vote), partition_of(key, partitions)))
        if number % 100 == 99:
            chunk[-2] = chunk[-1]
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def backlog(
    world: World, topic: str, count: int, partitions: int = 12, bands: int = 100, keyed: float = 0.1, seed: int = 6
) -> None:
    """Makes a topic, if it is not there, and puts records into it."""
    world.make_topic(topic, partitions)
    for chunk in entries(count, partitions, bands, keyed, seed):
        produce(world.stack.kafka.bootstrap, topic, chunk)


def produce(bootstrap: str, topic: str, records: Sequence[Entry]) -> None:
    """Puts records into a topic. Raises `AssertionError` when one does not arrive."""
    put(producer(bootstrap), topic, records)


def producer(bootstrap: str) -> Producer:
    """A producer as the collector's is."""
    return Producer(
        {"bootstrap.servers": bootstrap, "acks": "all", "compression.type": "lz4", "linger.ms": 20,
         "enable.idempotence": True, "queue.buffering.max.messages": 2 * CHUNK}
    )  # fmt: skip


def put(through: Producer, topic: str, records: Sequence[Entry]) -> None:
    """Puts records into a topic. Raises `AssertionError` when one does not arrive."""
    for key, value, partition in records:
        through.produce(topic, value, key, partition)
    assert not through.flush(120), "not all records arrived"
