"""wrk, the load generator, and what it says."""

import re
import subprocess
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


class Answers(NamedTuple):
    """What wrk measured.

    Attributes:
        per_second: answers a second.
        p50_ms, p99_ms: time of an answer.
        failed: answers other than 2xx and broken connections.
        answers: in all.
    """

    per_second: float
    p50_ms: float
    p99_ms: float
    failed: int
    answers: int


def wrk(url: str, script: str, connections: int, seconds: int) -> Answers:
    """Loads an address for some seconds with one thread of wrk."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}", "--timeout", "15", "--latency"]
    text = subprocess.run(
        [*command, "-s", str(HERE / script), url], check=True, capture_output=True, text=True, timeout=seconds + 60
    ).stdout
    return parse(text)


def parse(text: str) -> Answers:
    """Reads wrk's report."""
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    total = re.search(r"(\d+) requests in", text)
    assert rate, text
    assert total, text
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    failed = (int(bad[1]) if bad else 0) + (sum(map(int, errors.groups())) if errors else 0)
    return Answers(float(rate[1]), _percentile(text, 50), _percentile(text, 99), failed, int(total[1]))


def _percentile(text: str, percent: int) -> float:
    found = re.search(rf"^\s+{percent}%\s+([\d.]+)(us|ms|s|m)\b", text, re.MULTILINE)
    assert found, text
    return float(found[1]) * _UNITS[found[2]]
