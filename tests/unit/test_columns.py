"""Records read column by column: the same votes as each alone, and the same fold."""

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aplauso.domain import tally
from aplauso.domain.batch import decode_batch, read_batch
from aplauso.domain.columns import FEW, KINDS, Columns, Kinds, tagged_ids, take_apart
from aplauso.domain.errors import BadRecord
from aplauso.domain.record import UUID, decode, encode, to_message
from aplauso.domain.sums import Sums
from aplauso.domain.tally import SLOT_MS, Contests, PartitionTally, count, put_sums
from aplauso.domain.vote import Vote
from unit.fakes import NOW, a_vote, anonymous_id, keyed_id, votes_strategy

Record = tuple[bytes | None, bytes | None]
MARK = encode(a_vote()).partition(b"\x42")[0][-2:] + b"B"
"""The end of the stamps of these tests, and the next field's tag: where a value is taken apart."""
WITH_MARK = (b"\xc3" + MARK).decode()
"""A text whose bytes hold the mark."""
TRICKY = [WITH_MARK, "8\u0080", "0\x018", "\n$" + anonymous_id(1), "B\x01a", "(\x0f0", "é" * 200]
TEXT = st.sampled_from(["Alux Nahual", "Sub", *TRICKY]) | st.text(min_size=1, max_size=20)


def record(vote: Vote) -> Record:
    """A vote's record."""
    return vote.id.encode(), encode(vote)


GOOD = [record(a_vote(serial, rank=serial % 10 + 1)) for serial in range(2 * FEW)]
"""Enough records to be read by columns, of one kind."""


def votes_of_any_kind() -> st.SearchStrategy[Vote]:
    """Votes with odd texts, ranks that are left out or take two bytes, and stamps of other lengths."""
    return st.builds(
        Vote,
        st.integers(0, 2**62).map(anonymous_id) | st.integers(0, 9).map(keyed_id),
        st.sampled_from(["gt", "mx-2", "8", "b"]),
        TEXT, TEXT,
        st.sampled_from([1900, 1919, 1920, 1988, 2047, 2048, 2100]) | st.integers(1900, 2100),
        st.sampled_from([0, 1, 127, 128, 1000]) | st.integers(0, 10),
        st.sampled_from([0, 1, 2**35 - 1, 2**35, NOW, NOW + 2**27, NOW + 2**28, 2**42 - 1, 2**42, 253_402_300_799_999]),
        TEXT | st.just(""), TEXT | st.just(""),
    )  # fmt: skip


def alone(key: bytes | None, value: bytes | None) -> object:
    """What `decode` says of a record."""
    try:
        return decode(key, value, 0, 1)
    except BadRecord as error:
        return error.reason, str(error)


def hold_alike(records: Sequence[Record]) -> None:
    """Asserts that records are told as if each were alone, by what is known before and by what they teach."""
    keys, values = [key for key, _ in records], [value for _, value in records]
    expected = [alone(*each) for each in records]
    for _ in range(2):
        found = decode_batch(keys, values, 0, 1)
        assert [(each.reason, str(each)) if isinstance(each, BadRecord) else each for each in found] == expected


@settings(deadline=None)
@given(st.lists(votes_of_any_kind(), max_size=30), st.integers(0, len(GOOD)))
def test_votes_of_any_kind_are_read_as_alone(votes: list[Vote], at: int) -> None:
    """Whatever texts, ranks and stamps votes have, known kinds among them, they are those that were encoded."""
    hold_alike([*GOOD[:at], *map(record, votes), *GOOD[at:]])


def test_no_byte_outside_of_head_and_tail_is_passed_over() -> None:
    """Whichever byte of the id, of what frames it or of the middle says something else, it is told as it is."""
    hold_alike(GOOD)
    key, value = GOOD[5]
    assert key is not None
    assert value is not None
    middle = value.index(MARK) - 10
    for at in (0, 1, 2, 10, 16, 37, *range(middle, middle + 13)):
        for byte in {*b"\x00\x01\x7f\x80\xff078B(P\x0e\x0f\x10\xb4\xb5\xeb\xec", value[at] ^ 1, value[at] ^ 0x80}:
            spoilt = value[:at] + bytes((byte,)) + value[at + 1 :]
            for other in (key, spoilt[2:38]):
                hold_alike([*GOOD[:5], (other, spoilt), *GOOD[6:]])
    hold_alike([(GOOD[0][0], GOOD[1][1]), (GOOD[1][0], GOOD[0][1]), *GOOD[2:]])


@settings(deadline=None)
@given(st.data())
def test_spoilt_values_are_read_as_alone(data: st.DataObject) -> None:
    """Bytes that are changed, put in or taken out anywhere, with all kinds known, are told as a parser tells them."""
    votes = data.draw(st.lists(votes_of_any_kind(), min_size=1, max_size=4))
    records = [*GOOD, *map(record, votes)]
    hold_alike(records)
    at = data.draw(st.integers(0, len(records) - 1))
    key, value = records[at]
    assert value is not None
    start = data.draw(st.integers(0, len(value)))
    end = data.draw(st.integers(start, min(start + 12, len(value))))
    put = data.draw(st.binary(max_size=8) | st.sampled_from([MARK, b"8" + value[-3:], b"\x50\x01", b"(\xc4\x0f0\x018"]))
    records[at] = key, value[:start] + put + value[end:]
    hold_alike(records)


@settings(deadline=None)
@given(st.data())
def test_parts_that_are_exchanged_are_read_as_alone(data: st.DataObject) -> None:
    """Values put together from pieces of known ones, in any way, are told as a parser tells them."""
    votes = data.draw(st.lists(votes_of_any_kind(), min_size=2, max_size=4))
    hold_alike([*GOOD, *map(record, votes)])
    values = [encode(vote) for vote in votes] + [value for _, value in GOOD[:2]]
    pieces = [piece for value in values if value for piece in value.replace(MARK, MARK[:2] + b"|B").split(b"|")]
    made = b"".join(data.draw(st.lists(st.sampled_from(pieces), min_size=1, max_size=4)))
    hold_alike([*GOOD, (votes[0].id.encode(), made)])


def test_most_votes_need_no_parser() -> None:
    """Votes of a known kind are read by columns, one of another form among them too; a bad record is rejected."""
    keys, values = [key for key, _ in GOOD], [value for _, value in GOOD]
    columns = take_apart(keys, values, 0, 1)  # type: ignore[arg-type]
    assert columns is not None
    assert (columns.votes(), columns.odd) == ([alone(*each) for each in GOOD], {})
    assert len({id(kind) for kind in columns.kinds}) == 1
    odd = a_vote(99, rank=0)
    columns = read_batch([*keys, odd.id.encode()], [*values, encode(odd)], 0, 1)  # type: ignore[assignment]
    assert isinstance(columns, Columns)
    assert (columns.votes()[-1], columns.ranks[-1], columns.odd) == (odd, 0, {len(GOOD): odd})
    assert not isinstance(read_batch([*keys, b"other"], [*values, encode(odd)], 0, 1), Columns)


def test_unknown_fields_and_other_orders_are_left_to_the_parser() -> None:
    """A value with a field of a newer version, or its fields in another order, is a vote, but teaches nothing."""
    vote = a_vote(3, "Never seen before")
    value = encode(vote)
    message = to_message(vote)
    message.ClearField("id")
    backwards = message.SerializeToString() + value[:38]
    newer = (
        value[:38] + b"\x50\x01" + value[38:],
        value + b"\x52\x01a",
        value[:38] + value[38:].replace(b"B", b"\x50\x01B"),
    )
    for other in (*newer, backwards):
        known = len(KINDS)
        hold_alike([*GOOD, (vote.id.encode(), other)])
        assert len(KINDS) == known


def test_known_kinds_are_so_many_at_most() -> None:
    """However many names are made up, no more kinds are kept than said, and no more bytes; the newest one always is."""
    few, small = Kinds(most=5), Kinds(size=300)
    for serial in range(50):
        vote = a_vote(serial, f"Band {serial:02}")
        head, _, tail = encode(vote)[38:].rpartition(MARK)
        for kinds in (few, small):
            kind = kinds.learn(head[:-10], tail, vote)
            assert kind is not None
            assert kinds.get((head[:-10], tail)) is kind
        assert len(few) <= 5
        assert len(small) * (len(head) - 10 + len(tail)) <= 300
        assert few.learn(head[:-11], tail, vote) is None


@settings(deadline=None)
@given(st.lists(st.sampled_from([anonymous_id(1), keyed_id(1), anonymous_id(1).upper(), "", "-" * 36, "7" * 36])
                | st.text("07-8ag ", min_size=35, max_size=37), max_size=4), st.data())  # fmt: skip
def test_ids_looked_at_together_are_uuids_if_each_is(ids: list[str], data: st.DataObject) -> None:
    """The look at all ids, place by place, says what the look at each of them says."""
    if ids and len(ids[0]) == 36:
        at = data.draw(st.integers(0, 35))
        ids = [ids[0][:at] + data.draw(st.sampled_from("-7a8G")) + ids[0][at + 1 :], *ids[1:]]
    tagged = "".join(f"\n${each}" for each in ids).encode()
    assert tagged_ids([each.encode() for each in ids]) == (tagged if all(map(UUID.fullmatch, ids)) else b"")


def spread_votes() -> st.SearchStrategy[Vote]:
    """Votes with ids of many slots, their own stamps or others, so that some are forgotten between their copies."""

    def build(vote: Vote, slot: int, serial: int, minutes: int) -> Vote:
        made = NOW + slot * SLOT_MS
        vote_id = vote.id if vote.id[14] == "8" else anonymous_id(serial, made)
        return Vote(vote_id, vote.contest, vote.name, vote.album, vote.year, vote.rank, made + minutes * 60_000,
                    vote.band, vote.record)  # fmt: skip

    return st.builds(build, votes_strategy(), st.integers(-1, 4), st.integers(0, 3), st.sampled_from([0, 0, 0, 9, 21]))


@settings(deadline=None)
@given(st.lists(votes_strategy() | spread_votes(), max_size=80), st.lists(st.integers(0, 80), max_size=4))
def test_the_fold_by_columns_is_the_fold_vote_by_vote(votes: list[Vote], cuts: list[int]) -> None:
    """Columns of any length, vote by vote in between or not, give the same votes, standings, memory and numbers."""
    plain, fast = PartitionTally(), PartitionTally()
    borders = [0, *sorted(min(cut, len(votes)) for cut in cuts), len(votes)]
    for turn, (start, stop) in enumerate(itertools.pairwise(borders)):
        part = votes[start:stop]
        columns = columns_of(part)
        assert columns.votes() == part
        new = plain.fold(part)
        if turn % 3 == 2:
            assert fast.fold(part) == new
        else:
            repeated = fast.fold_columns(columns)
            assert [vote for at, vote in enumerate(part) if at not in repeated] == new
        assert fast.contests == plain.contests
        assert (fast.counted, fast.repeated) == (plain.counted, plain.repeated)
        one, other = fast.memory, plain.memory
        assert (one.keyed, one.slots, one.time) == (other.keyed, other.slots, other.time)


@settings(deadline=None)
@given(st.lists(votes_strategy() | spread_votes(), max_size=40), st.sets(st.integers(0, 39)), st.integers(0, 40))
def test_sums_are_standings_of_the_votes_that_are_not_repeated(votes: list[Vote], some: set[int], cut: int) -> None:
    """Votes added up by kind, in two parts, become the standings of those that were not called repeated, and go."""
    repeated = {at for at in some if at < len(votes)}
    sums, standings = Sums(), Contests()
    for start, stop in ((0, cut), (cut, len(votes))):
        sums.add(columns_of(votes[start:stop]), {at - start for at in repeated if start <= at < stop})
    put_sums(sums, standings)
    assert standings == count(vote for at, vote in enumerate(votes) if at not in repeated)
    assert (len(sums), [*sums.take()]) == (0, [])


def test_sums_of_many_kinds_are_put_into_standings(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many names are made up, a partition keeps sums of so many kinds at most, and counts all of them."""
    monkeypatch.setattr(tally, "_KINDS", 5)
    votes = [a_vote(serial, f"Band {serial % 20}") for serial in range(60)]
    fast, plain = PartitionTally(), PartitionTally()
    for at in range(0, 60, 4):
        fast.fold_columns(columns_of(votes[at : at + 4]))
        assert len(fast._sums) <= 5
    plain.fold(votes)
    assert fast.contests == plain.contests


def columns_of(votes: list[Vote]) -> Columns:
    """Votes as columns: behind so many good ones that they are read so, which are then left out."""
    records = [*GOOD, *map(record, votes)]
    columns = read_batch([key for key, _ in records], [value for _, value in records], 0, 1)
    assert isinstance(columns, Columns)
    at = len(GOOD)
    odd = {place - at: vote for place, vote in columns.odd.items()}
    return Columns(columns.ids[at:], columns.kinds[at:], columns.ranks[at:], columns.stamps[at:],
                   columns.middles[10 * at :], odd)  # fmt: skip
