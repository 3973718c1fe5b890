"""The archive over a MongoDB-compatible server: what depends on the server, and on its dying."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import count
from typing import Any

import pytest
from pymongo import WriteConcern

from aplauso.adapters.mongo.archive import LATEST, MongoArchive, MongoArchiveReader, _document
from aplauso.adapters.mongo.client import MongoSettings
from aplauso.domain.errors import PositionMoved, Unavailable, WrongLog
from aplauso.ports.projection import Applied, LoggedVote
from aplauso.stack.mongo import MongoServer
from contract import archive_suite as suite
from servers_mongo import CuttingProxy, fresh_database, own_mongo, shared_mongo

__all__ = ["own_mongo"]
pytestmark = pytest.mark.servers

BATCH = 300


@pytest.fixture
def settings() -> MongoSettings:
    """A database of the shared server, empty."""
    return fresh_database(shared_mongo())


@pytest.fixture
def store(settings: MongoSettings) -> Iterator[MongoArchive]:
    with closing(MongoArchive(settings)) as store:
        yield store
        store._database.client.drop_database(settings.database)


@pytest.fixture
def reader(settings: MongoSettings) -> Iterator[MongoArchiveReader]:
    with closing(MongoArchiveReader(settings)) as reader:
        yield reader


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.005)


def answers(call: Callable[[], Any]) -> bool:
    try:
        call()
    except Unavailable:
        return False
    return True


class Projection(threading.Thread):
    """A replica that archives a log from the stored position on, whatever happens."""

    def __init__(self, store: MongoArchive, log: Sequence[LoggedVote]) -> None:
        super().__init__(daemon=True)
        self.store, self.log = store, log
        self.done = 0
        self.outages = 0

    def run(self) -> None:
        while self.done < len(self.log):
            try:
                self.resume()
            except Unavailable:
                self.outages += 1
                time.sleep(0.02)
            except PositionMoved:
                pass

    def resume(self) -> None:
        stored = self.store.positions([0])[0]
        self.done = stored.offset if stored else 0
        while self.done < len(self.log):
            following = suite.at(min(self.done + BATCH, len(self.log)))
            self.store.apply(0, stored, following, self.log[self.done : following.offset])
            stored, self.done = following, following.offset


def test_a_server_killed_in_the_middle_loses_and_repeats_nothing(own_mongo: MongoServer) -> None:
    """kill -9 of the server while it inserts, three times: in the end each id is there once, the first of the log."""
    # Every seventh vote repeats an earlier one.
    votes = [suite.vote(n if n % 7 else n // 2, name=f"at {n}") for n in range(60 * BATCH)]
    log = suite.logged(votes)
    uri = own_mongo.uri + "?serverSelectionTimeoutMS=200"
    with closing(MongoArchive(MongoSettings(uri))) as store, closing(MongoArchiveReader(MongoSettings(uri))) as reader:
        projection = Projection(store, log)
        projection.start()
        for part in (1, 2, 3):
            wait_for(lambda part=part: projection.done > part * len(log) // 5)  # type: ignore[misc]
            outages = projection.outages
            own_mongo.kill()
            wait_for(lambda outages=outages: projection.outages > outages)  # type: ignore[misc]
            assert projection.is_alive(), "it was over before the server was killed"
            own_mongo.start()
        projection.join(60)
        assert projection.done == len(log)
        assert suite.scanned(reader, 0, len(log)) == suite.documents(0, log)
        assert dict(reader.partitions()) == {0: suite.at(len(log))}


def test_an_archive_whose_server_is_away_says_so_and_recovers(own_mongo: MongoServer) -> None:
    """While the server is away every call is `Unavailable`, with its address; the same objects work when it is back."""
    where = MongoSettings(own_mongo.uri + "?serverSelectionTimeoutMS=200")
    with closing(MongoArchive(where)) as store, closing(MongoArchiveReader(where)) as reader:
        store.apply(0, None, suite.at(2), suite.logged([suite.vote(1), suite.vote(2)]))
        own_mongo.kill()
        calls: list[Callable[[], Any]] = [
            lambda: store.positions([0]),
            lambda: store.apply(0, suite.at(2), suite.at(3), suite.logged([suite.vote(3)], 2)),
            lambda: reader.latest(suite.GT, 1),
            lambda: reader.find(suite.id_of(1)),
            reader.partitions,
            lambda: list(reader.scan({0: 2})),
        ]
        for call in calls:
            with pytest.raises(Unavailable, match=f"MongoDB: .*127.0.0.1:{own_mongo.port}"):
                call()
        assert [str(own_mongo.port) in problem for problem in reader.problems()] == [True]
        own_mongo.start()
        # The driver looks for a server that is away every half second.
        wait_for(lambda: answers(lambda: store.positions([0])) and answers(reader.partitions))
        assert store.positions([0]) == {0: suite.at(2)}
        store.apply(0, suite.at(2), suite.at(3), suite.logged([suite.vote(3)], 2))
        assert [v.id for v in reader.latest(suite.GT, 1)] == [suite.id_of(3)]
        assert reader.problems() == []


def test_a_store_may_be_made_before_its_server() -> None:
    """Nothing waits for the server until it is needed."""
    began = time.monotonic()
    nowhere = MongoSettings("mongodb://127.0.0.1:1/")
    MongoArchive(nowhere).close()
    MongoArchiveReader(nowhere).close()
    assert time.monotonic() - began < 1


def test_the_connection_string_has_the_last_word() -> None:
    """Our time-outs are defaults: those of the connection string win."""
    with closing(MongoArchive(MongoSettings("mongodb://127.0.0.1:1/?ServerSelectionTimeoutMS=250"))) as store:
        options = store._database.client.options
    assert options.server_selection_timeout == 0.25
    assert options.pool_options.connect_timeout == 3


def test_a_position_that_moves_while_documents_are_inserted_is_refused(
    store: MongoArchive, reader: MongoArchiveReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The position is compared once more, in all its parts, where it is moved; what was inserted lies beyond it."""
    store.apply(0, None, suite.at(3), suite.logged(suite.vote(n) for n in range(3)))
    monkeypatch.setattr(store, "_check", lambda *_: None)  # as if the other writer had come right after it
    for stale in (None, suite.at(2), suite.at(3, epoch=2), suite.at(3, topic="another")):
        with pytest.raises(PositionMoved) as refusal:
            store.apply(0, stale, suite.at(5), suite.logged([suite.vote(3), suite.vote(4)], 3))
        assert refusal.value.stored == suite.at(3)
    assert store.positions([0]) == {0: suite.at(3)}
    assert len(suite.scanned(reader, 0, 3)) == 3


def test_writes_wait_for_the_disks_of_a_majority(settings: MongoSettings) -> None:
    """Documents and positions are written with majority and journal, read with majority, whatever the URI says."""
    proxy = CuttingProxy(shared_mongo().port)
    where = MongoSettings(proxy.uri + "&w=0&journal=false&readConcernLevel=local", settings.database)
    with closing(proxy), closing(MongoArchive(where)) as store:
        store.apply(0, None, suite.at(1), suite.logged([suite.vote(1)]))
        store.apply(0, suite.at(1), suite.at(2), suite.logged([suite.vote(2)], 1))
    sent = [(next(iter(one)), one) for one in proxy.commands]
    assert [name for name, _ in sent] == ["find", "createIndexes", "insert", "insert", "find", "insert", "update"]
    for name, command in sent:
        if name == "find":
            assert command["readConcern"] == {"level": "majority"}
        else:
            assert {"w": "majority", "j": True}.items() <= command["writeConcern"].items()
        if name == "insert" and command["insert"] == "votes":
            assert command["ordered"] is False


def test_the_index_is_made_once(settings: MongoSettings, store: MongoArchive) -> None:
    """There is one index besides that of `_id`, for the latest votes, however many writers there are."""
    for offset in (0, 1):
        with closing(MongoArchive(settings)) as another:
            expected = suite.at(offset) if offset else None
            another.apply(0, expected, suite.at(offset + 1), suite.logged([suite.vote(offset)], offset))
    keys = [tuple(one["key"]) for one in store._votes.index_information().values()]
    assert sorted(keys) == sorted([(("_id", 1),), LATEST])


def test_the_latest_are_looked_for_above_the_last_answer(settings: MongoSettings, store: MongoArchive) -> None:
    """A reader that has answered asks only for votes from its last answer's oldest on, and finds fewer too."""
    votes = suite.logged(suite.vote(n) for n in range(10))
    store.apply(0, None, suite.at(10), votes)
    with closing(CuttingProxy(shared_mongo().port)) as proxy:
        with closing(MongoArchiveReader(MongoSettings(proxy.uri, settings.database))) as reader:
            answers = [[v.id for v in reader.latest(suite.GT, 3)] for _ in range(2)]
            store._votes.delete_many({"_id": {"$gt": suite.id_of(1)}})
            answers.append([v.id for v in reader.latest(suite.GT, 3)])
        bounded = ["cast_at" in one["filter"] for one in proxy.commands]
    assert answers == [[suite.id_of(n) for n in (9, 8, 7)]] * 2 + [[suite.id_of(n) for n in (1, 0)]]
    assert bounded == [False, True, True, False]


def test_a_write_that_the_majority_did_not_confirm_is_not_archived(store: MongoArchive) -> None:
    """An error of the write concern is `Unavailable` and the position stays, also beside tolerated duplicates."""
    store.apply(0, None, suite.at(1), suite.logged([suite.vote(1)]))
    confirmed = store._votes
    store._votes = confirmed.with_options(write_concern=WriteConcern(w=3, wtimeout=100))
    for batch in ([suite.vote(2)], [suite.vote(1), suite.vote(2)]):
        with pytest.raises(Unavailable, match="MongoDB: archiving votes of partition 0: Not enough data-bearing nodes"):
            store.apply(0, suite.at(1), suite.at(3), suite.logged(batch, 1))
        assert store.positions([0]) == {0: suite.at(1)}
    store._votes = confirmed
    votes = suite.logged([suite.vote(2), suite.vote(3)], 1)
    assert store.apply(0, suite.at(1), suite.at(3), votes) == Applied({suite.GT: 2}, {})


def test_another_unique_index_is_not_taken_for_a_repeat(store: MongoArchive, reader: MongoArchiveReader) -> None:
    """A vote refused by an index that somebody made is `Unavailable`, not passed over as a repeat; doctor names it."""
    store.apply(0, None, suite.at(1), suite.logged([suite.vote(1)]))
    store._votes.create_index("name", unique=True)
    with pytest.raises(Unavailable, match=f"refuses vote {suite.id_of(2)} as a duplicate, but does not have it"):
        store.apply(0, suite.at(1), suite.at(2), suite.logged([suite.vote(2)], 1))
    assert store.positions([0]) == {0: suite.at(1)}
    assert reader.problems() == ["MongoDB: the unique index name_1 of votes may refuse votes"]


def test_a_refused_document_is_unavailable(store: MongoArchive) -> None:
    """A document that the server refuses for another reason stops the batch: its position stays."""
    store._database.create_collection("votes", validator={"name": {"$ne": "refused"}})
    with pytest.raises(Unavailable, match="validation"):
        store.apply(0, None, suite.at(2), suite.logged([suite.vote(1), suite.vote(2, name="refused")]))
    assert store.positions([0]) == {0: None}


def test_a_vote_archived_from_a_later_place_stops_the_projection(store: MongoArchive) -> None:
    """Where the archive has a later copy than the log's first, or another log's, going on would be wrong."""
    store.apply(0, None, suite.at(9), [LoggedVote(8, suite.vote(1))])
    store._positions.delete_many({})
    with pytest.raises(WrongLog, match="archived from offset 8 of partition 0"):
        store.apply(0, None, suite.at(1), [LoggedVote(0, suite.vote(1))])
    with pytest.raises(WrongLog, match="archived from offset 8 of partition 0"):
        store.apply(5, None, suite.at(9), [LoggedVote(8, suite.vote(1))])
    assert store.positions([0, 5]) == {0: None, 5: None}


def test_positions_that_were_dropped_are_filled_by_a_replay(store: MongoArchive, reader: MongoArchiveReader) -> None:
    """After a restore of another moment, dropping `positions` and replaying gives the archive back."""
    log = suite.logged(suite.vote(n if n % 5 else 0, name=f"at {n}") for n in range(20))
    store.apply(0, None, suite.at(20), log)
    store._positions.drop()
    store._votes.delete_many({"offset": {"$gt": 3, "$lt": 9}})
    store.apply(0, None, suite.at(10), log[:10])
    store.apply(0, suite.at(10), suite.at(20), log[10:])
    assert suite.scanned(reader, 0, 20) == suite.documents(0, log)


def test_a_long_replay_counts_what_it_passes(store: MongoArchive) -> None:
    """A batch of hundreds that are all there already is told apart, vote by vote: new ones, and repeats."""
    log = suite.logged(suite.vote(n) for n in range(250))
    store.apply(0, None, suite.at(250), log)
    store._positions.drop()
    assert store.apply(0, None, suite.at(250), log) == Applied({suite.GT: 250}, {})
    again = suite.logged((suite.vote(n) for n in range(249, 500)), 250)
    assert store.apply(0, suite.at(250), suite.at(501), again) == Applied({suite.GT: 250}, {suite.GT: 1})
    assert store.apply(0, suite.at(501), suite.at(751), suite.logged((v for _, v in log), 501)).repeated == {
        suite.GT: 250
    }


def test_a_writer_whose_store_was_emptied_inserts_nothing(store: MongoArchive, reader: MongoArchiveReader) -> None:
    """A batch in hand while the store loses its data leaves nothing: it may hold later copies of votes now missing."""
    log = suite.logged([suite.vote(1, name="first"), suite.vote(2), suite.vote(1, name="second")])
    store.apply(0, None, suite.at(2), log[:2])
    store._database.client.drop_database(store._database.name)
    with pytest.raises(PositionMoved) as refusal:
        store.apply(0, suite.at(2), suite.at(3), log[2:])
    assert refusal.value.stored is None
    store.apply(0, None, suite.at(3), log)
    assert suite.scanned(reader, 0, 3) == suite.documents(0, log)


def test_doctor_names_what_is_wrong(store: MongoArchive, reader: MongoArchiveReader) -> None:
    """Of a sound archive doctor says nothing; otherwise it names every cause."""
    assert reader.problems() == []
    store.apply(0, None, suite.at(1), suite.logged([suite.vote(1)]))
    assert reader.problems() == []
    store._votes.drop_indexes()
    store._votes.create_index("cast_at", expireAfterSeconds=3600)
    store._positions.insert_one({"_id": 7, "topic": "log", "offset": "9"})
    assert reader.problems() == [
        "MongoDB: votes has no index on contest, cast_at, _id: the latest votes are slow to read",
        "MongoDB: the index cast_at_1 of votes deletes votes after 3600 s",
        "MongoDB: the position of partition 7 is not readable: offset, epoch",
    ]
    store._database.drop_collection("votes")
    store._database.create_collection("votes", capped=True, size=100_000)
    assert reader.problems()[0] == "MongoDB: the collection votes is capped: it drops its oldest documents"


def test_archiving_is_nearly_as_fast_as_inserting(store: MongoArchive) -> None:
    """An application has 0.8 of the speed of a bare `insert_many` with the same index and concerns, at least."""
    bare = store._database["bare"]
    bare.create_index(LATEST)
    offsets = count(0, 1000)
    position = None

    def batch() -> tuple[int, list[LoggedVote]]:
        offset = next(offsets)
        return offset, suite.logged((suite.vote(n) for n in range(offset, offset + 1000)), offset)

    ours, theirs = [], []
    for _ in range(7):  # in turn, and the best of each: the machine is shared
        documents = [_document(0, offset, vote) for offset, vote in batch()[1]]
        began = time.perf_counter()
        bare.insert_many(documents, ordered=False)
        theirs.append(time.perf_counter() - began)
        offset, votes = batch()
        following = suite.at(offset + 1000)
        began = time.perf_counter()
        store.apply(0, position, following, votes)
        ours.append(time.perf_counter() - began)
        position = following
    assert min(ours) <= min(theirs) / 0.8, f"{1000 / min(ours):.0f} votes/s, bare {1000 / min(theirs):.0f}"
