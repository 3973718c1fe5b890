"""Records read together: the same answer as each alone."""

import random

import pytest

from aplauso.domain.batch import decode_batch
from aplauso.domain.columns import FEW
from aplauso.domain.errors import BadRecord
from aplauso.domain.record import MAX_BYTES, decode, encode, partition_of
from aplauso.domain.vote import Vote
from aplauso.v1 import vote_pb2
from unit.fakes import a_vote

PARTITIONS = 3
Record = tuple[bytes | None, bytes | None]


def good(count: int) -> list[Record]:
    """Records of votes that lie in partition 0."""
    votes = [vote for vote in map(a_vote, range(count * 6)) if partition_of(vote.id.encode(), PARTITIONS) == 0]
    return [(vote.id.encode(), encode(vote)) for vote in votes[:count]]


def alone(record: Record) -> tuple[str, str] | Vote:
    """What `decode` says of a record."""
    try:
        return decode(*record, 0, PARTITIONS)
    except BadRecord as error:
        return error.reason, str(error)


def together(records: list[Record]) -> list[tuple[str, str] | Vote]:
    """What `decode_batch` says of all of them."""
    keys, values = [record[0] for record in records], [record[1] for record in records]
    found = decode_batch(keys, values, 0, PARTITIONS)
    return [(each.reason, str(each)) if isinstance(each, BadRecord) else each for each in found]


def changed(original: Record, /, **fields: object) -> Record:
    """A record whose message says something else."""
    message = vote_pb2.Vote.FromString(original[1] or b"")
    for name, value in fields.items():
        setattr(message, name, value)
    return message.id.encode(), message.SerializeToString()


FIRST = good(1)[0]
FAULTS: list[Record] = [
    (None, FIRST[1]),
    (FIRST[0], None),
    (FIRST[0], b""),
    (FIRST[0], b"\xff" * 20),
    (FIRST[0], (FIRST[1] or b"") + b"x" * MAX_BYTES),
    (FIRST[0], (FIRST[1] or b"") + b"\x0a"),
    (b"other", FIRST[1]),
    changed(FIRST, id="no id"),
    changed(FIRST, id=(FIRST[0] or b"").decode().upper()),
    changed(FIRST, contest="NOT ONE"),
    changed(FIRST, name=""),
    changed(FIRST, album="a" * 201),
    changed(FIRST, band="a" * 601),
    changed(FIRST, record="a" * 601),
    changed(FIRST, year=1899),
    changed(FIRST, year=2101),
    changed(FIRST, rank=-1),
    changed(FIRST, rank=1001),
    changed(FIRST, cast_at_ms=-1),
    changed(FIRST, cast_at_ms=253_402_300_800_000),
    next(r for r in ((v.id.encode(), encode(v)) for v in map(a_vote, range(99))) if partition_of(r[0], PARTITIONS)),
    # What would end its own frame early and begin another vote's, if lengths were taken from the value.
    (FIRST[0], (FIRST[1] or b"")[:-3]),
]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_record_among_good_ones_is_told_as_if_it_were_alone(fault: Record) -> None:
    """One bad record is rejected for its own reason, wherever it stands, and the good ones around it are votes."""
    assert not isinstance(alone(fault), Vote)
    for size, at in ((6, 0), (6, 3), (6, 6), (2 * FEW, 0), (2 * FEW, 3), (2 * FEW, 2 * FEW)):
        records = good(size)
        records.insert(at, fault)
        assert together(records) == [alone(record) for record in records]


def test_good_records_are_votes_in_their_order() -> None:
    """Records that break no rule come back as the votes that they were made of, none of them included."""
    for count in (0, 1, 40):
        found = together(good(count))
        assert found == [alone(record) for record in good(count)]
        assert all(isinstance(each, Vote) for each in found)


def test_bytes_that_are_changed_at_random_are_told_alike() -> None:
    """Whatever byte of whatever record is changed, both ways of reading say the same."""
    chance = random.Random(20)
    for _ in range(400):
        records = good(4)
        key, value = records[at := chance.randrange(4)]
        spoilt = bytearray(value or b"")
        spoilt[chance.randrange(len(spoilt))] = chance.randrange(256)
        records[at] = key, bytes(spoilt)
        assert together(records) == [alone(record) for record in records]


def test_one_partition_holds_everything() -> None:
    """Where there is one partition, every record belongs in it, and none in another one."""
    key, value = FIRST
    assert isinstance(decode_batch([key], [value], 0, 1)[0], Vote)
    assert isinstance(decode_batch([key], [value], 1, 1)[0], BadRecord)
