"""A system at rest is read back as it is: votes, copies, rejected records and the archive."""

import gc

import pytest

from aplauso.domain.errors import Unavailable
from aplauso.domain.journal import Attempt, Outcome
from aplauso.domain.tally import merge
from aplauso.domain.verdict import Example, Verdict
from aplauso.domain.vote import Ballot
from aplauso.flow.verify import verify
from fakes_archive import FakeArchiveReader
from fakes_log import MemoryReader
from unit.test_recount import PARTITIONS, System

BALLOT = Ballot("Alux Nahual", "A", "1990", "1")


def attempt(vote_id: str, contest: str = "gt") -> Attempt:
    """A vote that was acknowledged."""
    return Attempt("2026-05-01T00:00:00Z", vote_id, None, contest, Outcome.RECORDED, 201, BALLOT)


def judged(system: System, *attempts: Attempt) -> Verdict:
    """What a journal of these attempts is told."""
    return verify(attempts, MemoryReader(system.log), system.standings, FakeArchiveReader(system.world))


def test_what_is_read_back_is_what_lies_there() -> None:
    """Votes are counted once and copies told apart; a rejected record is known by its key, an unknown vote is lost."""
    before = gc.get_threshold()
    verdict = judged(System(), attempt("k"), attempt("nowhere", "mx"))
    assert (verdict.counted, verdict.copies, verdict.archived) == (46, 4, 46)
    assert verdict.rejected.examples == [Example("k", "acknowledged, and rejected: unreadable")]
    assert [example.subject for example in verdict.lost.examples] == ["nowhere"]
    assert gc.get_threshold() == before


def test_standings_are_held_against_the_log_by_band() -> None:
    """Two votes that the standings show for another band are found although the contest's total is right."""
    system = System()
    right = judged(system, attempt("nowhere"))
    bands = next(part.contests["gt"] for part in system.standings.tallies.values() if "gt" in part.contests)
    bands["alux nahual"].votes -= 2
    bands["estrés"].votes += 2
    found = judged(system, attempt("nowhere"))
    assert (right.repeated.count, found.repeated.count) == (0, 2)
    assert found.lost.count == right.lost.count + 2
    assert [each.what for each in found.lost.examples[-1:] + found.repeated.examples] == [
        "the standings show 28 votes for 'alux nahual', the log has 30",
        "the standings show 11 votes for 'estrés', the log has 9",
    ]


def test_standings_of_a_contest_that_the_log_does_not_have_are_found() -> None:
    """Votes that are shown in a contest of the journal, of which the log holds nothing, are too many."""
    system = System()
    shown = merge(part.contests for part in system.standings.tallies.values())["mx"]
    system.standings.tallies[0].contests["sv"] = shown
    verdict = judged(system, attempt("k", "sv"))
    assert (verdict.repeated.count, verdict.repeated.examples[0].subject) == (7, "sv")


def test_a_record_without_a_key_is_passed_over() -> None:
    """Nobody can have been told the id of such a record; what lies around it is read."""
    system = System()
    system.log.put(0, None, b"garbage")
    system.tally()
    system.archive()
    assert judged(system, attempt("k"), attempt("k", "mx")).counted == 46


def test_progress_is_told_by_the_partition() -> None:
    """After each partition it is said how many records of how many are read."""
    system, told = System(), list[tuple[int, int]]()
    readers = MemoryReader(system.log), system.standings, FakeArchiveReader(system.world)
    verify([], *readers, progress=lambda *at: told.append(at))
    assert len(told) == PARTITIONS
    assert told[-1] == (52, 52)


def test_a_system_that_is_not_at_rest_is_not_judged() -> None:
    """Where a projection is behind the log, it is said so."""
    system = System()
    system.log.put(0, b"k", b"garbage")
    with pytest.raises(Unavailable, match="1 records behind"):
        judged(system)
