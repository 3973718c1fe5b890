"""`aplauso recount`."""

import sys

import msgspec
import typer
from rich.console import Console
from rich.progress import Progress

from aplauso.cli.options import AsJson, Data, read_settings
from aplauso.cli.terminal import printable
from aplauso.flow.recount import Report
from aplauso.flow.recount import recount as replay
from aplauso.wiring import Readers, choice


def recount(as_json: AsJson = False, data: Data = None) -> None:
    """Replay the log and compare it with the live standings and the archive; exit 1 when they differ.

    Works beside a running system: each projection is compared at its own position.
    """
    readers = choice.readers(read_settings(data))
    try:
        report = _replay(readers)
    finally:
        readers.close()
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode({"ok": report.ok, **msgspec.to_builtins(report)})).decode())
    else:
        _print(report)
    if not report.ok:
        raise typer.Exit(1)


def _replay(readers: Readers) -> Report:
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        bar = progress.add_task("recounting", total=None)
        return replay(*readers, lambda done, total: progress.update(bar, completed=done, total=total))


def _print(report: Report) -> None:
    typer.echo(f"log {report.topic}: {report.records:,} records read")
    for contest, votes in sorted(report.totals.items()):
        typer.echo(f"  {contest}: {votes:,} votes")
    typer.echo(f"  repeated {report.repeated:,}, rejected {report.rejected:,}, not yet counted {report.behind:,}")
    typer.echo(f"archive: {report.archived:,} votes compared")
    if report.ok:
        typer.echo("the standings and the archive are what the log says")
        return
    typer.echo(f"{report.differing:,} differences:", err=True)
    for difference in report.differences:
        typer.echo(printable(f"  {difference.where}, partition {difference.partition}: {difference.what}"), err=True)
    if report.differing > len(report.differences):
        typer.echo(f"  and {report.differing - len(report.differences):,} more", err=True)
