"""Text from voters and servers on a terminal: shown, never obeyed."""

import unicodedata
from typing import Final

_JOINERS: Final = "\u200c\u200d"
"""Format characters that scripts and emoji need, and that move nothing."""
_HARMFUL: Final = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
"""Controls, formats (directions among them), halves of surrogate pairs, line and paragraph separators."""


def printable(text: str) -> str:
    """The text with every character that a terminal would obey written as an escape, such as `\\x1b`.

    What is left is one line that moves no cursor, changes no colour and turns no direction. Markup of rich
    is left as it is: print it with `markup=False` or as `rich.text.Text`.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escape(c) if _is_harmful(c) else c for c in text)


def _is_harmful(character: str) -> bool:
    return unicodedata.category(character) in _HARMFUL and character not in _JOINERS


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
