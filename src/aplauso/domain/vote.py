"""A vote: how it is parsed, normalised and identified."""

import re
from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import Any, Final

import msgspec

from aplauso.domain.contest import Contest
from aplauso.domain.errors import FieldError, InvalidVote, MalformedBody

YEARS: Final = (1900, 2100)
KEY: Final = re.compile(r"[\x21-\x7e]{16,128}")
"""What an Idempotency-Key looks like: 16 to 128 visible ASCII characters."""
MOST: Final = 2_048
"""Ballots of a contest that are known by their bytes; with one more, all are forgotten."""
LONGEST: Final = 512
"""Bytes of such a ballot, at most."""
_DIGITS: Final = re.compile(r"[0-9]{1,9}")
_VARIANT: Final = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))
_NUMBERS: Final = {str(number): number for number in range(YEARS[1] + 1)}  # looked up: cheaper than checked and read


class Vote(msgspec.Struct, frozen=True, gc=False):
    """A vote as it is recorded.

    Attributes:
        id: UUID in its 36-character form: version 7 when anonymous, version 8 when derived from a key or token.
        contest: the contest's id.
        name: the band as it is shown.
        album: the album as it is shown.
        year: the album's, 1900 to 2100.
        rank: within the contest's scale.
        cast_at: when the vote entered the system, in milliseconds since the epoch.
        band: the band's identity, `fold(name)` on the day of the vote.
        record: the album's identity, likewise.
    """

    id: str
    contest: str
    name: str
    album: str
    year: int
    rank: int
    cast_at: int
    band: str
    record: str

    def again(self, vote_id: str, cast_at: int) -> "Vote":
        """The same vote, of another id and moment."""
        return Vote(vote_id, self.contest, self.name, self.album, self.year, self.rank, cast_at, self.band, self.record)


class Ballot(msgspec.Struct, frozen=True, gc=False):
    """What a voter sends: year and rank as numbers or as strings of digits."""

    name: str
    album: str
    year: int | str
    rank: int | str


_decode: Final[Callable[[bytes | str], Ballot]] = msgspec.json.Decoder(Ballot).decode


def parse_ballot(body: bytes) -> Ballot:
    """Reads a ballot from JSON; fields that it does not know are passed over.

    Raises:
        MalformedBody: the bytes are not JSON.
        InvalidVote: they are, but not a ballot; every field at fault is named.
    """
    try:
        return _decode(body)
    except msgspec.ValidationError:
        raise InvalidVote(_wrong_fields(body)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedBody(f"the body is not JSON: {error}") from None


def _wrong_fields(body: bytes) -> list[FieldError]:
    """Says of each field what is wrong with it; only for bodies that are known to be wrong."""
    try:
        raw: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedBody(f"the body is not JSON: {error}") from None
    if not isinstance(raw, dict):
        return [FieldError("", "must be a JSON object with name, album, year and rank")]
    errors = [
        FieldError(field, "is missing" if field not in raw else "must be text")
        for field in ("name", "album")
        if not isinstance(raw.get(field), str)
    ]
    errors += [
        FieldError(field, "is missing" if field not in raw else "must be a whole number")
        for field in ("year", "rank")
        if isinstance(raw.get(field), bool) or not isinstance(raw.get(field), int | str)
    ]
    # A whole number beyond 64 bits passes the checks above and fails msgspec's.
    return errors or [FieldError("", "a number is too large")]


def make_vote(ballot: Ballot, contest: Contest, vote_id: str, cast_at: int) -> Vote:
    """Normalises a ballot and holds it against its contest's rules.

    Args:
        ballot: as parsed.
        contest: the contest that it is cast in.
        vote_id: see `id_from_key`; an anonymous vote's is a UUIDv7.
        cast_at: milliseconds since the epoch.

    Raises:
        NotOpen: the contest is not open at `cast_at`.
        InvalidVote: a field is wrong; all of them are named.
    """
    contest.check_window(cast_at)
    year, rank, scale = _number(ballot.year), _number(ballot.rank), contest.rank
    if not (YEARS[0] <= year <= YEARS[1] and scale.min <= rank <= scale.max):
        raise InvalidVote(_broken_rules(ballot, year, rank, contest))
    name, band, album, record = contest.spell(ballot.name, ballot.album)
    return Vote(vote_id, contest.id, name, album, year, rank, cast_at, band, record)


def read_vote(body: bytes, contest: Contest, new_id: Callable[[], str], cast_at: int) -> Vote:
    """The vote that a ballot in JSON means, as `parse_ballot` and `make_vote` make it.

    People choose among a few bands, and pages write the same choice in the same bytes: such a ballot is read once.

    Args:
        body: the ballot.
        contest: the contest that it is cast in.
        new_id: gives the vote's id, once the body is known to be a ballot; what it raises is raised.
        cast_at: milliseconds since the epoch.

    Raises:
        MalformedBody, InvalidVote, NotOpen: as they do.
    """
    known = contest.ballots
    like: Vote | None = known.get(body)
    if like is not None:
        vote_id = new_id()
        contest.check_window(cast_at)
        return like.again(vote_id, cast_at)
    vote = make_vote(parse_ballot(body), contest, new_id(), cast_at)
    if len(body) <= LONGEST:
        if len(known) >= MOST:
            known.clear()  # those that matter come again at once, and one by one it would cost more than reading them
        known[body] = vote
    return vote


def _number(value: int | str) -> int:
    """A number, or the number that a string of digits means; -1 for any other string."""
    if type(value) is int:
        return value
    known = _NUMBERS.get(value)  # type: ignore[arg-type]
    if known is not None:
        return known
    return int(value) if _DIGITS.fullmatch(value) else -1  # type: ignore[arg-type]


def _broken_rules(ballot: Ballot, year: int, rank: int, contest: Contest) -> list[FieldError]:
    errors: list[FieldError] = []
    try:
        contest.spell(ballot.name, ballot.album)
    except InvalidVote as error:
        errors += error.errors
    if not YEARS[0] <= year <= YEARS[1]:
        errors.append(FieldError("year", f"must be a whole number from {YEARS[0]} to {YEARS[1]}"))
    wrong_rank = contest.check_rank(rank)
    return [*errors, wrong_rank] if wrong_rank else errors


def id_from_key(contest: str, key: str, line: int | None = None) -> str:
    """The id of a vote that was sent with an Idempotency-Key: the same for the same arguments, for ever.

    SHA-256 over a domain name and the arguments, each with its length before it so that no two lists of
    arguments run together, in a UUID of version 8 (RFC 9562, section 5.8: 122 bits of our own).

    Args:
        contest: the contest's id.
        key: as sent, matching `KEY`.
        line: the number of the line in a batch, from 1; None for a single vote.

    Raises:
        InvalidVote: the key is not of the right form.
    """
    if not KEY.fullmatch(key):
        raise InvalidVote([FieldError("Idempotency-Key", "must be 16 to 128 visible ASCII characters")])
    parts = ["aplauso.vote.key", contest, key] if line is None else ["aplauso.vote.line", contest, key, str(line)]
    return _uuid(_message(parts))


def keys_of_lines(contest: str, key: str, lines: Iterable[int]) -> list[bytes]:
    """The ids of lines of a batch as `id_from_key` makes them, in UTF-8; what they have in common is put down once."""
    start = _message(["aplauso.vote.line", contest, key])
    return [_uuid(start + _message([str(line)])).encode() for line in lines]


def id_from_place(topic: str, partition: int, offset: int) -> str:
    """The id of a rejected record's vote that is put into the log again: the same however often it is tried.

    Made as `id_from_key` makes its ids, over another domain name.

    Args:
        topic: the id of the log that the record lies in.
        partition: its partition.
        offset: its offset.
    """
    return _uuid(_message(["aplauso.vote.place", topic, str(partition), str(offset)]))


def _message(parts: list[str]) -> bytes:
    return b"".join([len(part).to_bytes(4) + part for part in map(str.encode, parts)])


def _uuid(message: bytes) -> str:
    """The first half of the message's digest; a digit gives way to the version, two bits of another to the variant."""
    text = sha256(message).hexdigest()
    return f"{text[:8]}-{text[8:12]}-8{text[13:16]}-{_VARIANT[text[16]]}{text[17:20]}-{text[20:32]}"
