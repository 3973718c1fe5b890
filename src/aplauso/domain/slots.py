"""Ids of a batch by the slot in which they are remembered, told for all of them at once."""

from collections.abc import Sequence

from aplauso.domain.record import anonymous_and_keyed
from aplauso.domain.tally import slot_of


def by_slot(ids: Sequence[str]) -> dict[int | None, list[str]]:
    """Ids by their ten-minute slot; under None those that are remembered for ever. The order within a slot is kept."""
    anonymous, keyed = anonymous_and_keyed(ids)
    slots: dict[int | None, list[str]] = {None: keyed} if keyed else {}
    if anonymous:
        # As text ids are in the order of their times: where the ends share a slot, all that lie between do.
        first, last = slot_of(min(anonymous)), slot_of(max(anonymous))
        if first == last:
            slots[first] = anonymous
        else:
            for vote_id in anonymous:
                slots.setdefault(slot_of(vote_id), []).append(vote_id)
    return slots
