"""Votes added up by kind: what a fold by columns knows of a partition before it is put into standings.

A band's tally is objects in dictionaries, and each stretch of the log touches all of them. Sums are touched by votes
alone, and become standings when somebody looks.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from itertools import compress
from operator import lt
from typing import Final, NamedTuple

from aplauso.domain.columns import Columns, Kind

_NEVER: Final = (1 << 62, "")
"""Comes after every stamp."""


class Sum(NamedTuple):
    """What the votes of one kind come to: their number, the sum of their ranks, and the least (stamp, id)."""

    kind: Kind
    votes: int
    rank_sum: int
    least: tuple[int, str]


class Sums:
    """Sums by kind. They are as many as there are kinds: `len` tells when to put them into standings."""

    def __init__(self) -> None:
        self._pairs: Counter[tuple[Kind, int]] = Counter()
        """Votes by kind and rank."""
        self._least: defaultdict[Kind, tuple[int, str]] = defaultdict(lambda: _NEVER)

    def __len__(self) -> int:
        return len(self._least)

    def add(self, votes: Columns, repeated: Collection[int]) -> None:
        """Adds votes, all but those at the places of the repeated ones."""
        kinds, ranks = votes.kinds, votes.ranks
        self._pairs.update(zip(kinds, ranks, strict=True))
        for at in repeated:
            self._pairs[kinds[at], ranks[at]] -= 1
        self._note_least(votes, repeated)

    def take(self) -> Iterator[Sum]:
        """The sums, which are gone afterwards."""
        pairs, least = self._pairs, self._least
        self._pairs, self._least = Counter(), defaultdict(lambda: _NEVER)
        counts, ranks = dict.fromkeys(least, 0), dict.fromkeys(least, 0)
        for (kind, rank), number in pairs.items():
            counts[kind] += number
            ranks[kind] += number * rank
        return (Sum(kind, counts[kind], ranks[kind], at) for kind, at in least.items() if counts[kind])

    def _note_least(self, votes: Columns, repeated: Collection[int]) -> None:
        # Votes come nearly in the order of their stamps: few of them are less than what their kind has.
        kinds, stamps, ids, least = votes.kinds, votes.stamps, votes.ids, self._least
        is_less = map(lt, zip(stamps, ids, strict=True), map(least.__getitem__, kinds))
        for at in compress(range(len(ids)), is_less):
            if at not in repeated:
                least[kinds[at]] = min(least[kinds[at]], (stamps[at], ids[at]))
