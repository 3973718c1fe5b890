"""The trial by faults, in short: two rounds of it. `make chaos` runs as many as one likes."""

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from confluent_kafka import Producer
from pymongo import MongoClient

from aplauso.domain.errors import Unavailable
from aplauso.domain.record import encode, partition_of
from aplauso.domain.vote import Vote, id_from_key
from aplauso.flow.recount import recount
from aplauso.flow.traffic import open_traffic
from chaos.rounds import Round, Trial
from chaos.waiting import until_async
from chaos.world import PARTITIONS, World

pytestmark = [pytest.mark.slow, pytest.mark.servers]
_TRAFFIC = Path(__file__).parents[2] / "load" / "traffic.json"
_ROUNDS = (
    ("kill collector", "freeze tally", "answer-lost client-gateway", "garbage records"),
    ("kill kafka", "redis wiped", "kill archive", "duplicate storm"),
)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path, len(_ROUNDS), time.time(), lambda text: None)
    try:
        await world.start()
    except Unavailable as error:
        await world.stop()
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    yield world
    await world.stop()


async def test_faults_lose_nothing_and_repeat_nothing(world: World) -> None:
    """Whatever breaks under load, no acknowledged vote is lost, none is counted twice, and none is invented."""
    trial = Trial(world, open_traffic(_TRAFFIC), votes=2_000)
    for number, kinds in enumerate(_ROUNDS, start=1):
        result = await trial.round(number, kinds, random.Random(number))
        assert result.checked is not None, result.wrong
        verdict = result.checked.verdict
        assert verdict.ok, verdict.faults
        assert verdict.acknowledged >= 2_000
        assert [event.kind for event in result.events] == list(kinds)
        assert not result.wrong
    report = await asyncio.to_thread(recount, *world.readers)
    assert report.ok, report.differences
    await _plant_faults(world, trial, result)


async def _plant_faults(world: World, trial: Trial, result: Round) -> None:
    """A vote that nobody sent, and one that is missing from the archive, are found: the trial can fail."""
    assert result.recheck is not None
    contest = "round-1"
    vote_id = id_from_key(contest, "a-key-that-nobody-sent")
    vote = Vote(vote_id, contest, "Nadie", "Nada", 2000, 5, int(time.time() * 1000), "nadie", "nada")
    producer = Producer({"bootstrap.servers": world.stack.kafka.bootstrap})
    key = vote_id.encode()
    producer.produce("votes", encode(vote), key, partition_of(key, PARTITIONS))
    assert producer.flush(30) == 0
    await until_async(trial.caught_up, 30, "the planted vote was not counted")
    with MongoClient[dict[str, object]](world.stack.mongo.uri) as client:
        client["aplauso"]["votes"].delete_one({"contest": contest, "_id": {"$ne": vote_id}})
    found = (await asyncio.to_thread(result.recheck)).verdict
    assert (found.lost.count, found.repeated.count, found.invented.count) == (1, 0, 1)
    assert found.invented.examples[0].subject == vote_id
