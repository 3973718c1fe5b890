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
    given: dict[str, object] = {"contests": contests} if contests is not None else {}
    if data is not None:
        given |= {"data": data, "kafka_bootstrap": None}  # who names embedded data means them, not the servers
    return msgspec.structs.replace(settings, **given)
