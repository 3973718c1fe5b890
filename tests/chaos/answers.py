"""A soak's votes and its journal: what was sent follows from a vote's number, an answer takes 22 bytes of a file."""

import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from struct import Struct
from typing import Final

import msgspec

from aplauso.domain.contest import instant
from aplauso.domain.journal import Attempt, Outcome
from aplauso.domain.vote import Ballot, id_from_key

_LINE: Final = Struct("<IH16s")
_NO_ID: Final = bytes(16)
_READ: Final = 10_000


class Votes:
    """The votes of a soak by their number, from 0: the even ones are anonymous, the odd ones have a key.

    Args:
        contest: its id.
        ballots: sent one after the other, and from the first again.
        seed: makes the keys, which are the soak's own.
    """

    def __init__(self, contest: str, ballots: Sequence[Ballot], seed: int) -> None:
        self.contest = contest
        self._ballots = ballots
        self._seed = seed
        self._heads = [_head(contest, ballot) for ballot in ballots]

    def ballot(self, number: int) -> Ballot:
        """What is voted for."""
        return self._ballots[number % len(self._ballots)]

    def key(self, number: int) -> str | None:
        """The vote's Idempotency-Key; None for an anonymous one."""
        return f"soak-{self._seed:08x}-{number:08}" if number % 2 else None

    def request(self, number: int) -> bytes:
        """The whole HTTP request."""
        head, body = self._heads[number % len(self._heads)]
        key = self.key(number)
        return head + (b"\r\n" if key is None else b"Idempotency-Key: %b\r\n\r\n" % key.encode()) + body


def _head(contest: str, ballot: Ballot) -> tuple[bytes, bytes]:
    body = msgspec.json.encode(ballot)
    lines = (
        f"POST /v1/contests/{contest}/votes HTTP/1.1", "Host: soak", "Content-Type: application/json",
        f"Content-Length: {len(body)}", "",
    )  # fmt: skip
    return "\r\n".join(lines).encode(), body


def outcome_of(status: int, vote_id: bytes) -> Outcome:
    """What an answer says of its vote, as `GatewayClient` judges it; status 0 is an answer that never came."""
    if status == 201 and vote_id != _NO_ID:
        return Outcome.RECORDED
    return Outcome.REFUSED if 300 <= status < 500 or status == 503 else Outcome.UNDECIDED


def _raw(vote_id: bytes) -> bytes:
    """An id's 16 bytes; zeros for what is no id, so that an answer without one is no receipt."""
    try:
        return uuid.UUID(vote_id.decode()).bytes
    except ValueError:
        return _NO_ID


class Answers:
    """The journal. `add` as answers come, `close`, then `attempts`.

    Args:
        path: the file; made anew.
        votes: what the numbers mean.
    """

    def __init__(self, path: Path, votes: Votes) -> None:
        self.counts = dict.fromkeys(Outcome, 0)
        """Answers so far."""
        self._path, self._votes = path, votes
        self._file = path.open("wb")

    def add(self, number: int, status: int, vote_id: bytes) -> None:
        """Notes an answer: the vote's number, the HTTP status (0 where none came), the id's text or b""."""
        raw = _raw(vote_id)
        self.counts[outcome_of(status, raw)] += 1
        self._file.write(_LINE.pack(number, status, raw))

    def close(self) -> None:
        """Nothing is added any more."""
        self._file.close()

    def attempts(self) -> Iterator[Attempt]:
        """The journal as the checker takes it."""
        votes, at = self._votes, instant(0)
        with self._path.open("rb") as file:
            while chunk := file.read(_READ * _LINE.size):
                for number, status, raw in _LINE.iter_unpack(chunk):
                    key, outcome = votes.key(number), outcome_of(status, raw)
                    known = None if raw == _NO_ID else str(uuid.UUID(bytes=raw))
                    if known is None and key is not None:
                        known = id_from_key(votes.contest, key)
                    yield Attempt(at, known, key, votes.contest, outcome, status or None, votes.ballot(number))
