"""The archive's contract, held against every archive that there is, and against broken ones."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Final

import pytest
from pymongo import MongoClient

import fakes_archive as fakes
from aplauso.adapters.mongo.archive import MongoArchive, MongoArchiveReader
from aplauso.adapters.mongo.client import MongoSettings
from aplauso.adapters.sqlite.archive import SqliteArchive, SqliteArchiveReader
from aplauso.ports.archive import ArchivedVote, ArchiveReader, ArchiveStore
from contract import archive_suite as suite
from contract import projection_suite
from contract.archive_suite import CHECKS, Check
from fakes_archive import FakeArchive, FakeArchiveReader, FakePlace, state_of
from servers_mongo import CuttingProxy, fresh_database, shared_mongo


class Keeper:
    """Makes stores and readers, and closes them all."""

    def __init__(self) -> None:
        self.made: list[Any] = []

    def keep(self, made: Any) -> Any:
        self.made.append(made)
        return made

    def reader(self) -> ArchiveReader:
        raise NotImplementedError

    def state(self, partition: int) -> list[ArchivedVote]:
        reader = self.reader()
        with closing(reader):
            return state_of(reader, partition)

    def close(self) -> None:
        while self.made:
            self.made.pop().close()


class SqlitePlace(Keeper):
    POINTS: Final = tuple(
        (statement, after)
        for statement in ("BEGIN", "INSERT INTO positions", "INSERT OR IGNORE INTO votes", "COMMIT")
        for after in (False, True)
    )

    def __init__(self, path: Path, points: Sequence[tuple[str, bool]] = POINTS) -> None:
        super().__init__()
        self.path, self.points = path, points

    def store(self) -> ArchiveStore:
        store: ArchiveStore = self.keep(SqliteArchive(self.path))
        return store

    def reader(self) -> ArchiveReader:
        # Its file is made by a writer: a reader alone has nothing to read.
        with closing(SqliteArchive(self.path)):
            reader: ArchiveReader = self.keep(SqliteArchiveReader(self.path))
            return reader

    def dying_stores(self) -> Iterator[ArchiveStore]:
        for statement, after in self.points:
            store: Any = self.store()
            store._connection = DyingConnection(store._connection, statement, after)
            yield store

    def snapshot(self) -> Callable[[], None]:
        copy = self.keep(sqlite3.connect(":memory:"))
        with closing(sqlite3.connect(self.path)) as connection:
            connection.backup(copy)

        def put_back() -> None:
            with closing(sqlite3.connect(self.path)) as connection:
                copy.backup(connection)

        return put_back


class DyingConnection:
    """A connection of a process that dies before or after a statement: from then on it does nothing at all."""

    def __init__(self, connection: sqlite3.Connection, statement: str, after: bool) -> None:
        self._connection, self._statement, self._after, self._dead = connection, statement, after, False

    def execute(self, sql: str, *args: Any) -> Any:
        return self._run(self._connection.execute, sql, *args)

    def executemany(self, sql: str, *args: Any) -> Any:
        return self._run(self._connection.executemany, sql, *args)

    def _run(self, run: Callable[..., Any], sql: str, *args: Any) -> Any:
        here = sql.strip().startswith(self._statement)
        if here and not self._after:
            self._die()
        result = run(sql, *args)
        if here:
            self._die()
        return result

    def _die(self) -> None:
        self._dead = True
        self._connection.close()  # as the system does for a process that is gone: rolls back, frees its locks
        raise sqlite3.OperationalError("died")

    @property
    def in_transaction(self) -> bool:
        return False if self._dead else self._connection.in_transaction

    def close(self) -> None:
        self._connection.close()


class MongoPlace(Keeper):
    POINTS: Final = tuple((step, after) for step in CuttingProxy.STEPS for after in (False, True))

    def __init__(self, points: Sequence[tuple[str, bool]] = POINTS) -> None:
        super().__init__()
        self.settings, self.points = fresh_database(shared_mongo()), points
        client: MongoClient[Any] = self.keep(MongoClient(self.settings.uri, datetime_conversion="DATETIME_MS"))
        self.database = client[self.settings.database]

    def store(self) -> MongoArchive:
        store: MongoArchive = self.keep(MongoArchive(self.settings))
        return store

    def reader(self) -> MongoArchiveReader:
        reader: MongoArchiveReader = self.keep(MongoArchiveReader(self.settings))
        return reader

    def dying_stores(self) -> Iterator[ArchiveStore]:
        for step, after in self.points:
            proxy = self.keep(CuttingProxy(shared_mongo().port, step, after))
            yield self.keep(MongoArchive(MongoSettings(proxy.uri, self.settings.database)))

    def snapshot(self) -> Callable[[], None]:
        collections = [self.database[name] for name in ("votes", "positions")]
        copies = [collection.find().to_list() for collection in collections]

        def put_back() -> None:
            for collection, copy in zip(collections, copies, strict=True):
                collection.delete_many({})
                collection.insert_many(copy)

        return put_back

    def close(self) -> None:
        if self.made:  # a second time there is nothing left to close
            self.database.client.drop_database(self.database.name)
        super().close()


Maker = Callable[..., Any]


@pytest.fixture(params=["fake", "sqlite", pytest.param("mongo", marks=pytest.mark.servers)])
def maker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Maker]:
    """Makes places for an archive, each empty, of one kind after the other."""
    made: list[Any] = []
    numbers = count()
    kinds: dict[str, Maker] = {
        "fake": FakePlace,
        "sqlite": lambda **points: SqlitePlace(tmp_path / f"{next(numbers)}.db", **points),
        "mongo": MongoPlace,
    }

    def make(**points: Any) -> Any:
        made.append(kinds[request.param](**points))
        return made[-1]

    yield make
    for place in made:
        place.close()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_an_archive_keeps_its_promises(maker: Maker, check: Check) -> None:
    """Every archive passes every check of the contract."""
    check(maker())


@pytest.mark.parametrize("check", projection_suite.CHECKS, ids=lambda check: check.__name__)
def test_an_archive_is_a_projection(maker: Maker, check: projection_suite.Check) -> None:
    """Every archive passes every check of a projection's contract."""
    # Documents are looked at only when some of a batch's were there before, which these batches do not all have.
    points = [point for point in maker().points if point[0] != "find votes"]
    if check is projection_suite.a_crash_of_the_first_batch_changes_nothing:
        # It repeats its votes in a partition for each crash; an archive has one of each id: a place for each crash.
        for point in points:
            check(partial(maker, points=[point]))
    else:
        check(partial(maker, points=points))


BROKEN: list[tuple[type[FakeArchive | FakeArchiveReader], Check]] = [
    (fakes.LastWins, suite.the_first_of_an_id_stays_for_ever),
    (fakes.LastOfTheBatchWins, suite.the_first_of_an_id_in_a_batch_is_the_vote),
    (fakes.CountsRepeats, suite.the_first_of_an_id_stays_for_ever),
    (fakes.StopsAtARepeat, suite.the_first_of_an_id_stays_for_ever),
    (fakes.PositionFirst, suite.a_crash_anywhere_changes_nothing_in_the_end),
    (fakes.TakesWhatRanAheadForAll, suite.a_crash_anywhere_changes_nothing_in_the_end),
    (fakes.AsksNobody, suite.another_position_is_refused),
    (fakes.AsksNobody, suite.of_many_writers_one_wins),
    (fakes.BeginsBlindly, suite.of_many_writers_one_wins),
    (fakes.ComparesOffsetsOnly, suite.another_position_is_refused),
    (fakes.RefusesWithoutTelling, suite.another_position_is_refused),
    (fakes.InsertsBeforeItAsks, suite.another_position_is_refused),
    (fakes.ForgetsTheEpoch, suite.the_position_moves_with_its_batch),
    (fakes.OnePositionForAll, suite.the_position_moves_with_its_batch),
    (fakes.StandsStillWithoutVotes, suite.an_empty_batch_moves_the_position),
    (fakes.KeepsInMemory, suite.the_archive_outlives_its_writers),
    (fakes.CutsAtNul, suite.hostile_texts_are_text),
    (fakes.Offsets32, suite.an_application_keeps_each_vote_as_it_is),
    (fakes.OldestFirst, suite.the_latest_are_the_newest_first),
    (fakes.ByStampAlone, suite.the_latest_are_the_newest_first),
    (fakes.NoneMeansAll, suite.the_latest_are_the_newest_first),
    (fakes.MixesContests, suite.the_latest_are_the_newest_first),
    (fakes.AnswersFromMemory, suite.the_latest_follow_the_archive),
    (fakes.FloorTooHigh, suite.the_latest_follow_the_archive),
    (fakes.ScansBeyond, suite.a_scan_gives_a_partition_below_an_offset),
    (fakes.ScansAll, suite.a_scan_gives_a_partition_below_an_offset),
    (fakes.ScansAll, suite.one_scan_gives_several_partitions),
    (fakes.ScansTwice, suite.a_scan_gives_a_partition_below_an_offset),
    (fakes.OneChunkOnly, suite.a_scan_holds_while_the_archive_grows),
    (fakes.FindsByPrefix, suite.hostile_questions_find_nothing),
]


@pytest.mark.parametrize(("broken", "check"), BROKEN, ids=lambda part: part.__name__)
def test_a_broken_archive_is_caught(broken: type[Any], check: Check) -> None:
    """The suite fails on an archive that breaks one promise, at the check of that promise."""
    writes = issubclass(broken, FakeArchive)
    place = FakePlace(store=broken) if writes else FakePlace(reader=broken)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        check(place)


def test_every_check_catches_something() -> None:
    """No check is there that no broken archive fails."""
    assert {check for _, check in BROKEN} == set(CHECKS)
