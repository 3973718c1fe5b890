"""The command `aplauso` as a process."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

APLAUSO = str(Path(sys.executable).with_name("aplauso"))


class Ended(NamedTuple):
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its output as JSON."""
        return json.loads(self.out)


async def start(*arguments: str | Path, **environment: str) -> asyncio.subprocess.Process:
    """Starts a command."""
    return await asyncio.create_subprocess_exec(
        APLAUSO, *map(str, arguments),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "COLUMNS": "100", **environment},
    )  # fmt: skip


async def end(process: asyncio.subprocess.Process) -> Ended:
    """Waits for a command's end."""
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), err.decode())


async def run(*arguments: str | Path, **environment: str) -> Ended:
    """Runs a command to its end."""
    return await end(await start(*arguments, **environment))


async def run_on_terminal(*arguments: str | Path) -> tuple[int, str]:
    """Runs a command whose output and errors go to a terminal; returns its exit code and what the terminal got."""
    ours, theirs = os.openpty()
    process = await asyncio.create_subprocess_exec(
        APLAUSO, *map(str, arguments), stdin=theirs, stdout=theirs, stderr=theirs,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "100"},
    )  # fmt: skip
    os.close(theirs)
    reading = asyncio.create_task(asyncio.to_thread(_read_all, ours))
    try:
        code = await asyncio.wait_for(process.wait(), 60)
        return code, (await reading).decode()
    finally:
        os.close(ours)


def _read_all(terminal: int) -> bytes:
    data = b""
    while True:
        try:
            chunk = os.read(terminal, 65536)
        except OSError:  # the other side is closed
            return data
        if not chunk:
            return data
        data += chunk
