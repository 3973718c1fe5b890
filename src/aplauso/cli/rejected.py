"""`aplauso rejected`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from aplauso.cli.options import AsJson, Data, read_settings
from aplauso.cli.terminal import printable
from aplauso.domain.errors import Misconfigured
from aplauso.ports.rejected import Mark, RejectedLog, Rejection
from aplauso.wiring import choice

rejected_app = typer.Typer(help="Records of the log that cannot be counted.", invoke_without_command=True)
_PREVIEW = 60


@rejected_app.callback()
def _default(context: typer.Context, data: Data = None) -> None:
    """List, retry or drop rejected records; without a command, list them."""
    if context.invoked_subcommand is None:
        list_(data=data)


@rejected_app.command("list")
def list_(as_json: AsJson = False, data: Data = None) -> None:
    """List the rejected records that nobody has decided about."""
    with _opened(data) as rejected:
        found = list(rejected.open())
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode([_describe(rejection) for rejection in found])).decode())
        return
    for rejection in found:
        place = f"{rejection.place.partition}:{rejection.place.offset}"
        value = printable((rejection.value or b"")[:_PREVIEW].decode(errors="backslashreplace"))
        typer.echo(f"{place}  {rejection.reason}  {printable(rejection.detail)}  {value}")
    typer.echo(f"{len(found)} rejected records")


Places = Annotated[
    list[str] | None, typer.Argument(metavar="[PARTITION:OFFSET]...", help="Which ones, as `list` names them.")
]
All = Annotated[bool, typer.Option("--all", help="All of them.")]


@rejected_app.command()
def drop(places: Places = None, every: All = False, data: Data = None) -> None:
    """Mark rejected records as dropped: they stay in the log, and are not listed any more."""
    with _opened(data) as rejected:
        chosen = _choose(list(rejected.open()), places or [], every=every)
        rejected.mark([rejection.place for rejection in chosen], Mark.DROPPED)
    typer.echo(f"{len(chosen)} rejected records dropped")


def _choose(found: list[Rejection], places: list[str], *, every: bool) -> list[Rejection]:
    if every == bool(places):
        raise Misconfigured("name the records as PARTITION:OFFSET, or give --all")
    by_place = {f"{rejection.place.partition}:{rejection.place.offset}": rejection for rejection in found}
    missing = [place for place in places if place not in by_place]
    if missing:
        raise Misconfigured(f"no rejected record at {', '.join(missing)}: `aplauso rejected list` names them")
    return found if every else [by_place[place] for place in places]


def _describe(rejection: Rejection) -> dict[str, object]:
    return {**rejection.place._asdict(), **{k: v for k, v in rejection._asdict().items() if k != "place"}}


@contextmanager
def _opened(data: Path | None) -> Iterator[RejectedLog]:
    rejected = choice.rejected(read_settings(data))
    try:
        yield rejected
    finally:
        rejected.close()
