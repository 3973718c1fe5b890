"""`aplauso rejected`."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from aplauso.cli.options import AsJson, Contests, Data, read_settings
from aplauso.cli.terminal import printable
from aplauso.domain.errors import Misconfigured
from aplauso.flow.retry import Retried
from aplauso.flow.retry import retry as put_back
from aplauso.ports.rejected import Mark, RejectedLog, Rejection
from aplauso.settings import Settings
from aplauso.wiring import choice, load_contests

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


@rejected_app.command()
def retry(places: Places = None, every: All = False, data: Data = None, contests: Contests = None) -> None:
    """Put the votes of rejected records into the log again, where their bytes can be read and their contest takes them.

    Each counts once, however often it is tried. Embedded data: `up` has to be stopped, and counts them when it runs
    again. Exit code 0 means that the log has all of them.
    """
    results = asyncio.run(_retry(places or [], read_settings(data, contests), every=every))
    for result in results:
        place = f"{result.rejection.place.partition}:{result.rejection.place.offset}"
        typer.echo(f"{place}  stays rejected: {printable(result.why)}" if result.why else f"{place}  {result.id}")
    stay = sum(bool(result.why) for result in results)
    typer.echo(f"{len(results) - stay} rejected records retried" + (f", {stay} stay as they are" if stay else ""))
    if stay:
        raise typer.Exit(1)


async def _retry(places: list[str], settings: Settings, *, every: bool) -> list[Retried]:
    contests = load_contests(settings.contests)
    parts = choice.appending(settings)
    try:
        return await put_back(
            _choose(list(parts.rejected.open()), places, every=every), contests, parts.log, parts.rejected
        )
    finally:
        await parts.close()


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
