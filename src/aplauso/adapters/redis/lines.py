"""Lines of standings as they lie in Redis: MessagePack whose numbers a script finds at places that do not change."""

from collections.abc import Iterable, Sequence
from struct import Struct
from typing import Any, Final, NamedTuple

import msgspec

from aplauso.domain.tally import AlbumTally, Bands, BandTally, Spelling

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
_OF_BAND: Final = Struct(">2xQxQxQ2x36s")
_OF_ALBUM: Final = Struct(">2xQxQ2x36s")
"""The same without the tags, to be read."""
_ARRAY: Final = 0x96
_NUMBER: Final = 0xCF
_TEXT: Final = (0xD9, 36)
"""Tags of MessagePack: an array of six, a number of eight bytes, a text of 36."""
_pack: Final = msgspec.msgpack.Encoder().encode
_raws: Final = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
_band_texts: Final = msgspec.msgpack.Decoder(tuple[str, str]).decode
_album_texts: Final = msgspec.msgpack.Decoder(tuple[str, str, str]).decode

_Line = list[Any]
"""What lines of several partitions come to: votes, the sum of their ranks (0 of an album), the least stamp, its least
id, and the spelling of whoever that was."""
NEVER: Final = 1 << 62
"""Comes after every stamp."""
_FEW: Final = 1_000
"""Ends that are remembered beyond two for each line."""


class _Place(NamedTuple):
    """Where a spelling of an album is counted: the fields of its lines, and what they end with where it is shown."""

    contest: str
    band: str
    album: str
    band_end: bytes
    album_end: bytes


class _Places:
    """Places by spelling. When so many characters are held, it starts anew: voters may make up names."""

    def __init__(self, most: int = 1 << 20) -> None:
        self._places: dict[Sequence[str], _Place] = {}
        self._most, self._held = most, 0

    def __call__(self, spelling: Sequence[str]) -> _Place:
        """The place of contest, band, album, shown band and shown album."""
        found = self._places.get(spelling)
        return found or self._note(spelling, *spelling)

    def _note(self, spelling: Sequence[str], contest: str, band: str, album: str, name: str, title: str) -> _Place:
        self._held += sum(map(len, spelling))
        if self._held > self._most:
            self._places.clear()
            self._held = 0
        key, field = _pack(band), f"{len(band.encode())}:{band}{album}"
        found = _Place(contest, band, field, key + _pack(name), key + _pack(album) + _pack(title))
        self._places[spelling] = found
        return found


_place: Final = _Places()


def changes_and_lines(
    contests: Iterable[str], spellings: Iterable[Sequence[str]], sums: Iterable[tuple[int, int, Least]]
) -> tuple[list[Change], bytes]:
    """What votes add to each contest; and the lines that they add, one after the other.

    Args:
        contests: those of the votes.
        spellings: contest, band, album, shown band and shown album, each once.
        sums: of each spelling the votes, the sum of their ranks, and who was first.
    """
    bands: dict[str, dict[str, _Sum]] = {contest: {} for contest in contests}
    albums: dict[str, dict[str, _Sum]] = {contest: {} for contest in bands}
    for spelling, (votes, ranks, least) in zip(spellings, sums, strict=True):
        if votes:  # there are none where each is a copy of a vote for something else
            contest, band, album, band_end, album_end = _place(spelling)
            for lines, field, end in ((bands[contest], band, band_end), (albums[contest], album, album_end)):
                one = votes, ranks, least, end
                known = lines.setdefault(field, one)
                if known is not one:
                    lines[field] = _both(known, one)
    changes, parts = [], []
    for contest, own in bands.items():
        of_bands, of_albums = _band_lines(own.values()), _album_lines(albums[contest].values())
        parts += of_bands + of_albums
        new = sum(votes for votes, *_ in own.values())
        changes.append((contest, new, [*own], [*map(len, of_bands)], [*albums[contest]], [*map(len, of_albums)]))
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


def values_of(array: bytes) -> list[bytes]:
    """The lines of a MessagePack array."""
    return list(map(bytes, _raws(array)))


class Lines:
    """The lines of one contest, those of several partitions added up.

    Most of them end alike in every partition, in band, album and spelling. By this end a line is found, and only an end
    that is new is decoded.
    """

    def __init__(self) -> None:
        self._bands: dict[str, _Line] = {}
        self._albums: dict[tuple[str, str], _Line] = {}
        self._ends: dict[bytes, tuple[_Line, str]] = {}
        """What lines end with, and the spelling that they show."""

    def add(self, bands: Sequence[bytes], albums: Sequence[bytes]) -> None:
        """Adds lines of one partition."""
        # Both loops run for every line of every partition: a call in them would be felt.
        ends, size = self._ends, _OF_BAND.size
        starts = _OF_BAND.iter_unpack(b"".join([line[:size] for line in bands]))
        for end, (votes, ranks, stamp, vote_id) in zip([line[size:] for line in bands], starts, strict=True):
            ours, shown = ends.get(end) or self._band_of(end)
            ours[0] += votes
            ours[1] += ranks
            if stamp <= ours[2] and (stamp < ours[2] or vote_id < ours[3]):
                ours[2:] = stamp, vote_id, shown
        size = _OF_ALBUM.size
        starts = _OF_ALBUM.iter_unpack(b"".join([line[:size] for line in albums]))
        for end, (votes, stamp, vote_id) in zip([line[size:] for line in albums], starts, strict=True):
            ours, shown = ends.get(end) or self._album_of(end)
            ours[0] += votes
            if stamp <= ours[2] and (stamp < ours[2] or vote_id < ours[3]):
                ours[2:] = stamp, vote_id, shown

    def _band_of(self, end: bytes) -> tuple[_Line, str]:
        band, name = _band_texts(b"\x92" + end)
        return self._noted(end, self._bands.setdefault(band, [0, 0, NEVER, b"", ""]), name)

    def _album_of(self, end: bytes) -> tuple[_Line, str]:
        band, album, title = _album_texts(b"\x93" + end)
        return self._noted(end, self._albums.setdefault((band, album), [0, 0, NEVER, b"", ""]), title)

    def _noted(self, end: bytes, line: _Line, shown: str) -> tuple[_Line, str]:
        if len(self._ends) > _FEW + 2 * (len(self._bands) + len(self._albums)):
            self._ends.clear()  # voters may make up spellings
        found = self._ends[end] = line, shown
        return found

    def tallies(self) -> Bands:
        """What they come to."""
        whole = {
            band: BandTally(votes, ranks, Spelling(stamp, vote_id.decode(), name), {})
            for band, (votes, ranks, stamp, vote_id, name) in self._bands.items()
        }
        for (band, album), (votes, _, stamp, vote_id, title) in self._albums.items():
            whole[band].albums[album] = AlbumTally(votes, Spelling(stamp, vote_id.decode(), title))
        return whole
