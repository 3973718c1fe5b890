"""Options that several commands share."""

import os
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from aplauso.settings import Settings, load

Data = Annotated[
    Path | None,
    typer.Option(
        "--data", metavar="DIR", help="Directory of the embedded data.", show_default="APLAUSO_DATA or ./data"
    ),
]
Contests = Annotated[
    Path | None,
    typer.Option("--contests", metavar="DIR", help="Directory of contest files.", show_default="the example contest"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON.")]


def read_settings(data: Path | None = None, contests: Path | None = None) -> Settings:
    """The settings, with what the command line says instead. Raises `Misconfigured`."""
    settings = load(os.environ).settings
    given = {name: value for name, value in (("data", data), ("contests", contests)) if value is not None}
    return msgspec.structs.replace(settings, **given)
