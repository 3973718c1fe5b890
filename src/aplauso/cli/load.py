"""`aplauso load`: sends a traffic file."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Final, Self

import msgspec
import typer
import uvloop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from aplauso.adapters.http.client import GatewayClient
from aplauso.adapters.system.clock import SystemClock
from aplauso.cli.options import read_settings
from aplauso.cli.terminal import printable
from aplauso.cli.vote import ContestId, Timeout, Tries, Url
from aplauso.domain.errors import Refused, Unavailable
from aplauso.domain.journal import Attempt, encode
from aplauso.flow.load import Load, Plan, Summary
from aplauso.flow.send import Patience
from aplauso.flow.traffic import Traffic, open_traffic

_GRACE_S: Final = 5.0
"""After a Ctrl-C, answers under way are waited for so long; a second Ctrl-C does not wait."""
_BAR_EVERY_S: Final = 0.2
_LINE_EVERY_S: Final = 5.0


def load(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="Votes: a JSON array, or one a line (NDJSON).", show_default=False),
    ],
    url: Url = None,
    contest: ContestId = None,
    rate: Annotated[
        float | None,
        typer.Option(min=0.001, metavar="N", help="Votes a second, evenly; without it, as fast as answers come."),
    ] = None,
    votes: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="How many; the file is repeated as needed. Without it, once through."),
    ] = None,
    journal: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Append a line for each answer, for `aplauso verify`.", show_default=False),
    ] = None,
    connections: Annotated[int, typer.Option(min=1, max=10_000, metavar="N", help="Votes under way at most.")] = 64,
    anonymous: Annotated[
        float,
        typer.Option(
            min=0.0, max=1.0, metavar="SHARE",
            help="Share of votes sent without a key; such a vote is not sent again when its answer is lost.",
        ),
    ] = 0.0,
    patience: Tries = 30.0,
    timeout: Timeout = 15.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:  # fmt: skip
    """Send a traffic file, and tell what became of its votes.

    Each vote has an Idempotency-Key of its own, and is sent again with it
    until its fate is certain. Ctrl-C stops cleanly, a second one at once.
    Exit code 0 means that every vote is recorded.
    """
    traffic = open_traffic(file)
    total = votes or traffic.votes
    client = GatewayClient(url or read_settings().url, contest, connections=connections, timeout=timeout)
    plan = Plan(rate, min(connections, total), anonymous, Patience(patience))
    with JournalFile(journal) if journal else contextlib.nullcontext() as lines:
        summary, stopped = uvloop.run(_run(client, traffic, total, plan, lines))
    _print_json(summary, total) if as_json else _print_table(summary, total)
    if stopped:
        raise typer.Exit(130)
    if summary.recorded < total:
        raise typer.Exit(1)


class JournalFile:
    """A journal that is appended to; each line is with the operating system before the next answer is looked at.

    Raises:
        Refused: the file cannot be opened, or its last line is cut off.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = path.open("ab+", buffering=0)
            self._check_end()
        except OSError as error:
            raise Refused(f"{path}: {error.strerror or error}") from None

    def _check_end(self) -> None:
        if size := self._file.seek(0, os.SEEK_END):
            self._file.seek(size - 1)
            if self._file.read(1) != b"\n":
                self._file.close()
                raise Refused(f"{self._path}: its last line is cut off; begin a new journal")

    def write(self, attempt: Attempt) -> None:
        """Appends a line. Raises `Unavailable` when that fails: going on would lose answers."""
        line = encode(attempt)
        try:
            written = self._file.write(line)
        except OSError as error:
            raise Unavailable(f"{self._path}: {error.strerror or error}") from None
        if written != len(line):
            raise Unavailable(f"{self._path}: only a part of a line could be written")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()


async def _run(
    client: GatewayClient, traffic: Traffic, total: int, plan: Plan, journal: JournalFile | None
) -> tuple[Summary, bool]:
    write = journal.write if journal else None
    run = Load(client, traffic.take(total), plan, SystemClock(), write)
    with _stopped_by_signals(run):
        async with client, _shown(run, total):
            await client.find_contest()
            return await run.run(), run.halted


@contextlib.contextmanager
def _stopped_by_signals(run: Load) -> Iterator[None]:
    """The first SIGINT or SIGTERM halts the run, and after the grace aborts it; the second aborts it at once."""
    loop = asyncio.get_running_loop()

    def stop() -> None:
        if run.halted:
            run.abort()
            return
        typer.echo("stopping: waiting for the answers under way", err=True)
        run.halt()
        loop.call_later(_GRACE_S, run.abort)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


@contextlib.asynccontextmanager
async def _shown(run: Load, total: int) -> AsyncIterator[None]:
    """Shows the progress on stderr: a bar on a terminal, a line now and then elsewhere."""
    console = Console(stderr=True)
    with contextlib.ExitStack() as stack:
        if console.is_terminal:
            task = asyncio.create_task(_repeat(_bar(run, total, console, stack), _BAR_EVERY_S))
        else:
            task = asyncio.create_task(_repeat(lambda: typer.echo(_line(run, total), err=True), _LINE_EVERY_S))
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def _repeat(show: Callable[[], None], seconds: float) -> None:
    try:
        while True:
            await asyncio.sleep(seconds)
            show()
    finally:
        show()


def _bar(run: Load, total: int, console: Console, stack: contextlib.ExitStack) -> Callable[[], None]:
    progress = stack.enter_context(
        Progress(
            TextColumn("votes"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
            TextColumn("{task.description}", markup=False), console=console, auto_refresh=False,
        )
    )  # fmt: skip
    bar = progress.add_task("", total=total)

    def show() -> None:
        progress.update(bar, completed=_settled(run.summary), description=_trouble(run), refresh=True)

    return show


def _line(run: Load, total: int) -> str:
    return f"{_settled(run.summary)} of {total} votes; {run.summary.recorded} recorded {_trouble(run)}".rstrip()


def _trouble(run: Load) -> str:
    """What does not go well, and the last word about it."""
    summary = run.summary
    missing = summary.attempts - summary.recorded
    return f"{missing} answers were no receipts; the last: {printable(run.last_detail)}" if missing > 0 else ""


def _settled(summary: Summary) -> int:
    return summary.recorded + summary.refused.total() + summary.undecided


def _print_table(summary: Summary, total: int) -> None:
    table = Table(show_header=False, title=f"{summary.sent} of {total} votes sent", title_justify="left")
    table.add_column(style="dim")
    table.add_column(justify="right")
    table.add_row("recorded", str(summary.recorded))
    for status, number in sorted(summary.refused.items(), key=lambda item: item[0] or 0):
        table.add_row("refused, no connection" if status is None else f"refused, {status}", str(number))
    table.add_row("undecided", str(summary.undecided))
    table.add_row("answers", str(summary.attempts))
    table.add_row("seconds", f"{summary.seconds:.2f}")
    table.add_row("recorded a second", f"{summary.rate:,.0f}")
    if latency := summary.latency():
        for name, seconds in latency._asdict().items():
            table.add_row(f"receipt {name}", f"{seconds * 1000:.1f} ms")
    Console().print(table)


def _print_json(summary: Summary, total: int) -> None:
    latency = summary.latency()
    figures: dict[str, Any] = {
        "votes": total,
        "sent": summary.sent,
        "recorded": summary.recorded,
        "refused": {str(status or "no connection"): number for status, number in summary.refused.items()},
        "undecided": summary.undecided,
        "answers": summary.attempts,
        "seconds": round(summary.seconds, 3),
        "recorded_per_second": round(summary.rate, 1),
        "receipt_seconds": {k: round(v, 6) for k, v in latency._asdict().items()} if latency else None,
    }
    sys.stdout.write(msgspec.json.encode(figures).decode() + "\n")
