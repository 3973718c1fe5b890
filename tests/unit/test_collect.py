"""Step 2: the collector judges votes and appends them; each receipt says what became of its vote."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aplauso.domain.contest import Band, Contest
from aplauso.domain.errors import WrongLog
from aplauso.domain.record import decode, encode, partition_of
from aplauso.domain.vote import Vote
from aplauso.flow.collect import Collector, NearIntake, all_allowed, judge
from aplauso.ports.intake import Receipt, Status
from aplauso.ports.log import Appended, Entry
from fakes_log import MemoryLog, MemoryStore
from unit.fakes import NOW, a_contest, a_vote, soon

CONTESTS = {
    "gt": a_contest(closes=NOW + 1000),
    "mx": a_contest(id="mx", nominations="listed", bands=(Band("Y-find", ("Sub",)),)),
}


class ScriptedLog(MemoryLog):
    """A log that answers as it is told."""

    def __init__(self, answers: Sequence[Appended]) -> None:
        super().__init__(MemoryStore(1), 1)
        self.answers = answers

    async def append(self, entries: Sequence[Entry]) -> Sequence[Appended]:
        return self.answers


def collector(log: MemoryLog) -> NearIntake:
    """The intake of a collector over a log."""
    return NearIntake(Collector(CONTESTS, log))


async def test_votes_lie_in_their_partitions_with_their_ids_as_keys() -> None:
    """What is recorded can be read back from the partition of its key, in the order given."""
    store = MemoryStore(3)
    votes = [a_vote(serial) for serial in range(60)]
    receipts = await soon(collector(MemoryLog(store, 3)).submit(votes))
    assert list(receipts) == [Receipt(vote.id, Status.RECORDED) for vote in votes]
    for partition in range(3):
        found = [decode(r.key, r.value, partition, 3) for r in store.records[partition]]
        assert found == [vote for vote in votes if partition_of(vote.id.encode(), 3) == partition]
        assert found


async def test_refused_votes_stay_out_and_the_others_keep_their_receipts() -> None:
    """A batch of good and bad votes gets a receipt each, in order, and only the good ones are in the log."""
    store = MemoryStore(1)
    late, unknown = a_vote(1, at=NOW + 1000), a_vote(2, contest="sv")
    votes = [a_vote(0), late, unknown, a_vote(3)]
    receipts = await soon(collector(MemoryLog(store, 1)).submit(votes))
    assert [receipt.status for receipt in receipts] == [
        Status.RECORDED, Status.REFUSED, Status.REFUSED, Status.RECORDED,
    ]  # fmt: skip
    assert [receipt.reason for receipt in receipts] == ["", "not-open", "unknown-contest", ""]
    assert [record.key for record in store.records[0]] == [votes[0].id.encode(), votes[3].id.encode()]


async def test_what_the_log_says_of_a_record_is_its_votes_receipt() -> None:
    """Recorded, certainly not recorded and undecided go to the votes that they belong to."""
    log = ScriptedLog([Appended.UNDECIDED, Appended.RECORDED, Appended.NOT_RECORDED])
    receipts = await soon(collector(log).submit([a_vote(0), a_vote(1, rank=99), a_vote(2), a_vote(3)]))
    assert [(receipt.status, receipt.reason) for receipt in receipts] == [
        (Status.UNDECIDED, "undecided"), (Status.REFUSED, "invalid"), (Status.RECORDED, ""),
        (Status.NOT_RECORDED, "not-recorded"),
    ]  # fmt: skip


async def test_nothing_is_appended_when_nothing_is_allowed() -> None:
    """A batch of refused votes never asks the log."""
    receipts = await soon(collector(ScriptedLog([Appended.RECORDED])).submit([a_vote(contest="sv")]))
    assert [receipt.status for receipt in receipts] == [Status.REFUSED]
    assert await soon(collector(ScriptedLog([])).submit([])) == []


@pytest.mark.parametrize(
    ("changes", "reason", "field"),
    [
        ({"contest": "sv"}, "unknown-contest", "contest"),
        ({"at": NOW + 1000}, "not-open", ""),
        ({"rank": 11}, "invalid", "rank"),
        ({"contest": "mx"}, "invalid", "name"),
        ({"contest": "mx", "name": "y-FIND", "album": "Bus"}, "invalid", "album"),
    ],
)
def test_the_collector_is_the_authority_on_every_rule(changes: dict[str, object], reason: str, field: str) -> None:
    """A gateway that lets a wrong vote through is corrected: window, scale and listed bands are judged again."""
    receipt = judge(a_vote(**changes), CONTESTS)  # type: ignore[arg-type]
    assert receipt is not None
    assert (receipt.status, receipt.reason, receipt.field) == (Status.REFUSED, reason, field)
    assert receipt.detail


def test_votes_that_are_allowed_have_no_verdict() -> None:
    """A vote within its contest's rules may enter, to the last millisecond."""
    assert judge(a_vote(at=NOW + 999), CONTESTS) is None
    assert judge(a_vote(name="y-FIND", album="SUB", contest="mx"), CONTESTS) is None


async def test_contests_may_be_replaced_while_votes_come_in() -> None:
    """The next batch is judged by the contests of that moment."""
    made = Collector(CONTESTS, MemoryLog(MemoryStore(1), 1))
    closed: dict[str, Contest] = {"gt": a_contest(closes=NOW)}
    vote = a_vote()
    assert (await made.collect([vote], [encode(vote)]))[0].status is Status.RECORDED
    made.contests = closed
    assert (await made.collect([vote], [encode(vote)]))[0].status is Status.REFUSED


async def test_a_closed_intake_records_nothing() -> None:
    """After `close` every vote is certainly not recorded."""
    store = MemoryStore(1)
    intake = collector(MemoryLog(store, 1))
    await intake.close()
    receipts = await soon(intake.submit([a_vote(0), a_vote(1)]))
    assert [receipt.status for receipt in receipts] == [Status.NOT_RECORDED] * 2
    assert store.records == [[]]


async def test_the_collector_is_ready_when_its_log_is() -> None:
    """Readiness is the log's, with its reason."""
    await Collector(CONTESTS, MemoryLog(MemoryStore(2), 2)).ready()
    with pytest.raises(WrongLog):
        await Collector(CONTESTS, MemoryLog(MemoryStore(2), 3)).ready()


_VOTES = st.builds(
    a_vote, st.integers(0, 9), at=st.integers(NOW + 995, NOW + 1003), contest=st.sampled_from(["gt", "mx", "sv"]),
    rank=st.sampled_from([0, 1, 10, 11]), name=st.sampled_from(["Y-find", "Nobody"]),
    album=st.sampled_from(["Sub", "Other"]),
)  # fmt: skip


@given(st.lists(_VOTES, max_size=4))
def test_all_are_allowed_exactly_if_none_is_refused(votes: list[Vote]) -> None:
    """Looking at what votes have in common says the same as judging each."""
    assert all_allowed(votes, CONTESTS) == all(judge(vote, CONTESTS) is None for vote in votes)


def test_one_late_vote_is_enough() -> None:
    """A batch is not allowed as a whole when any of its votes is out of time, wherever it stands."""
    late = a_vote(1, at=NOW + 1000)
    assert all_allowed([a_vote(0), a_vote(2)], CONTESTS)
    assert not all_allowed([a_vote(0), late], CONTESTS)
    assert not all_allowed([late, a_vote(0)], CONTESTS)
