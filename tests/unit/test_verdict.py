"""The checker: each kind of fault, planted alone, is found, and nothing else is."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Final
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aplauso.domain.journal import Attempt, Outcome
from aplauso.domain.readback import BandTotals, Body, ReadBack, body_of, shown
from aplauso.domain.record import partition_of
from aplauso.domain.tally import PartitionTally, merge
from aplauso.domain.text import fold, normalise
from aplauso.domain.verdict import MAX_EXAMPLES, Journal, Verdict, judge
from aplauso.domain.vote import Ballot, Vote, id_from_key

RECORDED, REFUSED, UNDECIDED = Outcome.RECORDED, Outcome.REFUSED, Outcome.UNDECIDED
AT: Final = "2026-11-23T11:27:11.625Z"
NOW: Final = 1_795_000_000_000
PARTITIONS: Final = 3
CONTESTS: Final = ("gt", "mx")
BALLOTS: Final = (
    Ballot("Alux Nahual", "Alto al Fuego", "1988", "2"),
    Ballot("  alux  NAHUAL", "alto al fuego", 1988, 2),
    Ballot("Bohemia Suburbana", "Sub", "1999", "10"),
    Ballot("Estre\u0301s", "Sub", "1999", "9"),
)


@dataclass
class Run:
    """A run without faults, as a journal and a log; `read_back` gives what a right system then holds."""

    random: Random
    attempts: list[Attempt] = field(default_factory=list)
    log: list[Vote] = field(default_factory=list)
    rejected: dict[str, str] = field(default_factory=dict)
    ids: dict[str, list[str]] = field(default_factory=dict)
    _serial: int = 0

    def anonymous(self) -> str:
        """A new UUIDv7."""
        self._serial += 1
        return str(UUID(int=(NOW << 80) | (7 << 76) | (2 << 62) | self._serial))

    def key(self) -> str:
        """A new key."""
        self._serial += 1
        return f"key-of-this-run-{self._serial:06}"

    def tell(
        self, outcome: Outcome, ballot: Ballot, vote_id: str | None, key: str | None = None, contest: str | None = "gt"
    ) -> None:
        """Writes a line into the journal."""
        status = {RECORDED: 201, REFUSED: 503, UNDECIDED: None}[outcome]
        self.attempts.append(Attempt(AT, vote_id, key, contest, outcome, status, ballot))

    def append(self, vote_id: str, ballot: Ballot, contest: str = "gt", at: int = NOW) -> None:
        """Appends a record to the log."""
        name, album = normalise(ballot.name), normalise(ballot.album)
        year, rank = int(ballot.year), int(ballot.rank)
        self.log.append(Vote(vote_id, contest, name, album, year, rank, at, fold(name), fold(album)))

    def read_back(self) -> ReadBack:
        """What a right system holds after this log."""
        back, tallies = ReadBack(rejected=dict(self.rejected)), list[PartitionTally]()
        for partition in range(PARTITIONS):
            votes = [v for v in self.log if partition_of(v.id.encode(), PARTITIONS) == partition]
            back.fold_partition(votes)
            tallies.append(PartitionTally())
            tallies[-1].fold(votes)
        for vote in reversed(self.log):
            if vote.id in back.counted:
                back.archived[vote.id] = body_of(vote.contest, vote.name, vote.album, vote.year, vote.rank)
        whole = merge(tally.contests for tally in tallies)
        back.standings = {contest: shown(bands) for contest, bands in whole.items()}
        return back

    def remember(self, what: str, vote_id: str) -> None:
        """Keeps an id under the name of its story."""
        self.ids.setdefault(what, []).append(vote_id)


Story = Callable[[Run, Ballot, str], None]
"""One vote from its first attempt to the log."""


def acknowledged(run: Run, ballot: Ballot, contest: str) -> None:
    key = run.key() if run.random.random() < 0.5 else None
    vote_id = id_from_key(contest, key) if key else run.anonymous()
    run.append(vote_id, ballot, contest)
    run.tell(RECORDED, ballot, vote_id, key, contest)
    run.remember("acknowledged", vote_id)


def retried(run: Run, ballot: Ballot, contest: str) -> None:
    key = run.key()
    vote_id = id_from_key(contest, key)
    outcomes = [UNDECIDED, REFUSED, RECORDED, RECORDED]
    run.random.shuffle(outcomes)
    for outcome in outcomes:
        run.tell(outcome, ballot, vote_id, key, contest)
        if outcome is not REFUSED:
            run.append(vote_id, ballot, contest)
    run.remember("acknowledged", vote_id)


def undecided(run: Run, ballot: Ballot, contest: str) -> None:
    key = run.key()
    vote_id = id_from_key(contest, key)
    outcomes = [UNDECIDED, REFUSED]
    run.random.shuffle(outcomes)
    for outcome in outcomes:
        # Where the answer was lost, the contest may not have been known.
        known = run.random.random() < 0.5
        run.tell(outcome, ballot, vote_id if known else None, key, contest if known else None)
    if run.random.random() < 0.5:
        run.append(vote_id, ballot, contest)


def anonymous_and_lost(run: Run, ballot: Ballot, contest: str) -> None:
    vote_id = run.anonymous()
    known = run.random.random() < 0.3
    run.tell(UNDECIDED, ballot, vote_id if known else None, None, contest)
    if run.random.random() < 0.5:
        run.append(vote_id, ballot, contest)


def refused(run: Run, ballot: Ballot, contest: str) -> None:
    key = run.key() if run.random.random() < 0.5 else None
    vote_id = id_from_key(contest, key) if key else None
    for _ in range(run.random.randint(1, 3)):
        run.tell(REFUSED, ballot, vote_id, key, contest)
    if vote_id:
        run.remember("refused", vote_id)


def rejected(run: Run, ballot: Ballot, contest: str) -> None:
    vote_id = run.anonymous()
    run.tell(RECORDED, ballot, vote_id, None, contest)
    run.rejected[vote_id] = "bad-number"


def somebody_else(run: Run, ballot: Ballot, contest: str) -> None:
    run.append(run.anonymous(), ballot, "another-contest")


STORIES: Final = (acknowledged, retried, undecided, anonymous_and_lost, refused, rejected, somebody_else)


@st.composite
def runs(draw: st.DrawFn) -> Run:
    """Runs of any stories; each has an acknowledged and a refused vote in each contest, to plant faults on."""
    run = Run(Random(draw(st.integers(0, 2**32))))
    stories = draw(st.lists(st.sampled_from(STORIES), max_size=25))
    for contest in CONTESTS:
        for story in (acknowledged, retried, refused):
            story(run, run.random.choice(BALLOTS), contest)
    # `refused` has an id only with a key.
    key = run.key()
    run.tell(REFUSED, BALLOTS[0], id_from_key("gt", key), key)
    run.remember("refused", id_from_key("gt", key))
    for story in stories:
        story(run, run.random.choice(BALLOTS), run.random.choice(CONTESTS))
    # Only where answers were written does their order not matter: the log's order stays.
    run.random.shuffle(run.attempts)
    return run


def faults(verdict: Verdict) -> dict[str, int]:
    """The number of faults by kind, those with none left out."""
    return {name: finding.count for name, finding in verdict.faults.items() if finding.count}


def one(run: Run, what: str) -> str:
    return run.random.choice(run.ids[what])


@given(runs())
def test_run_without_fault_has_none(run: Run) -> None:
    """Whatever is acknowledged, retried, lost on the way, refused or rejected: without a fault none is found."""
    verdict = judge(Journal(run.attempts), run.read_back())
    assert faults(verdict) == {}
    assert verdict.ok
    assert verdict.acknowledged == len(run.ids["acknowledged"]) + len(run.rejected)
    assert verdict.rejected.count == len(run.rejected)
    assert verdict.counted == verdict.acknowledged - verdict.rejected.count + verdict.undecided_counted.count


def plant_lost(run: Run) -> tuple[ReadBack, str]:
    vote_id = one(run, "acknowledged")
    run.log = [vote for vote in run.log if vote.id != vote_id]
    return run.read_back(), vote_id


def plant_not_archived(run: Run) -> tuple[ReadBack, str]:
    back, vote_id = run.read_back(), one(run, "acknowledged")
    del back.archived[vote_id]
    return back, vote_id


def some_totals(run: Run, back: ReadBack, contest: str) -> BandTotals:
    """What the standings show of one of a contest's bands."""
    return run.random.choice([*back.standings[contest].values()])


def plant_low_standings(run: Run) -> tuple[ReadBack, str]:
    back = run.read_back()
    some_totals(run, back, "gt").votes -= 1
    return back, "gt"


def plant_high_standings(run: Run) -> tuple[ReadBack, str]:
    back = run.read_back()
    some_totals(run, back, "mx").votes += 1
    return back, "mx"


def plant_band_nobody_voted_for(run: Run) -> tuple[ReadBack, str]:
    back = run.read_back()
    back.standings["gt"]["nobody"] = BandTotals(1, 3, {"nothing": 1})
    return back, "gt"


def plant_other_album_in_standings(run: Run) -> tuple[ReadBack, str]:
    back = run.read_back()
    albums = some_totals(run, back, "gt").albums
    albums[run.random.choice([*albums])] -= 1
    albums["nothing"] = 1
    return back, "gt"


def plant_other_ranks_in_standings(run: Run) -> tuple[ReadBack, str]:
    back = run.read_back()
    some_totals(run, back, "mx").rank_sum += 1
    return back, "mx"


def plant_counted_twice(run: Run) -> tuple[ReadBack, str]:
    """A copy of an anonymous vote, of any body, that comes after its id is forgotten is counted again."""
    vote_id = run.anonymous()
    run.append(vote_id, BALLOTS[0])
    run.tell(RECORDED, BALLOTS[0], vote_id)
    run.append(vote_id, run.random.choice(BALLOTS), at=NOW + 3_600_000)
    return run.read_back(), vote_id


def plant_two_ids_of_a_key(run: Run) -> tuple[ReadBack, str]:
    key, ballot = run.key(), BALLOTS[2]
    ids = [run.anonymous(), run.anonymous()]
    for vote_id in ids:
        run.append(vote_id, ballot)
        run.tell(RECORDED, ballot, vote_id, key)
    return run.read_back(), min(ids)


def plant_invented(run: Run) -> tuple[ReadBack, str]:
    vote_id = run.anonymous()
    run.append(vote_id, Ballot("Nobody", "Nothing", 2000, 1))
    return run.read_back(), vote_id


def plant_invented_with_key(run: Run) -> tuple[ReadBack, str]:
    """A lost anonymous vote does not explain one that has the id of a key."""
    ballot = BALLOTS[0]
    run.tell(UNDECIDED, ballot, None)
    vote_id = id_from_key("gt", run.key())
    run.append(vote_id, ballot)
    return run.read_back(), vote_id


def plant_refused_but_counted(run: Run) -> tuple[ReadBack, str]:
    vote_id = one(run, "refused")
    attempt = next(attempt for attempt in run.attempts if attempt.id == vote_id)
    run.append(vote_id, attempt.vote, str(attempt.contest))
    return run.read_back(), vote_id


def plant_archived_only(run: Run) -> tuple[ReadBack, str]:
    back, vote_id = run.read_back(), run.anonymous()
    back.archived[vote_id] = body_of("gt", "Nobody", "Nothing", 2000, 1)
    return back, vote_id


def plant_lost_one_counted_twice(run: Run) -> tuple[ReadBack, str]:
    """One lost anonymous vote explains one counted vote, not two."""
    ballot = Ballot("Only once", "Sent", 2000, 1)
    run.tell(UNDECIDED, ballot, None)
    ids = [run.anonymous(), run.anonymous()]
    for vote_id in ids:
        run.append(vote_id, ballot)
    back = run.read_back()
    return back, list(back.counted)[max(list(back.counted).index(vote_id) for vote_id in ids)]


def plant_other_body(run: Run) -> tuple[ReadBack, str]:
    vote_id, ballot = run.anonymous(), BALLOTS[1]
    run.tell(RECORDED, ballot, vote_id)
    run.append(vote_id, Ballot(ballot.name, ballot.album, ballot.year, 3))
    return run.read_back(), vote_id


def plant_other_contest(run: Run) -> tuple[ReadBack, str]:
    vote_id, ballot = run.anonymous(), BALLOTS[1]
    run.tell(RECORDED, ballot, vote_id)
    run.append(vote_id, ballot, run.random.choice(["mx", "another-contest"]))
    return run.read_back(), vote_id


def plant_other_body_in_archive(run: Run) -> tuple[ReadBack, str]:
    back, vote_id = run.read_back(), one(run, "acknowledged")
    body = back.archived[vote_id]
    back.archived[vote_id] = Body(body.contest, body.band, body.record, body.year + 1, body.rank)
    return back, vote_id


PLANTS: Final[dict[Callable[[Run], tuple[ReadBack, str]], str]] = {
    plant_lost: "lost",
    plant_not_archived: "lost",
    plant_low_standings: "lost",
    plant_high_standings: "repeated",
    plant_band_nobody_voted_for: "repeated",
    plant_counted_twice: "repeated",
    plant_two_ids_of_a_key: "repeated",
    plant_invented: "invented",
    plant_invented_with_key: "invented",
    plant_refused_but_counted: "invented",
    plant_archived_only: "invented",
    plant_lost_one_counted_twice: "invented",
    plant_other_body: "mismatched",
    plant_other_contest: "mismatched",
    plant_other_body_in_archive: "mismatched",
    plant_other_album_in_standings: "mismatched",
    plant_other_ranks_in_standings: "mismatched",
}


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
@given(run=runs())
def test_planted_fault_is_found_alone(plant: Callable[[Run], tuple[ReadBack, str]], run: Run) -> None:
    """A fault of any kind, planted in any run, is found once, under its kind and its id, and nothing else is."""
    back, subject = plant(run)
    verdict = judge(Journal(run.attempts), back)
    assert faults(verdict) == {PLANTS[plant]: 1}
    assert [example.subject for example in verdict.faults[PLANTS[plant]].examples] == [subject]
    assert not verdict.ok


def test_empty_system_has_lost_everything() -> None:
    """A system that comes back empty has lost every acknowledged vote; examples are capped, the count is not."""
    run = Run(Random(1))
    for _ in range(50):
        acknowledged(run, BALLOTS[0], "gt")
    verdict = judge(Journal(run.attempts), ReadBack())
    assert faults(verdict) == {"lost": 50}
    assert len(verdict.lost.examples) == MAX_EXAMPLES


def test_missing_standings_are_lost_votes() -> None:
    """A contest that the standings do not know has lost all that the log counts."""
    run = Run(Random(1))
    acknowledged(run, BALLOTS[0], "gt")
    back = run.read_back()
    back.standings.clear()
    assert faults(judge(Journal(run.attempts), back)) == {"lost": 1}


def test_votes_shown_for_another_band_are_found() -> None:
    """Two votes for two bands that are shown for one of them are lost for one and too many for the other."""
    run = Run(Random(1))
    for ballot in (BALLOTS[0], BALLOTS[2]):
        acknowledged(run, ballot, "gt")
    back = run.read_back()
    back.standings["gt"] = {"alux nahual": BandTotals(2, 12, {"alto al fuego": 1, "sub": 1})}
    verdict = judge(Journal(run.attempts), back)
    assert faults(verdict) == {"lost": 1, "repeated": 1}
    (lost,), (repeated,) = verdict.lost.examples, verdict.repeated.examples
    assert (lost.subject, lost.what) == ("gt", "the standings show 0 votes for 'bohemia suburbana', the log has 1")
    assert (repeated.subject, repeated.what) == ("gt", "the standings show 2 votes for 'alux nahual', the log has 1")


def test_albums_and_ranks_that_differ_are_told_with_their_numbers() -> None:
    """A band whose votes are right, but shown for another album or with other ranks, is told with both numbers."""
    run = Run(Random(1))
    acknowledged(run, BALLOTS[0], "gt")
    back = run.read_back()
    back.standings["gt"] = {"alux nahual": BandTotals(1, 5, {"sub": 1})}
    verdict = judge(Journal(run.attempts), back)
    assert faults(verdict) == {"mismatched": 1}
    assert verdict.mismatched.examples[0].what.split("; ") == [
        "the standings show 0 votes for 'alto al fuego' of 'alux nahual', the log has 1",
        "the standings show 1 votes for 'sub' of 'alux nahual', the log has 0",
        "the standings show ranks of 5 in all for 'alux nahual', the log has 2",
    ]


def test_copies_in_the_log_are_no_fault() -> None:
    """A retry that put a second record into the log is a copy: counted once, told, no fault."""
    run = Run(Random(1))
    key = run.key()
    vote_id = id_from_key("gt", key)
    run.tell(UNDECIDED, BALLOTS[0], vote_id, key)
    run.tell(RECORDED, BALLOTS[0], vote_id, key)
    run.append(vote_id, BALLOTS[0])
    run.append(vote_id, BALLOTS[0])
    verdict = judge(Journal(run.attempts), run.read_back())
    assert verdict.ok
    assert (verdict.acknowledged, verdict.counted, verdict.copies) == (1, 1, 1)


def test_first_record_of_an_id_is_the_vote() -> None:
    """Of two bodies sent with one key the first in the log counts, either is right, and the archive must agree."""
    run = Run(Random(1))
    key = run.key()
    vote_id = id_from_key("gt", key)
    for ballot in (BALLOTS[0], BALLOTS[2]):
        run.tell(RECORDED, ballot, vote_id, key)
        run.append(vote_id, ballot)
    back = run.read_back()
    assert judge(Journal(run.attempts), back).ok
    back.archived[vote_id] = body_of("gt", "Bohemia Suburbana", "Sub", 1999, 10)
    assert faults(judge(Journal(run.attempts), back)) == {"mismatched": 1}


def test_lost_answer_without_contest_is_explained() -> None:
    """Votes to the default contest whose answers were lost explain what is counted in the contest that was learned."""
    run = Run(Random(1))
    run.tell(UNDECIDED, BALLOTS[2], None, None, None)
    run.append(run.anonymous(), BALLOTS[2])
    key = run.key()
    run.tell(UNDECIDED, BALLOTS[3], None, key, None)
    run.append(id_from_key("gt", key), BALLOTS[3])
    acknowledged(run, BALLOTS[0], "gt")
    verdict = judge(Journal(run.attempts), run.read_back())
    assert verdict.ok
    assert (verdict.undecided, verdict.undecided_counted.count) == (2, 2)


def test_attempts_that_name_no_contest_are_counted_by_key() -> None:
    """Where no contest was ever learned there is nothing to hold against, but votes are told, one a key."""
    run = Run(Random(1))
    key = run.key()
    for outcome in (REFUSED, UNDECIDED, REFUSED):
        run.tell(outcome, BALLOTS[0], None, key, None)
    run.tell(REFUSED, BALLOTS[0], None, "short", None)
    run.append(run.anonymous(), BALLOTS[0])
    verdict = judge(Journal(run.attempts), run.read_back())
    assert verdict.ok
    assert (verdict.attempts, verdict.undecided, verdict.refused, verdict.counted) == (4, 1, 1, 0)


def test_any_body_sent_with_a_key_may_count() -> None:
    """Of three bodies sent with one key any may be the vote, and no other."""
    run = Run(Random(1))
    key = run.key()
    vote_id = id_from_key("gt", key)
    for ballot in (BALLOTS[0], BALLOTS[2], BALLOTS[3]):
        run.tell(UNDECIDED, ballot, vote_id, key)
    run.append(vote_id, BALLOTS[3])
    assert judge(Journal(run.attempts), run.read_back()).ok
    run.log.clear()
    run.append(vote_id, Ballot("Alux Nahual", "Alto al Fuego", 1988, 5))
    assert faults(judge(Journal(run.attempts), run.read_back())) == {"mismatched": 1}


def test_empty_journal_says_nothing() -> None:
    """Without a journal nothing is looked at, and nothing is found."""
    run = Run(Random(1))
    run.append(run.anonymous(), BALLOTS[0])
    assert judge(Journal([]), run.read_back()) == Verdict()
