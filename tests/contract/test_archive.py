"""The archive's contract, held against every archive that there is, and against broken ones."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import fakes_archive as fakes
from aplauso.adapters.mongo.archive import MongoArchive, MongoArchiveReader
from aplauso.adapters.mongo.client import MongoSettings
from aplauso.adapters.sqlite.archive import SqliteArchive, SqliteArchiveReader
from aplauso.ports.archive import ArchiveReader, ArchiveStore
from contract import archive_suite as suite
from contract.archive_suite import CHECKS, Check
from fakes_archive import FakeArchive, FakeArchiveReader, FakePlace
from servers_mongo import CuttingProxy, fresh_database, shared_mongo


class Keeper:
    """Makes stores and readers, and closes them all."""

    def __init__(self) -> None:
        self.made: list[ArchiveStore | ArchiveReader | CuttingProxy] = []

    def keep(self, made: Any) -> Any:
        self.made.append(made)
        return made

    def close(self) -> None:
        for one in self.made:
            one.close()


class SqlitePlace(Keeper):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def store(self) -> ArchiveStore:
        store: ArchiveStore = self.keep(SqliteArchive(self.path))
        return store

    def reader(self) -> ArchiveReader:
        # Its file is made by a writer: a reader alone has nothing to read.
        with closing(SqliteArchive(self.path)):
            reader: ArchiveReader = self.keep(SqliteArchiveReader(self.path))
            return reader

    def dying_stores(self) -> Iterator[ArchiveStore]:
        for statement in ("BEGIN", "INSERT INTO positions", "INSERT OR IGNORE INTO votes", "COMMIT"):
            for after in (False, True):
                store: Any = self.store()
                store._connection = DyingConnection(store._connection, statement, after)
                yield store


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
        self._dead = self._dead or (here and not self._after)
        if self._dead:
            raise sqlite3.OperationalError("died")
        result = run(sql, *args)
        self._dead = here
        if self._dead:
            raise sqlite3.OperationalError("died")
        return result

    @property
    def in_transaction(self) -> bool:
        return False if self._dead else self._connection.in_transaction

    def close(self) -> None:
        self._connection.close()  # rolls back, as a dead process' lock is taken away


class MongoPlace(Keeper):
    def __init__(self) -> None:
        super().__init__()
        self.settings = fresh_database(shared_mongo())

    def store(self) -> MongoArchive:
        store: MongoArchive = self.keep(MongoArchive(self.settings))
        return store

    def reader(self) -> MongoArchiveReader:
        reader: MongoArchiveReader = self.keep(MongoArchiveReader(self.settings))
        return reader

    def dying_stores(self) -> Iterator[ArchiveStore]:
        # What one application sends: the check, the index, the documents, a look at the duplicates, the position.
        for number in range(1, 6):
            for after in (False, True):
                proxy = self.keep(CuttingProxy(shared_mongo().port, number, after))
                yield self.keep(MongoArchive(MongoSettings(proxy.uri, self.settings.database)))

    def close(self) -> None:
        store: Any = self.store()
        store._database.client.drop_database(self.settings.database)
        super().close()


@pytest.fixture(params=["fake", "sqlite", pytest.param("mongo", marks=pytest.mark.servers)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[suite.Place]:
    """Each kind of archive in turn, empty."""
    makers: dict[str, Callable[[], Any]] = {
        "fake": FakePlace,
        "sqlite": lambda: SqlitePlace(tmp_path / "archive.db"),
        "mongo": MongoPlace,
    }
    made = makers[request.param]()
    yield made
    made.close()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_an_archive_keeps_its_promises(place: suite.Place, check: Check) -> None:
    """Every archive passes every check of the contract."""
    check(place)


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


@pytest.mark.servers
def test_one_scan_gives_all_partitions() -> None:
    """A scan of all partitions gives for each what its own scan gives, and nothing of those that were not asked for."""
    place = MongoPlace()
    with closing(place):
        store, reader = place.store(), place.reader()
        for partition in range(4):
            votes = suite.logged(suite.vote(n + 100 * partition) for n in range(20))
            store.apply(partition, None, suite.at(20), votes)
        stops = {0: 20, 1: 7, 3: 0}
        found = [doc for chunk in reader.scan_all(stops) for doc in chunk]
        wanted = {k: v for p, stop in stops.items() for k, v in suite.scanned(reader, p, stop).items()}
        assert len(found) == 27
        assert {doc.id: doc for doc in found} == wanted
