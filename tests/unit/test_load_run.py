"""A load: what is sent again and what never is, the pace, the journal, and how it stops."""

import asyncio
from array import array
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from itertools import repeat
from time import monotonic

import pytest

from aplauso.adapters.system.clock import SystemClock
from aplauso.domain.errors import Refused, Unavailable
from aplauso.domain.journal import Attempt, Outcome
from aplauso.domain.vote import Ballot
from aplauso.flow.load import Load, Plan, Summary
from aplauso.flow.send import Answer, Patience

RECORDED, REFUSED, UNDECIDED = Outcome.RECORDED, Outcome.REFUSED, Outcome.UNDECIDED
BALLOT = Ballot("Alux Nahual", "Alto al Fuego", 1988, 2)
QUICK = Patience(total=30.0, first=0.001, longest=0.002)

RECEIPT = Answer(RECORDED, 201, "id", "gt")
BUSY = Answer(REFUSED, 503, "id", "gt", "busy")
AWAY = Answer(REFUSED, None, "id", "gt", "no connection")
WRONG = Answer(REFUSED, 422, "id", "gt", "rank: wrong")
LOST = Answer(UNDECIDED, None, "id", "gt", "lost")


class Scripted:
    """A sender whose answers are given; the last one for ever."""

    def __init__(self, *answers: Answer, wait: Callable[[], Awaitable[object]] | None = None) -> None:
        self.answers = list(answers)
        self.keys: list[str | None] = []
        self.wait = wait
        self.under_way = 0
        self.most = 0

    async def send(self, ballot: Ballot, key: str | None) -> Answer:
        self.keys.append(key)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await (self.wait() if self.wait else asyncio.sleep(0))
        finally:
            self.under_way -= 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def lost(self, key: str | None, detail: str) -> Answer:
        return LOST._replace(detail=detail)


def make(sender: Scripted, votes: int, plan: Plan, journal: list[Attempt] | None = None) -> Load:
    return Load(sender, repeat(BALLOT, votes), plan, SystemClock(), None if journal is None else journal.append)


async def one(*answers: Answer, anonymous: bool = False, patience: Patience = QUICK) -> tuple[Summary, Scripted]:
    """Sends one vote."""
    sender = Scripted(*answers)
    summary = await make(sender, 1, Plan(workers=1, anonymous=float(anonymous), patience=patience)).run()
    return summary, sender


@pytest.mark.parametrize("trouble", [[BUSY], [AWAY], [LOST], [LOST, BUSY, AWAY, LOST]])
async def test_vote_with_key_is_sent_until_it_is_recorded(trouble: list[Answer]) -> None:
    """Whatever goes wrong on the way, a vote is sent again with the same key until there is a receipt."""
    summary, sender = await one(*trouble, RECEIPT)
    assert (summary.sent, summary.recorded, summary.attempts) == (1, 1, len(trouble) + 1)
    assert len(set(sender.keys)) == 1
    assert sender.keys[0] is not None


async def test_refused_vote_is_not_sent_again() -> None:
    """A vote that breaks a rule is refused once and counted by its status."""
    summary, sender = await one(WRONG)
    assert (len(sender.keys), summary.refused, summary.undecided) == (1, Counter({422: 1}), 0)


async def test_refusal_after_a_lost_answer_leaves_it_undecided() -> None:
    """When an answer was lost, a later refusal does not say that the vote was not recorded then."""
    summary, _ = await one(LOST, WRONG)
    assert (summary.refused, summary.undecided, summary.attempts) == (Counter(), 1, 2)


async def test_anonymous_vote_is_not_sent_again_when_its_answer_was_lost() -> None:
    """Without a key a lost answer ends it: sent again it could count twice; what was not recorded may be sent again."""
    summary, sender = await one(BUSY, AWAY, LOST, RECEIPT, anonymous=True)
    assert sender.keys == [None] * 3
    assert (summary.undecided, summary.recorded) == (1, 0)


@pytest.mark.parametrize(("answer", "refused", "undecided"), [(AWAY, {None: 1}, 0), (LOST, {}, 1)])
async def test_patience_ends(answer: Answer, refused: dict[int | None, int], undecided: int) -> None:
    """Attempts end with the patience, and the vote is what was last known of it."""
    summary, sender = await one(answer, patience=Patience(total=0.05, first=0.01, longest=0.01))
    assert (summary.refused, summary.undecided) == (refused, undecided)
    assert 2 <= len(sender.keys) <= 12


async def test_gateway_that_asks_for_more_than_patience_is_left() -> None:
    """A Retry-After beyond the patience ends it at once instead of being cut short."""
    _, sender = await one(BUSY._replace(retry_after=60.0), RECEIPT)
    assert len(sender.keys) == 1


def test_pauses_grow_and_are_bounded() -> None:
    """Pauses double up to the longest one, are spread, and are never shorter than what the gateway asks for."""
    patience = Patience(first=0.1, longest=3.0)
    assert 0.05 <= patience.pause(1, None) <= 0.1
    assert 0.2 <= patience.pause(3, None) <= 0.4
    assert 1.5 <= patience.pause(5000, None) <= 3.0
    assert patience.pause(1, 2.0) >= 2.0


async def test_every_vote_has_its_own_key() -> None:
    """No two votes share a key, and no two runs do; every key has the form that the gateway asks for."""
    senders = [Scripted(RECEIPT), Scripted(RECEIPT)]
    for sender in senders:
        await make(sender, 100, Plan(workers=7)).run()
    keys = {key for sender in senders for key in sender.keys}
    assert len(keys) == 200
    assert all(key is not None and 16 <= len(key) <= 128 for key in keys)


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0), (0.1, 10), (0.5, 50), (0.75, 75), (1.0, 100)])
async def test_share_of_anonymous_votes(share: float, expected: int) -> None:
    """The share of votes without a key is exact."""
    sender = Scripted(RECEIPT)
    await make(sender, 100, Plan(workers=3, anonymous=share)).run()
    assert sender.keys.count(None) == expected


async def test_pace_is_kept() -> None:
    """With a rate, votes leave evenly: a hundred at 500 a second take a fifth of a second, not less."""
    sender = Scripted(RECEIPT)
    summary = await make(sender, 101, Plan(rate=500.0, workers=8)).run()
    assert summary.recorded == 101
    assert summary.seconds >= 0.2


async def test_latency_counts_from_when_a_vote_was_due() -> None:
    """When a slow answer holds up the votes behind it, their latency tells."""
    sender = Scripted(RECEIPT, wait=lambda: asyncio.sleep(0.05))
    summary = await make(sender, 5, Plan(rate=1000.0, workers=1)).run()
    latency = summary.latency()
    assert latency is not None
    assert latency.max >= 0.24


async def test_workers_bound_what_is_under_way() -> None:
    """Never are more votes under way than there are workers."""
    sender = Scripted(RECEIPT, wait=lambda: asyncio.sleep(0.001))
    await make(sender, 50, Plan(workers=4)).run()
    assert sender.most == 4


async def test_journal_has_a_line_an_attempt() -> None:
    """The journal gets each attempt as it was answered, with the key that was sent."""
    journal: list[Attempt] = []
    sender = Scripted(LOST._replace(id=None), BUSY, RECEIPT)
    await make(sender, 1, Plan(workers=1, patience=QUICK), journal).run()
    assert [(a.outcome, a.status, a.id) for a in journal] == [
        (UNDECIDED, None, None), (REFUSED, 503, "id"), (RECORDED, 201, "id")
    ]  # fmt: skip
    assert [a.key for a in journal] == sender.keys
    assert {a.vote for a in journal} == {BALLOT}
    assert {a.contest for a in journal} == {"gt"}


async def test_halt_waits_for_answers_and_sends_nothing_more() -> None:
    """Told to stop, a load waits for the answers under way, sends nothing new and nothing again, and sums up."""
    started, go = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        started.set()
        await go.wait()

    sender = Scripted(RECEIPT, RECEIPT, BUSY, wait=wait)
    load = make(sender, 1000, Plan(workers=3))
    run = asyncio.create_task(load.run())
    await started.wait()
    load.halt()
    go.set()
    summary = await asyncio.wait_for(run, 5)
    assert load.halted
    assert (summary.sent, summary.recorded, summary.refused) == (3, 2, Counter({503: 1}))


async def test_halt_ends_pauses_and_turns() -> None:
    """A load that waits for a far turn or in a long pause stops at once."""
    answered = asyncio.Event()
    plan = Plan(rate=0.01, workers=3, patience=Patience(600.0, 100.0, 100.0))
    load = Load(Scripted(BUSY), repeat(BALLOT, 1000), plan, SystemClock(), lambda _: answered.set())
    run = asyncio.create_task(load.run())
    await answered.wait()
    since = monotonic()
    load.halt()
    summary = await asyncio.wait_for(run, 5)
    assert monotonic() - since < 2
    assert (summary.sent, summary.refused) == (1, Counter({503: 1}))


async def test_aborted_votes_are_undecided_in_the_journal() -> None:
    """Aborted, votes under way are undecided, in the sum and in the journal: they may have arrived."""
    journal: list[Attempt] = []
    started = asyncio.Event()

    async def hang() -> None:
        started.set()
        await asyncio.Event().wait()

    load = make(Scripted(RECEIPT, wait=hang), 1000, Plan(workers=3), journal)
    run = asyncio.create_task(load.run())
    await started.wait()
    await asyncio.sleep(0)
    load.abort()
    summary = await asyncio.wait_for(run, 5)
    assert (summary.sent, summary.undecided, summary.recorded) == (3, 3, 0)
    assert [(a.outcome, a.key is not None) for a in journal] == [(UNDECIDED, True)] * 3


async def test_journal_that_fails_ends_the_run() -> None:
    """When the journal cannot be written the run ends with its error: answers without a line would prove nothing."""

    def full(attempt: Attempt) -> None:
        raise Unavailable("journal: No space left on device")

    load = Load(Scripted(RECEIPT), repeat(BALLOT, 1000), Plan(workers=3), SystemClock(), full)
    with pytest.raises(Unavailable, match="No space left"):
        await asyncio.wait_for(load.run(), 5)


async def test_file_that_breaks_on_the_way_ends_the_run() -> None:
    """When the traffic file changes under the run, its error comes out."""

    def broken() -> Iterator[Ballot]:
        yield BALLOT
        raise Refused("traffic: line 2 is not JSON")

    load = Load(Scripted(RECEIPT), broken(), Plan(workers=2), SystemClock())
    with pytest.raises(Refused, match="line 2"):
        await asyncio.wait_for(load.run(), 5)
    assert load.summary.recorded <= 1


def test_percentiles_are_nearest_ranks() -> None:
    """Of the latencies 1 to 100 ms, p50 is 50, p90 is 90, p99 is 99 and the greatest 100; of none there are none."""
    summary = Summary(latencies=array("f", [n / 1000 for n in range(100, 0, -1)]))
    assert summary.latency() == pytest.approx((0.050, 0.090, 0.099, 0.100))
    assert Summary().latency() is None
