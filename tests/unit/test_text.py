"""Names as people write them, and what makes two of them the same."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aplauso.domain.text import fold, normalise

TEXT = st.text(max_size=30)


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("  Sub \t\n", "Sub"),
        ("Estre\u0301s", "Estrés"),
        ("\u00a0Alux\u3000", "Alux"),
        ("두\u1112\u1161\u11ab", "두한"),
        ("A  B", "A  B"),
        (" ", ""),
    ],
)
def test_a_name_is_shown_in_nfc_and_trimmed(written: str, shown: str) -> None:
    """A name is put into NFC and loses the spaces at its ends, and nothing else."""
    assert normalise(written) == shown


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Marimba Eléctrica", "marimba  ELÉCTRICA"),
        ("STRASSE", "straße"),
        ("Estre\u0301s", "ESTRÉS"),
        ("ΣΊΣΥΦΟΣ", "σίσυφος"),
        ("ﬃ", "FFI"),
        ("Los\u00a0del\u2003Volcán", "los del volcán"),
    ],
)
def test_case_and_runs_of_spaces_do_not_tell_names_apart(one: str, other: str) -> None:
    """Two spellings that differ only in case, in composition or in runs of spaces are one band."""
    assert fold(normalise(one)) == fold(normalise(other))


@pytest.mark.parametrize(
    ("one", "other"), [("Marimba", "Marimbá"), ("Alux", "A lux"), ("Sub", "Sub."), ("Ñ", "N"), ("a\u200bb", "ab")]
)
def test_accents_signs_and_spaces_inside_tell_names_apart(one: str, other: str) -> None:
    """What is more than case or a longer space makes another band."""
    assert fold(normalise(one)) != fold(normalise(other))


@given(TEXT)
def test_normalising_and_folding_twice_changes_nothing(text: str) -> None:
    """A shown name is its own normal form, and an identity its own folding."""
    shown = normalise(text)
    assert normalise(shown) == shown
    assert unicodedata.is_normalized("NFC", shown)
    assert fold(fold(shown)) == fold(shown)


@given(TEXT)
def test_an_identity_is_at_most_three_times_as_long(text: str) -> None:
    """Folding never makes a text more than three times as long, which the bounds of a record rely on."""
    shown = normalise(text)
    assert len(fold(shown)) <= 3 * len(shown)


@given(TEXT)
def test_what_is_not_empty_has_an_identity(text: str) -> None:
    """No name that can be voted for folds to nothing."""
    assert bool(fold(normalise(text))) == bool(normalise(text))
