"""Large batches take turns, in the gateway as in the collector."""

import asyncio
import json
from itertools import count

import pytest

from aplauso.domain.errors import NotOpen, NotRecorded
from aplauso.flow.cast import CHUNK, Batcher, Caster
from aplauso.flow.turns import LARGE, Turns
from aplauso.metrics import Metrics
from aplauso.web.app import App
from aplauso.web.http import Request, Response
from aplauso.web.votes import TURNS, Votes
from unit.fakes import NOW, FakeClock, FakeIntake, a_contest, anonymous_id, soon, until

LINE = b'{"name": "Alux Nahual", "album": "Sub", "year": 1995, "rank": 3}'
VOTES = LARGE // len(LINE) + 1
PATIENT = 60.0


class Batches:
    """Large batches that hold their turn until `done`."""

    def __init__(self, at_once: int) -> None:
        self.turns = Turns(at_once)
        self.begun: list[int] = []
        self.done = asyncio.Event()

    async def work(self, number: int, size: int = LARGE, seconds: float = PATIENT) -> None:
        """One batch, from its arrival to its answer."""
        async with self.turns.turn(size, seconds):
            self.begun.append(number)
            await self.done.wait()


async def test_so_many_are_at_work_and_others_follow_in_their_order() -> None:
    """Two of five large batches are at work at once; the others follow in the order in which they came."""
    batches = Batches(2)
    tasks = [asyncio.create_task(batches.work(number)) for number in range(5)]
    await until(lambda: len(batches.begun) == 2, "two are at work")
    for _ in range(20):
        await asyncio.sleep(0)
    assert batches.begun == [0, 1]
    batches.done.set()
    await soon(asyncio.gather(*tasks))
    assert batches.begun == [0, 1, 2, 3, 4]


async def test_a_small_batch_waits_for_nobody() -> None:
    """A batch that is a byte too small to be a large one is at work at once, and takes nobody's turn."""
    batches = Batches(1)
    tasks = [asyncio.create_task(batches.work(0)), asyncio.create_task(batches.work(1, LARGE - 1))]
    await until(lambda: batches.begun == [0, 1], "the small one is at work")
    batches.done.set()
    await soon(asyncio.gather(*tasks))


async def test_whose_turn_does_not_come_is_not_recorded() -> None:
    """A batch whose turn does not come in time is certainly not recorded, and leaves the others' turns alone."""
    batches = Batches(1)
    first = asyncio.create_task(batches.work(0))
    await until(lambda: batches.begun == [0], "the first is at work")
    with pytest.raises(NotRecorded, match="too many large batches"):
        await batches.work(1, seconds=0.0)
    batches.done.set()
    await soon(asyncio.gather(first, batches.work(2)))
    assert batches.begun == [0, 2]


async def test_a_batch_that_fails_or_goes_gives_its_turn_back() -> None:
    """After batches that failed, and ones whose client went away at work or while waiting, others have their turn."""
    batches = Batches(1)
    with pytest.raises(ZeroDivisionError):
        async with batches.turns.turn(LARGE, PATIENT):
            raise ZeroDivisionError
    gone = [asyncio.create_task(batches.work(number)) for number in range(2)]
    await until(lambda: batches.begun == [0], "the first is at work")
    for task in reversed(gone):
        task.cancel()
    await asyncio.gather(*gone, return_exceptions=True)
    batches.done.set()
    await soon(batches.work(2))


class Gateway:
    """The calls of a gateway whose collector holds what it gets, until `intake.release`."""

    def __init__(self, closes: int | None = None) -> None:
        serial = count(1)
        self.intake, self.clock = FakeIntake(hold=True), FakeClock()
        contest = a_contest(closes=closes)
        caster = Caster({contest.id: contest}, Batcher(self.intake), self.clock, lambda: anonymous_id(next(serial)))
        self.votes = Votes(caster, contest, metrics := Metrics())
        self.contest, self._app = contest, App((), metrics)

    def batch(self, lines: int) -> asyncio.Task[Response]:
        """A batch of so many lines has arrived."""
        headers = {"content-type": b"application/x-ndjson"}
        request = Request("POST", "/", headers, (), lambda: "request", self._app)
        request.body = b"\n".join([LINE] * lines)
        answer = self.votes.cast(request, self.contest.id)
        assert answer is not None
        return asyncio.ensure_future(answer)

    @property
    def sent(self) -> int:
        """Votes that the collector has got."""
        return sum(map(len, self.intake.batches))


async def test_a_gateway_works_at_a_few_large_batches_at_once() -> None:
    """Beyond those at work large batches wait, small ones do not; all are recorded, each once."""
    assert VOTES <= CHUNK * 2
    gateway = Gateway()
    tasks = [gateway.batch(VOTES) for _ in range(3 * TURNS)]
    await until(lambda: gateway.sent == TURNS * VOTES, "a few are at work")
    tasks.append(gateway.batch(3))
    await until(lambda: gateway.sent == TURNS * VOTES + 3, "the small one is at work")
    assert not any(task.done() for task in tasks)
    gateway.intake.release()
    answers = [json.loads(answer.body) for answer in await soon(asyncio.gather(*tasks))]
    assert [answer["recorded"] for answer in answers] == [VOTES] * 3 * TURNS + [3]
    ids = [vote.id for batch in gateway.intake.batches for vote in batch]
    assert len(set(ids)) == len(ids) == 3 * TURNS * VOTES + 3


async def test_a_batch_that_came_in_time_stays_so_while_it_waits() -> None:
    """Its votes have the stamp of its arrival, although the contest has closed when its turn comes."""
    gateway = Gateway(closes=NOW + 1)
    tasks = [gateway.batch(VOTES) for _ in range(TURNS + 1)]
    await until(lambda: gateway.sent == TURNS * VOTES, "a few are at work")
    gateway.clock.now = NOW + 5_000
    gateway.intake.release()
    answers = [json.loads(answer.body) for answer in await soon(asyncio.gather(*tasks))]
    assert [answer["recorded"] for answer in answers] == [VOTES] * (TURNS + 1)
    assert {vote.cast_at for batch in gateway.intake.batches for vote in batch} == {NOW}
    with pytest.raises(NotOpen):
        await gateway.batch(VOTES)
