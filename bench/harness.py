"""How a row is measured: several times, ours and its limit in turn, on a machine whose mood is noted."""

import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

OUT = Path("bench/out")


@dataclass
class Row:
    """One line of the table.

    Attributes:
        row: its name.
        value: median of ours.
        unit: of the value.
        must: what it has to reach, in words.
        limit: median of what it is held against, or None.
        ratio: value over limit, or None.
        ok: whether it reaches that.
        spread: least and greatest of ours.
        note: what else is worth knowing.
    """

    row: str
    value: float
    unit: str
    must: str
    limit: float | None = None
    ratio: float | None = None
    ok: bool = True
    spread: tuple[float, float] = (0.0, 0.0)
    note: str = ""


@dataclass
class Samples:
    """Values of one figure over its repeats."""

    values: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def spread(self) -> tuple[float, float]:
        return min(self.values), max(self.values)


def at_least(name: str, ours: Samples, unit: str, floor: float, note: str = "", limit: Samples | None = None) -> Row:
    """A figure that has to reach a number; its limit stands beside it."""
    return _row(name, ours, unit, f">= {floor:,g}", ours.median >= floor, note, limit)


def at_most(name: str, ours: Samples, unit: str, ceiling: float, note: str = "", limit: Samples | None = None) -> Row:
    """A figure that must not pass a number; its limit stands beside it."""
    return _row(name, ours, unit, f"<= {ceiling:,g}", ours.median <= ceiling, note, limit)


def share_of(name: str, ours: Samples, limit: Samples, unit: str, share: float, note: str = "") -> Row:
    """A figure that has to reach a share of its limit."""
    return _row(name, ours, unit, f">= {share:g} x limit", ours.median / limit.median >= share, note, limit)


def _row(name: str, ours: Samples, unit: str, must: str, ok: bool, note: str, limit: Samples | None) -> Row:
    beside = limit.median if limit else None
    ratio = ours.median / beside if beside else None
    return Row(name, ours.median, unit, must, beside, ratio, ok, ours.spread, note)


def figure(name: str, value: float, unit: str, note: str = "") -> Row:
    """A figure that has to reach nothing: the capacity model is made of these."""
    return Row(name, value, unit, "-", spread=(value, value), note=note)


def busy() -> float:
    """Share of the processors that others used in the last moment: what we could not have had."""
    before = _cpu()
    time.sleep(0.5)
    after = _cpu()
    total = sum(after) - sum(before)
    return 1 - (after[3] - before[3]) / total if total else 0.0


def _cpu() -> list[int]:
    return [int(part) for part in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]


def memory_mb(pid: int, what: str = "VmRSS") -> float:
    """Resident memory of a process in MB, which are 10^6 bytes; at its highest with "VmHWM"."""
    return memory_in(Path(f"/proc/{pid}/status").read_text(), what)


def memory_in(status: str, what: str) -> float:
    """The same of what stands in /proc/PID/status."""
    for line in status.splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise LookupError(what)


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used."""
    parts = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def process(argv: list[str], ready: Callable[[], bool], env: dict[str, str] | None = None) -> Iterator[int]:
    """A process of ours for as long as the block runs; gives its pid."""
    log = OUT / f"{Path(argv[0]).name}.log"
    OUT.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        started = subprocess.Popen(argv, stdout=out, stderr=out, env={**os.environ, **(env or {})})
    try:
        deadline = time.monotonic() + 30
        while not _quietly(ready):
            if started.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{argv} did not come up: see {log}")
            time.sleep(0.02)
        yield started.pid
    finally:
        started.terminate()
        try:
            started.wait(20)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


def _quietly(ready: Callable[[], bool]) -> bool:
    try:
        return ready()
    except OSError:
        return False


def write(rows: list[Row], meta: dict[str, object]) -> None:
    """Writes `bench/out/latest.json`."""
    OUT.mkdir(parents=True, exist_ok=True)
    text = json.dumps({**meta, "rows": [asdict(row) for row in rows]}, indent=1)
    (OUT / "latest.json").write_text(text + "\n")


def table(rows: list[Row]) -> str:
    """The rows for a person."""
    lines = [f"{'row':34} {'value':>12} {'unit':10} {'must':18} {'limit':>12} {'ratio':>6}  ok  spread"]
    for r in rows:
        limit = f"{r.limit:12,.0f}" if r.limit is not None else " " * 12
        ratio = f"{r.ratio:6.2f}" if r.ratio is not None else " " * 6
        low, high = r.spread
        lines.append(
            f"{r.row:34} {r.value:12,.2f} {r.unit:10} {r.must:18} {limit} {ratio}  {'ok' if r.ok else 'NO':3}"
            f" {low:,.1f} … {high:,.1f}  {r.note}"
        )
    return "\n".join(lines)
