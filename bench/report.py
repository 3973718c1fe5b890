"""Puts the figures of the last full run into the documentation: `python -m bench.report [FILE]`."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from bench.harness import OUT

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "bench" / "results" / "latest.json"
"""The run that the documentation shows."""
PAGE = ROOT / "docs" / "performance.md"


def table(run: dict[str, Any]) -> str:
    """A run's rows in Markdown."""
    busy = f", {run['busy']:.0%} of the machine used by others" if run["busy"] > 0.1 else ""
    short = ", a short pass" if run["quick"] else ""
    head = f"Measured {run['at'][:10]} on {run['cpus']} cores, Python {run['python']}{short}{busy}."
    lines = [
        head,
        "",
        "| row | median | least … greatest | must | limit beside it | share | |",
        "|---|---|---|---|---|---|---|",
    ]
    return "\n".join(lines + [_line(row) for row in run["rows"]])


def _line(row: dict[str, Any]) -> str:
    limit = "" if row["limit"] is None else f"{_number(row['limit'])}"
    ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f}"
    low, high = map(_number, row["spread"])
    value, verdict = f"{_number(row['value'])} {row['unit']}", "yes" if row["ok"] else "**no**"
    note = f" ({row['note']})" if row["note"] else ""
    return f"| {row['row']}{note} | {value} | {low} … {high} | {row['must']} | {limit} | {ratio} | {verdict} |"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.2f}"


def put(page: str, name: str, text: str) -> str:
    """The page with a section's text between its markers replaced. Raises `ValueError` when they are not there."""
    begin, end = f"<!-- {name}: written by python -m bench.report -->", f"<!-- end of {name} -->"
    before, _, rest = page.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise ValueError(f"the page has no section {name}")
    return f"{before}{begin}\n\n{text}\n\n{end}{after}"


def main() -> None:
    """Takes a run over as the committed one, and writes the page's sections anew."""
    from bench.capacity import read, text

    source = Path(sys.argv[1]) if len(sys.argv) > 1 else OUT / "latest.json"
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    if source.resolve() != RESULTS.resolve():
        shutil.copyfile(source, RESULTS)
    page = put(PAGE.read_text(encoding="utf-8"), "figures", table(json.loads(RESULTS.read_text())))
    PAGE.write_text(put(page, "capacity", text(read(RESULTS))), encoding="utf-8")


if __name__ == "__main__":
    main()
