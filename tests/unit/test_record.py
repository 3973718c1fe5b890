"""Records of the log: bytes, partitions, and every reason to reject one."""

import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aplauso.domain.errors import BadRecord
from aplauso.domain.record import (
    MAX_BYTES,
    REASONS,
    check,
    decode,
    encode,
    encode_batch,
    is_anonymous,
    partition_of,
    to_message,
)
from aplauso.domain.text import fold, normalise
from aplauso.domain.vote import Vote
from aplauso.v1 import collector_pb2, vote_pb2
from unit.fakes import NOW, a_vote, anonymous_id, keyed_id

_MASK = 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """Austin Appleby's MurmurHash2 with Kafka's seed, as a signed 32-bit number."""
    mixed = 0x9747B28C ^ len(data)
    whole = len(data) // 4 * 4
    for at in range(0, whole, 4):
        k = int.from_bytes(data[at : at + 4], "little") * 0x5BD1E995 & _MASK
        k = (k ^ k >> 24) * 0x5BD1E995 & _MASK
        mixed = (mixed * 0x5BD1E995 ^ k) & _MASK
    if data[whole:]:
        mixed = (mixed ^ int.from_bytes(data[whole:], "little")) * 0x5BD1E995 & _MASK
    mixed = (mixed ^ mixed >> 13) * 0x5BD1E995 & _MASK
    mixed ^= mixed >> 15
    return mixed - (1 << 32) if mixed >> 31 else mixed


# From the tests of Kafka's own client, org.apache.kafka.common.utils.UtilsTest.
KAFKA = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


@pytest.mark.parametrize(("key", "known"), KAFKA.items())
def test_the_partition_is_that_of_kafkas_partitioner(key: bytes, known: int) -> None:
    """A key's partition is Kafka's: murmur2 without its sign bit (not its absolute value), modulo the count."""
    assert murmur2(key) == known
    for partitions in (2, 3, 12, 48, 1000):
        assert partition_of(key, partitions) == (known & 0x7FFFFFFF) % partitions
    assert partition_of(key, 1) == 0


_texts = st.text(max_size=60)
_numbers = st.integers(-(2**31), 2**31 - 1) | st.integers(0, 2200)
_stamps = st.integers(-(2**63), 2**63 - 1) | st.integers(NOW, NOW + 3)
_ids = st.integers(0, 5).map(a_vote).map(lambda vote: vote.id) | _texts | st.just("ñ" * 36)
VOTES = st.builds(Vote, _ids, _texts, _texts, _texts, _numbers, _numbers, _stamps, _texts, _texts)


@given(st.lists(VOTES, max_size=5))
def test_a_vote_is_encoded_as_protobuf_encodes_it(votes: list[Vote]) -> None:
    """Byte for byte, whatever its fields hold, alone and in a batch."""
    messages = [to_message(vote) for vote in votes]
    assert [encode(vote) for vote in votes] == [message.SerializeToString() for message in messages]
    assert encode_batch(votes) == collector_pb2.VoteBatch(votes=messages).SerializeToString()


@given(st.binary(max_size=60) | st.uuids().map(lambda each: str(each).encode()), st.integers(1, 100))
def test_any_key_lies_where_murmur2_says(key: bytes, partitions: int) -> None:
    """Keys of every length lie where an independent murmur2 puts them."""
    assert partition_of(key, partitions) == (murmur2(key) & 0x7FFFFFFF) % partitions


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200).filter(
    lambda text: 0 < len(normalise(text)) <= 200
)


@st.composite
def any_vote(draw: st.DrawFn) -> Vote:
    """A vote as the gateway may make it."""
    name, album = normalise(draw(NAMES)), normalise(draw(NAMES))
    number = draw(st.integers(0, 2**60))
    at = draw(st.integers(0, 253_402_300_799_999))
    return Vote(
        draw(st.sampled_from([anonymous_id(number, at), keyed_id(number)])),
        draw(st.from_regex(r"\A[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?\Z")),
        name, album, draw(st.integers(1900, 2100)), draw(st.integers(0, 1000)), at, fold(name), fold(album),
    )  # fmt: skip


@settings(max_examples=150)
@given(any_vote(), st.integers(1, 12))
def test_a_vote_comes_back_from_its_record(vote: Vote, partitions: int) -> None:
    """Encoding and decoding give the same vote, in its partition, within the size of a record."""
    key, value = vote.id.encode(), encode(vote)
    assert decode(key, value, partition_of(key, partitions), partitions) == vote
    assert len(value) <= MAX_BYTES


def test_the_longest_vote_fits() -> None:
    """Four texts that fold to three times their length, in characters of four bytes, stay within a record."""
    widest = "\U0001f3b8" * 200
    vote = Vote(keyed_id(1), "a" * 64, widest, widest, 2100, 1000, NOW, widest * 2, widest * 2)
    assert len(encode(vote)) <= MAX_BYTES


def record(vote: Vote | None = None, **changes: object) -> dict[str, object]:
    """What `decode` is given for a vote in the only partition, with changes of the vote's fields."""
    made = vote or a_vote()
    message = vote_pb2.Vote.FromString(encode(made))
    for field, value in changes.items():
        setattr(message, field, value)
    return {"key": message.id.encode(), "value": message.SerializeToString(), "partition": 0, "partitions": 1}


def elsewhere() -> dict[str, object]:
    """A record in the partition that is not its own."""
    key = a_vote().id.encode()
    return {**record(), "partition": 1 - partition_of(key, 2), "partitions": 2}


GOOD = record()
BAD = {
    "no value": ("unreadable", {**GOOD, "value": None}),
    "an empty value": ("wrong-key", {**GOOD, "value": b""}),
    "garbage": ("unreadable", {**GOOD, "value": b"\xff\xff\xff garbage"}),
    "a text that is not UTF-8": ("unreadable", {**GOOD, "value": b"\x1a\x02\xff\xfe"}),
    "more bytes than a record has": ("unreadable", record(name="x" * MAX_BYTES)),
    "no key": ("wrong-key", {**GOOD, "key": None}),
    "a foreign key": ("wrong-key", {**GOOD, "key": a_vote(2).id.encode()}),
    "a key that is not UTF-8": ("wrong-key", {**GOOD, "key": b"\xff"}),
    "another partition": ("wrong-partition", elsewhere()),
    "no id": ("bad-id", record(id="")),
    "an id in capitals": ("bad-id", record(id=a_vote().id.upper())),
    "an id of version 4": ("bad-id", record(id="6f9619ff-8b86-4011-b42d-00c04fc964ff")),
    "an id of another variant": ("bad-id", record(id="01a1ee56-5e00-7000-c000-000000000005")),
    "an id and a line feed": ("bad-id", record(id=a_vote().id + "\n")),
    "no contest": ("bad-contest", record(contest="")),
    "a contest of capitals": ("bad-contest", record(contest="GT")),
    "a contest with a brace": ("bad-contest", record(contest="gt}")),
    "no name": ("bad-text", record(name="")),
    "a name too long": ("bad-text", record(name="x" * 201)),
    "no album": ("bad-text", record(album="")),
    "an album too long": ("bad-text", record(album="x" * 201)),
    "a folded name too long": ("bad-text", record(band="x" * 601)),
    "a folded album too long": ("bad-text", record(record="x" * 601)),
    "a year too early": ("bad-number", record(year=1899)),
    "a year too late": ("bad-number", record(year=2101)),
    "a negative rank": ("bad-number", record(rank=-1)),
    "a rank beyond every scale": ("bad-number", record(rank=1001)),
    "a stamp before 1970": ("bad-number", record(cast_at_ms=-1)),
    "a stamp after the year 9999": ("bad-number", record(cast_at_ms=253_402_300_800_000)),
}


@pytest.mark.parametrize(("reason", "what"), BAD.values(), ids=BAD)
def test_each_bad_record_has_its_reason(reason: str, what: dict[str, object]) -> None:
    """A record that cannot be read or breaks a rule is rejected with the reason for it, the same on every reading."""
    for _ in range(2):
        with pytest.raises(BadRecord) as caught:
            decode(**what)  # type: ignore[arg-type]
        assert caught.value.reason == reason
        assert str(caught.value)


def test_the_good_record_beside_them_is_good() -> None:
    """The record from which the bad ones are made is itself a vote, and every reason has been planted."""
    assert decode(**GOOD) == a_vote()  # type: ignore[arg-type]
    assert {reason for reason, _ in BAD.values()} == set(REASONS)


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_any_bytes_are_a_vote_or_rejected(key: bytes, value: bytes) -> None:
    """Whatever lies in the log, nothing but `BadRecord` comes of it."""
    with pytest.raises(BadRecord) as caught:
        decode(key, value, 0, 1)
    assert caught.value.reason in REASONS


@given(st.integers(0, 4000), st.integers(0, 255))
def test_a_record_with_one_byte_changed_is_a_vote_or_rejected(at: int, byte: int) -> None:
    """A flipped byte gives a vote that obeys the rules or a rejection."""
    value = bytearray(encode(a_vote()))
    value[at % len(value)] = byte
    try:
        check(decode(a_vote().id.encode(), bytes(value), 0, 1))
    except BadRecord as bad:
        reason = bad.reason
    else:
        reason = REASONS[0]
    assert reason in REASONS


def test_fields_of_a_newer_version_are_passed_over() -> None:
    """A record with a field that is not known yet is still the vote that it holds."""
    assert decode(a_vote().id.encode(), encode(a_vote()) + b"\xa2\x06\x01x", 0, 1) == a_vote()


def test_ids_tell_where_they_come_from() -> None:
    """A gateway's UUIDv7 is anonymous, a UUIDv8 comes from a key."""
    assert is_anonymous(anonymous_id(1))
    assert not is_anonymous(keyed_id(1))
    assert uuid.UUID(anonymous_id(1)).version == 7
