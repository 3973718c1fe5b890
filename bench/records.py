"""Backlogs: valid records, made by the project's own encoder, straight into Kafka."""

import random
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import NamedTuple

from confluent_kafka import Producer
from uuid_utils import uuid7

from aplauso.domain.record import encode, partition_of
from aplauso.domain.vote import Vote, id_from_key
from aplauso.wiring.processes import processors
from bench.world import CONTEST, World

Entry = tuple[bytes, bytes, int]
CHUNK = 100_000


class Kind(NamedTuple):
    """What votes are like.

    Attributes:
        bands: how many there are, each with four albums.
        keyed: the share of ids from keys; the others are UUIDv7.
        seed: other votes for another one.
    """

    bands: int = 100
    keyed: float = 0.1
    seed: int = 6


KIND = Kind()


def votes(numbers: range, kind: Kind) -> Iterator[Vote]:
    """Votes as gateways make them, by number."""
    bands, keyed, seed = kind
    chance = random.Random(f"{seed} {numbers.start}")
    now = int(time.time() * 1000)
    for number in numbers:
        band, album = chance.randrange(bands), chance.randrange(4)
        name, title = f"Banda de prueba {band}", f'Disco, con comas "{album}"'
        has_key = chance.random() < keyed
        vote_id = id_from_key(CONTEST, f"bench-{seed:08}-{number:016}") if has_key else str(uuid7())
        year, rank = 1960 + number % 64, number % 10 + 1
        yield Vote(vote_id, CONTEST, name, title, year, rank, now, name.casefold(), title.casefold())


def entries(numbers: range, partitions: int, kind: Kind) -> list[Entry]:
    """Records of votes; every hundredth comes twice, as a gateway's second try would make it."""
    records: list[Entry] = []
    for number, vote in zip(numbers, votes(numbers, kind), strict=True):
        key = vote.id.encode()
        records.append((key, encode(vote), partition_of(key, partitions)))
        if number % 100 == 99:
            records[-2] = records[-1]
    return records


def backlog(world: World, topic: str, count: int, partitions: int = 12, kind: Kind = KIND) -> None:
    """Makes a topic, if it is not there, and puts records into it, from a process for each processor."""
    world.make_topic(topic, partitions)
    parts = [range(first, min(first + CHUNK, count)) for first in range(0, count, CHUNK)]
    if len(parts) == 1:
        _produce(world.stack.kafka.bootstrap, topic, parts[0], partitions, kind)
        return
    with ProcessPoolExecutor(processors(), get_context("spawn")) as pool:
        wait = [pool.submit(_produce, world.stack.kafka.bootstrap, topic, part, partitions, kind) for part in parts]
        for part in wait:
            part.result()


def _produce(bootstrap: str, topic: str, numbers: range, partitions: int, kind: Kind) -> None:
    put(producer(bootstrap), topic, entries(numbers, partitions, kind))


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
