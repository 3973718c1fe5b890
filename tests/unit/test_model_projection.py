"""The projection's loop as a state machine: whatever happens between any two steps, healing gives the pure fold.

Each schedule is a list of steps, such as "replica 1 goes on to its next point", "replica 1 dies there", "the store
is put back to an older snapshot"; after every step the state must be that of the log up to the stored position, and
in the end that of the whole log. What fails is shrunk to the shortest schedule that still does.

`make test` runs the same 200 schedules of each projection every time. For a long run with new ones:

    APLAUSO_SCHEDULES=100000 .venv/bin/python -m pytest tests/unit/test_model_projection.py -k holds -s --timeout 0
"""

import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from aplauso.domain.position import Position
from aplauso.domain.tally import PartitionTally
from aplauso.domain.vote import Vote
from aplauso.flow.project import Projection
from aplauso.ports.projection import Applied, LoggedVote
from aplauso.ports.rejected import Rejection
from aplauso.ports.stretch import Stretch
from model_world import (
    PARTITIONS,
    REPLICAS,
    ArchiveParts,
    ArchiveStore,
    GroupSource,
    Order,
    Parts,
    TallyParts,
    TallyStore,
    World,
    pool,
)

LONG = int(os.environ.get("APLAUSO_SCHEDULES", "0"))
SHORT = 200
ENOUGH = 1_500
"""Schedules within which each broken variant has to be found out; most need a few dozen."""
VOTES = pool()
replicas = st.integers(0, REPLICAS - 1)
steps = st.integers(1, 15)
places = st.sampled_from(["topic", "apply", "applied", "insert", "reject", "rest"])


class Model(RuleBasedStateMachine):
    """Everything that may happen to a projection."""

    parts: ClassVar[type[Parts]]
    schedules: ClassVar[int] = 0
    taken: ClassVar[int] = 0

    @initialize(batch=st.integers(1, 3), beside=st.booleans())
    def begin(self, batch: int, beside: bool) -> None:
        """A projection starts over an empty log."""
        type(self).schedules += 1
        self.world = World(self.parts, batch, beside=beside)

    @rule(serials=st.lists(st.integers(0, len(VOTES) - 1), min_size=1, max_size=8))
    def votes_come(self, serials: list[int]) -> None:
        """Votes enter the log, many of them copies of earlier ones."""
        for serial in serials:
            self.world.log.cast(VOTES[serial])

    @rule(partition=st.integers(0, PARTITIONS - 1), good=st.booleans())
    def a_bad_record_comes(self, partition: int, good: bool) -> None:
        """A record that nobody can count enters the log: garbage, or a vote under a wrong key."""
        self.world.log.put(partition, b"some key", b"garbage \xff" if not good else b"")

    @rule(number=replicas, count=steps)
    def one_goes_on(self, number: int, count: int) -> None:
        """A replica goes on through some points; the others stand where they are."""
        for _ in range(count):
            type(self).taken += 1
            self.world.replicas[number].go()

    @rule(number=replicas, where=places)
    def one_reaches(self, number: int, where: str) -> None:
        """A replica goes on until it has a batch in hand, or its answer is on the way, or all is done."""
        replica = self.world.replicas[number]
        for _ in range(60):
            type(self).taken += 1
            replica.go()
            if where == replica.at or (where == "rest" and replica.source.idle > 1):
                break

    @rule(number=replicas, where=places)
    def one_fails(self, number: int, where: str) -> None:
        """What a replica is about to use is away, or has done its work and the answer is lost."""
        self.one_reaches(number, where)
        self.world.replicas[number].go(Order.FAIL)

    @precondition(lambda self: self.world.parts.rejects)
    @rule(number=replicas)
    def one_is_torn(self, number: int) -> None:
        """The store dies in the middle of an application."""
        self.one_reaches(number, "apply")
        self.world.replicas[number].go(Order.TEAR)

    @rule(number=replicas)
    def one_dies(self, number: int) -> None:
        """A replica is killed where it stands, and started again."""
        self.world.kill(number)

    @rule(owners=st.lists(replicas, min_size=PARTITIONS, max_size=PARTITIONS), deaf=st.sets(replicas, max_size=2))
    def partitions_move(self, owners: list[int], deaf: set[int]) -> None:
        """The group moves partitions; some replicas do not hear of it yet."""
        for replica in self.world.replicas:
            replica.deaf = replica.number in deaf
        self.world.owners = owners

    @rule()
    def a_snapshot_is_taken(self) -> None:
        """The store is backed up."""
        self.world.snapshots.append(self.world.disk.snapshot())

    @rule(back=st.integers(0, 3))
    def the_store_goes_back(self, back: int) -> None:
        """The store is put back from a backup, under running replicas."""
        kept = self.world.snapshots
        self.world.restore(kept[max(0, len(kept) - 1 - back)])

    @rule()
    def the_store_is_wiped(self) -> None:
        """The store comes back empty."""
        self.world.restore(self.world.disk.wipe)

    @rule()
    def time_passes(self) -> None:
        """It is time for each replica to look where the store stands."""
        self.world.time_passes()

    @rule()
    def all_is_healed(self) -> None:
        """All faults end for a while."""
        self.world.heal()

    @invariant()
    def effects_are_those_up_to_the_position(self) -> None:
        """At every moment."""
        if hasattr(self, "world"):
            self.world.check()

    def teardown(self) -> None:
        """In the end."""
        if hasattr(self, "world"):
            try:
                self.world.heal()
            finally:
                self.world.end()


def run(parts: type[Parts], examples: int, *phases: Phase, fresh: bool = False) -> type[Model]:
    """Runs the machine over a world of such parts; the machine's class has counted."""
    machine = type(f"{parts.__name__}Model", (Model,), {"parts": parts})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples, stateful_step_count=40, deadline=None, database=None, derandomize=not fresh,
            suppress_health_check=list(HealthCheck), phases=phases or (Phase.generate, Phase.shrink),
            report_multiple_bugs=False,
        ),
    )  # fmt: skip
    return machine


@pytest.mark.parametrize("parts", [TallyParts, ArchiveParts])
def test_holds_under_every_schedule(parts: type[Parts]) -> None:
    """After any schedule of faults, both projections are at the log's end with exactly what the log says."""
    started = time.monotonic()
    machine = run(parts, LONG or SHORT, fresh=bool(LONG))
    minutes = (time.monotonic() - started) / 60
    print(f"\n{parts.__name__}: {machine.schedules} schedules, {machine.schedules / minutes:,.0f} a minute, "
          f"{machine.taken:,} steps of replicas")  # fmt: skip
    assert machine.schedules >= (LONG or SHORT) // 2


# Each of the following lacks one guarantee. The machine has to find a schedule that shows it. --------------------


class AsksNobodyTally(TallyStore):
    """Standings without compare-and-set."""

    def compare(self, stored: Position | None, expected: Position | None) -> None:
        pass


class AsksNobodyArchive(ArchiveStore):
    """An archive without compare-and-set."""

    def compare(self, partition: int, expected: Position | None) -> None:
        pass


class PositionFirstTally(TallyStore):
    """The position in a step of its own, before the effects."""

    def write(self, partition: int, tally: PartitionTally, following: Position, votes: list[Vote]) -> Any:
        self.disk.stored[partition] = following
        self.point("half")
        return super().write(partition, tally, following, votes)


class PositionLastTally(TallyStore):
    """The effects in a step of their own, before the position."""

    def write(self, partition: int, tally: PartitionTally, following: Position, votes: list[Vote]) -> Any:
        counted = super().write(partition, tally, position := following, votes)
        self.disk.stored.pop(partition)
        if before := self.before.get(partition):
            self.disk.stored[partition] = before
        self.point("half")
        self.disk.stored[partition] = position
        return counted

    def compare(self, stored: Position | None, expected: Position | None) -> None:
        super().compare(stored, expected)
        self.before = dict(self.disk.stored)

    before: Mapping[int, Position] = {}


class PositionFirstArchive(ArchiveStore):
    """The position before the documents."""

    def write(
        self, partition: int, expected: Position | None, following: Position, votes: Sequence[LoggedVote]
    ) -> None:
        self.move(partition, expected, following)
        self.point("write position")
        self.insert(partition, votes)


class CountsCopies(TallyStore):
    """Repeats are not told apart."""

    def fold(self, tally: PartitionTally, votes: list[Vote]) -> list[Vote]:
        counted = []
        for vote in votes:
            tally.memory = PartitionTally().memory
            counted += tally.fold([vote])
        return counted


class LastCopyStays(ArchiveStore):
    """Repeats overwrite."""

    def insert(self, partition: int, votes: Sequence[LoggedVote]) -> None:
        for offset, vote in votes:
            self.disk.votes.pop(vote.id, None)
            super().insert(partition, [LoggedVote(offset, vote)])


class TakesWhatIsThereForRight(ArchiveStore):
    """Inserts before it has looked where the archive stands."""

    def apply(
        self, partition: int, expected: Position | None, following: Position, votes: Sequence[LoggedVote]
    ) -> Applied:
        self.point("apply")
        for offset, vote in reversed(votes):
            super().insert(partition, [LoggedVote(offset, vote)])
        return super().apply(partition, expected, following, votes)


class LeavesNoMark(TallyStore):
    """A partition that was left half written is not marked."""

    def tear(self, partition: int, tally: PartitionTally, votes: Sequence[LoggedVote]) -> None:
        super().tear(partition, tally, votes)
        self.disk.dirty.discard(partition)


class ReadsFromTheGroup(GroupSource):
    """Begins at the offsets that were committed to the group."""

    def place(self, partition: int, position: Position | None) -> int:
        return super().place(partition, self.noted.get(partition, position))


class SeeksTooFar(GroupSource):
    """Seeks to the place after the right one."""

    def seek(self, partition: int, position: Position | None) -> None:
        if partition in self.at:
            self.at[partition] = min(self.place(partition, position) + 1, self.store.end(partition))


class SeeksNothing(GroupSource):
    """Reads on wherever it stands."""

    def seek(self, partition: int, position: Position | None) -> None:
        pass


class CommitsFirst(Projection):
    """Tells the group before it has applied, and relies on what was told."""

    def _project(self, records: Stretch, *more: Any) -> None:
        last = records[-1]
        self._source.note_progress({last.partition: Position(self._source.topic(), last.offset + 1, last.epoch)})
        super()._project(records, *more)


class TriesNothingAgain(Projection):
    """Takes a failed application for done."""

    def _go_back(self) -> None:
        self._lost = False


class DropsRefused(Projection):
    """Drops a refused batch and goes on behind it, from where the store stands."""

    def _resume(self, partition: int, stored: Position | None) -> None:
        self._at[partition] = stored


class LooksNever(Projection):
    """Asks the store where it stands only at the start and after an error."""

    def _look(self) -> None:
        pass


class RejectsLater(Projection):
    """Keeps rejections only when it gets round to it: with the next ones."""

    late: Sequence[Rejection] = ()

    def _reject(self, rejections: Sequence[Rejection]) -> None:
        now, self.late = self.late, rejections
        super()._reject(now)


class RejectsNothing(Projection):
    """Passes bad records over without a word."""

    def _reject(self, rejections: Sequence[Rejection]) -> None:
        pass


BROKEN: list[tuple[type[Parts], str, Callable[..., Any]]] = [
    (TallyParts, "store", AsksNobodyTally),
    (ArchiveParts, "store", AsksNobodyArchive),
    (TallyParts, "store", PositionFirstTally),
    (TallyParts, "store", PositionLastTally),
    (ArchiveParts, "store", PositionFirstArchive),
    (TallyParts, "store", CountsCopies),
    (ArchiveParts, "store", LastCopyStays),
    (ArchiveParts, "store", TakesWhatIsThereForRight),
    (TallyParts, "store", LeavesNoMark),
    (TallyParts, "source", SeeksTooFar),
    (TallyParts, "source", SeeksNothing),
    (TallyParts, "source", ReadsFromTheGroup),
    (ArchiveParts, "source", ReadsFromTheGroup),
    (TallyParts, "projection", TriesNothingAgain),
    (ArchiveParts, "projection", TriesNothingAgain),
    (TallyParts, "projection", DropsRefused),
    (TallyParts, "projection", LooksNever),
    (ArchiveParts, "projection", LooksNever),
    (TallyParts, "projection", RejectsLater),
    (TallyParts, "projection", RejectsNothing),
]


@pytest.mark.parametrize(("parts", "name", "broken"), BROKEN, ids=lambda part: getattr(part, "__name__", part))
def test_a_lost_guarantee_is_found(parts: type[Parts], name: str, broken: Callable[..., Any]) -> None:
    """A loop or a store that lacks one guarantee fails under some schedule out of so many."""
    with pytest.raises(AssertionError):
        run(type(broken.__name__, (parts,), {name: staticmethod(broken)}), ENOUGH, Phase.generate)


def test_committing_before_applying_loses_votes() -> None:
    """Reading from the group's offsets loses votes when they are committed before the batch is applied."""
    changed = {"projection": staticmethod(CommitsFirst), "source": staticmethod(ReadsFromTheGroup)}
    with pytest.raises(AssertionError):
        run(type("CommitsFirstParts", (TallyParts,), changed), ENOUGH, Phase.generate)


def test_a_failing_schedule_is_shrunk() -> None:
    """What is told of a failure is the shortest schedule: for standings that count copies, one vote and its copy."""
    parts = type("Shrunk", (TallyParts,), {"store": staticmethod(CountsCopies)})
    with pytest.raises(AssertionError) as caught:
        run(parts, ENOUGH)
    told = [line for line in getattr(caught.value, "__notes__", []) if line.startswith("state.")]
    begin, come, end = (line for line in told if "effects_are" not in line)
    assert (begin, end) == ("state.begin(batch=1, beside=False)", "state.teardown()")
    assert re.fullmatch(r"state\.votes_come\(serials=\[(\d+), \d+\]\)", come), come
