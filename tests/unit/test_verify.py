"""A system at rest is read back as it is: votes, copies, rejected records and the archive."""

import gc

import pytest

from aplauso.domain.errors import Unavailable
from aplauso.domain.journal import Attempt, Outcome
from aplauso.domain.verdict import Verdict
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
    assert [example.subject for example in verdict.rejected.examples] == ["k"]
    assert [example.subject for example in verdict.lost.examples] == ["nowhere"]
    assert gc.get_threshold() == before


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
