"""`aplauso doctor`."""

import msgspec
import typer

from aplauso.cli.options import AsJson, Contests, Data, read_settings
from aplauso.cli.terminal import printable
from aplauso.wiring import choice, examine


def doctor(as_json: AsJson = False, data: Data = None, contests: Contests = None) -> None:
    """Reach every configured part and say what is wrong with it; exit 1 when something is."""
    findings = examine(choice.checks(read_settings(data, contests)))
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode([finding._asdict() for finding in findings])).decode())
    else:
        for finding in findings:
            typer.echo(printable(f"{'ok   ' if finding.ok else 'WRONG'} {finding.part}: {finding.text}"))
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)
