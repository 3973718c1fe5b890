"""Runs the benchmark: `python -m bench [--row NAME] [--quick]`."""

import argparse
import os
import platform
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from bench import board, distributed, drain, embedded, growth
from bench.harness import Row, busy, table, write

GROUPS: dict[str, Callable[[bool], Iterator[Row]]] = {
    **distributed.GROUPS,
    "tally": lambda quick: drain.tally_rows(*((2, 200_000) if quick else (5, 1_000_000))),
    "archive": lambda quick: drain.archive_rows(*((2, 20_000) if quick else (4, 200_000))),
    "board": lambda quick: board.rows(*((1_000, 3, 2) if quick else (10_000, 10, 3))),
    "growth-bands": lambda quick: growth.bands_rows(20_000 if quick else 100_000),
    "growth-partitions": lambda quick: growth.partitions_rows(20_000 if quick else 200_000),
    "growth-votes": lambda quick: growth.votes_rows(100_000 if quick else 10_000_000),
    "embedded": lambda quick: embedded.rows(*((2, 3, 100_000) if quick else (3, 4, 300_000))),
}


def main() -> int:
    """Measures, prints the table, writes `bench/out/latest.json`; 1 when a row misses its mark, or a group breaks."""
    parser = argparse.ArgumentParser(prog="bench", description="Every figure beside its limit, in one run.")
    parser.add_argument("--row", default="", help="only groups whose name holds this")
    parser.add_argument("--quick", action="store_true", help="a short pass")
    options = parser.parse_args()
    seconds: dict[str, int] = {}
    run = {"at": datetime.now(UTC).isoformat(), "cpus": os.cpu_count(), "busy": 0.0,
           "python": platform.python_version(), "quick": options.quick, "seconds": seconds}  # fmt: skip
    rows: list[Row] = []
    broken: list[str] = []
    for name, group in GROUPS.items():
        if options.row not in name:
            continue
        if (others := busy()) > 0.1:
            print(f"WARNING: others use {others:.0%} of this machine: the figures will be too low", flush=True)
        run["busy"], started = max(run["busy"], others), time.monotonic()
        try:
            for row in group(options.quick):
                rows.append(row)
                print(table([row]).split("\n")[1], flush=True)
        except Exception:  # noqa: BLE001 - the figures of the other groups are not to be lost
            traceback.print_exc()
            broken.append(name)
        seconds[name] = round(time.monotonic() - started)
        write(rows, run)
    print("\n" + table(rows))
    print("seconds: " + ", ".join(f"{name} {taken}" for name, taken in seconds.items()))
    for name in broken:
        print(f"the group {name} broke: its figures are not complete")
    return 0 if all(row.ok for row in rows) and not broken else 1


if __name__ == "__main__":
    sys.exit(main())
