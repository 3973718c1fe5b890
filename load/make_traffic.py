"""Writes traffic.json: votes for the example contest, as varied as people write them.

    python load/make_traffic.py            # writes the file
    python load/make_traffic.py --check    # exit 1 when the file is not what this script writes

A listed band or album (one of the contest's file) is written in every way that still means it: other case,
runs of spaces, decomposed accents, ligatures, spaces at the ends. One that is not listed is shown in the
spelling of its earliest vote, and votes sent side by side have no fixed order: so it has one spelling
only, but for what normalisation takes away (decomposed accents, spaces at the ends).
"""

import json
import random
import sys
import tomllib
import unicodedata
from bisect import bisect
from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

HERE: Final = Path(__file__).resolve().parent
CONTEST: Final = HERE.parent / "src" / "aplauso" / "contests" / "bandas-gt.toml"
TRAFFIC: Final = HERE / "traffic.json"
SEED: Final = 1821
VOTES: Final = 6000
SECOND_PLACE: Final = 370
"""Votes of the band in the second place."""
FAVOURITES: Final = 6
"""So many of the first bands of the contest's file lead."""
TIED: Final = {
    "Malacates Trébol Shop": "Bohemia Suburbana",
    "Marimba Eléctrica": "Razones de Cambio",
    "<script>alert(1)</script>": "Razones de Cambio",
    "🎸": "ＦＵＬＬＷＩＤＴＨ",  # in another order when sorted by UTF-16 units
    "Ñ": "null",
    "Radio Viejo": "0",
}
"""Bands that get exactly as many votes as another one."""

T = TypeVar("T")

STRANGE: Final = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "'; DROP TABLE votes; --",
    "=SUM(A1:A9)",
    "+502 Banda",
    "@todos",
    "\u001b[31mRojo Peligro\u001b[0m",
    "\u001b]0;Título\u0007 Terminal",
    "\u202eséver la adnaB\u202c",
    "\u200f\u202e\u200f",
    "فرقة الموز",
    "להקת הקפה",
    "한글 밴드",
    "東京マリンバ",
    "Σίσυφος",
    "İki Deniz",
    "\u212bngström",
    "Die Weiße Größe",
    "ＦＵＬＬＷＩＤＴＨ",
    "🎸",
    "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f Gaitas",
    "🇬🇹🇲🇽 Frontera",
    "👨🏽‍🎤 Solista",
    "Z̴a̵l̶g̷o̸",
    "null",
    "0",
    "NaN",
    "{{ nombre }} ${banda} %s",
    "../../etc/passwd",
    "C:\\Bandas\\nueva",
    'Dicen "hola", y se van',
    "Uno,Dos;Tres\tCuatro",
    "Dos\nLíneas",
    "Ñ",
)
"""Names that nobody lists, and that a page, a terminal, a spreadsheet or a query might misread."""

EXTRA_ALBUMS: Final = (
    "Demo", "En vivo, 1999", "Rarezas \\ Lados B", 'El "Blanco"', "Éxitos ⭐", "=1+1", "<b>Negrita</b>",
    "Sin título", "שלום", "Corazón y Café",
)  # fmt: skip
LONGEST: Final = (
    "ñandú " * 33 + "ñ¡",
    "é" * 200,
    "🥁" * 200,
    "Banda de las doscientas letras ".ljust(200, "a"),
)
"""Names as long as they may be: 200 characters."""
FIRST: Final = (
    "Los Hijos", "Las Sombras", "El Eco", "Banda", "Trío", "Orquesta", "La Última Noche", "Niños", "Café",
    "Ruido", "Señores", "Cantos",
)  # fmt: skip
SECOND: Final = (
    "del Lago", "de Antigua", "del Altiplano", "de Izabal", "sin Nombre", "del Petén", "de Jade",
    "de la Sexta", "y Compañía", "de Obsidiana", "del Maíz", "en Órbita", "Número 9",
)  # fmt: skip


class Band(NamedTuple):
    """A band, its albums, and which of these texts the contest's file lists."""

    name: str
    albums: tuple[str, ...]
    listed: frozenset[str]


class Dice:
    """Chance that comes out the same on every Python: only `random()` keeps its sequence between versions."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed).random

    def below(self, end: int) -> int:
        return int(self.random() * end)

    def pick(self, items: Sequence[T]) -> T:
        return items[self.below(len(items))]

    def pick_first(self, items: Sequence[T]) -> T:
        """One of the items, the k-th with a weight of 1/k."""
        weights = list(accumulate(1 / k for k in range(1, len(items) + 1)))
        return items[bisect(weights, self.random() * weights[-1])]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        return [item for _, _, item in sorted((self.random(), at, item) for at, item in enumerate(items))]


def bands(dice: Dice) -> list[Band]:
    """All bands, the most popular ones first."""
    listed = [
        (band["name"], tuple(band.get("albums", ())))
        for band in tomllib.loads(CONTEST.read_text(encoding="utf-8"))["bands"]
    ]
    known = [Band(name, albums + _extras(dice), frozenset((name, *albums))) for name, albums in listed]
    strange = [Band(name, _extras(dice), frozenset()) for name in STRANGE]
    longest = [Band(name, (name, "Corto"), frozenset()) for name in LONGEST]
    others = [Band(f"{first} {second}", _extras(dice), frozenset()) for first in FIRST for second in SECOND]
    middle = dice.shuffled(known[FAVOURITES:] + strange)
    return known[:FAVOURITES] + middle + dice.shuffled(longest + others)


def _extras(dice: Dice) -> tuple[str, ...]:
    return tuple(dice.shuffled(EXTRA_ALBUMS)[: 1 + dice.below(3)])


def votes_of_each(everybody: Sequence[Band]) -> dict[str, int]:
    """How many votes each band gets: Zipf's law, with the ties, and what is left over to the first."""
    numbers = {band.name: max(1, round(SECOND_PLACE * 3 / (at + 2))) for at, band in enumerate(everybody)}
    for band, other in TIED.items():
        numbers[band] = numbers[other]
    numbers[everybody[0].name] += VOTES - sum(numbers.values())
    return numbers


def decomposed(text: str) -> str:
    return unicodedata.normalize("NFD", text)


def spaced(text: str) -> str:
    return text.replace(" ", "  ")


PADDING: Final = (" ", "  ", "\t", "\u00a0", "\u3000")
HARMLESS: Final[tuple[Callable[[str], str], ...]] = (str, str, str, decomposed)
"""What normalisation undoes. A name that is not in composed form already counts as such once normalised."""
WILD: Final[tuple[Callable[[str], str], ...]] = (
    str, str, str.upper, str.lower, str.swapcase, str.title, str.casefold, spaced, decomposed,
    lambda text: spaced(text).lower(),
    lambda text: text.replace(" ", " \u00a0\t"),
    lambda text: decomposed(text.upper()),
    lambda text: text.replace("fi", "ﬁ").replace("ss", "ß"),
)  # fmt: skip
"""What the identity of a band passes over as well."""


def written(dice: Dice, text: str, listed: bool) -> str:
    """The text as somebody may write it."""
    text = dice.pick(WILD if listed else HARMLESS)(text)
    if dice.below(12) == 0:
        text = dice.pick(PADDING) + text
    return text + dice.pick(PADDING) if dice.below(12) == 0 else text


def number(dice: Dice, value: int) -> int | str:
    """Mostly a string, as in the samples; some clients send numbers, and some leading zeros."""
    chance = dice.below(100)
    return value if chance < 5 else f"{value:02}" if chance == 5 else str(value)


def vote(dice: Dice, band: Band, liked: int) -> dict[str, int | str]:
    """One vote for a band that most people rank at about `liked`."""
    album = dice.pick_first(band.albums)
    rank = min(10, max(1, liked + dice.below(4) + dice.below(4) - 3))
    year = dice.pick((1900, 2100)) if dice.below(200) == 0 else 1980 + dice.below(45)
    return {
        "name": written(dice, band.name, band.name in band.listed),
        "album": written(dice, album, album in band.listed),
        "year": number(dice, year),
        "rank": number(dice, rank),
    }


def traffic() -> list[dict[str, int | str]]:
    """All votes, in the order in which they are sent."""
    dice = Dice(SEED)
    everybody = bands(dice)
    cast: list[tuple[float, int, dict[str, int | str]]] = []
    numbers = votes_of_each(everybody)
    for band in everybody:
        liked = 2 + dice.below(8)
        for _ in range(numbers[band.name]):
            cast.append((dice.random(), len(cast), vote(dice, band, liked)))
    return [one for _, _, one in sorted(cast, key=lambda item: item[:2])]


def line(value: object) -> str:
    """JSON on one line, readable: what cannot be seen, or changes what is seen, is escaped."""
    return "".join(
        json.dumps(char)[1:-1] if _misleads(char) else char for char in json.dumps(value, ensure_ascii=False)
    )


def _misleads(char: str) -> bool:
    unseen = char != " " and unicodedata.category(char)[0] in "CMZ"
    return unseen or unicodedata.normalize("NFC", char) != char


def main(path: Path, text: str) -> int:
    """Writes the file, or with --check says whether it is as it would be written."""
    if sys.argv[1:] == ["--check"]:
        if path.exists() and path.read_text(encoding="utf-8") == text:
            return 0
        print(f"{path} is not what {sys.argv[0]} writes: run it again", file=sys.stderr)
        return 1
    if sys.argv[1:]:
        print(f"usage: {sys.argv[0]} [--check]", file=sys.stderr)
        return 2
    path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(TRAFFIC, "[\n" + ",\n".join(map(line, traffic())) + "\n]\n"))
