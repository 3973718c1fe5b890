"""The example contest, its traffic, and the standings that somebody else's arithmetic gives."""

import json
import random
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aplauso.domain.contest import Contest, parse
from aplauso.domain.tally import count, standings
from aplauso.domain.text import normalise
from aplauso.domain.vote import Vote, id_from_key, make_vote, parse_ballot

ROOT = Path(__file__).resolve().parents[2]
LOAD = ROOT / "load"


@pytest.fixture(scope="module")
def contest() -> Contest:
    packaged = files("aplauso").joinpath("contests", "bandas-gt.toml")
    return parse(packaged.read_text(encoding="utf-8"), str(packaged))


@pytest.fixture(scope="module")
def traffic() -> list[dict[str, str | int]]:
    votes: list[dict[str, str | int]] = json.loads((LOAD / "traffic.json").read_text(encoding="utf-8"))
    return votes


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((LOAD / "expected-standings.json").read_text(encoding="utf-8"))
    return found


def as_sent(contest: Contest, traffic: list[dict[str, str | int]]) -> list[Vote]:
    """The votes by the project's own code, one a millisecond in the traffic's order."""
    return [
        make_vote(
            parse_ballot(msgspec.json.encode(vote)),
            contest,
            id_from_key(contest.id, f"traffic-{at:010}"),
            1_767_225_600_000 + at,
        )
        for at, vote in enumerate(traffic)
    ]


def as_answer(votes: list[Vote], contest: Contest) -> dict[str, Any]:
    """The standings in the shape of the HTTP answer."""
    lines = standings(count(votes)[contest.id])
    answer = {"contest": contest.id, "total": len(votes), "standings": lines}
    through_json: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(answer))
    return through_json


def test_the_contest_is_always_open(contest: Contest) -> None:
    """The example contest takes votes for any band at any time, with titles in both languages."""
    assert contest.id == "bandas-gt"
    assert (contest.opens, contest.closes, contest.nominations) == (None, None, "open")
    assert contest.title == {"es": "Bandas de Guatemala", "en": "Bands of Guatemala"}
    assert len(contest.bands) >= 20


def test_the_contests_folder_leads_to_the_packaged_file() -> None:
    """The contest that the package ships is the one in the repository's contests folder."""
    packaged = files("aplauso").joinpath("contests", "bandas-gt.toml")
    assert (ROOT / "contests" / "bandas-gt.toml").read_bytes() == packaged.read_bytes()


def test_the_own_count_is_the_expected_one(
    contest: Contest, traffic: list[dict[str, str | int]], expected: dict[str, Any]
) -> None:
    """The project's fold of the traffic gives the expected standings, to the last vote."""
    assert len(traffic) >= 5000
    assert as_answer(as_sent(contest, traffic), contest) == expected


@pytest.mark.parametrize("seed", [1, 2])
def test_the_order_of_arrival_does_not_matter(
    contest: Contest, traffic: list[dict[str, str | int]], expected: dict[str, Any], seed: int
) -> None:
    """The expected standings hold whatever order the votes arrive in."""
    shuffled = list(traffic)
    random.Random(seed).shuffle(shuffled)
    assert as_answer(as_sent(contest, shuffled), contest) == expected


def test_the_expected_standings_tell_a_wrong_count(
    contest: Contest, traffic: list[dict[str, str | int]], expected: dict[str, Any]
) -> None:
    """One vote lost and another one counted twice are seen, although the total is right."""
    votes = as_sent(contest, traffic)
    assert as_answer([*votes[1:], votes[-1]], contest) != expected


def test_the_traffic_is_varied(contest: Contest, traffic: list[dict[str, str | int]]) -> None:
    """The traffic has the names that go wrong, and many spellings of one band."""
    names = [str(vote["name"]) for vote in traffic]
    own = {normalise(name) for name in names}
    assert {"<script>alert(1)</script>", "\u001b[31mRojo Peligro\u001b[0m", "=SUM(A1:A9)"} <= own
    assert max(map(len, own)) == 200 < max(map(len, names))
    for char in (",", '"', "\\", "\u200d", "\u202e", "e\u0301", "🇬", "ß", "STRASSE", "  ", "é"):
        assert any(char in name for name in names), char
    marimba = [
        vote for vote, ballot in zip(traffic, as_sent(contest, traffic), strict=True)
        if ballot.name == "Marimba Eléctrica"
    ]  # fmt: skip
    assert len({vote["name"] for vote in marimba}) >= 10
    assert {type(vote["rank"]) for vote in traffic} == {str, int}


def test_equal_votes_share_a_place(expected: dict[str, Any]) -> None:
    """The standings have ties, also among the first places, and the places after a tie are left out."""
    places = [line["place"] for line in expected["standings"]]
    assert places[:8] == [1, 2, 2, 4, 5, 5, 5, 8]


@pytest.mark.parametrize("script", ["make_traffic.py", "expected.py"])
def test_the_files_are_what_the_scripts_write(script: str) -> None:
    """The scripts, run without any installed package, give the committed files byte for byte."""
    ran = subprocess.run(
        [sys.executable, "-BS", str(LOAD / script), "--check"], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")


def test_check_sees_a_changed_file(tmp_path: Path) -> None:
    """A traffic file with one vote altered fails the check of both scripts, which leave it as it is."""
    contests = tmp_path / "src" / "aplauso" / "contests"
    contests.mkdir(parents=True)
    (contests / "bandas-gt.toml").write_bytes((ROOT / "contests" / "bandas-gt.toml").read_bytes())
    load = tmp_path / "load"
    load.mkdir()
    for file in LOAD.iterdir():
        if file.is_file():
            (load / file.name).write_bytes(file.read_bytes())
    votes = json.loads((load / "traffic.json").read_text(encoding="utf-8"))
    votes[0]["name"] = "Otra"
    altered = json.dumps(votes)
    (load / "traffic.json").write_text(altered, encoding="utf-8")
    for script in ("make_traffic.py", "expected.py"):
        ran = subprocess.run(
            [sys.executable, "-BS", str(load / script), "--check"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (ran.returncode, "run it again" in ran.stderr) == (1, True)
    assert (load / "traffic.json").read_text(encoding="utf-8") == altered
