"""A batch of votes as count.lua takes it: added up as far as that can be done without knowing the remembered ids."""

from binascii import unhexlify
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, count, groupby
from operator import attrgetter, itemgetter
from struct import unpack
from typing import Any, Final, NamedTuple

import msgspec

from aplauso.adapters.redis.lines import NEVER, Least, changes_and_lines
from aplauso.domain.slots import by_slot
from aplauso.domain.vote import Vote
from aplauso.ports.projection import LoggedVote, LoggedVotes

_KEYED: Final = "k"
_HEAD: Final = itemgetter(slice(len("01234567-89")))
"""What ids of the same 256 milliseconds begin with."""
_ID: Final = 16
"""Bytes of an id; the last of them are its hash, see count.lua."""
_HASH: Final = 3
_TURNED: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
"""Makes of a byte the one whose bits are its own the other way round."""
_pack: Final = msgspec.msgpack.Encoder().encode
_SPELLING: Final = attrgetter("contest", "band", "record", "name", "album")
"""One spelling of one album: contest, band, album, shown band, shown album."""


class Packed(NamedTuple):
    """A batch for count.lua.

    Attributes:
        contests: the number of its votes by contest.
        sums: of the script's arguments, those behind the positions: the ids, what the votes come to, and its lines.
        votes: gives the argument behind these, with every vote: few batches need it.
    """

    contests: dict[str, int]
    sums: tuple[bytes, bytes, bytes]
    votes: Callable[[], bytes]


def pack(votes: Sequence[LoggedVote]) -> Packed:
    """The batch packed. What all votes of a group have in common crosses the wire once."""
    ids, kinds, ranks, stamps = _columns(votes)
    groups = dict(zip(dict.fromkeys(kinds), count()))
    group_of = list(map(groups.__getitem__, kinds))
    once = list(dict.fromkeys(ids))
    tables = _tables(once)
    ordered = list(chain.from_iterable(tables.values()))

    columns = (group_of, ranks, stamps, ids)
    copies = _copies(ids) if len(once) < len(ids) else ()
    sums = _sums(len(groups), *(_without(copies, column) for column in columns) if copies else columns)
    spellings = list(map(_SPELLING, groups))
    contests = _contests([spelling[0] for spelling in spellings], group_of)
    sizes = [(name, len(table)) for name, table in tables.items()]
    changes, lines = changes_and_lines(contests, spellings, sums)

    def each() -> bytes:
        places, numbers = dict(zip(ordered, count())), dict(zip(contests, count(1)))
        rows = [(numbers[contest], *texts) for contest, *texts in spellings]
        return _pack((rows, list(map(places.__getitem__, ids)), group_of, ranks, stamps))

    return Packed(contests, (_bytes_of(ordered), _pack((sizes, changes, max(stamps, default=0))), lines), each)


def _columns(votes: Sequence[LoggedVote]) -> tuple[Sequence[str], Sequence[Any], Sequence[int], Sequence[int]]:
    """Ids, kinds, ranks and stamps. What a kind is does not matter, as long as it has the fields of `_SPELLING`."""
    if isinstance(votes, LoggedVotes):
        ids, kinds, ranks, stamps, *_ = votes.columns
        return ids, kinds, ranks, stamps
    plain = [vote for _, vote in votes]
    first: dict[Any, Vote] = {}
    return (
        [vote.id for vote in plain],
        [first.setdefault(_SPELLING(vote), vote) for vote in plain],
        [vote.rank for vote in plain],
        [vote.cast_at for vote in plain],
    )


def _contests(groups: Sequence[str], group_of: Iterable[int]) -> dict[str, int]:
    """The number of votes by contest."""
    votes, contests = Counter(group_of), Counter[str]()
    for group, contest in enumerate(groups):
        contests[contest] += votes[group]
    return dict(contests)


def _copies(ids: Iterable[str]) -> list[int]:
    """Where the batch has an id again, from the last to the first."""
    first: dict[str, int] = {}
    return [at for at, earlier in enumerate(map(first.setdefault, ids, count())) if at != earlier][::-1]


def _without(places: Iterable[int], column: Sequence[Any]) -> list[Any]:
    column = list(column)
    for at in places:
        del column[at]
    return column


def _tables(ids: Sequence[str]) -> dict[str, list[str]]:
    """The ids by the name of the table that remembers them, in the order of their hashes' bits.

    Anonymous ids of a quarter of a second have one of their own, so that a batch's lie close together.
    """
    tables: dict[str, list[str]] = {}
    for slot, found in by_slot(ids).items():
        if slot is None:
            tables[_KEYED] = found
            continue
        for head, some in groupby(found, _HEAD):
            tables.setdefault(f"{slot}.{head}", []).extend(some)
    return {name: _by_bits(table) for name, table in tables.items()}


def _by_bits(ids: Sequence[str]) -> list[str]:
    """The ids in the order of their hashes' bits, the lowest first."""
    turned, words = _bytes_of(ids).translate(_TURNED), bytearray(4 * len(ids))
    for at in range(_HASH):
        words[at::4] = turned[_ID - _HASH + at :: _ID]
    bits = unpack(f"<{len(ids)}I", words)
    return list(map(ids.__getitem__, sorted(range(len(ids)), key=bits.__getitem__)))


def _bytes_of(ids: Iterable[str]) -> bytes:
    """The ids one after the other, each of `_ID` bytes."""
    return unhexlify("".join(ids).encode().translate(None, b"-"))


def _sums(
    groups: int, group_of: Sequence[int], ranks: Sequence[int], stamps: Sequence[int], ids: Sequence[str]
) -> Iterable[tuple[int, int, Least]]:
    """What each group comes to."""
    votes, rank_sums, least, least_ids = [0] * groups, [0] * groups, [NEVER] * groups, [""] * groups
    for group, number in Counter(group_of).items():
        votes[group] = number
    for group, rank, stamp, vote_id in zip(group_of, ranks, stamps, ids, strict=True):
        rank_sums[group] += rank
        before = least[group]
        if stamp <= before and (stamp < before or vote_id < least_ids[group]):
            least[group], least_ids[group] = stamp, vote_id
    return zip(votes, rank_sums, zip(least, least_ids, strict=True), strict=True)
