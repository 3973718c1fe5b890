"""`aplauso contest`."""

from pathlib import Path
from typing import Annotated

import typer

from aplauso.cli.terminal import printable
from aplauso.domain.contest import instant, parse
from aplauso.domain.errors import InvalidContest
from aplauso.wiring import read_contest_file

contest_app = typer.Typer(help="Contest files.", no_args_is_help=True)


@contest_app.callback()
def _group() -> None:
    """Keeps `check` a command of its own: typer would otherwise merge a single one into its group."""


@contest_app.command()
def check(file: Annotated[Path, typer.Argument(metavar="FILE", help="A contest file (TOML).")]) -> None:
    """Say whether a contest file is right, or everything that is wrong with it."""
    try:
        contest = parse(read_contest_file(file), str(file))
    except InvalidContest as error:
        for wrong in error.errors:
            typer.echo(printable(f"{file}: {wrong.field + ': ' if wrong.field else ''}{wrong.message}"), err=True)
        raise typer.Exit(1) from None
    opens = "from the beginning" if contest.opens is None else f"from {instant(contest.opens)}"
    closes = "without end" if contest.closes is None else f"to {instant(contest.closes)}"
    albums = sum(len(band.albums) for band in contest.bands)
    typer.echo(printable(f"{contest.id}: {contest.title['es']} / {contest.title['en']}"))
    typer.echo(f"open {opens}, {closes}; ranks {contest.rank.min} to {contest.rank.max}")
    typer.echo(f"{contest.nominations} nominations; {len(contest.bands)} bands with {albums} albums in the file")
