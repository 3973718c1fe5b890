"""`python -m chaos.soak`: half an hour at a steady pace. Memory must stay flat, lag must not grow, no vote be lost."""

import argparse
import asyncio
import secrets
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Final

import uvloop

from aplauso.domain.errors import AplausoError
from aplauso.settings import Settings
from aplauso.stack.mongo import CACHE_MIB
from aplauso.stack.system import Stack
from chaos import soaked
from chaos.looks import EndedError
from chaos.soaked import Servers, Soak
from chaos.soaking import Plan, Run, say
from chaos.waiting import NotInTimeError

_CACHE_HELP: Final = (
    "cache of the archive's server: one that is full within minutes has it held to the tenth as all are"
)
_WHOLE_MINUTES: Final = 30
_STOPPED: Final = 130
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


def make_stack(home: Path, cache: int | None, *, touch: bool) -> tuple[Stack, Servers]:
    """The stack as `up --stack` makes it, not started, with what was chosen otherwise."""
    stack = Stack(home / "stack", Settings(), 0, say)
    heap, unlike = stack.kafka._heap_mb, []
    if cache is not None:
        command = stack.mongo._command
        stack.mongo._command = lambda config, auth: [  # type: ignore[method-assign]
            *command(config, auth), "--cache-size", f"{cache}M"
        ]  # fmt: skip
        unlike.append(f"the MongoDB-compatible server has a cache of {cache} MiB instead of {CACHE_MIB}")
    if touch:
        stack.kafka._env["_JAVA_OPTIONS"] = f"-Xms{heap}m -XX:+AlwaysPreTouch"
        unlike.append(f"Kafka has its whole heap of {heap} MiB from the start")
    return stack, Servers(heap, cache or CACHE_MIB, unlike)


async def until_stopped(run: Run) -> Soak | None:
    """Runs it; None when a signal asked for the end."""
    task = asyncio.create_task(run.run())

    def stop() -> None:
        run.stopped = True
        task.cancel()

    for signum in _SIGNALS:
        asyncio.get_running_loop().add_signal_handler(signum, stop)
    try:
        return await task
    except asyncio.CancelledError:
        return None


def show(soak: Soak) -> None:
    """The table, what stands below it, and whether all is as it must be, in the last line."""
    table = [soaked.COLUMNS, *soaked.rows(soak)]
    widths = [max(len(row[at]) for row in table) for at in range(len(soaked.COLUMNS) - 1)]
    for row in table:
        say("  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:-1], widths[1:]), row[-1]]).rstrip())
    for line in soaked.lines(soak):
        say(line)
    for text in soak.wrong:
        say(f"WRONG: {text}")
    if soak.minutes < _WHOLE_MINUTES:
        say("a trial: in less than half an hour, small tables of ids and servers that still come up look like growth")
    result = f"NOT as it must be, {len(soak.wrong)} times" if soak.wrong else "all is as it must be"
    say(f"soak: {soak.minutes:g} minutes at {soak.rate:g} votes/s, acknowledged={soak.load.acknowledged}: {result}")


def soak(plan: Plan, home: Path, cache: int | None, *, touch: bool) -> Soak | None:
    """Starts a stack, soaks it and stops it. None when a signal asked for the end before.

    Raises:
        AplausoError: a part does not start, or does not answer.
        EndedError: a process has ended.
        NotInTimeError: tally and archive did not catch up.
    """
    stack, servers = make_stack(home, cache, touch=touch)
    try:
        supervisor = stack.start()
    except KeyboardInterrupt:
        return None
    try:
        run = Run(stack, plan, servers, home)
        try:
            return uvloop.run(until_stopped(run))
        finally:
            run.close()
    finally:
        for signum in _SIGNALS:  # once is enough: what runs is being stopped
            signal.signal(signum, signal.SIG_IGN)
        supervisor.stop()


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m chaos.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--rate", type=float, default=2000.0, help="votes a second")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--mongo-cache", type=int, metavar="MIB", help=_CACHE_HELP)
    parser.add_argument(
        "--touch-heap", action=argparse.BooleanOptionalAction, default=True, help="Kafka has its whole heap at once"
    )
    parser.add_argument("--ledger", type=Path, default=soaked.SOAKS)
    parser.add_argument("--no-ledger", action="store_true")
    parser.add_argument("--keep", action="store_true", help="keeps the data and the logs")
    chosen = parser.parse_args()
    if chosen.minutes < 1 or chosen.rate < 1:
        parser.error("at least a minute, and a vote a second")
    plan = Plan(chosen.minutes, chosen.rate, secrets.randbits(32) if chosen.seed is None else chosen.seed)
    home = Path(tempfile.mkdtemp(prefix="aplauso-soak-"))
    say(f"seed={plan.seed} data={home}: {plan.total:,} votes; the stack is started…")
    for signum in _SIGNALS:
        signal.signal(signum, _interrupt)
    try:
        result = soak(plan, home, chosen.mongo_cache, touch=chosen.touch_heap)
    except (AplausoError, EndedError, NotInTimeError, OSError) as error:
        say(f"soak: broken off: {error}")
        return 1
    if result is None:
        say("soak: stopped before its end; nothing is judged")
    elif not chosen.no_ledger:
        soaked.append(chosen.ledger, result)
    if result is not None:
        show(result)
    if not chosen.keep and (result is None or not result.wrong):
        shutil.rmtree(home, ignore_errors=True)
    return _STOPPED if result is None else 1 if result.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
