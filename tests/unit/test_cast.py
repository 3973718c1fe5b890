"""Step 1: votes are stamped, get their ids, and travel in company."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

import msgspec
import pytest

from aplauso.domain.errors import AplausoError, InvalidVote, NotOpen, NotRecorded, Undecided, UnknownContest
from aplauso.domain.vote import Ballot, Vote, id_from_key
from aplauso.flow.cast import BATCH, CHUNK, Batcher, Caster, Limits, choose_default, failure
from aplauso.ports.intake import Receipt, Status
from unit.fakes import NOW, FakeClock, FakeIntake, a_contest, a_vote, anonymous_id, soon, until

PATIENT = Limits(wait=60.0, flights=2)
"""A wait that no test would live through, where somebody really waited for company."""


def submitted(batcher: Batcher, votes: int, first: int = 0) -> list[asyncio.Task[Receipt]]:
    """So many votes, each handed in alone, at the same time."""

    return [asyncio.create_task(alone(batcher, serial)) for serial in range(first, first + votes)]


async def alone(batcher: Batcher, serial: int) -> Receipt:
    """Hands in one vote and waits for its receipt."""
    future: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
    batcher.submit(a_vote(serial), lambda receipt: None if future.done() else future.set_result(receipt))
    return await future


def sizes(intake: FakeIntake) -> list[int]:
    """How many votes travelled together."""
    return [len(batch) for batch in intake.batches]


async def test_a_vote_alone_waits_for_nobody() -> None:
    """When no batch is under way a vote leaves at once, however long the wait for company is."""
    intake = FakeIntake()
    assert (await soon(alone(Batcher(intake, PATIENT), 1))).id == a_vote(1).id
    assert sizes(intake) == [1]


async def test_votes_of_one_moment_travel_together() -> None:
    """Votes that come in the same turn of the loop are one batch, each with its own receipt."""
    intake = FakeIntake()
    receipts = await soon(asyncio.gather(*submitted(Batcher(intake, PATIENT), 7)))
    assert sizes(intake) == [7]
    assert [receipt.id for receipt in receipts] == [a_vote(serial).id for serial in range(7)]


async def test_while_a_batch_is_under_way_votes_wait_for_company() -> None:
    """Votes that come while a batch flies leave together when it lands, or when the wait is over."""
    intake = FakeIntake(hold=True)
    batcher = Batcher(intake, PATIENT)
    tasks = submitted(batcher, 1)
    await until(lambda: sizes(intake) == [1], "the first vote is under way")
    for serial in range(1, 4):
        tasks += submitted(batcher, 1, serial)
        await asyncio.sleep(0)
    assert sizes(intake) == [1]
    intake.release()
    await soon(asyncio.gather(*tasks))
    assert sizes(intake) == [1, 3]


async def test_the_wait_for_company_ends() -> None:
    """A vote leaves after the wait although the batch before it never lands; the wait is 3 ms at most."""
    assert Limits().wait <= 0.003
    intake = FakeIntake(hold=True)
    batcher = Batcher(intake, Limits(wait=0.01, flights=2))
    tasks = submitted(batcher, 1)
    await until(lambda: sizes(intake) == [1], "the first vote is under way")
    tasks += submitted(batcher, 1, 1)
    await until(lambda: sizes(intake) == [1, 1], "the second did not wait for the first")
    intake.release()
    await soon(asyncio.gather(*tasks))


async def test_a_full_batch_leaves_at_once_and_is_never_fuller() -> None:
    """256 votes leave without waiting for more, and no batch has more than that."""
    intake = FakeIntake(hold=True)
    batcher = Batcher(intake, PATIENT)
    tasks = submitted(batcher, 1)
    await until(lambda: sizes(intake) == [1], "the first vote is under way")
    tasks += submitted(batcher, 2 * BATCH + 10, 1)
    await until(lambda: sizes(intake) == [1, BATCH], "a full batch left")
    intake.release()
    await soon(asyncio.gather(*tasks))
    assert sizes(intake) == [1, BATCH, BATCH, 10]
    sent = [vote.id for batch in intake.batches for vote in batch]
    assert sent == [a_vote(serial).id for serial in range(2 * BATCH + 11)], "in the order in which they came"


async def test_no_more_batches_fly_than_are_allowed() -> None:
    """With all flights under way, even a full batch waits for one to land."""
    intake = FakeIntake(hold=True)
    batcher = Batcher(intake, Limits(wait=0.001, flights=2))
    tasks = submitted(batcher, 4 * BATCH)
    await until(lambda: len(intake.batches) == 2, "two batches are under way")
    await asyncio.sleep(0.02)
    assert len(intake.batches) == 2
    intake.release()
    await soon(asyncio.gather(*tasks))
    assert sizes(intake) == [BATCH] * 4


async def test_more_than_may_wait_are_refused() -> None:
    """A vote beyond the bound is certainly not recorded, and room is made as answers come."""
    intake = FakeIntake(hold=True)
    batcher = Batcher(intake, Limits(waiting=3, flights=1))
    tasks = submitted(batcher, 2)
    await until(lambda: sizes(intake) == [2], "two votes are under way")
    with pytest.raises(NotRecorded, match="too many votes wait"):
        await batcher.submit_many([a_vote(5), a_vote(6)])
    tasks += submitted(batcher, 2, 2)
    intake.release()
    results = await soon(asyncio.gather(*tasks, return_exceptions=True))
    assert [type(result) for result in results] == [Receipt, Receipt, Receipt, NotRecorded]
    assert len(await soon(batcher.submit_many([a_vote(7), a_vote(8), a_vote(9)]))) == 3


async def test_votes_of_clients_that_hung_up_still_take_room() -> None:
    """Clients that send and hang up cannot make the queue longer than its bound."""
    intake = FakeIntake(hold=True)
    batcher = Batcher(intake, Limits(waiting=5, flights=1))
    tasks = submitted(batcher, 1)
    await until(lambda: sizes(intake) == [1], "the first vote is under way")
    gone = submitted(batcher, 4, 1)
    await asyncio.sleep(0)
    for task in gone:
        task.cancel()
    await asyncio.wait(gone)
    with pytest.raises(NotRecorded):
        await soon(alone(batcher, 9))
    intake.release()
    await soon(asyncio.gather(*tasks))
    await until(lambda: sizes(intake) == [1, 4], "what was handed in is recorded all the same")
    await soon(alone(batcher, 9))


async def test_a_client_that_hangs_up_disturbs_nobody() -> None:
    """One cancelled vote of a batch leaves the others their receipts."""
    intake = FakeIntake(hold=True)
    tasks = submitted(batcher := Batcher(intake, PATIENT), 3)
    await until(lambda: sizes(intake) == [3], "the batch is under way")
    tasks[1].cancel()
    await asyncio.wait([tasks[1]])
    intake.release()
    assert [(await soon(tasks[at])).id for at in (0, 2)] == [a_vote(0).id, a_vote(2).id]
    await soon(batcher.close())


async def test_whoever_cannot_take_a_receipt_disturbs_nobody() -> None:
    """When handing back one receipt of a batch fails, the others are handed back, and the loop is told."""
    intake, noise = FakeIntake(), heard()
    batcher = Batcher(intake, PATIENT)
    found: list[Receipt] = []

    def broken(_: Receipt) -> None:
        raise RuntimeError("gone")

    for serial, answered in enumerate((found.append, broken, found.append)):
        batcher.submit(a_vote(serial), answered)
    await until(lambda: len(found) == 2, "the others have theirs")
    assert [context["message"] for context in noise] == ["a receipt could not be handed back"]
    await soon(batcher.close())


async def test_a_client_that_hangs_up_on_a_batch_takes_back_nothing() -> None:
    """A batch whose client hangs up, even at once, is recorded as a whole, and its room is given back."""
    intake = FakeIntake()
    batcher = Batcher(intake, Limits(waiting=CHUNK + 1))
    votes = [a_vote(serial) for serial in range(CHUNK + 1)]
    for _ in range(2):
        gone = asyncio.create_task(batcher.submit_many(votes))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.wait([gone])
        await until(lambda: sizes(intake)[-2:] == [CHUNK, 1], "both chunks were handed in")
        intake.batches.clear()
    assert len(await soon(batcher.submit_many(votes))) == CHUNK + 1


def heard() -> list[dict[str, Any]]:
    """What the running loop is told of errors that nobody could be given."""
    found: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: found.append(context))
    return found


def single(batcher: Batcher) -> Callable[[], Awaitable[list[Receipt]]]:
    """Hands in two votes, each alone."""

    async def send() -> list[Receipt]:
        return list(await asyncio.gather(*submitted(batcher, 2)))

    return send


def batch(batcher: Batcher) -> Callable[[], Awaitable[list[Receipt]]]:
    """Hands in two votes as a batch."""

    async def send() -> list[Receipt]:
        return list(await batcher.submit_many([a_vote(0), a_vote(1)]))

    return send


@pytest.mark.parametrize("way", [single, batch])
@pytest.mark.parametrize("fault", ["raises", "is short"])
async def test_an_intake_that_breaks_its_promise_leaves_votes_undecided(
    way: Callable[[Batcher], Callable[[], Awaitable[list[Receipt]]]], fault: str
) -> None:
    """When the intake raises, or answers for too few, nobody knows of any vote; it is told once, and goes on."""
    intake, noise = FakeIntake(), heard()
    batcher = Batcher(intake, PATIENT)
    intake.error, intake.short = (RuntimeError("broken"), 0) if fault == "raises" else (None, 1)
    receipts = await soon(way(batcher)())
    assert [(receipt.id, receipt.status) for receipt in receipts] == [
        (a_vote(0).id, Status.UNDECIDED), (a_vote(1).id, Status.UNDECIDED),
    ]  # fmt: skip
    assert [context["message"] for context in noise] == ["the intake broke its promise"]
    intake.error, intake.short = None, 0
    assert [receipt.status for receipt in await soon(way(batcher)())] == [Status.RECORDED] * 2
    await soon(batcher.close())


@pytest.mark.parametrize("way", [single, batch])
async def test_closing_answers_what_is_in_flight(
    way: Callable[[Batcher], Callable[[], Awaitable[list[Receipt]]]],
) -> None:
    """`close` returns once what was handed in has its answer, and what comes later is certainly not recorded."""
    intake = FakeIntake(hold=True)
    batcher = Batcher(intake, PATIENT)
    sent = asyncio.ensure_future(way(batcher)())
    await until(lambda: sizes(intake) == [2], "they are under way")
    waiting = submitted(batcher, 3, 2)
    await asyncio.sleep(0)
    closing = asyncio.create_task(batcher.close())
    await until(lambda: len(intake.batches) == 2, "what waited for company left at once")
    with pytest.raises(NotRecorded, match="stopping"):
        await alone(batcher, 9)
    with pytest.raises(NotRecorded, match="stopping"):
        await batcher.submit_many([a_vote(9)])
    assert not closing.done()
    intake.release()
    await soon(closing)
    assert {receipt.status for receipt in await soon(sent)} == {Status.RECORDED}
    assert len(await soon(asyncio.gather(*waiting))) == 3
    await soon(batcher.close())


async def test_a_batch_is_handed_in_by_chunks_and_answered_in_order() -> None:
    """Votes that came together travel in chunks that fit into a message, and their receipts keep the order."""
    intake = FakeIntake()
    votes = [a_vote(serial) for serial in range(2 * CHUNK + 1)]
    receipts = await soon(Batcher(intake).submit_many(votes))
    assert sorted(sizes(intake)) == [1, CHUNK, CHUNK]
    assert [receipt.id for receipt in receipts] == [vote.id for vote in votes]
    assert await soon(Batcher(intake).submit_many([])) == []


BALLOT = Ballot("Alux Nahual", "Sub", 1995, 3)


def caster(intake: FakeIntake) -> Caster:
    """A caster whose anonymous ids are numbered."""
    serial = count(1)
    return Caster({"gt": a_contest()}, Batcher(intake), FakeClock(), lambda: anonymous_id(next(serial)))


async def test_a_cast_vote_is_stamped_and_named() -> None:
    """The vote that is handed in has the clock's stamp and an id of its own, and its receipt is that id."""
    intake = FakeIntake()
    first, second = [await soon(caster(intake).cast(a_contest(), BALLOT)) for _ in range(2)]
    (vote,), _ = intake.batches
    assert (first, second) == (anonymous_id(1), anonymous_id(1))
    assert vote == Vote(first, "gt", "Alux Nahual", "Sub", 1995, 3, NOW, "alux nahual", "sub")


async def test_a_key_gives_the_same_vote_every_time() -> None:
    """With a key the id is the key's; line by line in a batch."""
    intake = FakeIntake()
    cast, key = caster(intake), str(uuid.UUID(int=5))
    assert await soon(cast.cast(a_contest(), BALLOT, key)) == id_from_key("gt", key)
    keyed, anonymous = cast.lines(a_contest(), key, cast.now()), cast.lines(a_contest(), None, NOW)
    for lines in (keyed, anonymous):
        lines.take([msgspec.json.encode(BALLOT)] * 2)
    assert [vote.id for vote in keyed.lot()] == [id_from_key("gt", key, 1), id_from_key("gt", key, 2)]
    assert [vote.id for vote in anonymous.lot()] == [anonymous_id(1), anonymous_id(2)]
    assert {receipt.status for receipt in await soon(cast.cast_many(keyed.lot()))} == {Status.RECORDED}


@pytest.mark.parametrize(
    ("receipt", "kind", "text"),
    [
        (Receipt("id", Status.UNDECIDED, "undecided", detail="lost"), Undecided, "lost"),
        (Receipt("id", Status.NOT_RECORDED, "not-recorded"), NotRecorded, "the log cannot be reached"),
        (Receipt("id", Status.NOT_RECORDED, "not-recorded", detail="full"), NotRecorded, "full"),
        (Receipt("id", Status.REFUSED, "not-open", "", "it closed"), NotOpen, "it closed"),
        (Receipt("id", Status.REFUSED, "invalid", "rank", "too high"), InvalidVote, "rank: too high"),
    ],
)
async def test_each_receipt_but_a_recorded_one_is_an_error(
    receipt: Receipt, kind: type[AplausoError], text: str
) -> None:
    """What the intake answers comes out of `cast` as the error that it stands for."""
    intake = FakeIntake()
    intake.answer = lambda vote: receipt
    with pytest.raises(kind, match=text):
        await soon(caster(intake).cast(a_contest(), BALLOT))
    assert type(failure(receipt)) is kind


async def test_a_vote_that_is_refused_early_is_not_handed_in() -> None:
    """A wrong field, a closed contest or an unknown one never reach the intake."""
    intake = FakeIntake()
    with pytest.raises(InvalidVote):
        await caster(intake).cast(a_contest(), Ballot("a", "b", 1995, 11))
    with pytest.raises(NotOpen):
        await caster(intake).cast(a_contest(closes=NOW), BALLOT)
    with pytest.raises(UnknownContest):
        caster(intake).contest("mx")
    assert caster(intake).contest("gt") == a_contest()
    assert intake.batches == []


async def test_a_closed_caster_takes_nothing() -> None:
    """After `close`, votes are certainly not recorded."""
    closed = caster(FakeIntake())
    await soon(closed.close())
    with pytest.raises(NotRecorded):
        await closed.cast(a_contest(), BALLOT)


def test_the_default_contest_is_the_named_or_the_only_one() -> None:
    """A name decides; without one, a single contest is the default, and of two none is."""
    gt, mx = a_contest(), a_contest(id="mx")
    assert choose_default({"gt": gt}, None) is gt
    assert choose_default({"gt": gt, "mx": mx}, "mx") is mx
    assert choose_default({"gt": gt, "mx": mx}, None) is None
    assert choose_default({"gt": gt}, "mx") is None
    assert choose_default({}, None) is None
