"""`aplauso up`."""

import os
from typing import Annotated

import msgspec
import typer
import uvloop
from rich.console import Console

from aplauso.cli.options import Contests, Data, read_settings
from aplauso.cli.stack import run_stack
from aplauso.services import logs
from aplauso.services.embedded import EmbeddedSystem, serve


def up(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of pages and API; 0 takes a free one.")] = 8080,
    data: Data = None,
    contests: Contests = None,
    host: Annotated[
        str | None,
        typer.Option(help="Address to listen on; 0.0.0.0 lets phones in.", show_default="APLAUSO_HOST or 127.0.0.1"),
    ] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Also cast a trickle of made-up votes.")] = False,
    stack: Annotated[
        bool, typer.Option("--stack", help="Rooms as processes of their own, over Kafka, Redis and a MongoDB.")
    ] = False,
) -> None:
    """Run a whole contest in one process. Ctrl-C stops it; votes stay in the data directory.

    With --stack the same rooms run as processes of their own over real servers, started without containers.
    """
    settings = read_settings(data, contests)
    if host is not None:
        settings = msgspec.structs.replace(settings, host=host)
    logs.configure(settings)
    if stack:
        run_stack(settings, port, with_demo=demo)
        return
    uvloop.run(serve(settings, port, _announce, with_demo=demo))


def _announce(system: EmbeddedSystem) -> None:
    url = system.server.url
    console = Console(highlight=False, soft_wrap=True)
    console.print("[bold]Aplauso is up.[/bold] Ctrl-C stops it.")
    for what, where in (("board", "/"), ("ballot", "/vote"), ("records", "/records"), ("API", "/docs")):
        console.print(f"  {what:8} {url}{where}")
    if system.default is not None:
        console.print(f"  {'vote':8} aplauso vote NAME ALBUM --year 1995 --rank 9 --url {url}", markup=False)
    contests = ", ".join(system.contests)
    console.print(f"  {'contests':8} {contests}", markup=False)
    console.print(f"  {'data':8} {system.data} (process {os.getpid()})", markup=False)
