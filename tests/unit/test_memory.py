"""The ids that a partition remembers, in their slots."""

from aplauso.domain.tally import SLOT_MS, Memory, slot_of
from unit.fakes import a_vote, anonymous_id

BOUNDARY = 2_900_001 * SLOT_MS


def test_ids_on_both_sides_of_a_slots_end_are_remembered_in_their_own_slot() -> None:
    """Ids that begin alike but lie in two slots are told apart, in whatever order they come."""
    assert BOUNDARY % 256, "the boundary lies within ids that begin alike"
    for moments in ([-300, -2, -1, 0, 1, 300], [300, 1, 0, -1, -2, -300]):
        memory = Memory()
        stamps = [BOUNDARY + moment for moment in moments]
        votes = [a_vote(at=stamp, vote_id=anonymous_id(stamp, stamp)) for stamp in stamps]
        assert all(memory.is_new(vote) for vote in votes)
        assert not any(memory.is_new(vote) for vote in votes)
        assert all(vote.id in memory.slots[slot_of(vote.id)] for vote in votes)
        assert {slot: len(ids) for slot, ids in memory.slots.items()} == {2_900_000: 3, 2_900_001: 3}
