"""Records of one partition column by column: what votes have in common is parsed once, not in each of them.

A vote's bytes, as `aplauso.domain.record.encode` writes them, are its fields in the order of their numbers:

    0A 24 id | contest, name, album | 28 year 30 rank 38 stamp | band, record
               head                   middle                     tail

In a contest the same heads and tails come again and again; and a stamp's last two bytes are the same for three days:
with the tag that follows them they are the mark, and where it lies last in a value, the value is taken apart. A head
or a tail is known only if it was seen to be, alone, a whole message of its own fields and of nothing else. Whole
messages one after the other are one message with the fields of all (Protocol Buffers' encoding, "last one wins"): a
value whose parts are known needs no parser. Every other value gets one.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from struct import unpack
from typing import Any, Final, NamedTuple

import msgspec
from google.protobuf.message import DecodeError

from aplauso.domain.record import decode
from aplauso.domain.vote import Vote
from aplauso.v1 import vote_pb2

FEW: Final = 16
"""So few records are not worth it."""
_TAGS: Final = b"\n$"
_ID: Final = slice(len(_TAGS) + 36)
"""The id with what stands before it."""
_MIDDLE: Final = 10
"""Bytes of the middle before the mark: 28, the year's two, 30, the rank's one, 38, the stamp's first four."""
_HEAD: Final = slice(_ID.stop, -_MIDDLE)
_LAST: Final = slice(-_MIDDLE, None)
"""Where the head and the middle lie in what stands before the mark."""
_SHAPE: Final = re.compile(
    rb"\((?:[\xec-\xff]\x0e|[\x80-\xff]\x0f|[\x80-\xb4]\x10)"  # 1900 to 1919, to 2047, to 2100
    rb"0[\x01-\x7f]8[\x80-\xff]{4}"
)
_PLAIN: Final = b"(\xc4\x0f0\x018\x80\x80\x80\x80"
"""Stands in for a middle of another shape."""
_SIX_BYTES: Final = range(1 << 35, 1 << 42)
"""Stamps of six bytes: from 1971 to 2109."""
_SEVEN: Final = b"\x7f" + bytes(7)
"""The low seven bits of eight bytes."""
_DIGITS: Final = bytes(ord("0") if each in b"0123456789abcdef" else each for each in range(256))
"""Makes every digit a nought."""
_TAGGED: Final = _TAGS + b"00000000-0000-0000-0000-000000000000"
"""An id with what stands before it, every digit a nought."""
_VERSION: Final = slice(_TAGGED.index(b"-") + 6, None, len(_TAGGED))
_VARIANT: Final = slice(_TAGGED.index(b"-") + 11, None, len(_TAGGED))
_HIGH: Final = bytes(range(128, 256))
_RANKS: Final = bytes(range(1, 128))


class Kind(msgspec.Struct, frozen=True, eq=False, gc=False):
    """What votes for one album in one spelling have in common, as in `Vote`. A kind is equal to itself alone."""

    contest: str
    name: str
    album: str
    band: str
    record: str


def _kind_of(vote: Vote) -> Kind:
    return Kind(vote.contest, vote.name, vote.album, vote.band, vote.record)


class Kinds:
    """Kinds by head and tail, so many at most: voters may make up names. When it is full, it starts anew.

    Args:
        most: how many are kept.
        size: bytes of all their heads and tails.
    """

    def __init__(self, most: int = 16_384, size: int = 4 << 20) -> None:
        self._kinds: dict[tuple[bytes, bytes], Kind] = {}
        self._most, self._size, self._held = most, size, 0
        self.get: Final = self._kinds.get

    def __len__(self) -> int:
        return len(self._kinds)

    def learn(self, head: bytes, tail: bytes, vote: Vote) -> Kind | None:
        """The kind of a good vote that was taken apart; None when its head or its tail is not what it has to be."""
        before = vote_pb2.Vote(contest=vote.contest, name=vote.name, album=vote.album)
        after = vote_pb2.Vote(band=vote.band, record=vote.record)
        if head != before.SerializeToString() or b"B" + tail != after.SerializeToString():
            return None
        self._held += len(head) + len(tail)
        if len(self._kinds) >= self._most or self._held > self._size:
            self._kinds.clear()
            self._held = len(head) + len(tail)
        kind = self._kinds[head, tail] = _kind_of(vote)
        return kind


class Columns(NamedTuple):
    """Votes in the log's order, each field a column. Years are few, and read only when votes are asked for.

    Attributes:
        ids: as in `Vote`.
        kinds: contest, band and album of each.
        ranks: as in `Vote`.
        stamps: as `Vote.cast_at`.
        middles: `_MIDDLE` bytes of each.
        odd: by place, the votes that a parser has read.
    """

    ids: Sequence[str]
    kinds: Sequence[Kind]
    ranks: Sequence[int]
    stamps: Sequence[int]
    middles: bytes
    odd: Mapping[int, Vote]

    def fields(self) -> tuple[Sequence[Any], ...]:
        """A column for each field of `Vote`, in their order. Those of the odd ones are not theirs."""
        years = [low & 0x7F | high << 7 for low, high in zip(self.middles[1::10], self.middles[2::10], strict=True)]
        contests, names = [kind.contest for kind in self.kinds], [kind.name for kind in self.kinds]
        albums, bands = [kind.album for kind in self.kinds], [kind.band for kind in self.kinds]
        records = [kind.record for kind in self.kinds]
        return self.ids, contests, names, albums, years, self.ranks, self.stamps, bands, records

    def votes(self) -> list[Vote]:
        """The votes, one by one."""
        votes = list(map(Vote, *self.fields()))
        for at, vote in self.odd.items():
            votes[at] = vote
        return votes


KINDS: Final = Kinds()
"""Those that this process knows."""


def take_apart(
    keys: Sequence[bytes], values: Sequence[bytes], partition: int, partitions: int, known: Kinds = KINDS
) -> Columns | None:
    """The votes of records, as `aplauso.domain.record.decode` reads each of them; the keys' form is not looked at.

    None when it is not so simple: a key is not the id, or too few parts are known.

    Args:
        keys: the records' keys.
        values: their values, as many.
        partition: where all of them lie.
        partitions: the configured count.
        known: kinds, to be used and added to.

    Raises:
        BadRecord: one of the records is to be rejected.
        UnicodeDecodeError: a key is no text.
    """
    mark = _mark(values[0]) if len(values) >= FEW else b""
    tagged = tagged_ids(keys) if mark else b""
    if not tagged:
        return None
    fronts, _, tails = zip(*[value.rpartition(mark) for value in values], strict=True)
    if (
        b"".join([front[_ID] for front in fronts]) != tagged
    ):  # none is longer: together as long, each is what it must be
        return None
    kinds = list(map(known.get, zip([front[_HEAD] for front in fronts], tails, strict=True)))
    middles = [front[_LAST] for front in fronts]
    joined, odd = b"".join(middles), {}
    if None in kinds or not _are_plain(joined, len(keys)):
        parts = _Parts(kinds, [(front[_HEAD], tail) for front, tail in zip(fronts, tails, strict=True)], middles)
        found = _look_closer(parts, lambda at: decode(keys[at], values[at], partition, partitions), known)
        if found is None:
            return None
        joined, odd = b"".join(middles), found
    ids, ranks, stamps = list(map(bytes.decode, keys)), list(joined[4::10]), _stamps(joined, len(keys), mark)
    for at, vote in odd.items():
        ranks[at], stamps[at] = vote.rank, vote.cast_at
    return Columns(ids, kinds, ranks, stamps, joined, odd)  # type: ignore[arg-type]  # none is None any more


def _mark(value: bytes) -> bytes:
    """The last two bytes of a value's stamp and the tag that follows them; nothing when it is not such a vote."""
    try:
        stamp = vote_pb2.Vote.FromString(value).cast_at_ms
    except (DecodeError, UnicodeDecodeError):
        return b""
    return bytes((stamp >> 28 & 0x7F | 0x80, stamp >> 35, ord("B"))) if stamp in _SIX_BYTES else b""


def _are_plain(joined: bytes, count: int) -> bool:
    """Whether so many middles, one after the other, all have `_SHAPE`, and years from 1920 to 2047."""
    return (
        len(joined) == _MIDDLE * count
        and joined[0::10] == b"(" * count and joined[2::10] == b"\x0f" * count
        and joined[3::10] == b"0" * count and joined[5::10] == b"8" * count
        and not joined[4::10].translate(None, _RANKS)
        and not any(joined[at::10].translate(None, _HIGH) for at in (1, 6, 7, 8, 9))
    )  # fmt: skip


class _Parts(NamedTuple):
    """What values were cut into: of each its kind if it is known, its head and its tail, and its middle."""

    kinds: list[Kind | None]
    ends: list[tuple[bytes, bytes]]
    middles: list[bytes]


def _look_closer(parts: _Parts, read: Callable[[int], Vote], known: Kinds) -> dict[int, Vote] | None:
    """Finds the kinds that are missing, and learns them; returns the votes that are odd, and has others stand in.

    None when a parser for all of them together would be faster. Raises `BadRecord`.
    """
    odd, room = {}, len(parts.kinds) // 8 + 64
    for at, (kind, ends, middle) in enumerate(zip(*parts, strict=True)):
        has_shape = _SHAPE.fullmatch(middle) is not None
        if has_shape and (found := kind or known.get(ends)):
            parts.kinds[at] = found
            continue
        if (room := room - 1) < 0:
            return None
        vote = read(at)
        learnt = known.learn(*ends, vote) if has_shape else None
        if learnt is None:
            odd[at], parts.middles[at] = vote, _PLAIN
        parts.kinds[at] = learnt or _kind_of(vote)
    return odd


def _stamps(joined: bytes, count: int, mark: bytes) -> list[int]:
    """The stamps in middles: varints, seven bits a byte, the lowest first, all of them shifted at once."""
    bits = bytearray(8 * count)
    for at in range(4):
        bits[at::8] = joined[6 + at :: 10]
    high = (mark[0] & 0x7F) << 28 | mark[1] << 35
    word, mask, rest = (
        int.from_bytes(each, "little") for each in (bits, _SEVEN * count, high.to_bytes(8, "little") * count)
    )
    whole = word & mask | word >> 1 & mask << 7 | word >> 2 & mask << 14 | word >> 3 & mask << 21 | rest
    return list(unpack(f"<{count}Q", whole.to_bytes(8 * count, "little")))


def tagged_ids(keys: Sequence[bytes]) -> bytes:
    """The keys one after the other, each with `_TAGS` before it; nothing when one is not `aplauso.domain.record.UUID`.

    They are looked at place by place, and told apart by the tags, which no key has in it.
    """
    tagged = _TAGS.join([b"", *keys])
    good = (
        tagged.translate(_DIGITS) == _TAGGED * len(keys)
        and not tagged[_VERSION].translate(None, b"78") and not tagged[_VARIANT].translate(None, b"89ab")
    )  # fmt: skip
    return tagged if good else b""
