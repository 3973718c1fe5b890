"""A batch as count.lua takes it: what is added up before Redis is asked."""

from itertools import groupby
from typing import Any, NamedTuple

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


class Arguments(NamedTuple):
    """The arguments of the script, unpacked; of each contest its name, its votes, and its lines by field."""

    ids: bytes
    tables: list[Any]
    contests: list[Any]
    latest: int
    votes: Any


def packed(*votes: Vote) -> Arguments:
    batch = pack(log_of(votes))
    ids, sums, lines = batch.sums
    tables, contests, latest = msgspec.msgpack.decode(sums)
    at = 0

    def cut(fields: list[str], lengths: list[int]) -> dict[str, Any]:
        nonlocal at
        found = {}
        for field, length in zip(fields, lengths, strict=True):
            found[field] = msgspec.msgpack.decode(lines[at : at + length])
            at += length
        return found

    read = [[name, new, cut(*lines_of[:2]), cut(*lines_of[2:])] for name, new, *lines_of in contests]
    assert at == len(lines)
    return Arguments(ids, tables, read, latest, msgspec.msgpack.decode(batch.votes()))


def test_a_copy_is_added_up_once() -> None:
    """Only the first vote of an id is in a group's sums and spelling; the details tell every vote."""
    first = vote(1, id=keyed_id(1), contest="uno", rank=3, cast_at=START)
    copy = vote(2, id=keyed_id(1), contest="uno", rank=9, cast_at=START - 5, name=first.name, album=first.album,
                band=first.band, record=first.record)  # fmt: skip
    other = vote(3, id=keyed_id(0), contest="uno", rank=4, cast_at=START, name=first.name, album=first.album,
                 band=first.band, record=first.record)  # fmt: skip
    batch, least = packed(first, copy, other), min(first.id, other.id)
    assert batch.ids == bytes.fromhex((other.id + first.id).replace("-", "")), "one is even, one odd"
    assert (batch.tables, batch.latest) == ([["k", 2]], START)
    assert batch.contests == [
        [
            "uno", 2, {first.band: [2, 7, START, least, first.band, first.name]},
            {f"{len(first.band)}:{first.band}{first.record}": [2, START, least, first.band, first.record, first.album]},
        ],
    ]  # fmt: skip
    groups = [[1, first.band, first.record, first.name, first.album]]
    assert batch.votes == [groups, [1, 1, 0], [0, 0, 0], [3, 9, 4], [START, START - 5, START]]
    assert pack(log_of([first, copy, other])).contests == {"uno": 3}


def test_ids_lie_by_their_tables() -> None:
    """Those of keys come first, then each quarter's of a second, apart by slots; the details say where each went."""
    edge = START + SLOT_MS
    assert edge % 256, "the edge of the slots lies within a quarter of a second"
    moments = [edge, edge - 1, START, edge + 1]
    votes = [vote(n, id=anonymous_id(moment, n)) for n, moment in enumerate(moments)] + [vote(9, id=keyed_id(9))]
    batch = packed(*votes)
    slot, heads = START // SLOT_MS, [each.id[:11] for each in votes]
    assert heads[0] == heads[1] == heads[3] != heads[2]
    assert batch.tables == [
        ["k", 1], [f"{slot + 1}.{heads[0]}", 2], [f"{slot}.{heads[1]}", 1], [f"{slot}.{heads[2]}", 1],
    ]  # fmt: skip
    order = [votes[at].id for at in (4, 0, 3, 1, 2)]
    assert batch.ids.hex() == "".join(order).replace("-", "")
    assert batch.votes[1] == [1, 3, 4, 2, 0]


@pytest.mark.parametrize("buckets", [1, 2, 3, 5, 8, 13, 100, 1_000])
def test_ids_of_a_bucket_lie_side_by_side(buckets: int) -> None:
    """However many buckets a table has, the batch has the ids of each without others between them."""
    power = 1 << buckets.bit_length() - 1

    def bucket_of(vote_id: bytes) -> int:
        bucket = int.from_bytes(vote_id[-3:]) % (2 * power)
        return bucket if bucket < buckets else bucket - power

    batch = packed(*(vote(n, id=keyed_id(n) if n % 2 else anonymous_id(START, n)) for n in range(600)))
    each = [batch.ids[at : at + 16] for at in range(0, len(batch.ids), 16)]
    assert [size for _, size in batch.tables] == [300, 300]
    for table in (each[:300], each[300:]):
        runs = [bucket for bucket, _ in groupby(map(bucket_of, table))]
        assert len(runs) == len({*runs}) == min(buckets, len(runs))


def test_an_empty_batch_is_packed() -> None:
    """A batch without votes names no table, contest or group."""
    assert packed() == Arguments(b"", [], [], 0, [[], [], [], [], []])


def test_spellings_of_a_line_are_one() -> None:
    """Votes for one band and album in several spellings are one line of each, which shows the first voter's."""
    spellings = [("Los Ángeles", "ÚNO"), ("LOS ÁNGELES", "Úno"), ("los ángeles", "úno")]
    votes = [
        vote(n, id=keyed_id(n), contest="uno", rank=n + 1, cast_at=START - (n == 1), band="los ángeles", record="úno",
             name=name, album=album)
        for n, (name, album) in enumerate(spellings)
    ]  # fmt: skip
    first = votes[1]
    assert packed(*votes).contests == [
        [
            "uno", 3, {"los ángeles": [3, 6, first.cast_at, first.id, "los ángeles", "LOS ÁNGELES"]},
            {"12:los ángelesúno": [3, first.cast_at, first.id, "los ángeles", "úno", "Úno"]},
        ],
    ]  # fmt: skip


def test_numbers_of_a_line_lie_at_places_that_do_not_change() -> None:
    """Whatever a line's votes, ranks and stamp are, the script finds them, and the id, where it looks for them."""
    first = vote(1, id=keyed_id(1), contest="uno", rank=3, cast_at=START)
    _, _, lines = pack(log_of([first])).sums
    votes, ranks, stamp = (int.from_bytes(lines[at : at + 8]) for at in (2, 11, 20))
    assert (votes, ranks, stamp, lines[30:66]) == (1, 3, START, first.id.encode())
    album = lines[lines.rindex(b"\x96\xcf") :]
    votes, stamp = (int.from_bytes(album[at : at + 8]) for at in (2, 11))
    assert (votes, stamp, album[21:57]) == (1, START, first.id.encode())


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
