"""What a system holds after a run: every vote's body in log and archive, and what the standings say of each band."""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple

from aplauso.domain.tally import Bands, Memory
from aplauso.domain.text import fold, normalise
from aplauso.domain.vote import Vote


class Body(NamedTuple):
    """What makes a vote the vote that was sent, whatever its spelling.

    Attributes:
        contest: its id; None where a client sent to the default contest and never learned which that is.
        band: the band's identity.
        record: the album's identity.
        year: the album's.
        rank: as given.
    """

    contest: str | None
    band: str
    record: str
    year: int
    rank: int


def body_of(contest: str | None, name: str, album: str, year: int | str, rank: int | str) -> Body:
    """The body of a vote as it was sent or shown. A year or a rank that is no number becomes -1."""
    return Body(contest, fold(normalise(name)), fold(normalise(album)), _number(year), _number(rank))


def _number(value: int | str) -> int:
    if isinstance(value, int):
        return value
    return int(value) if value.isascii() and value.isdigit() and len(value) < 10 else -1


@dataclass
class BandTotals:
    """What standings say of a band, without spellings, which a journal's votes may write as they like.

    Attributes:
        votes: how many.
        rank_sum: of their ranks.
        albums: votes by the album's identity.
    """

    votes: int = 0
    rank_sum: int = 0
    albums: dict[str, int] = field(default_factory=dict)

    def add(self, body: Body, votes: int) -> None:
        """Adds so many votes of one body."""
        self.votes += votes
        self.rank_sum += body.rank * votes
        self.albums[body.record] = self.albums.get(body.record, 0) + votes


def shown(bands: Bands) -> dict[str, BandTotals]:
    """What is compared of a contest's tallies, by band."""
    return {
        key: BandTotals(band.votes, band.rank_sum, {record: album.votes for record, album in band.albums.items()})
        for key, band in bands.items()
    }


@dataclass
class ReadBack:
    """What a system holds after a run, read when it is at rest.

    Attributes:
        counted: by id, the body of the vote that counts: of its first record in the log.
        repeats: by id, the bodies that are counted beyond the first: of a copy that came once the id was forgotten.
        copies: records that repeat an id and are rightly not counted.
        rejected: by id (the key) of the rejected records, the reason of the first.
        archived: by id, the body in the archive; see `body_of`.
        standings: by contest and band, what the standings show; see `shown`.
    """

    counted: dict[str, Body] = field(default_factory=dict)
    repeats: dict[str, list[Body]] = field(default_factory=dict)
    copies: int = 0
    rejected: dict[str, str] = field(default_factory=dict)
    archived: dict[str, Body] = field(default_factory=dict)
    standings: dict[str, dict[str, BandTotals]] = field(default_factory=dict)
    _bodies: dict[Body, Body] = field(default_factory=dict, repr=False)

    def fold_partition(self, votes: Iterable[Vote]) -> None:
        """Adds one partition of the log, all its votes in order, counted as `aplauso.domain.tally` counts them."""
        memory = Memory()
        for vote in votes:
            if not memory.is_new(vote):
                self.copies += 1
                continue
            body = self.share(Body(vote.contest, vote.band, vote.record, vote.year, vote.rank))
            if vote.id in self.counted:
                self.repeats.setdefault(vote.id, []).append(body)
            else:
                self.counted[vote.id] = body

    def totals(self, contests: Collection[str]) -> dict[str, dict[str, BandTotals]]:
        """By contest and band, what standings of these contests must show: the log as it was counted, twice or not.

        Takes as much memory as there are different bodies, not votes.
        """
        found: dict[str, dict[str, BandTotals]] = {}
        for body, votes in Counter(chain(self.counted.values(), *self.repeats.values())).items():
            if body.contest is not None and body.contest in contests:
                bands = found.setdefault(body.contest, {})
                bands.setdefault(body.band, BandTotals()).add(body, votes)
        return found

    def share(self, body: Body) -> Body:
        """The same body, kept once: a million votes of a traffic file have a few thousand bodies."""
        return self._bodies.setdefault(body, body)
