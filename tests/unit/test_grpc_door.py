"""What the collector makes of a gateway's batch before it judges the votes."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aplauso.adapters.grpc.door import MAX_SKEW, from_gateway, plain_votes
from aplauso.domain.columns import FEW
from aplauso.domain.record import encode
from aplauso.domain.vote import Vote
from aplauso.v1 import vote_pb2
from unit.fakes import NOW, a_vote

PLAIN = [a_vote(serial) for serial in range(FEW + 4)]


def one_by_one(values: list[bytes]) -> list[object]:
    """The votes, each looked at alone."""
    return [from_gateway(vote_pb2.Vote.FromString(value), NOW) for value in values]


def test_a_gateways_batch_is_read_at_once() -> None:
    """Votes as a gateway writes them come out as they went in."""
    votes = plain_votes([encode(vote) for vote in PLAIN], NOW)
    assert votes is not None
    assert list(votes) == PLAIN


def test_votes_that_differ_in_their_ids_alone_are_looked_at_once() -> None:
    """A batch of two kinds comes out as it went in, in two forms; one wrong id among them is enough to look closer."""
    votes = [a_vote(serial, rank=serial % 2 + 1) for serial in range(4 * FEW)]
    values = [encode(vote) for vote in votes]
    lot = plain_votes(values, NOW)
    assert lot is not None
    assert (list(lot), len(lot.samples()), lot.values()) == (votes, 2, values)
    at = 2 * FEW
    for wrong in (values[at].replace(b"-7", b"-4", 1), values[at].replace(b"\n$", b"\n#", 1), values[at][:37], b""):
        assert plain_votes([*values[:at], wrong, *values[at + 1 :]], NOW) is None


@pytest.mark.parametrize("skew", [-MAX_SKEW - 1, MAX_SKEW + 1])
def test_a_batch_with_a_wrong_stamp_is_looked_at_vote_by_vote(skew: int) -> None:
    """One stamp beyond the limit is enough; at the limit none is."""
    for at, plain in ((NOW + skew, False), (NOW + skew - (1 if skew > 0 else -1), True)):
        late = msgspec.structs.replace(PLAIN[3], cast_at=at)
        votes = [*PLAIN[:3], late, *PLAIN[4:]]
        assert (plain_votes([encode(vote) for vote in votes], NOW) is not None) == plain


def test_a_batch_with_a_field_that_is_unknown_is_looked_at_vote_by_vote() -> None:
    """What a newer gateway adds to a single vote must not enter the log unchecked."""
    values = [encode(vote) for vote in PLAIN]
    values[5] += b"\xa2\x06\x01x"
    assert plain_votes(values, NOW) is None


_ODD = st.sampled_from([b"\xa2\x06\x01x", b"\x28\xd0\x0f", b"\x0a\x01x", b"\x38\x01", b"\x42\x00", b"", b"\xff"])


@given(st.integers(0, len(PLAIN) - 1), _ODD, st.booleans(), st.integers(0, 130), st.binary(max_size=3))
def test_what_a_gateway_does_not_write_is_never_taken_for_plain(
    place: int, odd: bytes, before: bool, cut: int, put: bytes
) -> None:
    """Whatever is added to a vote's bytes or changed in them: a batch that is taken is as good as each of its votes."""
    values = [encode(vote) for vote in PLAIN]
    changed = odd + values[place] if before else values[place] + odd
    values[place] = changed[:cut] + put + changed[cut + len(put) :]
    votes = plain_votes(values, NOW)
    if votes is not None:
        assert list(votes) == one_by_one(values)
        assert [encode(vote) for vote in votes if isinstance(vote, Vote)] == values
