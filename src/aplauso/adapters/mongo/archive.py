"""The vote archive in MongoDB.

Collection `votes`: one document a vote, `_id` its id; only ever inserted. Collection `positions`: one document
a partition, moved by compare-and-set. A batch's documents are on a majority's disks before the position moves,
without a transaction: what was inserted ahead of the position is inserted again, and found to be there.

Why the first copy in the log wins although anybody may insert at any moment: whoever inserts a batch has seen
the position at the batch's beginning, so that all that lies before is archived. A vote with an earlier copy is
therefore there already, and of the copies in the batch only the first is sent. So a writer that lost its
partition, or died after inserting, has left the very documents that its successor would insert.
That is also why the position is read before inserting and not only compared after: over a store that lost
its documents under a running writer, the writer's next batch could put later copies where the first ones belong.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NoReturn

from bson.datetime_ms import DatetimeMS
from pymongo import ASCENDING, DESCENDING
from pymongo.errors import BulkWriteError, DuplicateKeyError

from aplauso.adapters.mongo import doctor
from aplauso.adapters.mongo.client import DUPLICATE, SCAN_PATIENCE, Document, MongoSettings, connect, reaching
from aplauso.domain.errors import PositionMoved, Unavailable, WrongLog
from aplauso.domain.position import Position
from aplauso.domain.vote import Vote
from aplauso.ports.archive import ArchivedVote
from aplauso.ports.projection import Applied, LoggedVote, LoggedVotes

LATEST: Final = (("contest", ASCENDING), ("cast_at", ASCENDING), ("_id", ASCENDING))
"""The only index besides `_id`, read backwards. One more, on (partition, offset), would cost every insert, for
recounts alone."""
_CHUNK: Final = 5_000
_LOOKUP: Final = 100


class MongoArchive:
    """The archive's writing side. Used by one thread.

    Raises:
        Misconfigured: the connection string is not well formed.
    """

    def __init__(self, settings: MongoSettings) -> None:
        self._database = connect(settings)
        self._votes = self._database["votes"]
        self._positions = self._database["positions"]
        self._indexed = False

    def positions(self, partitions: Sequence[int]) -> dict[int, Position | None]:
        """The stored positions, as the port says."""
        with reaching("reading positions"):
            found = {doc["_id"]: _position(doc) for doc in self._positions.find({"_id": {"$in": list(partitions)}})}
        return {partition: found.get(partition) for partition in partitions}

    def prepare(self, partition: int, votes: LoggedVotes) -> None:
        """As `Prepares`."""
        votes.prepared = _documents(partition, votes)

    def apply(
        self, partition: int, expected: Position | None, following: Position, votes: Sequence[LoggedVote]
    ) -> Applied:
        """Inserts the votes, then moves the position, as the port says.

        Votes that were inserted before without their position are counted when the position passes them.

        Raises:
            WrongLog: a vote is archived from a later place in the log, or from another partition.
        """
        with reaching(f"archiving votes of partition {partition}"):
            self._check(partition, expected)
            applied = self._insert(partition, votes) if votes else Applied({}, {})
            self._move(partition, expected, following)
        return applied

    def close(self) -> None:
        """Lets go of the connections."""
        self._database.client.close()

    def _check(self, partition: int, expected: Position | None) -> None:
        doc = self._positions.find_one({"_id": partition})
        stored = _position(doc) if doc else None
        if stored != expected:
            raise PositionMoved(stored)

    def _insert(self, partition: int, votes: Sequence[LoggedVote]) -> Applied:
        if not self._indexed:
            self._votes.create_index(LATEST)
            self._indexed = True
        ready = votes.prepared if isinstance(votes, LoggedVotes) else None
        documents: dict[str, Document] = ready if isinstance(ready, dict) else _documents(partition, votes)
        archived: dict[str, int] = {}
        try:
            self._votes.insert_many(documents.values(), ordered=False)
        except BulkWriteError as error:
            archived = self._archived(partition, documents, _duplicates(error))
        return _applied(votes, documents, archived)

    def _archived(self, partition: int, documents: Mapping[str, Document], ids: Sequence[str]) -> dict[str, int]:
        """The offsets from which votes are archived that were refused as duplicates."""
        found: dict[str, Document] = {}
        # In small lists: the time that some servers take for one grows with the square of its length.
        for start in range(0, len(ids), _LOOKUP):
            some = self._votes.find({"_id": {"$in": ids[start : start + _LOOKUP]}}, {"partition": True, "offset": True})
            found.update((doc["_id"], doc) for doc in some)
        for vote_id in ids:
            doc, ours = found.get(vote_id), documents[vote_id]["offset"]
            if doc is None:
                # Another unique index than that of `_id`, made by somebody: the vote is not archived.
                raise Unavailable(f"MongoDB: refuses vote {vote_id} as a duplicate, but does not have it")
            if doc["partition"] != partition or doc["offset"] > ours:
                raise WrongLog(
                    f"vote {vote_id} lies at offset {ours} of partition {partition}, but is archived from offset"
                    f" {doc['offset']} of partition {doc['partition']}: the archive has votes of another log, or lost"
                    " some while it was written; drop its collections, and they are filled again from the log"
                )
        return {vote_id: int(doc["offset"]) for vote_id, doc in found.items()}

    def _move(self, partition: int, expected: Position | None, following: Position) -> None:
        if expected is None:
            try:
                self._positions.insert_one({"_id": partition, **following._asdict()})
            except DuplicateKeyError:
                self._refuse(partition)
            return
        moved = self._positions.update_one({"_id": partition, **expected._asdict()}, {"$set": following._asdict()})
        if not moved.matched_count:
            self._refuse(partition)

    def _refuse(self, partition: int) -> NoReturn:
        doc = self._positions.find_one({"_id": partition})
        raise PositionMoved(_position(doc) if doc else None)


class MongoArchiveReader:
    """The archive's reading side. Any thread may use it, one at a time.

    Raises:
        Misconfigured: the connection string is not well formed.
    """

    def __init__(self, settings: MongoSettings) -> None:
        self._settings = settings
        self._database = connect(settings)
        self._votes = self._database["votes"]
        self._positions = self._database["positions"]
        self._floors: dict[tuple[str, int], DatetimeMS] = {}

    def latest(self, contest: str, limit: int) -> Sequence[ArchivedVote]:
        """The newest votes of a contest, as the port says."""
        if limit <= 0:  # which MongoDB would take for "all"
            return []
        with reaching("reading the latest votes"):
            found = self._latest(contest, limit)
        return [_vote(doc) for doc in found]

    def _latest(self, contest: str, limit: int) -> list[Document]:
        """Votes only come, so the newest are never older than last time: a server that sorts has less to sort."""
        floor = self._floors.pop((contest, limit), None)
        found = self._newest({"contest": contest, "cast_at": {"$gte": floor}}, limit) if floor else []
        if len(found) < limit:
            found = self._newest({"contest": contest}, limit)
        if len(found) == limit:
            self._floors[contest, limit] = found[-1]["cast_at"]
        return found

    def _newest(self, query: Document, limit: int) -> list[Document]:
        return self._votes.find(query).sort([("cast_at", DESCENDING), ("_id", DESCENDING)]).limit(limit).to_list()

    def find(self, vote_id: str) -> ArchivedVote | None:
        """The vote of an id, as the port says."""
        with reaching("looking for a vote"):
            doc = self._votes.find_one({"_id": vote_id})
        return _vote(doc) if doc else None

    def partitions(self) -> Mapping[int, Position]:
        """Every partition's position, as the port says."""
        with reaching("reading positions"):
            return {int(doc["_id"]): _position(doc) for doc in self._positions.find()}

    def scan(self, stops: Mapping[int, int]) -> Iterator[Sequence[ArchivedVote]]:
        """All votes below their partition's offset in `stops`, in chunks, in any order, in one pass over the archive.

        Raises:
            Unavailable: MongoDB is away.
        """
        # Over connections of its own: nobody else is to wait so long for an answer.
        database = connect(self._settings, SCAN_PATIENCE)
        with database.client, reaching("reading the votes"), database["votes"].find({}, batch_size=_CHUNK) as cursor:
            while chunk := cursor.to_list(_CHUNK):
                votes = map(_vote, chunk)
                yield [vote for vote in votes if vote.offset < stops.get(vote.partition, 0)]

    def problems(self) -> list[str]:
        """What is wrong with the archive's server and collections, for a person; empty when nothing is."""
        return doctor.problems(self._database, LATEST)

    def close(self) -> None:
        """Lets go of the connections."""
        self._database.client.close()


def _documents(partition: int, votes: Sequence[LoggedVote]) -> dict[str, Document]:
    """By id, the document of the first vote that has it."""
    documents: dict[str, Document] = {}
    for offset, vote in votes:
        if vote.id not in documents:
            documents[vote.id] = _document(partition, offset, vote)
    return documents


def _document(partition: int, offset: int, vote: Vote) -> Document:
    return {
        "_id": vote.id, "contest": vote.contest, "name": vote.name, "album": vote.album, "year": vote.year,
        "rank": vote.rank, "cast_at": DatetimeMS(vote.cast_at), "partition": partition, "offset": offset,
    }  # fmt: skip


def _vote(doc: Document) -> ArchivedVote:
    return ArchivedVote(
        doc["_id"], doc["contest"], doc["name"], doc["album"], int(doc["year"]), int(doc["rank"]),
        int(doc["cast_at"]), int(doc["partition"]), int(doc["offset"]),
    )  # fmt: skip


def _position(doc: Document) -> Position:
    return Position(doc["topic"], int(doc["offset"]), int(doc["epoch"]))


def _duplicates(error: BulkWriteError) -> list[str]:
    """The ids that were refused as duplicates. Raises `Unavailable` when anything else went wrong."""
    details: Any = error.details
    refused = details["writeErrors"]
    if details.get("writeConcernErrors") or any(one["code"] != DUPLICATE for one in refused):
        raise error
    return [one["op"]["_id"] for one in refused]


def _applied(votes: Sequence[LoggedVote], documents: Mapping[str, Document], archived: Mapping[str, int]) -> Applied:
    """A vote is new where the archive's copy of it is the one at hand."""
    total = Counter(vote.contest for _, vote in votes)
    counted = Counter(doc["contest"] for doc in documents.values())
    counted.subtract(
        documents[vote_id]["contest"] for vote_id, at in archived.items() if at != documents[vote_id]["offset"]
    )
    return Applied(dict(+counted), dict(total - counted))
