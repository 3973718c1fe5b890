"""A vote as a record of the log: its bytes, its key and its partition.

Whether a record is rejected is a pure function of its bytes, its key and its partition, so that every
reader, today or after a rebuild, comes to the same answer. The reasons are a closed list, `REASONS`.
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import compress, repeat
from typing import Final

from google.protobuf.message import DecodeError
from murmurhash2 import murmurhash2

from aplauso.domain.contest import ID, MAX_NAME, MAX_RANK
from aplauso.domain.errors import BadRecord
from aplauso.domain.vote import YEARS, Vote
from aplauso.v1 import vote_pb2

REASONS: Final = (
    "unreadable",
    "wrong-key",
    "wrong-partition",
    "bad-id",
    "bad-contest",
    "bad-text",
    "bad-number",
)
MAX_BYTES: Final = 8192
"""A record's value at most; four texts of 200 characters of up to 4 bytes, folded, stay far below."""
UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[78][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
MAX_STAMP: Final = 253_402_300_800_000  # the first moment of the year 10000: datetime ends there
_VERSIONS: Final = slice(14, None, 36)
"""Of ids one after the other, the characters that `is_anonymous` looks at."""
_IS_ANONYMOUS: Final = bytes(each == ord("7") for each in range(256))
"""By such a character, whether the id is anonymous."""
_IS_KEYED: Final = bytes(each != ord("7") for each in range(256))
SEED: Final = 0x9747B28C  # of Kafka's murmur2, org.apache.kafka.common.utils.Utils


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a record: murmur2(key), its sign bit dropped, modulo the count, as Kafka's own partitioner."""
    return int((murmurhash2(key, SEED) & 0x7FFFFFFF) % partitions) if partitions > 1 else 0


def partitions_of(keys: Sequence[bytes], partitions: int) -> list[int]:
    """The partition of each of several records."""
    if partitions == 1:
        return [0] * len(keys)
    return [(number & 0x7FFFFFFF) % partitions for number in map(murmurhash2, keys, repeat(SEED))]


def is_anonymous(vote_id: str) -> bool:
    """Whether a vote's id was given by the gateway (UUIDv7), not derived from a key or a token (UUIDv8)."""
    return vote_id[14] == "7"


def anonymous_and_keyed(ids: Sequence[str]) -> tuple[list[str], list[str]]:
    """Ids of which `is_anonymous` says yes, and the others, in their order: told without its call for each."""
    versions = "".join(ids)[_VERSIONS].encode()
    return list(compress(ids, versions.translate(_IS_ANONYMOUS))), list(compress(ids, versions.translate(_IS_KEYED)))


def encode(vote: Vote) -> bytes:
    """The vote as `aplauso.v1.Vote`, the value of its record."""
    [text] = _texts([vote])
    return text.encode("latin-1")


def encode_rest(vote: Vote) -> bytes:
    """What `encode` puts behind the id; it does not depend on the id."""
    head, tail = _around(vote.contest, vote.name, vote.album, vote.year, vote.rank, vote.band, vote.record)
    return f"{head}{_stamp(vote.cast_at)}{tail}".encode("latin-1")


def encode_batch(votes: Iterable[Vote]) -> bytes:
    """The votes as `aplauso.v1.VoteBatch`."""
    return "".join([f"{frame(len(text))}{text}" for text in _texts(votes)]).encode("latin-1")


def _texts(votes: Iterable[Vote]) -> list[str]:
    """The bytes of votes, each as the character of its number: put together as text they cost a third.

    Protobuf writes fields in the order of their numbers: the id first, the stamp between what votes for the same
    album with the same rank have in common.
    """
    texts = []
    for vote in votes:
        vote_id = vote.id
        if len(vote_id) != 36 or not vote_id.isascii():
            texts.append(to_message(vote).SerializeToString().decode("latin-1"))
            continue
        head, tail = _around(vote.contest, vote.name, vote.album, vote.year, vote.rank, vote.band, vote.record)
        texts.append(f"\n${vote_id}{head}{_stamp(vote.cast_at)}{tail}")
    return texts


@lru_cache(maxsize=4096)
def _around(contest: str, name: str, album: str, year: int, rank: int, band: str, record: str) -> tuple[str, str]:
    head = vote_pb2.Vote(contest=contest, name=name, album=album, year=year, rank=rank)
    tail = vote_pb2.Vote(band=band, record=record)
    return head.SerializeToString().decode("latin-1"), tail.SerializeToString().decode("latin-1")


@lru_cache(maxsize=256)
def _stamp(cast_at: int) -> str:
    return vote_pb2.Vote(cast_at_ms=cast_at).SerializeToString().decode("latin-1")


@lru_cache(maxsize=1024)
def frame(length: int) -> str:
    """What stands before a vote of so many bytes in a `VoteBatch`: tag 1, kind 2, the length as a varint.

    Each byte is the character of its number.
    """
    text = "\n"
    while length > 0x7F:
        text += chr(length & 0x7F | 0x80)
        length >>= 7
    return text + chr(length)


def to_message(vote: Vote) -> vote_pb2.Vote:
    """The vote as a protobuf message."""
    return vote_pb2.Vote(
        id=vote.id, contest=vote.contest, name=vote.name, album=vote.album, year=vote.year,
        rank=vote.rank, cast_at_ms=vote.cast_at, band=vote.band, record=vote.record,
    )  # fmt: skip


def from_message(message: vote_pb2.Vote) -> Vote:
    """The protobuf message as a vote, unchecked."""
    return Vote(
        message.id, message.contest, message.name, message.album, message.year,
        message.rank, message.cast_at_ms, message.band, message.record,
    )  # fmt: skip


def decode(key: bytes | None, value: bytes | None, partition: int, partitions: int) -> Vote:
    """The vote that a record holds.

    Args:
        key: the record's key.
        value: the record's value.
        partition: where it lies.
        partitions: the configured count.

    Raises:
        BadRecord: it cannot be read or breaks a rule; `reason` is one of `REASONS`.
    """
    if value is None or len(value) > MAX_BYTES:
        raise BadRecord("unreadable", "no value" if value is None else f"{len(value)} bytes")
    try:
        vote = from_message(vote_pb2.Vote.FromString(value))
    except (DecodeError, UnicodeDecodeError) as error:
        raise BadRecord("unreadable", f"not an aplauso.v1.Vote: {error}") from None
    if key is None or key != vote.id.encode():
        raise BadRecord("wrong-key", "the key is not the vote's id")
    if partition_of(key, partitions) != partition:
        raise BadRecord("wrong-partition", f"the id belongs in partition {partition_of(key, partitions)}")
    check(vote)
    return vote


def check(vote: Vote) -> None:
    """Holds a vote against the rules that do not depend on its contest.

    Raises:
        BadRecord: it breaks one.
    """
    if not UUID.fullmatch(vote.id):
        raise BadRecord("bad-id", "the id is not a UUID of version 7 or 8")
    if not ID.fullmatch(vote.contest):
        raise BadRecord("bad-contest", "the contest's id is not well formed")
    for text in (vote.name, vote.album):
        if not 0 < len(text) <= MAX_NAME:
            raise BadRecord("bad-text", f"a name or an album is not of 1 to {MAX_NAME} characters")
    # Folding may lengthen a text ("ﬃ" becomes "ffi"), threefold at most.
    for text in (vote.band, vote.record):
        if not len(text) <= 3 * MAX_NAME:
            raise BadRecord("bad-text", "a folded name or album is too long")
    in_range = YEARS[0] <= vote.year <= YEARS[1] and 0 <= vote.rank <= MAX_RANK and 0 <= vote.cast_at < MAX_STAMP
    if not in_range:
        raise BadRecord("bad-number", "the year, the rank or the stamp is out of range")
