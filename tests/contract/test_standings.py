"""The standings' contracts, held against every store that there is, and against broken ones."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import pytest

import fakes_standings as fakes
from aplauso.adapters.sqlite.standings import SqliteStandings, SqliteStandingsReader
from contract import projection_suite as projection
from contract import standings_suite as suite
from fakes_standings import FakePlace, FakeStandings
from servers_redis import RedisPlace, shared_cluster, shared_redis

CHECKS: list[Callable[[Any], None]] = [*projection.CHECKS, *suite.CHECKS]


class DyingConnection:
    """A connection of a process that dies before or after a statement: from then on it does nothing at all."""

    def __init__(self, connection: sqlite3.Connection, number: int, after: bool) -> None:
        self._connection, self._left, self._after, self._dead = connection, number, after, False

    def execute(self, *arguments: Any) -> Any:
        return self._run(self._connection.execute, *arguments)

    def executemany(self, *arguments: Any) -> Any:
        return self._run(self._connection.executemany, *arguments)

    def _run(self, run: Callable[..., Any], *arguments: Any) -> Any:
        self._left -= not self._dead
        if self._left < 0 or (self._left == 0 and not self._after):
            self._die()
        result = run(*arguments)
        if self._left == 0:
            self._die()
        return result

    def _die(self) -> None:
        self._dead = True
        self._connection.close()  # rolls back, as a dead process' lock is taken away
        raise sqlite3.OperationalError("died")

    @property
    def in_transaction(self) -> bool:
        return False if self._dead else self._connection.in_transaction

    def close(self) -> None:
        self._connection.close()


class SqlitePlace:
    """A file of standings."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._made: list[Any] = []
        self.store()

    def store(self) -> SqliteStandings:
        store = SqliteStandings(self.path)
        self._made.append(store)
        return store

    def reader(self) -> SqliteStandingsReader:
        reader = SqliteStandingsReader(self.path)
        self._made.append(reader)
        return reader

    def dying_stores(self) -> Iterator[SqliteStandings]:
        # BEGIN, the position, the time, the ids, the tallies: nine statements and more.
        for number in range(1, 10):
            for after in (False, True):
                store: Any = self.store()
                store._connection = DyingConnection(store._connection, number, after)
                yield store

    def state(self, partition: int) -> Any:
        with closing(SqliteStandingsReader(self.path)) as reader:
            return reader.partition(partition).contests

    def snapshot(self) -> Callable[[], None]:
        kept = sqlite3.connect(":memory:")
        with closing(sqlite3.connect(self.path)) as source:
            source.backup(kept)

        def put_back() -> None:
            with closing(kept), closing(sqlite3.connect(self.path)) as target:
                kept.backup(target)

        return put_back

    def close(self) -> None:
        for one in self._made:
            one.close()


SERVERS = ["valkey-9", "redis-7", "redis-6.2", "cluster"]


@pytest.fixture(params=["fake", "sqlite", *[pytest.param(name, marks=pytest.mark.servers) for name in SERVERS]])
def places(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Any]]:
    """A maker of empty places of each kind in turn."""
    made: list[Any] = []
    make = _maker(request.param, tmp_path)

    def keep() -> Any:
        made.append(make())
        return made[-1]

    yield keep
    for place in made:
        place.close()


def _maker(kind: str, folder: Path) -> Callable[[], Any]:
    if kind == "fake":
        return FakePlace
    if kind == "sqlite":
        numbers = count()
        return lambda: SqlitePlace(folder / f"standings{next(numbers)}.db")
    server = shared_cluster() if kind == "cluster" else shared_redis(kind)
    return lambda: RedisPlace(server)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_standings_keep_their_promises(places: Callable[[], Any], check: Callable[[Any], None]) -> None:
    """Every store of standings passes every check of its two contracts."""
    check(places)


BROKEN: list[tuple[type[Any], Callable[[Any], None]]] = [
    (fakes.ForgetsTheEpoch, projection.the_position_moves_with_its_batch),
    (fakes.AsksNobody, projection.another_position_is_refused),
    (fakes.ComparesOffsetsOnly, projection.another_position_is_refused),
    (fakes.RefusesWithoutTelling, projection.another_position_is_refused),
    (fakes.StandsStillWithoutVotes, projection.an_empty_batch_moves_the_position),
    (fakes.PreparesTooMuch, projection.columns_are_applied_as_the_votes_that_they_hold),
    (fakes.RemembersNothing, projection.the_first_of_an_id_is_the_vote),
    (fakes.RemembersWhileOpen, projection.stores_come_and_go),
    (fakes.PositionLast, projection.a_crash_anywhere_changes_nothing_in_the_end),
    (fakes.PositionFirst, projection.a_crash_anywhere_changes_nothing_in_the_end),
    (fakes.PositionLast, projection.a_crash_of_the_first_batch_changes_nothing),
    (fakes.PositionFirst, projection.a_crash_of_the_first_batch_changes_nothing),
    (fakes.AsksNobody, projection.a_zombie_is_refused),
    (fakes.OneForAll, projection.partitions_stand_alone),
    (fakes.RemembersElsewhere, projection.an_older_snapshot_catches_up),
    (fakes.RemembersNothing, suite.any_votes_give_the_fold),
    (fakes.FirstSpellingStays, suite.any_votes_give_the_fold),
    (fakes.RemembersNothing, suite.many_votes_give_the_fold),
    (fakes.ForgetsKeys, suite.keys_are_remembered_for_ever),
    (fakes.RemembersAllForEver, suite.anonymous_ids_are_remembered_by_slot),
    (fakes.ForgetsByBatch, suite.forgetting_follows_the_order_of_the_log),
    (fakes.RemembersNothing, suite.a_slot_may_come_back),
    (fakes.FindsAcrossIds, suite.ids_that_overlap_are_apart),
    (fakes.FirstSpellingStays, suite.the_least_stamp_and_id_give_the_spelling),
    (fakes.SpellingByStampAlone, suite.the_least_stamp_and_id_give_the_spelling),
    (fakes.MixesContests, suite.repeats_are_told_by_contest),
    (fakes.CutsAtNul, suite.hostile_texts_are_text),
    (fakes.ReadsOnePartition, suite.a_contest_is_read_over_all_partitions),
    (fakes.KeepsWhatItRead, suite.a_reader_keeps_up),
    (fakes.ListsEveryPartition, suite.positions_can_be_read),
    (fakes.NeverChanges, suite.the_version_tells_of_changes),
    (fakes.AlwaysChanges, suite.the_version_tells_of_changes),
    (fakes.ReadsInTwoSteps, suite.a_partition_is_read_in_one_step),
]


@pytest.mark.parametrize(("broken", "check"), BROKEN, ids=lambda part: part.__name__)
def test_broken_standings_are_caught(broken: type[Any], check: Callable[[Any], None]) -> None:
    """The suites fail on standings that break one promise, at the check of that promise."""
    writes = issubclass(broken, FakeStandings)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        check(lambda: FakePlace(store=broken) if writes else FakePlace(reader=broken))


def test_every_check_catches_something() -> None:
    """No check is there that no broken standings fail."""
    assert {check for _, check in BROKEN} == set(CHECKS)
