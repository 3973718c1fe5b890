"""The mutants are held against the code as it is, and their runner tells the killed from the surviving."""

from pathlib import Path

import pytest

from mutants.catalogue import MUTANTS
from mutants.mutant import Mutant, mutant
from mutants.runner import ROOT, Stale, control, judge, planted, snapshot, table, try_mutant

TALLY = "tests/unit/test_tally.py::test_equal_votes_share_a_place_and_the_next_counts_them"
BY_NAME = {each.name: each for each in MUTANTS}
FAST = [
    BY_NAME["fold: equal votes do not share a place"],
    BY_NAME["SQLite: compare-and-set removed"],
    BY_NAME["keys: a digest without lengths"],
]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources."""
    return snapshot(tmp_path_factory.mktemp("mutants"))


@pytest.mark.parametrize("each", MUTANTS, ids=lambda each: each.name)
def test_a_mutant_is_not_stale(each: Mutant) -> None:
    """What a mutant replaces is in the code exactly once, and its tests are in files that are there."""
    assert planted(each, ROOT / "src") != (ROOT / "src/aplauso" / each.file).read_text()
    assert each.tests
    for test in each.tests:
        file, _, rest = test.partition("::")
        name = rest.partition("[")[0].rpartition("::")[2]
        assert f"def {name}(" in (ROOT / file).read_text() or not name


def test_names_are_apart() -> None:
    """Each mutant has a name of its own, and there are enough of them."""
    assert len(BY_NAME) == len(MUTANTS) >= 35


@pytest.mark.parametrize("each", FAST, ids=lambda each: each.name)
def test_a_mutant_is_killed(each: Mutant, sources: Path, tmp_path: Path) -> None:
    """A few of the mutants, from end to end: planted in a copy, and killed by a test of theirs."""
    verdict = try_mutant(each, sources, tmp_path)
    assert verdict.trouble == ""
    assert any(verdict.killer.startswith(test) for test in each.tests)
    assert list(tmp_path.iterdir()) == [], "its copy is gone"


def test_a_harmless_mutant_survives(sources: Path, tmp_path: Path) -> None:
    """A change that breaks nothing is told as one that survived."""
    harmless = mutant("harmless", "domain/tally.py", '"""A contest\'s tallies by band."""', '"""Other words."""', TALLY)
    assert try_mutant(harmless, sources, tmp_path)[1:3] == ("", "")


def test_a_mutant_that_is_no_python_kills_nothing(sources: Path, tmp_path: Path) -> None:
    """Code that cannot even be imported is trouble, not a kill."""
    broken = mutant("broken", "domain/tally.py", "class Memory:", "class class:", TALLY)
    killer, trouble = try_mutant(broken, sources, tmp_path)[1:3]
    assert (killer, "pytest ended with" in trouble) == ("", True)


def test_stale_mutants_are_errors(sources: Path, tmp_path: Path) -> None:
    """Text that is not there, or there twice, is told: such a mutant would prove nothing."""
    for before in ("no such text", "votes"):
        stale = mutant("stale", "domain/tally.py", before, "", TALLY)
        with pytest.raises(Stale):
            planted(stale, sources)
        assert "not once" in try_mutant(stale, sources, tmp_path).trouble


def test_the_right_code_passes(sources: Path) -> None:
    """The tests of the mutants pass over the copy without a mutant, and it is the copy that they import."""
    assert control(FAST[:1], sources) == ""


@pytest.mark.parametrize(
    ("code", "output", "killer", "trouble"),
    [
        (1, "F\nFAILED tests/a.py::test_b[x - y] - assert 1\n1 failed", "tests/a.py::test_b[x - y]", False),
        (0, "1 passed", "", False),
        (0, "1 passed, 1 skipped", "", True),
        (1, "ERROR tests/a.py::test_b - no server\n1 error", "", True),
        (4, "no such test", "", True),
        (-9, "", "", True),
    ],
)
def test_only_a_failed_test_is_a_kill(code: int, output: str, killer: str, trouble: bool) -> None:
    """Errors of fixtures, skipped tests and pytest's own failures say nothing about a mutant."""
    told = judge(code, output)
    assert (told[0], bool(told[1])) == (killer, trouble)


def test_the_page_lists_every_mutant() -> None:
    """docs/mutants.md has a line for each mutant, in order, with a test of its own, as `make mutants` writes it."""
    page, head = (ROOT / "docs/mutants.md").read_text().splitlines(), table([]).splitlines()
    lines = page[len(head) :]
    assert page[: len(head)] == head
    assert len(lines) == len(MUTANTS)
    for line, each in zip(lines, MUTANTS, strict=True):
        start, _, killer = line.rpartition(" | ")
        assert start == f"| {each.name} | `{each.file}`"
        assert any(f"tests/{killer.strip('`| ')}".startswith(test) for test in each.tests), line
