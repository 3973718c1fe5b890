"""Putting the votes of rejected records into the log again, once somebody has decided so.

A vote whose bytes are good but whose key or partition was wrong is appended under an id that is a digest of the
record's place: however often it is tried, it counts once. Its stamp stays that of the record, and its contest's
rules apply again.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
from google.protobuf.message import DecodeError

from aplauso.domain.contest import Contest
from aplauso.domain.errors import BadRecord
from aplauso.domain.record import MAX_BYTES, check, encode, from_message, partition_of
from aplauso.domain.vote import Vote, id_from_place
from aplauso.flow.collect import judge
from aplauso.ports.log import Appended, Entry, VoteLog
from aplauso.ports.rejected import Mark, RejectedLog, Rejection
from aplauso.v1 import vote_pb2

BATCH: Final = 1_000
_WHY: Final = {
    Appended.RECORDED: "",
    Appended.NOT_RECORDED: "the log does not take it now",
    Appended.UNDECIDED: "nobody knows whether the log has it: trying again is safe",
}


class Retried(NamedTuple):
    """What became of one rejected record.

    Attributes:
        rejection: as it was.
        id: of its vote, "" when no vote could be read from it.
        why: why it stays rejected, for a person; "" when the log has the vote now.
    """

    rejection: Rejection
    id: str
    why: str


async def retry(
    rejections: Sequence[Rejection], contests: Mapping[str, Contest], log: VoteLog, rejected: RejectedLog
) -> list[Retried]:
    """Appends the votes that can be read and are allowed; marks their records once the log has them.

    Args:
        rejections: those to be tried.
        contests: by id, as they are now.
        log: where the votes go.
        rejected: where the marks go.

    Returns:
        What became of each, in order.

    Raises:
        Unavailable: the marks could not be written; trying again is right, and counts nothing twice.
    """
    results: list[Retried] = []
    for at in range(0, len(rejections), BATCH):
        batch = [_read(rejection, contests) for rejection in rejections[at : at + BATCH]]
        outcomes = await _append([vote for _, vote, _ in batch if vote is not None], log)
        done = [
            Retried(rejection, vote.id, _WHY[next(outcomes)]) if vote else Retried(rejection, "", why)
            for rejection, vote, why in batch
        ]
        places = [result.rejection.place for result in done if not result.why]
        if places:
            rejected.mark(places, Mark.RETRIED)
        results += done
    return results


async def _append(votes: Sequence[Vote], log: VoteLog) -> Iterator[Appended]:
    keys = [vote.id.encode() for vote in votes]
    entries = [Entry(k, encode(vote), partition_of(k, log.partitions)) for k, vote in zip(keys, votes, strict=True)]
    return iter(await log.append(entries) if entries else ())


def _read(rejection: Rejection, contests: Mapping[str, Contest]) -> tuple[Rejection, Vote | None, str]:
    """The vote of a rejected record, under its new id, or why there is none."""
    try:
        vote = msgspec.structs.replace(_parse(rejection.value), id=id_from_place(*rejection.place))
        check(vote)
    except BadRecord as error:
        return rejection, None, f"{error.reason}: {error}"
    refused = judge(vote, contests)
    if refused is not None:
        return rejection, None, f"its contest does not take it: {refused.detail or refused.reason}"
    return rejection, vote, ""


def _parse(value: bytes | None) -> Vote:
    if value is None:
        raise BadRecord("unreadable", "its value is not there")
    if len(value) > MAX_BYTES:
        raise BadRecord("unreadable", f"{len(value)} bytes")
    try:
        return from_message(vote_pb2.Vote.FromString(value))
    except (DecodeError, UnicodeDecodeError) as error:
        raise BadRecord("unreadable", f"not an aplauso.v1.Vote: {error}") from None
