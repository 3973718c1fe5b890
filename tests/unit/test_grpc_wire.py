"""What both ends of a gRPC call say."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from aplauso.adapters.grpc.wire import all_recorded, to_wire
from aplauso.ports.intake import Receipt, Status
from aplauso.v1 import collector_pb2 as pb
from unit.fakes import NOW, a_vote


@given(st.lists(st.integers(0, NOW + 5), max_size=20))
def test_all_recorded_is_the_answer_that_the_collector_gives(stamps: list[int]) -> None:
    """Byte for byte the message of receipts that say so one by one."""
    votes = [msgspec.structs.replace(a_vote(serial), cast_at=stamp) for serial, stamp in enumerate(stamps)]
    receipts = [to_wire(Receipt(vote.id, Status.RECORDED), vote.cast_at) for vote in votes]
    assert all_recorded(votes) == pb.BatchReceipt(receipts=receipts).SerializeToString()
