"""What is wrong with the archive's MongoDB, in words."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any, Final

from pymongo.database import Database
from pymongo.errors import OperationFailure, PyMongoError

from aplauso.adapters.mongo.client import Document, explain

_PLACE: Final = {"topic": str, "offset": int, "epoch": int}

MAX_SKEW: Final = 5.0
"""Seconds that a server's clock may differ from ours before it is worth naming."""


def problems(database: Database[Document], index: tuple[tuple[str, int], ...]) -> list[str]:
    """What keeps the archive from its promises, or makes it slow; empty when nothing does. Changes nothing.

    Args:
        database: the archive's.
        index: the one that `votes` should have besides `_id`.
    """
    try:
        return [f"MongoDB: {problem}" for problem in _all(database, index)]
    except PyMongoError as error:
        return [f"MongoDB: {explain(error)}"]


def _all(database: Database[Document], index: tuple[tuple[str, int], ...]) -> Iterator[str]:
    before = time.time()
    hello: Document = database.command("hello", codec_options=database.codec_options)
    after = time.time()
    # The database decodes dates as milliseconds since the epoch.
    skew = int(hello["localTime"]) / 1000 - (before + after) / 2 if "localTime" in hello else 0.0
    if abs(skew) > MAX_SKEW + (after - before):
        yield f"the server's clock is {skew:+.0f} s from this machine's"
    if not hello.get("isWritablePrimary"):
        yield "the server that answers takes no writes: it is not a primary"
    options = {info["name"]: info.get("options", {}) for info in database.list_collections()}
    for name in ("votes", "positions"):
        if options.get(name, {}).get("capped"):
            yield f"the collection {name} is capped: it drops its oldest documents"
    if "votes" in options:
        yield from _indexes(database, index)
    yield from _sharding(database)
    yield from _positions(database)


def _indexes(database: Database[Document], index: tuple[tuple[str, int], ...]) -> Iterator[str]:
    there: dict[str, Any] = dict(database["votes"].index_information())
    # An archive that is still empty makes its index with its first vote.
    if all(tuple(one["key"]) != index for one in there.values()) and database["votes"].find_one():
        yield f"votes has no index on {', '.join(name for name, _ in index)}: the latest votes are slow to read"
    for name, one in there.items():
        if one.get("unique") and name != "_id_":
            yield f"the unique index {name} of votes may refuse votes"
        if "expireAfterSeconds" in one:
            yield f"the index {name} of votes deletes votes after {one['expireAfterSeconds']} s"


def _sharding(database: Database[Document]) -> Iterator[str]:
    shards = None
    with contextlib.suppress(OperationFailure):  # the archive's user need not be allowed to read it
        shards = database.client["config"]["collections"].find_one({"_id": f"{database.name}.votes"})
    if shards and shards.get("key") not in (None, {"_id": "hashed"}, {"_id": 1}):
        yield f"votes is sharded by {shards['key']}: ids are unique only when it is sharded by _id"


def _positions(database: Database[Document]) -> Iterator[str]:
    for doc in database["positions"].find():
        wrong = [name for name, kind in _PLACE.items() if not isinstance(doc.get(name), kind)]
        if wrong or not isinstance(doc["_id"], int):
            yield f"the position of partition {doc['_id']!r} is not readable: {', '.join(wrong) or '_id'}"
