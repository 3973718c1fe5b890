"""Works out expected-standings.json from traffic.json and the contest's file, without the project's code.

    python load/expected.py            # writes the file
    python load/expected.py --check    # exit 1 when the file is not what this script writes

It counts in its own way on purpose: what it agrees on with the system was not wrong in both for one reason.
It stops when the outcome would depend on the order of the votes, or when a vote is not valid.
"""

import json
import sys
import tomllib
import unicodedata
from collections import Counter, defaultdict
from typing import Any, Final

from make_traffic import CONTEST, HERE, TRAFFIC, line, main

EXPECTED: Final = HERE / "expected-standings.json"


def clean(text: str) -> str:
    """NFC, without spaces at the ends."""
    return unicodedata.normalize("NFC", text).strip()


def key(text: str) -> str:
    """What makes two cleaned names one: case and runs of spaces do not count."""
    return unicodedata.normalize("NFC", " ".join(text.casefold().split()))


class Spellings:
    """How each band and each album is shown."""

    def __init__(self, contest: dict[str, Any]) -> None:
        self.shown: dict[tuple[str, ...], str] = {}
        for band in contest["bands"]:
            self.shown[(key(clean(band["name"])),)] = clean(band["name"])
            for album in band.get("albums", ()):
                self.shown[key(clean(band["name"])), key(clean(album))] = clean(album)
        self.listed = frozenset(self.shown)

    def note(self, path: tuple[str, ...], text: str) -> None:
        """Remembers how one that is not listed is written, which must be in one way only."""
        if path not in self.listed and self.shown.setdefault(path, text) != text:
            sys.exit(f"two spellings, and the order of the votes would decide: {text!r}, {self.shown[path]!r}")


def check(at: int, vote: dict[str, str | int], contest: dict[str, Any]) -> None:
    """Stops at a vote that the contest would refuse."""
    scale = contest.get("rank", {})
    valid = (
        vote.keys() == {"name", "album", "year", "rank"}
        and all(1 <= len(clean(str(vote[field]))) <= 200 for field in ("name", "album"))
        and 1900 <= int(vote["year"]) <= 2100
        and scale.get("min", 1) <= int(vote["rank"]) <= scale.get("max", 10)
    )
    if not valid:
        sys.exit(f"vote {at} of {TRAFFIC.name} is not valid: {vote!r}")


def standings(votes: list[dict[str, str | int]], contest: dict[str, Any]) -> dict[str, Any]:
    """The standings after all of the votes."""
    spellings = Spellings(contest)
    ranks: defaultdict[str, list[int]] = defaultdict(list)
    albums: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for at, vote in enumerate(votes, start=1):
        check(at, vote, contest)
        name, album = clean(str(vote["name"])), clean(str(vote["album"]))
        spellings.note((key(name),), name)
        spellings.note((key(name), key(album)), album)
        ranks[key(name)].append(int(vote["rank"]))
        albums[key(name)][key(album)] += 1
    lines = [
        {
            "place": 1 + sum(len(others) > len(given) for others in ranks.values()),
            "name": spellings.shown[(band,)],
            "votes": len(given),
            "rank_mean": round(sum(given) / len(given), 4),
            "albums": [
                {"album": spellings.shown[band, album], "votes": number}
                for album, number in sorted(albums[band].items(), key=lambda item: (-item[1], item[0]))
            ],
        }
        for band, given in sorted(ranks.items(), key=lambda item: (-len(item[1]), item[0]))
    ]
    return {"contest": contest["id"], "total": len(votes), "standings": lines}


def text() -> str:
    """The file: one band a line."""
    contest = tomllib.loads(CONTEST.read_text(encoding="utf-8"))
    found = standings(json.loads(TRAFFIC.read_text(encoding="utf-8")), contest)
    head = f'{{"contest": {line(found["contest"])}, "total": {found["total"]}, "standings": [\n'
    return head + ",\n".join(map(line, found["standings"])) + "\n]}\n"


if __name__ == "__main__":
    sys.exit(main(EXPECTED, text()))
