"""Lines of standings as they lie in Redis: MessagePack whose numbers a script finds at places that do not change."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from struct import Struct
from typing import Final, NamedTuple

import msgspec

Least = tuple[int, str]
"""Of some votes the least stamp, and its least id."""
Change = tuple[str, int, list[str], list[int], list[str], list[int]]
"""What is added to a contest: name, votes, fields of bands, lengths of their lines, and the same of albums."""

_Sum = tuple[int, int, Least, bytes]
"""What a line comes to: votes, the sum of their ranks, who was first, and what the line ends with, their spelling."""

_BAND: Final = Struct(">BBQBQBQBB36s").pack
"""The beginning of a band's line, an array of six: votes, sum of ranks, stamp and id, each behind its tag."""
_ALBUM: Final = Struct(">BBQBQBB36s").pack
"""The same of an album's line, which has no ranks."""
_ARRAY: Final = 0x96
_NUMBER: Final = 0xCF
_TEXT: Final = (0xD9, 36)
"""Tags of MessagePack: an array of six, a number of eight bytes, a text of 36."""
_pack: Final = msgspec.msgpack.Encoder().encode


class _Place(NamedTuple):
    """Where a spelling of an album is counted: the fields of its lines, and what they end with where it is shown."""

    contest: str
    band: str
    album: str
    band_end: bytes
    album_end: bytes


@lru_cache(8_192)  # voters may make up names
def _place(contest: str, band: str, album: str, name: str, title: str) -> _Place:
    key, field = _pack(band), f"{len(band.encode())}:{band}{album}"
    return _Place(contest, band, field, key + _pack(name), key + _pack(album) + _pack(title))


def changes_and_lines(
    contests: Iterable[str], spellings: Iterable[Sequence[str]], sums: Iterable[tuple[int, int, Least]]
) -> tuple[list[Change], bytes]:
    """What votes add to each contest; and the lines that they add, one after the other.

    Args:
        contests: those of the votes.
        spellings: contest, band, album, shown band and shown album, each once.
        sums: of each spelling the votes, the sum of their ranks, and who was first.
    """
    new = dict.fromkeys(contests, 0)
    bands: dict[str, dict[str, _Sum]] = {contest: {} for contest in new}
    albums: dict[str, dict[str, _Sum]] = {contest: {} for contest in new}
    for spelling, (votes, ranks, least) in zip(spellings, sums, strict=True):
        if votes:  # there are none where each is a copy of a vote for something else
            contest, band, album, band_end, album_end = _place(*spelling)
            new[contest] += votes
            for lines, field, end in ((bands[contest], band, band_end), (albums[contest], album, album_end)):
                one = votes, ranks, least, end
                known = lines.setdefault(field, one)
                if known is not one:
                    lines[field] = _both(known, one)
    changes, parts = [], []
    for contest, votes in new.items():
        of_bands, of_albums = _band_lines(bands[contest].values()), _album_lines(albums[contest].values())
        parts += of_bands + of_albums
        lengths = [*map(len, of_bands)], [*map(len, of_albums)]
        changes.append((contest, votes, [*bands[contest]], lengths[0], [*albums[contest]], lengths[1]))
    return changes, b"".join(parts)


def _both(one: _Sum, other: _Sum) -> _Sum:
    votes, ranks, least, end = one
    more_votes, more_ranks, other_least, other_end = other
    least, end = min((least, end), (other_least, other_end))
    return votes + more_votes, ranks + more_ranks, least, end


def _band_lines(bands: Iterable[_Sum]) -> list[bytes]:
    return [
        _BAND(_ARRAY, _NUMBER, votes, _NUMBER, ranks, _NUMBER, stamp, *_TEXT, vote_id.encode()) + end
        for votes, ranks, (stamp, vote_id), end in bands
    ]


def _album_lines(albums: Iterable[_Sum]) -> list[bytes]:
    return [
        _ALBUM(_ARRAY, _NUMBER, votes, _NUMBER, stamp, *_TEXT, vote_id.encode()) + end
        for votes, _, (stamp, vote_id), end in albums
    ]
