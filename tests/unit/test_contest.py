"""Contest files, windows, scales and listed bands."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from aplauso.domain.contest import Band, Contest, Scale, Spelling, instant, parse
from aplauso.domain.errors import InvalidContest, InvalidVote, NotOpen
from unit.fakes import NOW, a_contest

FULL = """
id = "bandas-gt"
opens = 2026-11-01T18:00:00-06:00
closes = 2026-11-30T23:59:59.5-06:00
nominations = "listed"
title = { es = " Bandas de Guatemala ", en = "Bands" }
rank = { min = 0, max = 5 }
[[bands]]
name = "Marimba Ele\u0301ctrica"
albums = ["Mil \\"Palabras\\"", "Sub"]
[[bands]]
name = "Y-find"
"""
SMALL = 'id = "gt"\ntitle = { es = "B", en = "B" }\n'


def listed() -> Contest:
    """A contest with two bands, one of them with albums."""
    bands = (Band("Marimba Eléctrica", ("Sub", "Mil “Palabras”")), Band("Y-find"))
    return a_contest(nominations="listed", bands=bands)


def faults(text: str) -> dict[str, str]:
    """What the reader says of each field."""
    with pytest.raises(InvalidContest) as caught:
        parse(text, "a.toml")
    assert str(caught.value).startswith("a.toml: ")
    return {error.field: error.message for error in caught.value.errors}


def test_a_full_file_is_read() -> None:
    """Every key of a contest file arrives, texts in NFC and trimmed, moments in milliseconds."""
    contest = parse(FULL, "a.toml")
    zone = timezone(timedelta(hours=-6))
    assert contest == Contest(
        id="bandas-gt",
        title={"es": "Bandas de Guatemala", "en": "Bands"},
        opens=int(datetime(2026, 11, 1, 18, tzinfo=zone).timestamp()) * 1000,
        closes=int(datetime(2026, 11, 30, 23, 59, 59, tzinfo=zone).timestamp()) * 1000 + 500,
        rank=Scale(0, 5),
        nominations="listed",
        bands=(Band("Marimba Eléctrica", ('Mil "Palabras"', "Sub")), Band("Y-find")),
    )


def test_what_a_file_leaves_out_has_a_default() -> None:
    """A contest of an id and titles never closes, takes any band, and ranks from 1 to 10."""
    contest = parse(SMALL, "a.toml")
    assert (contest.opens, contest.closes, contest.rank) == (None, None, Scale(1, 10))
    assert (contest.nominations, contest.bands) == ("open", ())


@pytest.mark.parametrize(
    ("change", "field", "says"),
    [
        ("banda = 1", "banda", "is not known here"),
        ("opens = 2026-11-01T18:00:00", "opens", "with its offset"),
        ("opens = 2026-11-01", "opens", "with its offset"),
        ('closes = "tomorrow"', "closes", "with its offset"),
        ("opens = 2026-11-02T00:00:00Z\ncloses = 2026-11-02T00:00:00Z", "closes", "must be after opens"),
        ('nominations = "closed"', "nominations", '"open" or "listed"'),
        ("nominations = ['open']", "nominations", '"open" or "listed"'),
        ('nominations = "listed"', "bands", "at least one band"),
        ("rank = 5", "rank", "table"),
        ("rank = { min = 5, max = 5 }", "rank", "min < max"),
        ("rank = { min = -1, max = 5 }", "rank", "min < max"),
        ("rank = { min = 1, max = 1001 }", "rank", "<= 1000"),
        ("rank = { min = true, max = 5 }", "rank", "whole numbers"),
        ("rank = { low = 1 }", "rank.low", "is not known here"),
        ("bands = 1", "bands", "a name each"),
        ("bands = ['x']", "bands", "a name each"),
        ("[[bands]]\nname = ' '", "bands[0].name", "1 to 200"),
        ("[[bands]]\nname = 'x'\nyear = 1", "bands[0].year", "is not known here"),
        ("[[bands]]\nname = 'x'\nalbums = 'y'", "bands[0].albums", "a list"),
        ("[[bands]]\nname = 'x'\nalbums = ['a', 3]", "bands[0].albums[1]", "1 to 200"),
        ("[[bands]]\nname = 'x'\nalbums = ['Sub', ' SUB']", "bands[0]", "twice"),
        ("[[bands]]\nname = 'A  b'\n[[bands]]\nname = 'a B'", "bands", "twice"),
    ],
)
def test_each_fault_of_a_file_is_named(change: str, field: str, says: str) -> None:
    """A contest file that breaks one rule is refused with the field at fault and what is wrong with it."""
    found = faults(SMALL + change)
    assert list(found) == [field]
    assert says in found[field]


@pytest.mark.parametrize("wrong", ["", "Bandas", "-gt", "gt-", "a" * 65, "a b", "á"])
def test_an_id_has_to_fit_into_addresses(wrong: str) -> None:
    """A contest's id is 1 to 64 of a-z, 0-9 and -, not at the ends."""
    assert list(faults(SMALL.replace('"gt"', f'"{wrong}"'))) == ["id"]
    assert parse(SMALL.replace('"gt"', f'"{"a" * 64}"'), "a.toml").id == "a" * 64


@pytest.mark.parametrize(
    ("title", "fields"),
    [
        ("", ["title"]),
        ("title = 'x'", ["title"]),
        ("title = { es = 'x' }", ["title.en"]),
        ("title = { es = 'x', en = 'y', fr = 'z' }", ["title.fr"]),
    ],
)
def test_a_title_needs_both_languages(title: str, fields: list[str]) -> None:
    """A title is given in Spanish and in English, and in nothing else."""
    assert list(faults(f"id = 'gt'\n{title}")) == fields


def test_all_faults_are_told_at_once() -> None:
    """Whoever mends a contest file learns of everything in one go, and of text that is not TOML at all."""
    assert set(faults("id = 1\nrank = 1\nbands = 1")) == {"id", "title", "rank", "bands"}
    assert list(faults("id = ")) == [""]


def test_the_window_includes_its_opening_and_not_its_closing() -> None:
    """The opening moment is the first that counts, the closing one the first that does not."""
    contest = a_contest(opens=NOW, closes=NOW + 1000)
    contest.check_window(NOW)
    contest.check_window(NOW + 999)
    with pytest.raises(NotOpen, match=r"opens at 2026-11-18T.*Z"):
        contest.check_window(NOW - 1)
    with pytest.raises(NotOpen, match="closed at"):
        contest.check_window(NOW + 1000)
    a_contest().check_window(0)


def test_an_instant_is_rfc_3339_to_the_millisecond() -> None:
    """Moments are shown in UTC with three digits after the second."""
    assert instant(0) == "1970-01-01T00:00:00.000Z"
    assert datetime.fromisoformat(instant(NOW + 7)) == datetime.fromtimestamp((NOW + 7) / 1000, UTC)


def test_a_listed_band_is_shown_as_the_file_spells_it() -> None:
    """However a voter writes a listed band or album, the contest file's spelling is shown."""
    written = "  marimba   ELE\u0301CTRICA", "mil “palabras” "
    expected = Spelling("Marimba Eléctrica", "marimba eléctrica", "Mil “Palabras”", "mil “palabras”")
    assert listed().spell(*written) == expected
    opened = a_contest(bands=listed().bands)
    assert opened.spell(*written) == expected
    assert opened.spell("Nueva", " X ") == Spelling("Nueva", "nueva", "X", "x")


@pytest.mark.parametrize(
    ("name", "album", "fields"),
    [
        ("Nobody", "Sub", ["name"]),
        ("Marimba Eléctrica", "Bus", ["album"]),
        ("", " ", ["name", "album"]),
        ("x" * 201, "Sub", ["name"]),
    ],
)
def test_what_is_not_listed_is_refused(name: str, album: str, fields: list[str]) -> None:
    """A listed contest refuses other bands and, where albums are listed, other albums."""
    with pytest.raises(InvalidVote) as caught:
        listed().spell(name, album)
    assert [error.field for error in caught.value.errors] == fields


def test_a_listed_band_without_albums_takes_any() -> None:
    """A band whose albums are not listed may be voted for with any of them."""
    assert listed().spell("Y-FIND", "Anything").album == "Anything"


def test_lengths_are_counted_after_normalising() -> None:
    """200 characters are counted in NFC and without the spaces at the ends."""
    assert len(a_contest().spell(" " + "e\u0301" * 200 + " ", "x" * 200).name) == 200


def test_the_scale_includes_its_ends() -> None:
    """A rank is held against both ends of the contest's scale."""
    contest = a_contest(rank=Scale(2, 5))
    assert [rank for rank in range(8) if contest.check_rank(rank) is None] == [2, 3, 4, 5]
    assert contest.check_rank(6) == ("rank", "must be 2 to 5")


@pytest.mark.parametrize(
    "moment", ["9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+14:00"], ids=["after 9999", "before 1"]
)
def test_a_moment_outside_the_calendar_is_named(moment: str) -> None:
    """A moment that is no date in UTC is a fault of the file, not of whoever shows it."""
    text = f'id = "a"\ncloses = {moment}\ntitle = {{ es = "A", en = "A" }}\n'
    with pytest.raises(InvalidContest, match="closes: must lie in the years 1 to 9999"):
        parse(text, "a.toml")


def test_a_file_nested_without_end_is_refused() -> None:
    """What the parser cannot follow is named, not raised."""
    with pytest.raises(InvalidContest, match="nested too deeply"):
        parse("x = " + "[" * 100_000, "a.toml")
