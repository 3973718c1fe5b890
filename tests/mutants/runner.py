"""Runs the tests of each mutant over a copy of the sources in which it is planted. The working tree stays as it is."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from .mutant import Mutant

ROOT: Final = Path(__file__).parents[2]
LIMIT: Final = 180
"""Seconds that one mutant's tests may take together; each of them 90."""
_FAILED: Final = re.compile(r"^FAILED (\S+::\w+(?:::\w+)*(?:\[.*?\])?)(?: - .*)?$", re.MULTILINE)


class Stale(Exception):  # noqa: N818 - it is a finding
    """A mutant's text is not in the code exactly once any more."""


class Verdict(NamedTuple):
    """What became of a mutant.

    Attributes:
        mutant: which.
        killer: the node id of the test that failed; "" when none did.
        trouble: why nothing can be said, "" when something can.
        seconds: that it took.
    """

    mutant: Mutant
    killer: str
    trouble: str
    seconds: float


def planted(mutant: Mutant, sources: Path) -> str:
    """The text of the mutant's file with the mutant in it. Raises `Stale`."""
    text = (sources / "aplauso" / mutant.file).read_text(encoding="utf-8")
    found = text.count(mutant.before)
    if found != 1:
        raise Stale(f"{mutant.name}: its text is {found} times in {mutant.file}, not once")
    return text.replace(mutant.before, mutant.after)


def snapshot(folder: Path) -> Path:
    """A copy of the sources as they are now, so that all mutants are made from the same."""
    copy = folder / "right" / "src"
    shutil.copytree(ROOT / "src", copy, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    return copy


def try_mutant(mutant: Mutant, sources: Path, folder: Path) -> Verdict:
    """Plants a mutant in a copy of the sources and runs its tests."""
    began = time.monotonic()
    copy = folder / re.sub(r"\W+", "-", mutant.name) / "src"
    try:
        text = planted(mutant, sources)
        shutil.copytree(sources, copy)
        (copy / "aplauso" / mutant.file).write_text(text, encoding="utf-8")
        code, output = run_tests(mutant.tests, copy)
        killer, trouble = judge(code, output)
    except (Stale, TimeoutError) as error:
        killer, trouble = "", str(error)
    finally:
        shutil.rmtree(copy.parent, ignore_errors=True)
    return Verdict(mutant, killer, trouble, time.monotonic() - began)


def judge(code: int, output: str) -> tuple[str, str]:
    """The test that killed, "" for none, and what went wrong otherwise: only a failed test is a kill."""
    failed = _FAILED.findall(output)
    if code == pytest_failed and failed:
        return failed[0], ""
    if code == 0 and not re.search(r"\d+ skipped", output):
        return "", ""
    why = "tests were skipped" if code == 0 else f"pytest ended with {code}"
    return "", f"{why}:\n{output[-2000:]}"


pytest_failed: Final = 1


def run_tests(tests: Sequence[str], sources: Path, *, stop: bool = True, limit: float = LIMIT) -> tuple[int, str]:
    """pytest's exit code and output over a copy of the sources. Raises `TimeoutError`."""
    environment = {
        **os.environ, "PYTHONPATH": str(sources), "PYTHONDONTWRITEBYTECODE": "1",
        "HYPOTHESIS_STORAGE_DIRECTORY": str(sources.parent / "hypothesis"), "COLUMNS": "250",
    }  # fmt: skip
    command = [sys.executable, "-m", "pytest", "-q", "-rf", "--tb=no", "-p", "no:cacheprovider", "--timeout", "90"]
    process = subprocess.Popen(
        [*command, *(["-x"] if stop else []), *tests],
        cwd=ROOT, env=environment, text=True, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        output, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # with the servers that it has started
        process.wait()
        raise TimeoutError(f"its tests took more than {limit:.0f} s") from None
    return process.returncode, output


def imported_from(sources: Path) -> Path:
    """Where the tests' Python finds the package when a copy of the sources is given."""
    found = subprocess.run(
        [sys.executable, "-c", "import aplauso; print(aplauso.__file__)"],
        env={**os.environ, "PYTHONPATH": str(sources)}, cwd=ROOT, text=True, capture_output=True, check=True,
    )  # fmt: skip
    return Path(found.stdout.strip())


def control(mutants: Iterable[Mutant], sources: Path) -> str:
    """Runs everybody's tests over the right code: what is wrong there, "" when all pass."""
    tests = sorted({test for mutant in mutants for test in mutant.tests})
    if not imported_from(sources).is_relative_to(sources):
        return f"the tests would not import the package from {sources}"
    code, output = run_tests(tests, sources, stop=False, limit=900)
    return "" if code == 0 and not re.search(r"\d+ skipped", output) else output


def table(verdicts: Iterable[Verdict]) -> str:
    """The page of the mutants and the tests that killed them."""
    lines = [
        "# Mutants",
        "",
        "Each takes one guarantee out of the code; the test beside it fails then. `make mutants` plants them one after",
        "the other in a copy of the sources, runs the tests, and writes this page.",
        "",
        "| what is broken | in `src/aplauso` | killed by |",
        "|---|---|---|",
    ]
    for verdict in verdicts:
        killer = verdict.killer.removeprefix("tests/")
        lines.append(f"| {verdict.mutant.name} | `{verdict.mutant.file}` | `{killer}` |")
    return "\n".join(lines) + "\n"
