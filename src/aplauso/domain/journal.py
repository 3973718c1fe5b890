"""The journal of answers: what a client was told, one line an attempt, to be held against what was counted.

A line is written when an attempt ends, however it ends. The lines of one id make its fate (`Fate`):
acknowledged when one of them says recorded; else undecided when one says so, for a refusal tells
nothing about an earlier attempt; else refused.
"""

import re
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Final

import msgspec

from aplauso.domain.errors import Refused
from aplauso.domain.vote import Ballot

_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


class Outcome(StrEnum):
    """What an answer says of a vote."""

    RECORDED = "recorded"
    """There is a receipt: the log has it."""
    REFUSED = "refused"
    """This attempt recorded nothing, for certain."""
    UNDECIDED = "undecided"
    """The answer was lost, or says that nobody knows."""


class Attempt(msgspec.Struct, frozen=True, gc=False):
    """One line of the journal.

    Attributes:
        at: when the attempt ended, RFC 3339 in UTC.
        id: the vote's id, None where none is known.
        key: the Idempotency-Key that was sent, None for an anonymous vote.
        contest: the contest's id, None where the default was meant and is not known.
        outcome: what the answer says.
        status: the HTTP status, None where no answer came.
        vote: as it was sent.
    """

    at: str
    id: str | None
    key: str | None
    contest: str | None
    outcome: Outcome
    status: int | None
    vote: Ballot


_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(Attempt)


def encode(attempt: Attempt) -> bytes:
    """The attempt as a line, its end included."""
    return _encoder.encode(attempt) + b"\n"


def parse(line: bytes, number: int, source: str = "journal") -> Attempt:
    """Reads a line.

    Args:
        line: with or without its end.
        number: which line it is, from 1, for the message.
        source: the journal's name, for the message.

    Raises:
        Refused: it is not a line of a journal.
    """
    try:
        attempt = _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(f"{source}: line {number} is not an attempt: {error}") from None
    if not _INSTANT.fullmatch(attempt.at):
        raise Refused(f"{source}: line {number} is not an attempt: `at` is not a moment in UTC (RFC 3339)")
    if attempt.outcome is Outcome.RECORDED and attempt.id is None:
        raise Refused(f"{source}: line {number} is not an attempt: recorded, but without an id")
    return attempt


def read(lines: Iterable[bytes], source: str = "journal") -> Iterator[Attempt]:
    """The attempts of a journal, in its order; empty lines are passed over.

    Raises:
        Refused: a line is none, or the last one has no end (whoever wrote it was killed while writing).
    """
    for number, line in enumerate(lines, start=1):
        if not line.endswith(b"\n"):
            raise Refused(f"{source}: line {number} is cut off: the journal is not complete")
        if not line.isspace():
            yield parse(line, number, source)
