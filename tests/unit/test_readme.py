"""The README's examples, run as they stand against a real `aplauso up`; only the port is another one."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from embedded import Up, wait_until

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    """The README's examples of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def examples(containing: str) -> list[str]:
    """The shell examples that hold a text."""
    found = [block for block in blocks("sh") if containing in block]
    assert found, f"the README has no example with {containing!r}"
    return found


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """A fresh system."""
    running = Up(tmp_path_factory.mktemp("readme")).start()
    yield running
    assert running.stop() == 0


def start(script: str, up: Up) -> "subprocess.Popen[str]":
    """Starts an example in the repository's directory."""
    script = script.replace("http://localhost:8080", f"http://127.0.0.1:{up.port}")
    script = script.replace(".venv/bin/aplauso", f"{sys.executable} -m aplauso")
    script = script.replace("votes.ndjson", str(up.folder / "votes.ndjson")).replace(
        "--data trial", f"--data {up.data}"
    )
    return subprocess.Popen(
        ["/bin/bash", "-euo", "pipefail", "-c", script], text=True, cwd=ROOT, env={**os.environ, "COLUMNS": "120"},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def run(script: str, up: Up) -> str:
    """Runs an example, and returns what it prints. It must exit with 0."""
    return ended(start(script, up))


def ended(example: "subprocess.Popen[str]") -> str:
    """What an example printed, once it has ended with 0."""
    out, _ = example.communicate(timeout=120)
    assert example.returncode == 0, out
    return out


def test_the_vote_of_the_readme_gets_its_answer(up: Up) -> None:
    """The vote gets the answer that is shown, however often it is sent, and stands in the standings once."""
    (vote,), (standings,) = examples("/insert"), examples("/standings")
    (answer,) = blocks("json")
    for _ in range(2):
        assert json.loads(run(vote, up)) == json.loads(answer)
    up.wait_total(1)
    assert json.loads(run(standings, up))["standings"][0]["name"] == "Alux Nahual"


def test_the_kill_of_the_readme_loses_nothing(tmp_path: Path) -> None:
    """A load goes on through a kill -9 and a new start, and then the recount and the check of its journal agree."""
    (begin,), (load,), (check,) = examples("aplauso up --data"), examples("aplauso load"), examples("aplauso recount")
    assert begin.split() == [".venv/bin/aplauso", "up", "--data", "trial"]
    trial = Up(tmp_path).start()
    try:
        loading = start(load, trial)
        wait_until(lambda: trial.standings()["total"] > 200, "the load has begun")
        trial.kill()
        assert loading.poll() is None, "the kill came in the middle of the load"
        trial.start(trial.port)
        ended(loading)
        trial.wait_total(6000)
        assert "the standings and the archive are what the log says" in run(check, trial)
    finally:
        trial.stop()


def test_every_target_of_make_that_the_pages_name_exists() -> None:
    """`make up`, `make test` and the others are in the Makefile."""
    makefile = (ROOT / "Makefile").read_text("utf-8")
    named = set(re.findall(r"make ([a-z]+)\b", TEXT + (ROOT / "CONTRIBUTING.md").read_text("utf-8")))
    assert {"up", "test", "lint", "setup"} <= named
    assert named <= set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))


def test_the_pages_shown_in_the_readme_are_there(up: Up) -> None:
    """Each address of the README answers."""
    paths = set(re.findall(r"<http://localhost:8080(/?[a-z]*)>", TEXT)) | {"/docs"}
    assert paths >= {"", "/vote"}
    for path in paths:
        assert up.get(path or "/").status == 200


def test_the_commands_of_the_readme_exist() -> None:
    """Every `aplauso` command that the README names has a help page."""
    names = set(re.findall(r"`?aplauso ([a-z]+)\b", TEXT)) & set(re.findall(r"aplauso ([a-z]+)[ `\n]", TEXT))
    assert {"up", "load", "recount", "verify", "gateway", "doctor"} <= names
    for name in names:
        done = subprocess.run([sys.executable, "-m", "aplauso", name, "--help"], check=False, capture_output=True)
        assert done.returncode == 0, name
