"""Kafka's jars, as several processes that start at the same time get them."""

import subprocess
import sys
from pathlib import Path

import pytest

from aplauso.stack.kafka import class_path

pytestmark = pytest.mark.servers
_ASK = "from aplauso.stack.kafka import class_path; print(class_path())"


def test_jars_are_laid_out_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that ask at the same time get the same jars, all of them there, and later ones change none of them."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    asking = [subprocess.Popen([sys.executable, "-c", _ASK], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    answers = {process.communicate(timeout=120)[0].strip() for process in asking}
    if any(process.returncode for process in asking):
        pytest.skip("the jars could not be fetched")
    assert len(answers) == 1
    jars = [Path(jar) for jar in answers.pop().split(":")]
    assert len(jars) > 20
    before = [jar.stat() for jar in jars]
    assert class_path() == ":".join(map(str, jars))
    assert [(stat.st_ino, stat.st_mtime_ns) for stat in before] == [
        (jar.stat().st_ino, jar.stat().st_mtime_ns) for jar in jars
    ]
    assert {path.name for path in (tmp_path / "aplauso").iterdir()} == {"lock", jars[0].parent.name}
