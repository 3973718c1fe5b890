"""`aplauso verify`."""

import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.progress import Progress

from aplauso.cli.options import AsJson, Data, read_settings
from aplauso.cli.terminal import printable
from aplauso.domain.errors import Misconfigured
from aplauso.domain.journal import read
from aplauso.domain.verdict import Finding, Verdict
from aplauso.flow.verify import verify as hold
from aplauso.wiring import Readers, choice


def verify(
    journal: Annotated[Path, typer.Option(metavar="FILE", help="Answers, as `load --journal` writes them.")],
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Hold a journal of answers against log, standings and archive; exit 1 on lost, repeated or invented votes.

    The system must be at rest: all votes answered, standings and archive caught up with the log.
    """
    readers = choice.readers(read_settings(data))
    try:
        verdict = _hold(journal, readers)
    finally:
        readers.close()
    if as_json:
        typer.echo(
            msgspec.json.format(msgspec.json.encode({"ok": verdict.ok, **msgspec.to_builtins(verdict)})).decode()
        )
    else:
        _print(verdict)
    if not verdict.ok:
        raise typer.Exit(1)


def _hold(journal: Path, readers: Readers) -> Verdict:
    try:
        file = journal.open("rb")
    except OSError as error:
        raise Misconfigured(f"the journal {journal} cannot be read: {error.strerror}") from None
    with file, Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        bar = progress.add_task("verifying", total=None)
        return hold(
            read(file, str(journal)), *readers, lambda done, total: progress.update(bar, completed=done, total=total)
        )


def _print(verdict: Verdict) -> None:
    typer.echo(f"{verdict.attempts:,} attempts: {verdict.acknowledged:,} votes acknowledged, "
               f"{verdict.undecided:,} undecided, {verdict.refused:,} refused")  # fmt: skip
    typer.echo(f"log: {verdict.counted:,} votes counted, {verdict.copies:,} copies; archive: {verdict.archived:,}")
    for name in ("lost", "repeated", "invented", "mismatched"):
        finding = getattr(verdict, name)
        typer.echo(f"{name:18} {finding.count:,}", err=finding.count > 0)
        _print_examples(finding, err=True)
    for name, finding in (("undecided, counted", verdict.undecided_counted), ("rejected", verdict.rejected)):
        typer.echo(f"{name:18} {finding.count:,}")
        _print_examples(finding)


def _print_examples(finding: Finding, *, err: bool = False) -> None:
    for example in finding.examples:
        typer.echo(printable(f"  {example.subject}: {example.what}"), err=err)
