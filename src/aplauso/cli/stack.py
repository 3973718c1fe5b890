"""`aplauso up --stack`."""

import importlib
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from aplauso.cli.terminal import printable
from aplauso.domain.errors import Misconfigured
from aplauso.settings import Settings


def run_stack(settings: Settings, port: int, *, with_demo: bool) -> None:
    """Starts the servers and the rooms, and watches them until a signal asks for a stop.

    Raises:
        Misconfigured: the extra `stack` is not installed, or the data directory cannot be used.
        Unavailable: a part does not come up.
    """
    if with_demo:
        raise Misconfigured("--demo and --stack do not go together: `aplauso load` casts votes in a stack")
    ending = threading.Event()

    def asked(*_: object) -> None:
        if not up:
            # Starting waits for parts, one of which may never come up: it is broken off, and what runs is stopped.
            raise KeyboardInterrupt
        ending.set()

    up = False
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, asked)
    typer.echo("starting Kafka, Redis, a MongoDB-compatible server and the rooms…")
    stack = _make(settings, port)
    supervisor = stack.start()
    up = True
    try:
        _announce(stack)
        supervisor.watch(ending)
    finally:
        typer.echo("stopping…")
        supervisor.stop()


def _make(settings: Settings, port: int) -> Any:
    try:
        module = importlib.import_module("aplauso.stack.system")
    except ModuleNotFoundError as error:
        raise Misconfigured(f"{error.name} is not installed: pip install 'aplauso[stack]'") from None
    return module.Stack(Path(settings.data) / "stack", settings, port, _say)


def _say(text: str) -> None:
    typer.echo("\n".join(printable(line) for line in text.split("\n")), err=True)


def _announce(stack: Any) -> None:
    console = Console(highlight=False, soft_wrap=True)
    console.print("[bold]Aplauso is up, over real servers.[/bold] Ctrl-C stops it.")
    for what, where in (("board", "/"), ("ballot", "/vote"), ("records", "/records"), ("API", "/docs")):
        console.print(f"  {what:8} {stack.url}{where}")
    for name in ("kafka", "redis", "mongo"):
        part = getattr(stack, name)
        console.print(f"  {name:8} 127.0.0.1:{part.port}")
    console.print(f"  {'gRPC':8} 127.0.0.1:{stack.ports['collector']}")
    console.print(f"  {'data':8} {stack.data} (process {os.getpid()}; logs beside it)", markup=False)
    console.print(
        f"  {'settings':8} source {stack.environment_file()}   # then recount, rejected, doctor", markup=False
    )
    if not sys.stdout.isatty():
        sys.stdout.flush()
