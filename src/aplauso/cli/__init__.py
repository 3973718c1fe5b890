"""The command `aplauso`."""

import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from aplauso import __version__
from aplauso.cli.contest import contest_app
from aplauso.cli.doctor import doctor
from aplauso.cli.load import load
from aplauso.cli.recount import recount
from aplauso.cli.rejected import rejected_app
from aplauso.cli.rooms import archive, board, collector, gateway, tally
from aplauso.cli.settings import settings
from aplauso.cli.terminal import printable
from aplauso.cli.up import up
from aplauso.cli.verify import verify
from aplauso.cli.vote import vote
from aplauso.domain.errors import AplausoError

app = typer.Typer(
    name="aplauso",
    help="Live voting for contests: no acknowledged vote lost, none counted twice, and anybody can recount.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_COMMANDS: tuple[Callable[..., Any], ...] = (
    up,
    vote,
    load,
    recount,
    verify,
    gateway,
    collector,
    tally,
    archive,
    board,
    settings,
    doctor,
)
for command in _COMMANDS:
    app.command()(command)
app.add_typer(contest_app, name="contest")
app.add_typer(rejected_app, name="rejected")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"aplauso {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options that come before a command."""


def main() -> None:
    """Runs the command line; what goes wrong is one line on standard error and exit code 1."""
    try:
        app()
    except AplausoError as error:
        lines = str(error).split("\n")
        typer.echo("aplauso: " + "\n".join(printable(line) for line in lines), err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # Whoever read our output has gone, as `head` does; nothing is left to be said.
        sys.stderr.close()
        sys.exit(1)
