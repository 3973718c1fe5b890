"""`aplauso recount`."""

import sys
from contextlib import closing
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.progress import Progress

from aplauso.cli.options import AsJson, Data, read_settings
from aplauso.cli.terminal import printable
from aplauso.flow.recount import Report
from aplauso.flow.recount import recount as replay
from aplauso.wiring import Readers, choice
from aplauso.wiring.processes import Processes, processors

_Number = Annotated[
    int | None,
    typer.Option("--processes", min=1, metavar="N", help="Processes that fold.", show_default="one a processor"),
]


def recount(as_json: AsJson = False, data: Data = None, processes: _Number = None) -> None:
    """Replay the log and compare it with the live standings and the archive; exit 1 when they differ.

    Works beside a running system: each projection is compared at its own position. The log's partitions are shared
    among processes; each of them needs memory for the ids of one partition.
    """
    settings = read_settings(data)
    with (
        closing(choice.folding(settings, processes or processors())) as folds,
        closing(choice.readers(settings)) as readers,
    ):
        report = _replay(readers, folds)
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode({"ok": report.ok, **msgspec.to_builtins(report)})).decode())
    else:
        _print(report)
    if not report.ok:
        raise typer.Exit(1)


def _replay(readers: Readers, folds: Processes) -> Report:
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        bar = progress.add_task("recounting", total=None)
        return replay(*readers, lambda done, total: progress.update(bar, completed=done, total=total), folds)


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
