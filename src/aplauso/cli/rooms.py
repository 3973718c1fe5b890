"""`aplauso gateway`, `collector`, `tally`, `archive`, `board`: one room each, for the distributed system."""

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Annotated

import msgspec
import typer
import uvloop

from aplauso.cli.options import Contests, read_settings
from aplauso.domain.errors import Misconfigured
from aplauso.services import logs
from aplauso.settings import Settings

Port = Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")]
HealthPort = Annotated[
    int, typer.Option(min=0, max=65535, help="Port of /healthz, /readyz and /metrics; 0 takes a free one.")
]
Host = Annotated[str | None, typer.Option(help="Address to listen on.", show_default="APLAUSO_HOST or 127.0.0.1")]


def gateway(port: Port = 8080, host: Host = None, contests: Contests = None) -> None:
    """Take votes over HTTP and hand them to the collectors."""
    settings = _settings(host, contests)
    uvloop.run(_room("gateway").serve(settings, port, _say("gateway")))


def collector(port: Port = 3001, health_port: HealthPort = 9102, host: Host = None, contests: Contests = None) -> None:
    """Take batches of votes over gRPC and append them to the log."""
    settings = _settings(host, contests)
    if host is not None:
        settings = msgspec.structs.replace(settings, collector_host=host)
    # gRPC's own loop integration is made for asyncio's loop; uvloop's works too and is faster.
    uvloop.run(_room("collector").serve(settings, port, health_port, _say("collector")))


def tally(health_port: HealthPort = 9103, host: Host = None) -> None:
    """Fold the log into the live standings."""
    uvloop.run(_room("tally").serve(_settings(host), health_port, _say("tally")))


def archive(health_port: HealthPort = 9104, host: Host = None) -> None:
    """Keep every counted vote in the archive."""
    uvloop.run(_room("archive").serve(_settings(host), health_port, _say("archive")))


def board(port: Port = 8081, host: Host = None, contests: Contests = None) -> None:
    """Show standings, their stream, records and the pages."""
    uvloop.run(_room("board").serve(_settings(host, contests), port, _say("board")))


def _settings(host: str | None, contests: Contests = None) -> Settings:
    settings = read_settings(contests=contests)
    if host is not None:
        settings = msgspec.structs.replace(settings, host=host)
    logs.configure(settings)
    return settings


def _room(name: str) -> ModuleType:
    """A room's module: only the room that runs needs its drivers, and an installation may have none."""
    try:
        return importlib.import_module(f"aplauso.services.{name}")
    except ModuleNotFoundError as error:
        raise Misconfigured(f"{error.name} is not installed: pip install 'aplauso[distributed]'") from None


def _say(name: str) -> Callable[[str], None]:
    def say(address: str) -> None:
        typer.echo(f"{name} {address}")

    return say
