"""A batch as count.lua takes it: what is added up before Redis is asked."""

from itertools import groupby
from typing import Any

import msgspec
import pytest

from aplauso.adapters.redis.packing import pack
from aplauso.domain.batch import read_batch
from aplauso.domain.columns import FEW, Columns
from aplauso.domain.record import encode
from aplauso.domain.tally import SLOT_MS
from aplauso.domain.vote import Vote
from aplauso.ports.projection import LoggedVotes
from contract.projection_suite import START, anonymous_id, keyed_id, log_of, vote


def packed(*votes: Vote) -> tuple[bytes, Any, Any]:
    """The arguments of the script, unpacked."""
    batch = pack(log_of(votes))
    ids, sums = batch.sums
    return ids, msgspec.msgpack.decode(sums), msgspec.msgpack.decode(batch.votes())


def test_a_copy_is_added_up_once() -> None:
    """Only the first vote of an id is in a group's sums and spelling; the details tell every vote."""
    first = vote(1, id=keyed_id(1), contest="uno", rank=3, cast_at=START)
    copy = vote(2, id=keyed_id(1), contest="uno", rank=9, cast_at=START - 5, name=first.name, album=first.album,
                band=first.band, record=first.record)  # fmt: skip
    other = vote(3, id=keyed_id(0), contest="uno", rank=4, cast_at=START, name=first.name, album=first.album,
                 band=first.band, record=first.record)  # fmt: skip
    ids, (tables, contests, groups, latest), detail = packed(first, copy, other)
    assert ids == bytes.fromhex((other.id + first.id).replace("-", "")), "one is even, one odd"
    assert (tables, contests, latest) == ([["k", 2]], ["uno"], START)
    assert groups == [
        [1, first.band, first.record, first.name, first.album, 2, 7, [START, min(first.id, other.id)]],
    ]
    assert detail == [[1, 1, 0], [0, 0, 0], [3, 9, 4], [START, START - 5, START]]
    assert pack(log_of([first, copy, other])).contests == {"uno": 3}


def test_ids_lie_by_their_tables() -> None:
    """Those of keys come first, then each quarter's of a second, apart by slots; the details say where each went."""
    edge = START + SLOT_MS
    assert edge % 256, "the edge of the slots lies within a quarter of a second"
    moments = [edge, edge - 1, START, edge + 1]
    votes = [vote(n, id=anonymous_id(moment, n)) for n, moment in enumerate(moments)] + [vote(9, id=keyed_id(9))]
    ids, (tables, _, _, _), detail = packed(*votes)
    slot, heads = START // SLOT_MS, [each.id[:11] for each in votes]
    assert heads[0] == heads[1] == heads[3] != heads[2]
    assert tables == [
        ["k", 1], [f"{slot + 1}.{heads[0]}", 2], [f"{slot}.{heads[1]}", 1], [f"{slot}.{heads[2]}", 1],
    ]  # fmt: skip
    order = [votes[at].id for at in (4, 0, 3, 1, 2)]
    assert ids.hex() == "".join(order).replace("-", "")
    assert detail[0] == [1, 3, 4, 2, 0]


@pytest.mark.parametrize("buckets", [1, 2, 3, 5, 8, 13, 100, 1_000])
def test_ids_of_a_bucket_lie_side_by_side(buckets: int) -> None:
    """However many buckets a table has, the batch has the ids of each without others between them."""
    power = 1 << buckets.bit_length() - 1

    def bucket_of(vote_id: bytes) -> int:
        bucket = int.from_bytes(vote_id[-3:]) % (2 * power)
        return bucket if bucket < buckets else bucket - power

    ids, (tables, _, _, _), _ = packed(
        *(vote(n, id=keyed_id(n) if n % 2 else anonymous_id(START, n)) for n in range(600))
    )
    each = [ids[at : at + 16] for at in range(0, len(ids), 16)]
    assert [size for _, size in tables] == [300, 300]
    for table in (each[:300], each[300:]):
        runs = [bucket for bucket, _ in groupby(map(bucket_of, table))]
        assert len(runs) == len({*runs}) == min(buckets, len(runs))


def test_an_empty_batch_is_packed() -> None:
    """A batch without votes names no table, contest or group."""
    assert packed() == (b"", [[], [], [], 0], [[], [], [], []])


def test_columns_are_packed_as_the_votes_that_they_hold() -> None:
    """A batch in columns, copies, other stamps and odd votes among them, gives what the list of its votes gives."""
    votes = [vote(n, id=keyed_id(n) if n % 3 else anonymous_id(START - n, n), cast_at=START - n % 5, rank=n % 7 + 1)
             for n in range(4 * FEW)]  # fmt: skip
    votes += [votes[3], votes[8], vote(99, id=keyed_id(99), name="Odd", band="odd", rank=300), votes[3]]
    columns = read_batch([each.id.encode() for each in votes], [encode(each) for each in votes], 0, 1)
    assert isinstance(columns, Columns)
    assert columns.odd
    logged = LoggedVotes(range(len(votes)), columns)
    assert [*logged] == log_of(votes)
    assert (logged[2], logged[-2:]) == (log_of(votes)[2], log_of(votes)[-2:])
    ours, theirs = pack(logged), pack(log_of(votes))
    assert (ours.contests, ours.sums, ours.votes()) == (theirs.contests, theirs.sums, theirs.votes())
