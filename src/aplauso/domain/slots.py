"""Ids of a batch by the slot in which they are remembered, told for all of them at once."""

from collections.abc import Sequence
from itertools import compress
from typing import Final

from aplauso.domain.tally import slot_of

_VERSIONS: Final = slice(14, None, 36)
"""Of ids one after the other, the characters that `is_anonymous` looks at."""
_IS_ANONYMOUS: Final = bytes(each == ord("7") for each in range(256))
"""By such a character, whether the id is anonymous."""
_IS_KEYED: Final = bytes(each != ord("7") for each in range(256))


def by_slot(ids: Sequence[str]) -> dict[int | None, list[str]]:
    """Ids by their ten-minute slot; under None those that are remembered for ever. The order within a slot is kept."""
    # As `is_anonymous` says, without its call for each.
    versions = "".join(ids)[_VERSIONS].encode()
    anonymous = list(compress(ids, versions.translate(_IS_ANONYMOUS)))
    slots: dict[int | None, list[str]] = {}
    if len(anonymous) < len(ids):
        slots[None] = list(compress(ids, versions.translate(_IS_KEYED)))
    if anonymous:
        # As text ids are in the order of their times: where the ends share a slot, all that lie between do.
        first, last = slot_of(min(anonymous)), slot_of(max(anonymous))
        if first == last:
            slots[first] = anonymous
        else:
            for vote_id in anonymous:
                slots.setdefault(slot_of(vote_id), []).append(vote_id)
    return slots
