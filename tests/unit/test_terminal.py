"""Text from elsewhere on a terminal."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aplauso.cli.terminal import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Alux Nahual", "Alux Nahual"),
        ("Señales — «Viento» 🎸 👩‍🎤 [bold]", "Señales — «Viento» 🎸 👩‍🎤 [bold]"),
        ("\x1b[2J\x1b]0;owned\x07", r"\x1b[2J\x1b]0;owned\x07"),
        ("\x9b31m", r"\x9b31m"),
        ("a\nb\tc\rd\0", r"a\nb\tc\rd\x00"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\u2066x\u2069", r"\u2066x\u2069"),
        ("a\u2028b", r"a\u2028b"),
        ("\ud800", r"\ud800"),
        ("", ""),
    ],
)
def test_what_a_terminal_would_obey_is_shown_as_an_escape(text: str, shown: str) -> None:
    """Controls, directions and line breaks become escapes; letters, emoji and markup stay as they are."""
    assert printable(text) == shown


@given(st.text())
def test_nothing_that_a_terminal_would_obey_is_left(text: str) -> None:
    """Whatever the text, what is printed can be encoded, is one line, and holds no control or direction."""
    shown = printable(text)
    shown.encode()
    assert len(shown.splitlines()) <= 1
    assert not {c for c in shown if unicodedata.category(c) in ("Cc", "Cf")} - {"\u200c", "\u200d"}
