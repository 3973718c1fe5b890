"""A contest: its window, its scale and its bands, read from a TOML file.

id = "bandas-gt"
opens = 2026-11-01T18:00:00-06:00     # optional: without it, open from the beginning
closes = 2026-11-30T23:59:59-06:00    # optional: without it, it never closes
nominations = "open"                  # any band; or "listed": only the bands below
title = { es = "Bandas de Guatemala", en = "Bands of Guatemala" }
rank = { min = 1, max = 10 }          # optional, these are the defaults

[[bands]]
name = "Marimba Eléctrica"
albums = ["Mil \\"Palabras\\"", "Sub"]  # optional: without them, any album of this band
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple, cast

import msgspec

from aplauso.domain.errors import FieldError, InvalidContest, InvalidVote, NotOpen
from aplauso.domain.text import fold, normalise

ID: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")
"""What a contest's id looks like: it stands in addresses, keys and metric labels."""
LANGUAGES: Final = ("es", "en")
MAX_NAME: Final = 200
"""Characters of a name or an album, at most."""
MAX_RANK: Final = 1000


class Scale(msgspec.Struct, frozen=True):
    """The ranks that a vote may give, both ends included."""

    min: int = 1
    max: int = 10


class Band(msgspec.Struct, frozen=True):
    """A band of the contest's file, in the spelling that is to be shown."""

    name: str
    albums: tuple[str, ...] = ()


class Spelling(NamedTuple):
    """A band and an album as they are shown, and what identifies them."""

    name: str
    band: str
    album: str
    record: str


class Contest(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """One contest and its rules.

    Attributes:
        id: as in addresses.
        title: by language, "es" and "en".
        opens: first moment at which a vote counts, in milliseconds since the epoch, or None.
        closes: first moment at which none counts any more, or None.
        rank: the scale.
        nominations: "open" for any band, "listed" for those of `bands` only.
        bands: in the file's order.
    """

    id: str
    title: Mapping[str, str]
    opens: int | None = None
    closes: int | None = None
    rank: Scale = Scale()
    nominations: Literal["open", "listed"] = "open"
    bands: tuple[Band, ...] = ()

    def __post_init__(self) -> None:
        index = {fold(band.name): (band.name, {fold(a): a for a in band.albums}) for band in self.bands}
        self.__dict__["_bands"] = index
        # People vote for the same few bands again and again; what a voter makes up is bounded by the cache's size.
        self.__dict__["spell"] = lru_cache(maxsize=2048)(self.spell)
        self.__dict__["_ballots"] = {}

    def is_open(self, at: int) -> bool:
        """Whether a vote stamped `at` (milliseconds since the epoch) is in time."""
        return (self.opens is None or at >= self.opens) and (self.closes is None or at < self.closes)

    def check_window(self, at: int) -> None:
        """Says whether a vote stamped `at` (milliseconds since the epoch) is in time.

        Raises:
            NotOpen: it is not.
        """
        if self.opens is not None and at < self.opens:
            raise NotOpen(f"the contest {self.id} opens at {instant(self.opens)}")
        if self.closes is not None and at >= self.closes:
            raise NotOpen(f"the contest {self.id} closed at {instant(self.closes)}")

    def spell(self, name: str, album: str) -> Spelling:
        """The band and the album as this contest shows and identifies them.

        Args:
            name: as the voter wrote it.
            album: likewise.

        Raises:
            InvalidVote: one of them is empty or too long, or the contest lists its bands, or the band its albums,
                and this is none of them.
        """
        name, album = normalise(name), normalise(album)
        errors = [
            FieldError(field, f"must be 1 to {MAX_NAME} characters")
            for field, text in (("name", name), ("album", album))
            if not 0 < len(text) <= MAX_NAME
        ]
        if errors:
            raise InvalidVote(errors)
        band, record = fold(name), fold(album)
        wrong = self.check_listed(band, record)
        if wrong:
            raise InvalidVote([wrong])
        shown, albums = self._index.get(band, (name, {}))
        return Spelling(shown, band, albums.get(record, album), record)

    @property
    def ballots(self) -> dict[bytes, Any]:
        """What some ballots mean by this contest's rules, by their bytes: `aplauso.domain.vote.read_vote` keeps it."""
        return cast("dict[bytes, Any]", self.__dict__["_ballots"])

    @property
    def _index(self) -> dict[str, tuple[str, dict[str, str]]]:
        return cast("dict[str, tuple[str, dict[str, str]]]", self.__dict__["_bands"])

    def check_listed(self, band: str, record: str) -> FieldError | None:
        """The fault of a folded band or album that a contest with listed nominations does not list, or None."""
        if self.nominations == "open":
            return None
        listed = self._index.get(band)
        if listed is None:
            return FieldError("name", "is not one of the bands of this contest")
        if listed[1] and record not in listed[1]:
            return FieldError("album", "is not one of the listed albums of this band")
        return None

    def check_rank(self, rank: int) -> FieldError | None:
        """The fault of a rank outside the scale, or None."""
        if self.rank.min <= rank <= self.rank.max:
            return None
        return FieldError("rank", f"must be {self.rank.min} to {self.rank.max}")


def instant(at: int) -> str:
    """Milliseconds since the epoch as RFC 3339 in UTC, to the millisecond."""
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse(text: str, source: str) -> Contest:
    """Reads a contest from TOML.

    Args:
        text: the file's text.
        source: its name, for the messages.

    Raises:
        InvalidContest: with everything that is wrong, not only the first.
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidContest(source, [FieldError("", f"is not TOML: {error}")]) from None
    except RecursionError:
        raise InvalidContest(source, [FieldError("", "is nested too deeply")]) from None
    return _Reader(raw, source).contest()


class _Reader:
    """Walks through the parsed file and gathers what is wrong with it."""

    def __init__(self, raw: dict[str, Any], source: str) -> None:
        self.raw = raw
        self.source = source
        self.errors: list[FieldError] = []

    def contest(self) -> Contest:
        self._unknown(self.raw, ("id", "title", "opens", "closes", "rank", "nominations", "bands"), "")
        contest_id, title = self._id(), self._title()
        opens, closes = self._moment("opens"), self._moment("closes")
        if opens is not None and closes is not None and closes <= opens:
            self._wrong("closes", "must be after opens")
        nominations = self.raw.get("nominations", "open")
        if nominations not in ("open", "listed"):
            self._wrong("nominations", 'must be "open" or "listed"')
        scale, bands = self._scale(), self._bands()
        if nominations == "listed" and not bands:
            self._wrong("bands", 'must list at least one band when nominations are "listed"')
        if self.errors:
            raise InvalidContest(self.source, self.errors)
        return Contest(
            id=contest_id, title=title, opens=opens, closes=closes,
            rank=scale, nominations=nominations, bands=bands,
        )  # fmt: skip

    def _wrong(self, field: str, message: str) -> None:
        self.errors.append(FieldError(field, message))

    def _unknown(self, table: Mapping[str, Any], known: Sequence[str], where: str) -> None:
        for key in table.keys() - set(known):
            self._wrong(f"{where}{key}", f"is not known here (known: {', '.join(known)})")

    def _id(self) -> str:
        value = self.raw.get("id")
        if isinstance(value, str) and ID.fullmatch(value):
            return value
        self._wrong("id", "must be 1 to 64 of a-z, 0-9 and -, not at the ends")
        return ""

    def _title(self) -> dict[str, str]:
        value = self.raw.get("title")
        if not isinstance(value, dict):
            self._wrong("title", 'must be a table with "es" and "en"')
            return {}
        self._unknown(value, LANGUAGES, "title.")
        return {language: self._text(value.get(language), f"title.{language}") for language in LANGUAGES}

    def _text(self, value: object, field: str) -> str:
        if isinstance(value, str) and 1 <= len(normalise(value)) <= MAX_NAME:
            return normalise(value)
        self._wrong(field, f"must be text of 1 to {MAX_NAME} characters")
        return ""

    def _moment(self, field: str) -> int | None:
        value = self.raw.get(field)
        if value is None:
            return None
        if not isinstance(value, datetime) or value.tzinfo is None:
            self._wrong(field, "must be a date and time with its offset, such as 2026-11-30T20:00:00-06:00")
            return None
        try:
            at = round(value.timestamp() * 1000)
            instant(at)
        except (ValueError, OverflowError):
            self._wrong(field, "must lie in the years 1 to 9999, in UTC too")
            return None
        return at

    def _scale(self) -> Scale:
        value = self.raw.get("rank", {})
        if not isinstance(value, dict):
            self._wrong("rank", 'must be a table with "min" and "max"')
            return Scale()
        self._unknown(value, ("min", "max"), "rank.")
        low, high = value.get("min", 1), value.get("max", 10)
        if type(low) is int and type(high) is int and 0 <= low < high <= MAX_RANK:
            return Scale(low, high)
        self._wrong("rank", f"needs whole numbers 0 <= min < max <= {MAX_RANK}")
        return Scale()

    def _bands(self) -> tuple[Band, ...]:
        value = self.raw.get("bands", [])
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            self._wrong("bands", "must be tables with a name each")
            return ()
        bands = tuple(self._band(item, f"bands[{i}].") for i, item in enumerate(value))
        self._repeats([band.name for band in bands], "bands", "name")
        return bands

    def _band(self, raw: Mapping[str, Any], where: str) -> Band:
        self._unknown(raw, ("name", "albums"), where)
        name, albums = self._text(raw.get("name"), f"{where}name"), raw.get("albums", [])
        if not isinstance(albums, list):
            self._wrong(f"{where}albums", "must be a list of texts")
            return Band(name)
        shown = tuple(self._text(album, f"{where}albums[{i}]") for i, album in enumerate(albums))
        self._repeats(shown, f"{where[:-1]}", "album")
        return Band(name, shown)

    def _repeats(self, names: Sequence[str], field: str, what: str) -> None:
        seen: set[str] = set()
        for name in names:
            if name and fold(name) in seen:
                self._wrong(field, f"the {what} {name!r} stands there twice (case and spaces do not tell names apart)")
            seen.add(fold(name))
