"""Votes that travel together are the same votes, bytes and answers as one by one."""

from hypothesis import given
from hypothesis import strategies as st

from aplauso.adapters.grpc.wire import all_recorded
from aplauso.domain.lot import Lot, form_of, ids_of, keys_of, samples_of
from aplauso.domain.record import encode, encode_batch
from aplauso.domain.vote import Vote
from aplauso.ports.intake import Receipt, Recorded, Status, joined
from unit.fakes import NOW, a_vote


def lot_of(votes: list[Vote]) -> Lot:
    """The votes as a lot; those that are alike but for the id have one form."""
    forms = {encode(vote)[38:]: form_of(vote) for vote in votes}
    return Lot([vote.id.encode() for vote in votes], [forms[encode(vote)[38:]] for vote in votes])


VOTES = st.lists(
    st.builds(
        a_vote, st.integers(0, 99), st.sampled_from(["Alux Nahual", "é" * 200]), rank=st.integers(0, 3),
        at=st.integers(NOW, NOW + 2),
    ),
    max_size=12,
)  # fmt: skip


@given(VOTES, st.slices(12))
def test_a_lot_is_the_sequence_of_its_votes(votes: list[Vote], part: slice) -> None:
    """Length, order, places and slices are those of a list of the votes."""
    lot = lot_of(votes)
    assert (len(lot), list(lot), [lot[at] for at in range(len(votes))]) == (len(votes), votes, votes)
    assert list(lot[part]) == votes[part]
    assert isinstance(lot[part], Lot)


@given(VOTES)
def test_a_lot_has_the_bytes_of_its_votes(votes: list[Vote]) -> None:
    """Each vote's bytes, and those of all as a message, are the encoder's; the answer is byte for byte the same."""
    lot = lot_of(votes)
    assert lot.values() == [encode(vote) for vote in votes]
    assert lot.encode() == encode_batch(votes)
    assert all_recorded(lot) == all_recorded(votes)


@given(VOTES)
def test_a_vote_of_each_form_stands_for_the_others(votes: list[Vote]) -> None:
    """Samples have every combination of all but the id that the votes have; without a lot they are the votes."""
    lot = lot_of(votes)
    assert {encode(vote)[38:] for vote in samples_of(lot)} == {encode(vote)[38:] for vote in votes}
    assert len(samples_of(lot)) <= len({(vote.name, vote.rank, vote.cast_at) for vote in votes})
    assert samples_of(votes) is votes


@given(VOTES)
def test_ids_and_keys_are_those_of_the_votes(votes: list[Vote]) -> None:
    """Of a lot as of a list."""
    ids = [vote.id for vote in votes]
    for each in (votes, lot_of(votes)):
        assert (list(ids_of(each)), [key.decode() for key in keys_of(each)]) == (ids, ids)


@given(VOTES, st.slices(12))
def test_recorded_is_the_sequence_of_its_receipts(votes: list[Vote], part: slice) -> None:
    """As a list of receipts that say so one by one, of a lot as of a list."""
    receipts = [Receipt(vote.id, Status.RECORDED) for vote in votes]
    for each in (votes, lot_of(votes)):
        recorded = Recorded(each)
        assert (len(recorded), list(recorded), list(recorded[part])) == (len(votes), receipts, receipts[part])
        assert [recorded[at] for at in range(len(votes))] == receipts


def test_receipts_of_parts_are_joined_in_order() -> None:
    """Parts that are recorded stay recorded as a whole; with any other answer each receipt is there, in its place."""
    votes = [a_vote(serial) for serial in range(5)]
    parts = [Recorded(votes[:2]), Recorded(votes[2:])]
    whole = joined(votes, parts)
    assert isinstance(whole, Recorded)
    assert list(whole) == [receipt for part in parts for receipt in part]
    lost = [Receipt(vote.id, Status.UNDECIDED) for vote in votes[2:]]
    assert joined(votes, [parts[0], lost]) == [*parts[0], *lost]
    assert joined([], []) == []
