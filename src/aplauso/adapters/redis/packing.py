"""A batch of votes as count.lua takes it: added up as far as that can be done without knowing the remembered ids."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, Final, NamedTuple

import msgspec

from aplauso.domain.tally import slot_of
from aplauso.ports.projection import LoggedVote

_KEYED: Final = "k"
_NOTHING: Final = (1 << 62, "")
"""Comes after every stamp and id."""
_pack: Final = msgspec.msgpack.Encoder().encode
_Group = tuple[str, str, str, str, str]
"""One spelling of one album: contest, band, album, shown band, shown album."""


class Packed(NamedTuple):
    """A batch for count.lua.

    Attributes:
        contests: the number of its votes by contest.
        arguments: of the script, behind the positions.
    """

    contests: dict[str, int]
    arguments: tuple[bytes, bytes, bytes]


def pack(votes: Sequence[LoggedVote]) -> Packed:
    """The batch packed. What all votes of a group have in common crosses the wire once."""
    plain = [vote for _, vote in votes]
    ids = [vote.id for vote in plain]
    spellings = [(vote.contest, vote.band, vote.record, vote.name, vote.album) for vote in plain]
    ranks = [vote.rank for vote in plain]
    stamps = [vote.cast_at for vote in plain]
    groups = {spelling: group for group, spelling in enumerate(dict.fromkeys(spellings))}
    group_of = [groups[spelling] for spelling in spellings]
    tables = _tables(list(dict.fromkeys(ids)))
    ordered = list(chain.from_iterable(tables.values()))
    places = {vote_id: place for place, vote_id in enumerate(ordered)}
    place_of = [places[vote_id] for vote_id in ids]

    columns = (group_of, ranks, stamps, ids)
    copies = _copies(place_of) if len(ordered) < len(ids) else ()
    sums = _sums(len(groups), *(_without(copies, column) for column in columns) if copies else columns)
    contests = _contests(groups, group_of)
    numbers = {contest: number for number, contest in enumerate(contests, start=1)}
    rows = [(numbers[spelling[0]], *spelling[1:], *row) for spelling, row in zip(groups, sums, strict=True)]
    sizes = [(name, len(table)) for name, table in tables.items()]
    return Packed(
        contests,
        (
            bytes.fromhex("".join(ordered).replace("-", "")),
            _pack((sizes, list(contests), rows, max(stamps, default=0))),
            _pack((place_of, group_of, ranks, stamps)),
        ),
    )


def _contests(groups: Iterable[_Group], group_of: Iterable[int]) -> dict[str, int]:
    """The number of votes by contest."""
    votes, contests = Counter(group_of), Counter[str]()
    for group, spelling in enumerate(groups):
        contests[spelling[0]] += votes[group]
    return dict(contests)


def _copies(place_of: Iterable[int]) -> list[int]:
    """Where the batch has an id again, from the last to the first."""
    seen, copies = set[int](), []
    for at, place in enumerate(place_of):
        if place in seen:
            copies.append(at)
        seen.add(place)
    return copies[::-1]


def _without(places: Iterable[int], column: list[Any]) -> list[Any]:
    column = column.copy()
    for at in places:
        del column[at]
    return column


def _tables(ids: Sequence[str]) -> dict[str, list[str]]:
    """The ids by the name of the table that remembers them."""
    # As `is_anonymous` says, without its call for each.
    anonymous = [vote_id for vote_id in ids if vote_id[14] == "7"]
    tables: dict[str, list[str]] = {}
    if len(anonymous) < len(ids):
        tables[_KEYED] = [vote_id for vote_id in ids if vote_id[14] != "7"]
    if anonymous:
        # As text ids are in the order of their times: where the ends share a slot, all that lie between do.
        first, last = slot_of(min(anonymous)), slot_of(max(anonymous))
        if first == last:
            tables[str(first)] = anonymous
        else:
            for vote_id in anonymous:
                tables.setdefault(str(slot_of(vote_id)), []).append(vote_id)
    return tables


def _sums(
    groups: int, group_of: Sequence[int], ranks: Sequence[int], stamps: Sequence[int], ids: Sequence[str]
) -> Iterable[tuple[int, int, tuple[int, str]]]:
    """Of each group the votes, the sum of their ranks, the least stamp and its least id."""
    votes, rank_sums, least = [0] * groups, [0] * groups, [_NOTHING] * groups
    for group, number in Counter(group_of).items():
        votes[group] = number
    for group, rank, mark in zip(group_of, ranks, zip(stamps, ids, strict=True), strict=True):
        rank_sums[group] += rank
        before = least[group]
        if mark < before:
            least[group] = mark
    return zip(votes, rank_sums, least, strict=True)
