"""What both ends of a call must agree on: names, receipts, and how a refusal of a whole call is marked."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from aplauso.domain.errors import Undecided
from aplauso.domain.lot import Lot
from aplauso.domain.vote import Vote
from aplauso.ports.intake import Receipt, Status
from aplauso.v1 import collector_pb2 as pb

COLLECTOR: Final = "aplauso.v1.Collector"
CAST_BATCH: Final = "CastBatch"
OLDER: Final = "confproto.getInfo"
RETURN_INFO: Final = "returnInfo"
NOTHING_RECORDED: Final = "aplauso-not-recorded"
"""Trailing metadata of a call that the collector refused as a whole.

gRPC itself makes UNAVAILABLE and RESOURCE_EXHAUSTED for calls that reached the handler too (a connection that
breaks, a reply that is too large), so that a code alone proves nothing. Only the collector writes this mark.
"""
ROLE: Final = ("aplauso-role", "gateway")
"""Metadata of a gateway: a collector that does not know it as one refuses, instead of giving ids of its own."""
MAX_MESSAGE: Final = 4 * 1024 * 1024
"""Bytes of a message, at most."""

_TO_WIRE: Final = {
    Status.RECORDED: pb.STATUS_RECORDED,
    Status.REFUSED: pb.STATUS_REFUSED,
    Status.NOT_RECORDED: pb.STATUS_NOT_RECORDED,
    Status.UNDECIDED: pb.STATUS_UNDECIDED,
}
_FROM_WIRE: Final = {code: status for status, code in _TO_WIRE.items()}


def undecided(vote_id: str, why: str) -> Receipt:
    """The receipt of a vote of which nobody can tell whether it is in the log."""
    return Receipt(vote_id, Status.UNDECIDED, Undecided.reason, "", why)


def all_recorded(votes: Sequence[Vote]) -> bytes:
    """The `BatchReceipt` that says of each of the votes, all of which have an id, that it is recorded."""
    if isinstance(votes, Lot) and len(moments := {vote.cast_at for vote in votes.samples()}) == 1:
        first, last = (text.encode("latin-1") for text in _recorded(*moments))
        return first + (last + first).join(votes.keys) + last
    parts = []
    for vote in votes:
        before, after = _recorded(vote.cast_at)
        parts.append(f"{before}{vote.id}{after}")
    return "".join(parts).encode("latin-1")


@lru_cache(maxsize=256)
def _recorded(cast_at: int) -> tuple[str, str]:
    """What stands before and after the id in such a receipt, each byte as the character of its number."""
    receipt = pb.VoteReceipt(id="-" * 36, status=pb.STATUS_RECORDED, cast_at_ms=cast_at)
    text = pb.BatchReceipt(receipts=[receipt]).SerializeToString().decode("latin-1")
    before, after = text.split("-" * 36)
    return before, after


def to_wire(receipt: Receipt, cast_at: int) -> pb.VoteReceipt:
    """The receipt as a message; `cast_at` is the stamp that counts, in milliseconds since the epoch."""
    if receipt.status is Status.RECORDED:  # nearly all of them, and they have nothing more to tell
        return pb.VoteReceipt(id=receipt.id, status=pb.STATUS_RECORDED, cast_at_ms=cast_at)
    return pb.VoteReceipt(
        id=receipt.id, status=_TO_WIRE[receipt.status], reason=receipt.reason, cast_at_ms=cast_at,
        field=receipt.field, detail=receipt.detail,
    )  # fmt: skip


def from_wire(message: pb.VoteReceipt, vote_id: str) -> Receipt:
    """The receipt that a message holds for a vote; one that is not for it, or says nothing, decides nothing."""
    if message.status == pb.STATUS_RECORDED and message.id == vote_id:
        return Receipt(vote_id, Status.RECORDED)
    status = _FROM_WIRE.get(message.status)
    if status is None or message.id != vote_id:
        return undecided(vote_id, "the collector's answer cannot be understood")
    return Receipt(vote_id, status, message.reason, message.field, message.detail)
