"""The command `aplauso`."""

import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup
from typer.main import get_group

from aplauso import __version__
from aplauso.cli.terminal import printable
from aplauso.domain.errors import AplausoError

_PLACES: Final = {
    "up": ("up", "up"),
    "vote": ("vote", "vote"),
    "load": ("load", "load"),
    "recount": ("recount", "recount"),
    "verify": ("verify", "verify"),
    "gateway": ("rooms", "gateway"),
    "collector": ("rooms", "collector"),
    "tally": ("rooms", "tally"),
    "archive": ("rooms", "archive"),
    "board": ("rooms", "board"),
    "settings": ("settings", "settings"),
    "doctor": ("doctor", "doctor"),
    "contest": ("contest", "contest_app"),
    "rejected": ("rejected", "rejected_app"),
}
"""Each command, or group of commands: the module of this package that has it, and its name there."""


class _Commands(Mapping[str, Any]):
    """Loads a command when it is asked for: a room has no use for what the others need, and would keep it in memory."""

    def __init__(self) -> None:
        self._loaded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaded:
            module, attribute = _PLACES[name]
            found = getattr(import_module(f"{__name__}.{module}"), attribute)
            own = typer.Typer()
            if isinstance(found, typer.Typer):
                own.add_typer(found, name=name)
            else:
                own.command(name)(found)
            self._loaded |= get_group(own).commands
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(_PLACES)

    def __len__(self) -> int:
        return len(_PLACES)


class _Group(TyperGroup):
    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands: Any = _Commands()


app = typer.Typer(
    name="aplauso",
    cls=_Group,
    help="Live voting for contests: no acknowledged vote lost, none counted twice, and anybody can recount.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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
