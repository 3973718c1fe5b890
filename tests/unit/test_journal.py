"""The journal of answers: its lines, and what is said of lines that are none."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aplauso.domain.errors import Refused
from aplauso.domain.journal import Attempt, Outcome, encode, parse, read
from aplauso.domain.vote import Ballot

AT = "2026-11-23T11:27:11.625Z"
LINE = encode(Attempt(AT, "an-id", "a-key", "gt", Outcome.RECORDED, 201, Ballot("Alux Nahual", "Alto", "1988", 2)))

texts = st.text(max_size=20).filter(lambda text: not any("\ud800" <= c <= "\udfff" for c in text))
attempts = st.builds(
    Attempt,
    st.just(AT),
    texts,
    st.none() | texts,
    st.none() | texts,
    st.sampled_from(Outcome),
    st.none() | st.integers(100, 599),
    st.builds(Ballot, texts, texts, st.integers(0, 3000) | texts, st.integers(0, 10) | texts),
)


def test_line_has_the_fields_of_the_contract() -> None:
    """A line is one JSON object with exactly the contract's fields, in its order."""
    assert LINE.endswith(b"\n")
    assert LINE.count(b"\n") == 1
    assert list(msgspec.json.decode(LINE)) == ["at", "id", "key", "contest", "outcome", "status", "vote"]
    assert list(msgspec.json.decode(LINE)["vote"]) == ["name", "album", "year", "rank"]
    assert msgspec.json.decode(LINE)["outcome"] == "recorded"


@given(st.lists(attempts, max_size=5))
def test_what_is_written_is_read(written: list[Attempt]) -> None:
    """Any attempts, line breaks in their names included, come back from the journal as they were."""
    lines = b"".join(encode(attempt) for attempt in written).splitlines(keepends=True)
    assert list(read(lines)) == written


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b'"outcome":"recorded"', b'"outcome":"maybe"', "outcome"),
        (b'"an-id"', b"null", "without an id"),
        (b'"an-id"', b"7", "id"),
        (b'"contest":"gt",', b"", "contest"),
        (AT.encode(), b"yesterday", "RFC 3339"),
        (AT.encode(), b"2026-11-23T11:27:11+01:00", "UTC"),
        (b'"rank":2', b'"rank":[]', "rank"),
        (b"{", b"", "attempt"),
        (b"Alux", b"\xff\xfe", "attempt"),
    ],
)
def test_wrong_line_is_named(old: bytes, new: bytes, said: str) -> None:
    """A line that is no attempt is refused with the journal's name, its number and its fault."""
    assert old in LINE
    with pytest.raises(Refused, match=rf"^run\.ndjson: line 3 .*{said}"):
        list(read([LINE, b"\n", LINE.replace(old, new, 1)], "run.ndjson"))


def test_cut_off_line_is_named() -> None:
    """A last line without its end, though it be JSON, is told as cut off."""
    with pytest.raises(Refused, match="line 2 is cut off"):
        list(read([LINE, LINE.rstrip()]))


def test_empty_lines_are_passed_over() -> None:
    """Empty lines are no attempts, and no fault."""
    assert list(read([b"\n", LINE, b" \r\n"])) == [parse(LINE, 1)]
