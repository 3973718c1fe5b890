"""`aplauso vote`: casts one vote."""

import asyncio
import secrets
import sys
from typing import Annotated, Final

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from aplauso.adapters.http.client import GatewayClient
from aplauso.cli.options import read_settings
from aplauso.cli.terminal import printable
from aplauso.domain.journal import Outcome
from aplauso.domain.vote import KEY, Ballot
from aplauso.flow.send import Answer, Patience, settle

_MAX_NUMBER: Final = 999_999_999

Url = Annotated[
    str | None,
    typer.Option(help="Address of the gateway.", show_default="APLAUSO_URL or http://127.0.0.1:8080"),
]
ContestId = Annotated[
    str | None, typer.Option("--contest", metavar="ID", help="The contest; without it, the gateway's default one.")
]
Tries = Annotated[
    float,
    typer.Option(
        "--patience", metavar="SECONDS", min=0.0,
        help="How long to try again, with the same key, while the gateway is away, busy or undecided.",
    ),
]  # fmt: skip
Timeout = Annotated[
    float, typer.Option("--timeout", metavar="SECONDS", min=0.1, help="How long to wait for each answer.")
]


def vote(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The band.", show_default=False)],
    album: Annotated[str, typer.Argument(metavar="ALBUM", help="Its album.", show_default=False)],
    year: Annotated[int, typer.Option(min=0, max=_MAX_NUMBER, help="The album's year.", show_default=False)],
    rank: Annotated[
        int, typer.Option(min=0, max=_MAX_NUMBER, help="How good it is, on the contest's scale.", show_default=False)
    ],
    url: Url = None,
    contest: ContestId = None,
    key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            help="Idempotency-Key, 16 to 128 visible ASCII characters: the vote of one key counts once, however often "
            "it is sent. Without it, a new one.",
        ),
    ] = None,
    patience: Tries = 30.0,
    timeout: Timeout = 15.0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON; always so when the output is not a terminal.")
    ] = False,
) -> None:
    """Cast one vote and print its receipt.

    It is sent until its fate is certain, always with one Idempotency-Key,
    so that it counts once. Exit code 0 means that it is recorded; 1 that it
    is not, or that nobody knows: then the key to try again with is printed.
    """
    _check_text(name, "NAME")
    _check_text(album, "ALBUM")
    if key is None:
        key = secrets.token_hex(16)
    elif not KEY.fullmatch(key):
        raise typer.BadParameter("must be 16 to 128 visible ASCII characters", param_hint="--key")
    client = GatewayClient(url or read_settings().url, contest, connections=1, timeout=timeout)
    answer = asyncio.run(_cast(client, Ballot(name, album, year, rank), key, patience))
    if as_json or not sys.stdout.isatty():
        _print_json(answer, key)
    elif answer.outcome is Outcome.RECORDED:
        _print_receipt(answer, name, album, year, rank)
    if answer.outcome is not Outcome.RECORDED:
        typer.echo(_complaint(answer, key), err=True)
        raise typer.Exit(1)


def _check_text(text: str, argument: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:  # bytes of the command line that are no text
        raise typer.BadParameter("is not valid UTF-8", param_hint=argument) from None


async def _cast(client: GatewayClient, ballot: Ballot, key: str, patience: float) -> Answer:
    async with client:
        return await settle(client, ballot, key, Patience(patience), asyncio.Event(), lambda *_: None)


def _print_json(answer: Answer, key: str) -> None:
    receipt = {"id": answer.id, "contest": answer.contest, "status": answer.outcome.value}
    if answer.outcome is not Outcome.RECORDED:
        receipt |= {"detail": answer.detail, "key": key}
    typer.echo(msgspec.json.encode(receipt).decode())


def _print_receipt(answer: Answer, name: str, album: str, year: int, rank: int) -> None:
    table = Table(show_header=False, title="Recorded", title_justify="left", title_style="bold green")
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    lines = {"band": name, "album": album, "year": year, "rank": rank, "contest": answer.contest, "id": answer.id}
    for label, value in lines.items():
        table.add_row(label, Text(printable(str(value))))
    Console().print(table)


def _complaint(answer: Answer, key: str) -> str:
    detail = printable(answer.detail)
    status = f" ({answer.status})" if answer.status else ""
    if answer.outcome is Outcome.REFUSED and answer.is_final:
        return f"the vote was refused{status}: {detail}"
    if answer.outcome is Outcome.REFUSED:
        return f"the vote was not recorded{status}: {detail}; try again later"
    return f"nobody knows whether the vote is recorded{status}: {detail}; try again with --key {key}"
