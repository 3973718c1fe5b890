"""Large batches take turns, in the gateway as in the collector."""

import asyncio
import json
from itertools import count
from typing import Any

import pytest

from aplauso.domain.errors import NotOpen, NotRecorded
from aplauso.flow.cast import CHUNK, Batcher, Caster
from aplauso.flow.turns import LARGE, WAITING, Turns
from aplauso.metrics import Metrics
from aplauso.web import votes
from aplauso.web.app import App
from aplauso.web.http import HTTPError, Request, Response
from aplauso.web.votes import TURNS, Votes
from unit.fakes import NOW, FakeClock, FakeIntake, a_contest, anonymous_id, soon, until

LINE = b'{"name": "Alux Nahual", "album": "Sub", "year": 1995, "rank": 3}'
VOTES = LARGE // len(LINE) + 1
PATIENT = 60.0


class Batches:
    """Large batches that hold their turn until `done`."""

    def __init__(self, at_once: int, most: int = WAITING) -> None:
        self.turns = Turns(at_once, most)
        self.begun: list[int] = []
        self.done = asyncio.Event()

    async def work(self, number: int, *, large: bool = True, seconds: float = PATIENT) -> None:
        """One batch of a byte, from its arrival to its answer."""
        async with self.turns.turn(1, seconds, large=large):
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
    """A batch that is not large is at work at once, and takes nobody's turn."""
    batches = Batches(1)
    tasks = [asyncio.create_task(batches.work(0)), asyncio.create_task(batches.work(1, large=False))]
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
        async with batches.turns.turn(1, PATIENT, large=True):
            raise ZeroDivisionError
    gone = [asyncio.create_task(batches.work(number)) for number in range(2)]
    await until(lambda: batches.begun == [0], "the first is at work")
    for task in reversed(gone):
        task.cancel()
    await asyncio.gather(*gone, return_exceptions=True)
    batches.done.set()
    await soon(batches.work(2))


async def test_more_than_may_wait_are_refused_at_once() -> None:
    """Batches wait as long as there is room for their bytes; one more is not recorded; room is made by their turns."""
    batches = Batches(1, most=2)
    tasks = [asyncio.create_task(batches.work(number)) for number in range(3)]
    await until(lambda: batches.begun == [0], "the first is at work")
    with pytest.raises(NotRecorded, match="too many large batches wait"):
        await soon(batches.work(3))
    batches.done.set()
    await soon(asyncio.gather(*tasks))
    batches.done.clear()
    tasks = [asyncio.create_task(batches.work(number)) for number in range(4, 7)]
    await until(lambda: batches.begun == [0, 1, 2, 4], "the next is at work")
    assert not any(task.done() for task in tasks)
    batches.done.set()
    await soon(asyncio.gather(*tasks))


async def test_a_batch_that_need_not_wait_needs_no_room() -> None:
    """When a turn is free, a batch larger than what may wait has it."""
    batches = Batches(1, most=0)
    batches.done.set()
    await soon(batches.work(0))
    assert batches.begun == [0]


async def test_a_stop_refuses_who_waits_and_leaves_who_works() -> None:
    """Once turns are closed, large batches that wait or come are not recorded, at once; the one at work is ended."""
    batches = Batches(1)
    first, waits = asyncio.create_task(batches.work(0)), asyncio.create_task(batches.work(1))
    await until(lambda: batches.begun == [0], "the first is at work")
    batches.turns.close()
    for refused in (waits, batches.work(2)):
        with pytest.raises(NotRecorded, match="stopping"):
            await soon(refused)
    assert not first.done()
    batches.done.set()
    await soon(first)
    assert batches.begun == [0]


async def test_whose_turn_comes_with_the_stop_is_refused() -> None:
    """A batch that gets its turn in the very moment of the stop is not begun."""
    batches = Batches(1)
    async with batches.turns.turn(1, PATIENT, large=True):
        waits = asyncio.create_task(batches.work(1))
        for _ in range(20):
            await asyncio.sleep(0)
    batches.turns.close()  # the turn is free since, and the other has not run yet
    with pytest.raises(NotRecorded, match="stopping"):
        await soon(waits)
    assert not batches.begun


class Gateway:
    """The calls of a gateway whose collector holds what it gets, until `intake.release`."""

    def __init__(self, closes: int | None = None) -> None:
        serial = count(1)
        self.intake, self.clock = FakeIntake(hold=True), FakeClock()
        contest = a_contest(closes=closes)
        caster = Caster({contest.id: contest}, Batcher(self.intake), self.clock, lambda: anonymous_id(next(serial)))
        self.votes = Votes(caster, contest, metrics := Metrics())
        self.contest, self._app = contest, App((), metrics)

    def batch(self, lines: int, line: bytes = LINE) -> asyncio.Task[Response]:
        """A batch of so many lines, all alike, has arrived."""
        headers = {"content-type": b"application/x-ndjson"}
        request = Request("POST", "/", headers, (), lambda: "request", self._app)
        request.body = b"\n".join([line] * lines)
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


async def test_wrong_lines_take_turns_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch of many lines is a large one however few bytes they have: faults take room, too."""
    taken: list[bool] = []

    class Noted(Turns):
        def turn(self, size: int, seconds: float, *, large: bool) -> Any:
            taken.append(large)
            return super().turn(size, seconds, large=large)

    monkeypatch.setattr(votes, "Turns", Noted)
    gateway = Gateway()
    for lines in (votes.BREATH, votes.BREATH + 1):
        answer = json.loads((await soon(gateway.batch(lines, b"{}"))).body)
        assert len(answer["rejected"]) == lines
    assert taken == [False, True]


async def test_too_many_lines_are_told_before_a_turn_is_waited_for() -> None:
    """A batch that can never be taken is answered so at once, and does not wait to be told to try later."""
    gateway = Gateway()
    tasks = [gateway.batch(VOTES) for _ in range(TURNS)]
    await until(lambda: gateway.sent == TURNS * VOTES, "a few are at work")
    with pytest.raises(HTTPError) as caught:
        await soon(gateway.batch(votes.BATCH_LINES + 1))
    assert caught.value.status == 413
    gateway.intake.release()
    await soon(asyncio.gather(*tasks))


async def test_a_stop_refuses_batches_that_wait() -> None:
    """When a gateway stops, large batches that wait are not recorded, at once; those at work have their answers."""
    gateway = Gateway()
    tasks = [gateway.batch(VOTES) for _ in range(TURNS + 1)]
    await until(lambda: gateway.sent == TURNS * VOTES, "a few are at work")
    gateway.votes.close()
    with pytest.raises(NotRecorded):
        await soon(tasks.pop())
    gateway.intake.release()
    answers = [json.loads(answer.body) for answer in await soon(asyncio.gather(*tasks))]
    assert [answer["recorded"] for answer in answers] == [VOTES] * TURNS
