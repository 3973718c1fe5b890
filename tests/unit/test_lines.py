"""A batch's lines become the votes, and the errors, that each would be alone."""

import asyncio
import json
import weakref
from collections.abc import Sequence
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aplauso.domain.contest import Band, Contest
from aplauso.domain.errors import AplausoError, NotOpen
from aplauso.domain.vote import Vote, make_vote, parse_ballot
from aplauso.flow.cast import Batcher, Caster
from aplauso.flow.lines import Lines, cut
from aplauso.ports.intake import Receipt, Recorded, Status
from aplauso.web.votes import summary
from unit.fakes import NOW, FakeClock, FakeIntake, a_contest, a_vote, anonymous_id, soon, uncollected

LISTED = a_contest(nominations="listed", bands=(Band("Alux Nahual", ("Sub",)),))
GOOD = {"name": "Alux Nahual", "album": "Sub", "year": 1995, "rank": 3}
_NAMES = st.sampled_from(["Alux Nahual", " alux  NAHUAL", "Nobody", "", "x" * 201, 5, None])
BALLOTS = st.fixed_dictionaries(
    {"name": _NAMES, "album": st.sampled_from(["Sub", "sub ", "Other", ""])},
    optional={"year": st.sampled_from([1995, "1995", 1899, "x", True]), "rank": st.sampled_from([3, "10", 0, 2**70])},
).map(lambda ballot: json.dumps(ballot).encode())
LINES = st.lists(
    st.just(json.dumps(GOOD).encode())
    | BALLOTS
    | st.sampled_from([b"", b" \r", b"{", b"[]", b"\xff", b'"', b"[" * 5000, b'{"name": 1e999}']),
    max_size=12,
)


def lines_of(contest: Contest) -> Lines:
    """A batch without a key, whose ids are those of its lines' numbers."""
    return Lines(contest, NOW, lambda numbers: [anonymous_id(number).encode() for number in numbers])


def one_by_one(contest: Contest, lines: Sequence[bytes]) -> tuple[list[int], list[Vote], dict[int, tuple[str, str]]]:
    """The lines that are votes, the votes, and the faults of the others, each line read alone."""
    numbers, votes, faults = [], [], {}
    for number, line in enumerate(lines, start=1):
        if not line or line.isspace():
            continue
        try:
            votes.append(make_vote(parse_ballot(line), contest, anonymous_id(number), NOW))
        except AplausoError as error:
            faults[number] = error.reason, str(error)
        else:
            numbers.append(number)
    return numbers, votes, faults


@given(LINES, st.integers(1, 5), st.sampled_from([a_contest(), LISTED]))
def test_a_batch_is_what_its_lines_are_alone(lines: list[bytes], size: int, contest: Contest) -> None:
    """Votes, numbers, reasons and texts are those of line by line, however the lines are cut into parts."""
    batch = lines_of(contest)
    for part in cut(lines, size):
        batch.take(part)
    assert (batch.numbers, list(batch.lot()), batch.faults) == one_by_one(contest, lines)


def test_lines_that_are_the_same_share_a_form() -> None:
    """However often a line comes, in one part or in several, its vote is made and encoded once."""
    batch, line = lines_of(a_contest()), json.dumps(GOOD).encode()
    batch.take([line, line])
    batch.take([line])
    assert len({*batch.lot().forms}) == 1
    assert [vote.id for vote in batch.lot()] == [anonymous_id(number) for number in (1, 2, 3)]


@given(st.integers(0, 30), st.integers(1, 7))
def test_parts_are_all_lines_in_order(count: int, size: int) -> None:
    """No part is larger than asked, or empty."""
    parts = list(cut([b"%d" % at for at in range(count)], size))
    assert [line for part in parts for line in part] == [b"%d" % at for at in range(count)]
    assert all(0 < len(part) <= size for part in parts)


def batch_of(good: int, wrong: int) -> Lines:
    """A batch of good lines, with wrong ones before them."""
    batch = lines_of(a_contest())
    batch.take([b"{"] * wrong + [json.dumps(GOOD).encode()] * good)
    return batch


def test_a_batch_that_is_recorded_is_summed_up_at_once() -> None:
    """The answer is the same for receipts as a whole and one by one."""
    batch = batch_of(3, 2)
    whole = Recorded(batch.lot())
    assert summary(whole, batch) == summary(list(whole), batch)
    assert summary(whole, batch)["recorded"] == 3
    assert [line["line"] for line in summary(whole, batch)["rejected"]] == [1, 2]


def test_every_line_without_a_receipt_is_named_by_its_number() -> None:
    """Undecided lines with their ids, refused ones and those not recorded among the rejected, in the lines' order."""
    batch = batch_of(4, 1)
    fates = [Status.NOT_RECORDED, Status.RECORDED, Status.UNDECIDED, Status.REFUSED]
    answer = summary([Receipt(a_vote(at).id, fate, "invalid") for at, fate in enumerate(fates)], batch)
    assert (answer["recorded"], answer["undecided"]) == (1, [{"line": 4, "id": a_vote(2).id}])
    assert [(line["line"], line["reason"]) for line in answer["rejected"]] == [
        (1, "malformed"), (2, "not-recorded"), (5, "invalid"),
    ]  # fmt: skip


@pytest.mark.parametrize("key", [None, "a-key-of-the-tests"])
async def test_a_batch_arrives_as_the_votes_that_its_lines_are(key: str | None) -> None:
    """What the intake is handed are the votes of the lines, and each one's receipt comes back in order."""
    intake, serial = FakeIntake(), count(1)
    caster = Caster({"gt": a_contest()}, Batcher(intake), FakeClock(), lambda: anonymous_id(next(serial)))
    lines = caster.lines(a_contest(), key, NOW)
    lines.take([json.dumps(GOOD).encode()] * 3)
    receipts = await soon(caster.cast_many(lines.lot()))
    assert [vote for batch in intake.batches for vote in batch] == list(lines.lot())
    assert [receipt.id for receipt in receipts] == [vote.id for vote in lines.lot()]
    await asyncio.wait_for(caster.close(), 5)


def test_a_contest_that_is_closed_takes_no_line() -> None:
    """Whoever begins a batch has looked at the window; a line that is read all the same is refused by it."""
    batch = lines_of(a_contest(closes=NOW))
    batch.take([json.dumps(GOOD).encode()])
    assert [fault.reason for fault in batch.faults.values()] == [NotOpen.reason]


def test_a_batch_of_wrong_lines_is_let_go_of() -> None:
    """When nobody needs a batch any more its memory is free at once, not when garbage is collected next."""
    batch = lines_of(a_contest())
    batch.take([b"{}", b"{", json.dumps(GOOD).encode()])
    assert len(batch.faults) == 2
    seen = weakref.ref(batch)
    with uncollected():
        del batch
        assert seen() is None
