"""The trial by faults, in short: two rounds of it. `make chaos` runs as many as one likes."""

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aplauso.domain.errors import Unavailable
from aplauso.flow.recount import recount
from aplauso.flow.traffic import open_traffic
from chaos.rounds import Trial
from chaos.world import World

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
        assert result.checked is not None
        verdict = result.checked.verdict
        assert verdict.ok, verdict.faults
        assert verdict.acknowledged >= 2_000
        assert [event.kind for event in result.events] == list(kinds)
        assert not result.wrong
    report = await asyncio.to_thread(recount, *world.readers)
    assert report.ok, report.differences
