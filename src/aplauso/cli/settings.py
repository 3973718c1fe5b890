"""`aplauso settings`."""

import os
import sys

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from aplauso.cli.options import AsJson
from aplauso.cli.terminal import printable
from aplauso.settings import describe, load


def settings(as_json: AsJson = False) -> None:
    """List all settings: their values, where each came from, and what they mean. Secrets are masked."""
    rows = describe(load(os.environ))
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode([row._asdict() for row in rows])).decode())
        return
    table = Table("Setting", "Value", "From", "Meaning", box=None)
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    # A pipe gets whole lines, however long.
    Console(highlight=False, width=None if sys.stdout.isatty() else 200).print(table)
