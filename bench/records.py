"""Backlogs: valid records, made by the project's own encoder, straight into Kafka."""

import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from typing import NamedTuple

from confluent_kafka import Producer

from aplauso.domain.record import encode, partition_of
from aplauso.domain.vote import Vote, id_from_key
from aplauso.wiring.processes import processors
from bench.world import CONTEST, World

Entry = tuple[bytes, bytes, int]
CHUNK = 10_000
"""Records made together. Those of two chunks may lie between each other, as what two gateways send at a time does."""
BEGAN = 1_793_000_000_000
"""When the first vote was cast, in milliseconds since the epoch."""
RATE = 50_000
"""Votes a second that came in then: how close ids lie to each other is not to depend on the machine that makes them."""


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
    for number in numbers:
        choice, cast_at = int(chance.random() * 4 * bands), BEGAN + number * 1000 // RATE
        has_key = chance.random() < keyed
        vote_id = id_from_key(CONTEST, f"bench-{seed:08}-{number:016}") if has_key else _uuid7(cast_at, chance)
        name, title = _texts(choice)
        year, rank = 1960 + choice % 64, number % 10 + 1
        yield Vote(vote_id, CONTEST, name, title, year, rank, cast_at, name.casefold(), title.casefold())


@cache
def _texts(choice: int) -> tuple[str, str]:
    return f"Banda de prueba {choice // 4}", f'Disco, con comas "{choice % 4}"'


def _uuid7(moment: int, chance: random.Random) -> str:
    """An id as `uuid_utils.uuid7` makes them, of any moment."""
    time, bits = f"{moment:012x}", f"{chance.getrandbits(76):019x}"
    return f"{time[:8]}-{time[8:]}-7{bits[:3]}-{'89ab'[int(bits[3], 16) % 4]}{bits[4:7]}-{bits[7:]}"


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
    """Makes a topic, if it is not there, and puts records into it in their order, from a process for each processor."""
    world.make_topic(topic, partitions)
    chunks = [range(first, min(first + CHUNK, count)) for first in range(0, count, CHUNK)]
    bootstrap = world.stack.kafka.bootstrap
    with ProcessPoolExecutor(processors(), get_context("spawn")) as pool:
        for made in [pool.submit(_produce, bootstrap, topic, chunk, partitions, kind) for chunk in chunks]:
            made.result()


def _produce(bootstrap: str, topic: str, numbers: range, partitions: int, kind: Kind) -> None:
    put(_shared(bootstrap), topic, entries(numbers, partitions, kind))


def producer(bootstrap: str) -> Producer:
    """A producer as the collector's is."""
    return Producer(
        {"bootstrap.servers": bootstrap, "acks": "all", "compression.type": "lz4", "linger.ms": 20,
         "enable.idempotence": True, "queue.buffering.max.messages": 200_000}
    )  # fmt: skip


_shared = cache(producer)
"""A process of the pool has one producer for all its chunks."""


def put(through: Producer, topic: str, records: Sequence[Entry]) -> None:
    """Puts records into a topic. Raises `AssertionError` when one does not arrive."""
    for key, value, partition in records:
        through.produce(topic, value, key, partition)
    assert not through.flush(120), "not all records arrived"
