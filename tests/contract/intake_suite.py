"""What every intake promises, whoever implements it: inherit `IntakeSuite` and give it a `world`."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from uuid_utils import uuid7

from aplauso.adapters.system.clock import SystemClock
from aplauso.domain.contest import Contest
from aplauso.domain.lot import Lot, form_of
from aplauso.domain.record import encode
from aplauso.domain.vote import Ballot, Vote, make_vote
from aplauso.ports.intake import Intake, Receipt, Status

CONTEST = Contest(id="bandas", title={"es": "Bandas", "en": "Bands"})
PATIENCE = 15.0
"""Seconds until a condition that a test waits for must have come true."""


@dataclass
class Authority:
    """The collector behind an intake: keeps what it is handed, and judges a vote by its band's name.

    Attributes:
        taken: the votes that it recorded, with their bytes.
        calls: batches that it was handed.
        open: while it is cleared, nothing is answered.
        dying: it fails after recording.
    """

    taken: list[tuple[Vote, bytes]] = field(default_factory=list)
    calls: int = 0
    open: asyncio.Event = field(default_factory=asyncio.Event)
    dying: bool = False

    def __post_init__(self) -> None:
        self.open.set()

    async def collect(self, votes: Sequence[Vote], values: Sequence[bytes]) -> Sequence[Receipt]:
        """As `aplauso.flow.collect.Collector.collect`."""
        self.calls += 1
        receipts = [_verdict(vote) for vote in votes]
        self.taken += [
            (vote, value)
            for vote, value, receipt in zip(votes, values, receipts, strict=True)
            if receipt.status in (Status.RECORDED, Status.UNDECIDED)
        ]
        await self.open.wait()
        if self.dying:
            raise RuntimeError("the collector died after recording")
        return receipts

    @property
    def ids(self) -> list[str]:
        """Of the votes that were recorded, in order."""
        return [vote.id for vote, _ in self.taken]


def _verdict(vote: Vote) -> Receipt:
    match vote.name:
        case "refused":
            return Receipt(vote.id, Status.REFUSED, "invalid", "rank", "must be 1 to 10")
        case "not-recorded":
            return Receipt(vote.id, Status.NOT_RECORDED, "not-recorded", "", "the queue is full")
        case "undecided":
            return Receipt(vote.id, Status.UNDECIDED, "undecided", "", "the log did not say")
    return Receipt(vote.id, Status.RECORDED)


@dataclass
class World:
    """An intake under test and what stands behind it.

    Attributes:
        lose_answers: from then on, votes arrive and their answers do not come back.
    """

    intake: Intake
    authority: Authority
    lose_answers: Callable[[], Awaitable[None]]


def vote(name: str = "Marimba") -> Vote:
    """A vote of now, with an id of its own."""
    return make_vote(Ballot(name, "Sub", 1999, 7), CONTEST, str(uuid7()), SystemClock().now_ms())


async def until(true: Callable[[], bool]) -> None:
    """Returns once it is true; fails when it does not become so."""
    async with asyncio.timeout(PATIENCE):
        while not true():  # noqa: ASYNC110 - a condition of any kind, with a deadline
            await asyncio.sleep(0.005)


class IntakeSuite:
    """Every promise of `aplauso.ports.intake.Intake`."""

    async def test_order(self, world: World) -> None:
        """Receipts come one for each vote, in the order of the votes, under their ids."""
        votes = [vote(["a", "refused", "b", "undecided"][n % 4]) for n in range(50)]
        receipts = await world.intake.submit(votes)
        assert [receipt.id for receipt in receipts] == [v.id for v in votes]

    async def test_statuses(self, world: World) -> None:
        """Each status arrives as it was decided, with reason, field and detail."""
        votes = [vote(name) for name in ("Marimba", "refused", "not-recorded", "undecided")]
        assert list(await world.intake.submit(votes)) == [_verdict(v) for v in votes]

    async def test_arrives_unchanged(self, world: World) -> None:
        """A vote reaches the collector as it was handed in, with the bytes of its record."""
        votes = [vote(name) for name in ("Marimba", "Ñandú \U0001f3ba", "\u202ex", "=1+1", "<b>", "x" * 200)]
        await world.intake.submit(votes)
        assert world.authority.taken == [(v, encode(v)) for v in votes]

    async def test_nothing(self, world: World) -> None:
        """No votes get no receipts."""
        assert list(await world.intake.submit([])) == []

    async def test_many(self, world: World) -> None:
        """A batch of any size is taken, each vote once."""
        votes = [vote(f"{'ü' * 190}{n}") for n in range(6_000)]
        receipts = await world.intake.submit(votes)
        assert [receipt.id for receipt in receipts] == [v.id for v in votes]
        assert {receipt.status for receipt in receipts} == {Status.RECORDED}
        assert sorted(world.authority.ids) == sorted(v.id for v in votes)

    async def test_lot(self, world: World) -> None:
        """Votes that travel as a lot arrive, and are answered, as each of them alone, all of them recorded or not."""
        for names in (("Marimba", "Son"), ("Marimba", "refused", "not-recorded", "undecided")):
            world.authority.taken.clear()
            forms = [form_of(vote(name)) for name in names]
            lot = Lot([str(uuid7()).encode() for _ in range(3_000)], [forms[n % len(names)] for n in range(3_000)])
            receipts = await world.intake.submit(lot)
            assert list(receipts) == [_verdict(v) for v in lot]
            kept = {v.id: (v, encode(v)) for v in lot if v.name not in ("refused", "not-recorded")}
            assert {v.id: (v, value) for v, value in world.authority.taken} == kept
            assert len(world.authority.taken) == len(kept)

    async def test_at_once(self, world: World) -> None:
        """Submissions may be under way at once; each gets its own answers."""
        batches = [[vote(), vote("refused"), vote(f"band {n}")] for n in range(40)]
        answers = await asyncio.gather(*(world.intake.submit(batch) for batch in batches))
        for batch, receipts in zip(batches, answers, strict=True):
            assert list(receipts) == [_verdict(v) for v in batch]

    async def test_lost_answer(self, world: World) -> None:
        """A call whose answer is lost is undecided, told in receipts, and never sent again."""
        await world.lose_answers()
        sent = [vote(), vote()]
        receipts = await world.intake.submit(sent)
        assert [(r.id, r.status) for r in receipts] == [(v.id, Status.UNDECIDED) for v in sent]
        assert world.authority.ids == [v.id for v in sent]
        assert world.authority.calls == 1

    async def test_close_answers(self, world: World) -> None:
        """Closing answers what is in flight first."""
        world.authority.open.clear()
        flight = asyncio.create_task(world.intake.submit([vote()]))
        await until(lambda: world.authority.calls == 1)
        closing = asyncio.create_task(world.intake.close())
        await asyncio.sleep(0)
        assert not closing.done()
        world.authority.open.set()
        assert [receipt.status for receipt in await flight] == [Status.RECORDED]
        await closing

    async def test_closed(self, world: World) -> None:
        """After closing, votes are certainly not recorded, and closing again is harmless."""
        await world.intake.submit([vote()])
        await world.intake.close()
        await world.intake.close()
        sent = vote()
        [receipt] = await world.intake.submit([sent])
        assert (receipt.id, receipt.status) == (sent.id, Status.NOT_RECORDED)
        assert len(world.authority.taken) == 1
