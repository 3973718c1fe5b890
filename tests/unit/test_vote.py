"""Ballots as they come, votes as they are made of them, and ids from keys."""

import contextlib
import re
import uuid
from collections.abc import Callable
from functools import partial
from hashlib import sha256

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aplauso.domain.contest import Scale
from aplauso.domain.errors import InvalidVote, MalformedBody, NotOpen
from aplauso.domain.vote import (
    LONGEST,
    MOST,
    Ballot,
    Vote,
    id_from_key,
    keys_of_lines,
    make_vote,
    parse_ballot,
    read_vote,
)
from unit.fakes import NOW, a_contest

GOOD = {"name": "Alux Nahual", "album": "Sub", "year": "1995", "rank": "3"}
KEYS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=16, max_size=128)


def body(**changes: object) -> bytes:
    """A ballot's JSON; `...` leaves a field out."""
    return msgspec.json.encode({key: value for key, value in {**GOOD, **changes}.items() if value is not ...})


def fields(error: pytest.ExceptionInfo[InvalidVote]) -> list[str]:
    """The fields at fault."""
    return [fault.field for fault in error.value.errors]


def test_a_ballot_is_read_with_numbers_or_strings_of_digits() -> None:
    """Year and rank come as numbers or as strings, and unknown fields are passed over."""
    assert parse_ballot(body(year=1995, rank=3, other=[1])) == Ballot("Alux Nahual", "Sub", 1995, 3)
    assert parse_ballot(body()) == Ballot("Alux Nahual", "Sub", "1995", "3")


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"nonsense", b'{"name": "\xff"}', b'{"name": NaN}', b"[" * 100_000, b'{"name":"\\ud800"}']
)
def test_what_is_not_json_is_malformed(raw: bytes) -> None:
    """Bytes that are no JSON are told apart from JSON that is no ballot."""
    with pytest.raises(MalformedBody):
        parse_ballot(raw)


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"name": ...}, ["name"]),
        ({"name": 5, "album": None}, ["name", "album"]),
        ({"year": ..., "rank": True}, ["year", "rank"]),
        ({"year": 1995.5, "rank": [1]}, ["year", "rank"]),
        ({"name": ..., "album": ..., "year": ..., "rank": ...}, ["name", "album", "year", "rank"]),
    ],
)
def test_every_field_of_the_wrong_kind_is_named(changes: dict[str, object], wrong: list[str]) -> None:
    """A body that is no ballot is refused with all of its faults at once."""
    with pytest.raises(InvalidVote) as caught:
        parse_ballot(body(**changes))
    assert fields(caught) == wrong


@pytest.mark.parametrize("raw", [b"[]", b"7", b"null", b'"x"'])
def test_json_that_is_no_object_is_told_as_a_whole(raw: bytes) -> None:
    """An array or a number has no fields to name."""
    with pytest.raises(InvalidVote, match="must be a JSON object"):
        parse_ballot(raw)


@pytest.mark.parametrize("zeros", [18, 19, 30, 1000, 100_000])
def test_a_huge_number_is_refused(zeros: int) -> None:
    """A year of thousands of digits is refused, and nothing breaks."""
    with pytest.raises((InvalidVote, MalformedBody)):
        make_vote(
            parse_ballot(b'{"name":"a","album":"b","rank":1,"year":1' + b"0" * zeros + b"}"), a_contest(), "id", NOW
        )


@given(st.binary(max_size=60) | st.recursive(st.none() | st.floats() | st.text(), st.lists).map(msgspec.json.encode))
@example(b'{"name":"a","name":"b","album":"c","year":1,"rank":1}')
def test_any_body_is_a_ballot_or_refused(raw: bytes) -> None:
    """Whatever the bytes, they are read or refused; nothing else comes out."""
    with contextlib.suppress(InvalidVote, MalformedBody):
        assert isinstance(parse_ballot(raw), Ballot)


def test_a_vote_is_made_normalised() -> None:
    """A vote has its texts in NFC, its numbers as numbers, its stamp, and its folded identity."""
    ballot = Ballot(" Estre\u0301s ", "SUB  2", "1999", 10)
    vote = make_vote(ballot, a_contest(), "an-id", NOW)
    assert vote == Vote("an-id", "gt", "Estrés", "SUB  2", 1999, 10, NOW, "estrés", "sub 2")


@pytest.mark.parametrize("year", [1900, "2100", "001995"])
@pytest.mark.parametrize("rank", [1, "10"])
def test_years_and_ranks_include_their_ends(year: int | str, rank: int | str) -> None:
    """1900 to 2100 and 1 to 10 are right, both ends included."""
    vote = make_vote(Ballot("a", "b", year, rank), a_contest(), "id", NOW)
    assert (vote.year, vote.rank) == (int(year), int(rank))


@pytest.mark.parametrize("year", [1899, 2101, "", " 1995", "-1995", "1995.0", "１９９５", "9" * 5000, -1])
def test_a_year_that_is_none_is_named(year: int | str) -> None:
    """A year out of range, or written with anything but ASCII digits, is refused."""
    with pytest.raises(InvalidVote) as caught:
        make_vote(Ballot("a", "b", year, 3), a_contest(), "id", NOW)
    assert fields(caught) == ["year"]


def test_all_broken_rules_are_told_at_once() -> None:
    """A vote with four faults is refused with four fields."""
    with pytest.raises(InvalidVote) as caught:
        make_vote(Ballot(" ", "x" * 201, 0, 11), a_contest(), "id", NOW)
    assert fields(caught) == ["name", "album", "year", "rank"]
    with pytest.raises(InvalidVote, match="rank: must be 0 to 5"):
        make_vote(Ballot("a", "b", 1995, 6), a_contest(rank=Scale(0, 5)), "id", NOW)


READ = (
    b'{"name": "La Tona", "album": "Uno", "year": "1995", "rank": "3"}',
    b'{"name": "la  TONA ", "album": "Uno", "year": 1995, "rank": 3}',
    b'{"name": "La Tona", "album": "Dos", "year": 1996, "rank": 10}',
    b'{"name": "La Tona", "album": "Uno", "year": 1995, "rank": 11}',
    b'{"name": "", "album": "Uno", "year": 1995, "rank": 3}',
    b'{"name": "La Tona", "album": "Uno", "year": 1995}',
    b"[", b"",
)  # fmt: skip
"""Ballots as they are sent, some of which mean the same, and some nothing."""


@given(sent=st.lists(st.tuples(st.sampled_from(READ), st.integers(-2, 2), st.booleans()), max_size=20))
def test_a_ballot_that_came_before_means_what_it_meant(sent: list[tuple[bytes, int, bool]]) -> None:
    """Whatever was read before, for this contest or another, a ballot is the vote or the error that it is by itself."""
    contests = a_contest(closes=NOW + 1), a_contest(closes=NOW + 1, rank=Scale(5, 11))

    def told(vote: Callable[[], Vote]) -> Vote | tuple[type[Exception], str]:
        try:
            return vote()
        except (InvalidVote, MalformedBody, NotOpen) as error:
            return type(error), str(error)

    for number, (body, late, other) in enumerate(sent):
        contest, vote_id, at = contests[other], f"id-{number}", NOW + late
        read = told(partial(read_vote, body, contest, lambda: vote_id, at))  # noqa: B023 - called at once
        assert read == told(lambda: make_vote(parse_ballot(body), contest, vote_id, at))  # noqa: B023 - called at once


def test_known_ballots_have_an_end() -> None:
    """So many ballots are known by their bytes, none of them long, and none that are no votes."""
    contest = a_contest()
    sent = [msgspec.json.encode(GOOD | {"album": f"Sub {number}"}) for number in range(MOST + 2)]
    long = msgspec.json.encode(GOOD | {"more": "x" * LONGEST})
    for body in (*sent, long):
        read_vote(body, contest, lambda: "id", NOW)
    with pytest.raises(InvalidVote):
        read_vote(b"{}", contest, lambda: "id", NOW)
    assert list(contest.ballots) == sent[MOST:]


@pytest.mark.parametrize("before", [[], [GOOD]])
def test_a_body_that_is_no_ballot_is_told_before_a_wrong_key(before: list[object]) -> None:
    """Of a body and a key that are both wrong, the body is told; of a key and a window, the key."""
    contest = a_contest(closes=NOW)
    for ballot in before:
        read_vote(msgspec.json.encode(ballot), contest, lambda: "id", NOW - 1)
    wrong_key = partial(id_from_key, "gt", "short")
    with pytest.raises(MalformedBody):
        read_vote(b"{", contest, wrong_key, NOW)
    with pytest.raises(InvalidVote, match="Idempotency-Key"):
        read_vote(msgspec.json.encode(GOOD), contest, wrong_key, NOW)


def test_the_window_is_decided_by_the_stamp() -> None:
    """A vote stamped after the closing is refused, however right its fields are."""
    with pytest.raises(NotOpen):
        make_vote(Ballot("a", "b", 1995, 3), a_contest(closes=NOW), "id", NOW)


def expected_id(*parts: str) -> str:
    """An id from its parts, worked out by other means than the project's: hexadecimal text and uuid."""
    message = "".join(f"{len(part.encode()):08x}{part.encode().hex()}" for part in parts)
    digest = sha256(bytes.fromhex(message)).hexdigest()
    variant = "89ab"[int(digest[16], 16) & 3]
    return str(uuid.UUID(digest[:12] + "8" + digest[13:16] + variant + digest[17:32]))


def test_ids_from_keys_are_stable_for_ever() -> None:
    """These ids may never change: the same key has to give the same vote in every version."""
    key = "0b6d3a1e-51d4-4a38-9d0d-7a3a6f0c5d11"
    known = {
        id_from_key("bandas-gt", key): "a87e7458-e8cf-85c7-92b4-9c14ab389743",
        id_from_key("bandas-gt", key, 1): "3a4737ff-b789-8aff-b66e-27dbf89ee899",
        id_from_key("bandas-gt", "!" * 16): "3cbd8f77-fb2a-8bc4-ac3b-d7169f5e8a15",
    }
    assert list(known) == list(known.values())


@given(st.sampled_from(["gt", "bandas-gt", "a"]), KEYS, st.none() | st.integers(1, 10_000))
def test_an_id_from_a_key_is_a_length_prefixed_digest(contest: str, key: str, line: int | None) -> None:
    """An id is the digest that its docstring describes, a UUID of version 8 and RFC 9562's variant."""
    made = id_from_key(contest, key, line)
    single = ("aplauso.vote.key", contest, key)
    assert made == expected_id(*(single if line is None else ("aplauso.vote.line", contest, key, str(line))))
    assert (uuid.UUID(made).version, uuid.UUID(made).variant) == (8, uuid.RFC_4122)
    assert re.fullmatch(r"[0-9a-f-]{36}", made)


@settings(max_examples=200)
@given(st.sets(st.tuples(st.sampled_from(["a", "aa", "a-a"]), KEYS, st.none() | st.integers(1, 12)), min_size=2))
def test_different_arguments_give_different_ids(arguments: set[tuple[str, str, int | None]]) -> None:
    """Contest, key and line are told apart wherever one ends and the next begins."""
    assert len({id_from_key(*each) for each in arguments}) == len(arguments)


@given(st.text(max_size=20), KEYS, st.lists(st.integers(1, 10_000), max_size=20))
def test_the_ids_of_lines_are_the_same_together(contest: str, key: str, lines: list[int]) -> None:
    """A batch gives each of its lines the id that the line has alone."""
    assert [made.decode() for made in keys_of_lines(contest, key, lines)] == [
        id_from_key(contest, key, line) for line in lines
    ]


def test_a_key_and_a_line_never_meet() -> None:
    """A key that ends in a line's number is not that line of the shorter key, nor are shifted borders the same."""
    key = "k" * 16
    ids = [
        id_from_key("a", key), id_from_key("a", key, 1), id_from_key("a", key + "1"), id_from_key("a", key, 11),
        id_from_key("a", key + "1", 1), id_from_key("ak", key), id_from_key("a", "k" + key),
    ]  # fmt: skip
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("key", ["", "x" * 15, "x" * 129, "x" * 15 + " ", "x" * 15 + "é", "x" * 16 + "\n"])
def test_a_key_of_another_form_is_refused(key: str) -> None:
    """A key is 16 to 128 visible ASCII characters."""
    with pytest.raises(InvalidVote) as caught:
        id_from_key("gt", key)
    assert fields(caught) == ["Idempotency-Key"]
