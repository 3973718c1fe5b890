"""The fold: votes to standings. Pure, and the measure of every other way of counting.

Of two records with one id the first in the log is the vote. Every copy of a vote lies in one partition,
so a partition tells repeats apart on its own: ids that come from a key, a token or a retried rejection
are remembered for ever; anonymous ones, which cannot repeat, by their own ten-minute slot until the
partition's time (the latest stamp seen) is two slots further, only as a belt.
"""

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, islice
from operator import length_hint
from typing import Final, NamedTuple

import msgspec

from aplauso.domain.columns import Columns
from aplauso.domain.record import anonymous_and_keyed, is_anonymous
from aplauso.domain.sums import Sums
from aplauso.domain.vote import Vote

SLOT_MS: Final = 600_000
"""Ten minutes: anonymous ids are remembered in slots of this length."""


_WHOLE: Final = len("01234567-89ab")
"""Characters of an id that tell its milliseconds."""
_HEAD: Final = _WHOLE - 2
"""Characters that tell them to a quarter of a second."""
_HEADS: Final = 10_000
_KINDS: Final = 16_384
"""Sums by so many kinds are put into standings: voters may make up names."""


def slot_of(vote_id: str) -> int:
    """The ten-minute slot of an anonymous id, by the time inside it (RFC 9562, section 5.7)."""
    return int(vote_id[:8] + vote_id[9:13], 16) // SLOT_MS


class Spelling(NamedTuple):
    """A shown spelling and the vote that it comes from: the least (stamp, id) wins, in any order of merging."""

    cast_at: int
    id: str
    text: str


class AlbumTally(msgspec.Struct):
    """The votes of one album of one band."""

    votes: int
    shown: Spelling


class BandTally(msgspec.Struct):
    """The votes of one band: their number, the sum of their ranks, its spelling, and each album's."""

    votes: int
    rank_sum: int
    shown: Spelling
    albums: dict[str, AlbumTally]

    def add(self, vote: Vote) -> None:
        """Counts one vote more."""
        self.votes += 1
        self.rank_sum += vote.rank
        # Most votes are not the first of their band: the tuple is built only for those that may be.
        if vote.cast_at <= self.shown.cast_at:
            self.shown = min(self.shown, Spelling(vote.cast_at, vote.id, vote.name))
        album = self.albums.get(vote.record)
        if album is None:
            self.albums[vote.record] = AlbumTally(1, Spelling(vote.cast_at, vote.id, vote.album))
            return
        album.votes += 1
        if vote.cast_at <= album.shown.cast_at:
            album.shown = min(album.shown, Spelling(vote.cast_at, vote.id, vote.album))

    def merge(self, other: "BandTally") -> None:
        """Adds another count of the same band to this one."""
        self.votes += other.votes
        self.rank_sum += other.rank_sum
        self.shown = min(self.shown, other.shown)
        for key, theirs in other.albums.items():
            ours = self.albums.get(key)
            if ours is None:
                self.albums[key] = AlbumTally(theirs.votes, theirs.shown)
            else:
                ours.votes += theirs.votes
                ours.shown = min(ours.shown, theirs.shown)


Bands = dict[str, BandTally]
"""A contest's tallies by band."""
Contests = dict[str, Bands]
"""Tallies by contest and band."""


def count(votes: Iterable[Vote], into: Contests | None = None) -> Contests:
    """Counts votes that are known to be new."""
    contests: Contests = {} if into is None else into
    for vote in votes:
        bands = contests.get(vote.contest)
        if bands is None:
            bands = contests[vote.contest] = {}
        tally = bands.get(vote.band)
        if tally is None:
            shown = Spelling(vote.cast_at, vote.id, vote.name)
            tally = bands[vote.band] = BandTally(0, 0, shown, {})
        tally.add(vote)
    return contests


def put_sums(sums: Sums, into: Contests) -> None:
    """Puts sums into standings, which then are what `count` makes of the same votes; the sums are gone."""
    for kind, votes, rank_sum, (at, vote_id) in sums.take():
        album = AlbumTally(votes, Spelling(at, vote_id, kind.album))
        tally = BandTally(votes, rank_sum, Spelling(at, vote_id, kind.name), {kind.record: album})
        bands = into.setdefault(kind.contest, {})
        if kind.band in bands:
            bands[kind.band].merge(tally)
        else:
            bands[kind.band] = tally


def merge(parts: Iterable[Contests]) -> Contests:
    """The standings over several partitions: the same in every order."""
    whole: Contests = {}
    for part in parts:
        for contest, bands in part.items():
            ours = whole.setdefault(contest, {})
            for key, tally in bands.items():
                mine = ours.setdefault(key, BandTally(0, 0, tally.shown, {}))
                mine.merge(tally)
    return whole


class Memory:
    """The ids that one partition has counted and still remembers."""

    def __init__(self) -> None:
        self.keyed: set[str] = set()
        self.slots: dict[int, set[str]] = {}
        self.time = 0
        """The partition's own time: the latest stamp seen, in milliseconds since the epoch."""
        self._slot = 0
        self._slots_of: dict[str, int] = {}

    def is_new(self, vote: Vote) -> bool:
        """Whether the vote's id is not remembered; it is from now on."""
        vote_id = vote.id
        if vote.cast_at > self.time:
            self._move(vote.cast_at)
        if not is_anonymous(vote_id):
            ids = self.keyed
        else:
            slot = self._slots_of.get(vote_id[:_HEAD])
            if slot is None:
                slot = self._slot_of(vote_id)
            if slot + 1 < self._slot:  # as `is_forgotten` says
                return True
            found = self.slots.get(slot)
            ids = self.slots.setdefault(slot, set()) if found is None else found
        if vote_id in ids:
            return False
        ids.add(vote_id)
        return True

    def repeats(self, ids: Sequence[str], stamps: Sequence[int]) -> set[int]:
        """The places of the votes of which `is_new` would say no, were it asked for one after the other.

        Sets are compared as wholes, which comes to the same: an id lies in one slot, and a slot is forgotten for good.
        """
        time = max(self.time, max(stamps, default=0))
        anonymous, keyed = anonymous_and_keyed(ids)
        slots = self._by_slot(anonymous)
        forgotten = set[int]()
        if slots and is_forgotten(min(slots), time):
            forgotten = self._forgotten(ids, stamps)
            kept = [at for at, vote_id in enumerate(ids) if is_anonymous(vote_id) and at not in forgotten]
            slots = self._by_slot([ids[at] for at in kept])
        asked = [(self.keyed, keyed)]
        asked += [(self.slots.setdefault(slot, set()), some) for slot, some in slots.items()]
        seen, distinct = set[str](), len(forgotten)
        for known, some in asked:
            found = set(some)
            seen |= known & found
            known.update(found)
            distinct += len(found)
        if time > self.time:
            self._move(time)
        return set() if not seen and distinct == len(ids) else _seen_before(ids, seen) - forgotten

    def _by_slot(self, anonymous: list[str]) -> dict[int, list[str]]:
        if not anonymous:
            return {}
        # The time stands at an id's beginning, so that ids are in the order of their times.
        first = slot_of(min(anonymous))
        if slot_of(max(anonymous)) == first:
            return {first: anonymous}
        slots: defaultdict[int, list[str]] = defaultdict(list)
        for vote_id in anonymous:
            slots[self._slot_at(vote_id)].append(vote_id)
        return slots

    def _forgotten(self, ids: Sequence[str], stamps: Sequence[int]) -> set[int]:
        """The places of anonymous ids that are not remembered any more at the partition's time there."""
        times = islice(accumulate(stamps, max, initial=self.time), 1, None)
        return {
            at
            for at, (vote_id, time) in enumerate(zip(ids, times, strict=True))
            if is_anonymous(vote_id) and is_forgotten(self._slot_at(vote_id), time)
        }

    def _slot_at(self, vote_id: str) -> int:
        slot = self._slots_of.get(vote_id[:_HEAD])
        return self._slot_of(vote_id) if slot is None else slot

    def _slot_of(self, vote_id: str) -> int:
        """Ids of one second begin alike: reading the number out of each would cost more than looking it up."""
        if len(self._slots_of) > _HEADS:
            self._slots_of.clear()
        slot = slot_of(vote_id)
        head = vote_id[:_HEAD]
        # Only where the first and the last millisecond that begin so lie in one slot does the beginning tell it.
        if slot_of(head + "00") == slot_of(head + "ff"):
            self._slots_of[head] = slot
        return slot

    def _move(self, time: int) -> None:
        self.time, self._slot = time, time // SLOT_MS
        for slot in [slot for slot in self.slots if is_forgotten(slot, time)]:
            del self.slots[slot]


def _seen_before(ids: Sequence[str], seen: set[str]) -> set[int]:
    """The places of ids that were seen, or stand further in front."""
    places, new, rest = set[int](), set(ids) - seen, iter(ids)
    while True:
        try:
            deque(map(new.remove, rest), 0)  # stays inside the interpreter's own code up to the next one that was seen
            return places
        except KeyError:
            places.add(len(ids) - length_hint(rest) - 1)


def is_forgotten(slot: int, time: int) -> bool:
    """Whether anonymous ids of a slot are not remembered any more at a partition's time."""
    return slot + 1 < time // SLOT_MS


class PartitionTally:
    """One partition folded from its beginning: what a projection's state must equal at the same position.

    Args:
        memory: the ids that were counted before, where it goes on from another tally.
    """

    def __init__(self, memory: Memory | None = None) -> None:
        self.memory = memory or Memory()
        self.counted = 0
        self.repeated = 0
        self._contests: Contests = {}
        self._sums = Sums()

    @property
    def contests(self) -> Contests:
        """The standings."""
        put_sums(self._sums, self._contests)
        return self._contests

    def fold(self, votes: Iterable[Vote]) -> list[Vote]:
        """Counts those of the votes that are new, and returns them in their order."""
        new, total = [], 0
        for vote in votes:
            total += 1
            if self.memory.is_new(vote):
                new.append(vote)
        count(new, self.contests)
        self.counted += len(new)
        self.repeated += total - len(new)
        return new

    def fold_columns(self, votes: Columns) -> set[int]:
        """Counts those of the votes that are new, as `fold` does; returns the places of the others."""
        repeated = self.memory.repeats(votes.ids, votes.stamps)
        self._sums.add(votes, repeated)
        if len(self._sums) > _KINDS:
            put_sums(self._sums, self._contests)
        self.counted += len(votes.ids) - len(repeated)
        self.repeated += len(repeated)
        return repeated


class AlbumStanding(msgspec.Struct, frozen=True):
    """An album's line in the standings."""

    album: str
    votes: int


class Standing(msgspec.Struct, frozen=True):
    """A band's line in the standings.

    Attributes:
        place: from 1; equal votes share a place, and the next one counts them ("1, 2, 2, 4").
        name: as it is shown.
        votes: how many.
        rank_mean: mean of the ranks, to four decimals.
        albums: most votes first, equal votes by folded title.
    """

    place: int
    name: str
    votes: int
    rank_mean: float
    albums: tuple[AlbumStanding, ...]


def standings(bands: Mapping[str, BandTally]) -> tuple[Standing, ...]:
    """A contest's standings, most votes first, equal votes by folded name."""
    lines: list[Standing] = []
    for at, (_, band) in enumerate(sorted(bands.items(), key=lambda item: (-item[1].votes, item[0])), start=1):
        place = lines[-1].place if lines and lines[-1].votes == band.votes else at
        mean = round(band.rank_sum / band.votes, 4)
        lines.append(Standing(place, band.shown.text, band.votes, mean, _albums(band)))
    return tuple(lines)


def _albums(band: BandTally) -> tuple[AlbumStanding, ...]:
    ordered = sorted(band.albums.items(), key=lambda item: (-item[1].votes, item[0]))
    return tuple(AlbumStanding(album.shown.text, album.votes) for _, album in ordered)
