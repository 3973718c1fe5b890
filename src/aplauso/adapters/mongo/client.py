"""Reaching MongoDB: its settings, its client, and its errors in our words."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from bson.codec_options import CodecOptions, DatetimeConversion
from pymongo import MongoClient, ReadPreference, WriteConcern
from pymongo.database import Database
from pymongo.errors import BulkWriteError, ConfigurationError, OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern

from aplauso.domain.errors import Misconfigured, Unavailable

Document = dict[str, Any]

_MAJORITY: Final = WriteConcern(w="majority", j=True, wtimeout=10_000)
# Stamps as they are, in milliseconds: `datetime` would round-trip them through time zones, at ten times the cost.
_CODEC: Final = CodecOptions[Document](datetime_conversion=DatetimeConversion.DATETIME_MS)
_DEFAULTS: Final[Mapping[str, Any]] = {
    "appname": "aplauso",
    "serverSelectionTimeoutMS": 3_000,
    "connectTimeoutMS": 3_000,
    # The driver's watch gives up a connection whose other end is gone without a word, and with it those in use, after
    # this and the time for connecting; by default, thirteen seconds.
    "heartbeatFrequencyMS": 3_000,
}
SCAN_PATIENCE: Final = 600
"""Seconds that a pass over a whole collection may take for its next documents: a server may gather millions first.

One that is gone without a word does not take so long: the driver's watch finds that out, on a connection of its own.
"""
_UNAUTHENTICATED: Final = 18
_UNAUTHORIZED: Final = 13
DUPLICATE: Final = 11000
"""The error code of a key that a unique index has already."""


@dataclass(frozen=True, slots=True)
class MongoSettings:
    """Where the archive's MongoDB is.

    Attributes:
        uri: connection string; hosts, user and password, TLS and time-outs are told by it alone.
        database: name of the database.
    """

    uri: str = field(repr=False)
    database: str = "aplauso"


def connect(settings: MongoSettings, patience: float = 30) -> Database[Document]:
    """The database, with the concerns that the archive's promises rest on. Does not wait for the server.

    Reads go to the primary and see what a majority has; writes wait until a majority has them in its journal.
    A position that was read could otherwise be rolled back, or documents be missing below it.

    Args:
        settings: where it is.
        patience: seconds that an answer may take; the connection string may say otherwise.

    Raises:
        Misconfigured: the connection string is not well formed.
    """
    given = settings.uri.lower()
    # What the connection string says wins: the driver would prefer the keyword.
    defaults = {**_DEFAULTS, "socketTimeoutMS": int(patience * 1000)}
    options = {name: value for name, value in defaults.items() if f"{name.lower()}=" not in given}
    try:
        client: MongoClient[Document] = MongoClient(settings.uri, connect=False, **options)
        return client.get_database(
            settings.database, _CODEC, ReadPreference.PRIMARY, _MAJORITY, ReadConcern("majority")
        )
    except (PyMongoError, ValueError) as error:
        raise Misconfigured(f"the connection string of MongoDB is wrong: {error}") from None


@contextmanager
def reaching(doing: str) -> Iterator[None]:
    """Turns every error of the driver into `Unavailable`, whose message begins with what was being done."""
    try:
        yield
    except PyMongoError as error:
        raise Unavailable(f"MongoDB: {doing}: {explain(error)}") from error


def explain(error: PyMongoError) -> str:
    """An error of the driver in one line, without the documents that it carries."""
    match error:
        case BulkWriteError():
            return _explain_bulk(error)
        case OperationFailure(code=int(code)) if code == _UNAUTHENTICATED:
            return "it does not take the user and password"
        case OperationFailure(code=int(code)) if code == _UNAUTHORIZED:
            return f"the user may not do that: {_first_line(error)}"
        case ConfigurationError():
            return f"the connection string: {_first_line(error)}"
    return _first_line(error)


def _explain_bulk(error: BulkWriteError) -> str:
    details: Any = error.details
    errors = [*details.get("writeErrors", []), *details.get("writeConcernErrors", [])]
    # Duplicates are tolerated: whatever else is among the errors is what went wrong.
    worst: Document = min(errors, key=lambda one: one.get("code") == DUPLICATE, default={})
    return str(worst.get("errmsg", "a write failed"))


def _first_line(error: PyMongoError) -> str:
    # The driver appends a description of the whole topology, or the whole reply.
    text = str(error).split(", Timeout:")[0].split(", full error:")[0]
    return text.splitlines()[0] if text else type(error).__name__
