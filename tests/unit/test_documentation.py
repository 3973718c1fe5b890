"""What the pages say is what the code does: settings, metrics, reasons, commands, errors, links."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
from typer.main import get_command

from aplauso.cli import app
from aplauso.domain import errors
from aplauso.domain.record import REASONS
from aplauso.metrics import Metrics
from aplauso.settings import describe, load
from unit.test_errors import tree

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMANDS = [
    "up", "gateway", "collector", "tally", "archive", "board", "vote", "load", "recount", "rejected", "rejected list",
    "rejected drop", "contest", "contest check", "verify", "doctor", "settings",
]  # fmt: skip
"""What clients and scripts rely on being there."""


def reference() -> ModuleType:
    """The script that writes the reference pages."""
    spec = importlib.util.spec_from_file_location("make_reference", ROOT / "docs/make_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def page(name: str) -> str:
    """A page's text."""
    return (ROOT / name).read_text("utf-8")


@pytest.mark.parametrize("name", ["settings.md", "metrics.md"])
def test_the_reference_pages_are_current(name: str) -> None:
    """The pages that a script writes are what it would write now; run `.venv/bin/python docs/make_reference.py`."""
    assert page(f"docs/{name}") == reference().PAGES[name]()


def test_every_setting_is_documented() -> None:
    """Each setting stands in docs/settings.md with its meaning and, where it has one, its default."""
    lines = {line.split("`")[1]: line for line in page("docs/settings.md").splitlines() if line.startswith("| `")}
    described = describe(load({}, None))
    assert set(lines) == {setting.name for setting in described}
    for setting in described:
        assert setting.meaning in lines[setting.name].replace("\\|", "|")
        assert setting.value == "" or "`" in lines[setting.name].split("|")[3]


def test_every_metric_is_documented() -> None:
    """Each metric that a scrape may show stands in docs/metrics.md with its help."""
    text = page("docs/metrics.md")
    for family in Metrics().registry.collect():
        assert re.search(rf"`{family.name}(_total)?`.*{re.escape(family.documentation)}", text)


def test_every_word_that_programs_may_meet_is_documented() -> None:
    """The reasons of rejected records, of problem documents and of refused votes are closed lists in the pages."""
    rejected = page("docs/design.md").partition("## Rejected records")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `([a-z-]+)`", rejected, re.MULTILINE)) == set(REASONS)
    refused = set(re.findall(r"^\| `([a-z-]+)` \| \d", page("docs/metrics.md"), re.MULTILINE))
    source = "".join(path.read_text("utf-8") for path in sorted((ROOT / "src/aplauso/web").glob("*.py")))
    raised = set(re.findall(r'HTTPError\(\s*\d{3},[^\n]*?"([a-z]+(?:-[a-z]+)*)"', source))
    assert {"not-found", "too-large"} <= raised <= refused


def test_every_error_stands_in_the_drawn_tree() -> None:
    """The tree at the head of the module of errors holds each class, below the class that it derives from."""
    parents: list[str] = []
    drawn = {}
    for line in (errors.__doc__ or "").splitlines():
        if found := re.match(r"((?:[│ ]   )*)(?:[├└]── )?([A-Z]\w+)", line):
            branch = "── " in line
            depth = len(found[1]) // 4 + branch
            parents[depth:] = [found[2]]
            drawn[found[2]] = parents[depth - 1] if depth else "Exception"
    drawn.pop("Everything")
    assert drawn == {each.__name__: each.__base__.__name__ for each in tree() if each.__base__}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_help_text(command: str) -> None:
    """Each command is there and says what it does, and so does each of its options."""
    found = get_command(app)
    for word in command.split():
        found = found.commands[word]  # type: ignore[attr-defined]
    assert found.help
    for parameter in found.params:
        assert getattr(parameter, "help", "") or parameter.param_type_name == "argument"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(path: Path) -> None:
    """A link to a file of the repository names one that is there."""
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text("utf-8")):
        assert target.startswith("https://") or (path.parent / target).exists(), target


def test_the_design_page_names_real_files() -> None:
    """Every file that docs/design.md names is in the package."""
    package = ROOT / "src/aplauso"
    for name in re.findall(r"`([a-z_]+(?:/[a-z_0-9]+)+(?:\.py|/)?)`", page("docs/design.md")):
        if not name.startswith("tests/"):
            assert (package / name).exists() or (package / name).with_suffix(".py").exists(), name
