"""Names as people write them, and what makes two of them the same."""

import unicodedata


def normalise(text: str) -> str:
    """The text in Unicode NFC (Unicode Standard Annex #15), without spaces at its ends."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    return text.strip()


def fold(text: str) -> str:
    """The identity of a name: equal for spellings that differ only in case or in runs of spaces.

    Case folding is Unicode's full one (`str.casefold`), so that "STRASSE" and "straße" are one;
    accents are kept, so that "Marimba" and "Marimbá" are two. The result is in NFC.
    """
    folded = " ".join(text.casefold().split())
    return folded if folded.isascii() else unicodedata.normalize("NFC", folded)
