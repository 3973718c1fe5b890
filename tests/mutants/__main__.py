"""`python -m tests.mutants`: plants every mutant and sees that a test kills it."""

import argparse
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .catalogue import MUTANTS
from .runner import ROOT, Stale, Verdict, control, planted, snapshot, table, try_mutant


def main() -> int:
    """Runs the mutants; 0 when each of them was killed."""
    parser = argparse.ArgumentParser(prog="make mutants")
    parser.add_argument("--only", default="", help="only mutants with this text in their name or their file")
    parser.add_argument("--jobs", type=int, default=2, help="mutants at once")
    parser.add_argument("--no-control", action="store_true", help="do not run the tests over the right code first")
    options = parser.parse_args()
    chosen = [mutant for mutant in MUTANTS if options.only in mutant.name or options.only in mutant.file]
    if not chosen:
        print(f"no mutant has {options.only!r} in its name or its file")
        return 2
    with tempfile.TemporaryDirectory(prefix="aplauso-mutants-") as folder:
        sources = snapshot(Path(folder))
        for mutant in chosen:
            try:
                planted(mutant, sources)
            except Stale as error:
                print(f"stale     {error}", flush=True)
        if not options.no_control and (wrong := control(chosen, sources)):
            print(f"{wrong}\nthe tests do not pass over the right code: what they say of mutants is worth nothing")
            return 1
        with ThreadPoolExecutor(options.jobs) as pool:
            verdicts = []
            for verdict in pool.map(lambda each: try_mutant(each, sources, Path(folder)), chosen):
                verdicts.append(verdict)
                print(told(verdict), flush=True)
    killed = sum(bool(verdict.killer) for verdict in verdicts)
    if killed == len(verdicts) == len(MUTANTS):
        (ROOT / "docs" / "mutants.md").write_text(table(verdicts), encoding="utf-8")
    print(f"mutants: {killed} killed, {len(verdicts) - killed} survived")
    return 0 if killed == len(verdicts) else 1


def told(verdict: Verdict) -> str:
    """One line for one mutant."""
    if verdict.killer:
        return f"killed    {verdict.mutant.name}: {verdict.killer} ({verdict.seconds:.1f} s)"
    return f"SURVIVED  {verdict.mutant.name} ({verdict.seconds:.1f} s) {verdict.trouble}"


if __name__ == "__main__":
    sys.exit(main())
