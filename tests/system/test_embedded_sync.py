"""An acknowledgement never leaves before its vote is on disk: told by the kernel, not by a crash.

kill -9 proves nothing here, as the page cache outlives it. So strace watches every write and every sync of a server.
"""

import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from casting import Casting
from embedded import Up, wait_until

pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
CALLS = "fdatasync,fsync,sync_file_range,pwrite64,pwritev,write,writev,sendto,sendmsg"
ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[78][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
LINE = re.compile(r"(\d+) +\d+\.\d+ (?:<\.\.\. (\w+) resumed>)?(.*)")
WITHOUT_SYNC = """
import aplauso.adapters.sqlite.log as log
from aplauso.adapters.sqlite.database import connect
log.connect = lambda path, *, synchronous, schema: connect(path, synchronous="OFF", schema=schema)
from aplauso.cli import main
main()
"""


class Call(NamedTuple):
    """A system call: where in the trace it began and ended, its text, and what it returned."""

    began: int
    ended: int
    text: str

    @property
    def worked(self) -> bool:
        """Whether it returned something else than an error."""
        return re.search(r"= \d+$", self.text) is not None


def calls(trace: str) -> list[Call]:
    """The system calls of a trace by their ends; those that others ran into are put together again."""
    begun: dict[str, tuple[int, str]] = {}
    found = []
    for number, line in enumerate(trace.splitlines()):
        match = LINE.fullmatch(line)
        if match is None:
            continue
        pid, resumed, text = match.groups()
        if text.endswith("<unfinished ...>"):
            begun[pid] = number, text.removesuffix("<unfinished ...>")
        elif resumed and pid in begun:
            at, beginning = begun.pop(pid)
            found.append(Call(at, number, beginning + text))
        else:
            found.append(Call(number, number, text))
    return found


class Found(NamedTuple):
    """What a trace says of the votes that were acknowledged: all of them, and those that were not on disk."""

    acknowledged: set[str]
    too_early: set[str]


def judge(trace: str) -> Found:
    """Holds each acknowledgement against the sync that must lie between it and the write of its vote to the log."""
    written: dict[str, int] = {}
    syncs: list[Call] = []
    acknowledged: set[str] = set()
    too_early: set[str] = set()
    ordered = sorted(calls(trace), key=lambda call: call.began)
    for call in ordered:
        if "log.db-wal>" in call.text:
            if call.text.startswith(("fdatasync", "fsync")) and call.worked:
                syncs.append(call)
            elif call.text.startswith("pwrite"):
                for vote_id in ID.findall(call.text):
                    written.setdefault(vote_id, call.ended)
        elif "HTTP/1.1 201" in call.text:
            for vote_id in ID.findall(call.text):
                acknowledged.add(vote_id)
                at = written.get(vote_id)
                if at is None or not any(at < sync.began and sync.ended <= call.began for sync in syncs):
                    too_early.add(vote_id)
    return Found(acknowledged, too_early)


@contextmanager
def traced(up: Up) -> Iterator[Callable[[], str]]:
    """Watches a running server; the block gets what ends the watching and returns the trace."""
    file, notes = up.folder / "trace", up.folder / "strace"
    with notes.open("wb") as output:
        command = [
            "strace",
            "-f",
            "-ttt",
            "-y",
            "-s",
            "6000",
            "-e",
            f"trace={CALLS}",
            "-o",
            str(file),
            "-p",
            str(up.pid),
        ]
        process = subprocess.Popen(command, stderr=output)
    try:
        wait_until(lambda: "attached" in notes.read_text() or process.poll() is not None, "strace")
        if process.poll() is not None:
            pytest.skip(f"strace may not watch here: {notes.read_text()}")

        def end() -> str:
            process.send_signal(signal.SIGINT)
            process.wait(30)
            return file.read_text("ascii", "replace")

        yield end
    finally:
        process.kill()
        process.wait()


def test_each_single_vote_is_synced_before_its_receipt(up: Up) -> None:
    """Of votes that come one after the other each is written to the log, synced, and only then acknowledged."""
    with traced(up) as end:
        sent = {up.vote().json["id"] for _ in range(40)}
        found = judge(end())
    assert found == Found(sent, set())


def test_under_load_each_receipt_follows_its_sync(up: Up) -> None:
    """However many votes share a sync, no receipt leaves before the one that covers its vote has returned."""
    with traced(up) as end:
        with Casting(up, voters=16) as casting:
            casting.wait(600)
        found = judge(end())
    assert found.acknowledged == set(casting.recorded)
    assert found.too_early == set()


def test_a_server_that_does_not_sync_is_caught(launch: Callable[..., Up], tmp_path: Path) -> None:
    """The same check finds fault with every receipt of a server whose log does not sync."""
    script = tmp_path / "unsynced.py"
    script.write_text(WITHOUT_SYNC, "utf-8")
    up = launch(program=(str(script),)).start()
    with traced(up) as end:
        sent = {up.vote().json["id"] for _ in range(20)}
        found = judge(end())
    assert found.acknowledged == sent
    assert len(found.too_early) == 20


def test_the_judge_reads_interleaved_calls() -> None:
    """A receipt that leaves while the sync is still under way is too early; one after it is not."""
    vote_id = "01a20836-6dd9-73cb-b94d-e6845e801e7b"
    write = f'1 1.0 pwrite64(9</d/log.db-wal>, "x{vote_id}", 4096, 0) = 4096\n'
    start, stop = "1 2.0 fdatasync(9</d/log.db-wal> <unfinished ...>\n", "1 3.0 <... fdatasync resumed>) = 0\n"
    answer = f'2 2.5 sendto(5<socket:[1]>, "HTTP/1.1 201 Created{vote_id}", 9, 0, NULL, 0) = 9\n'
    assert judge(write + start + answer + stop).too_early == {vote_id}
    assert judge(start + write + stop + answer).too_early == {vote_id}
    assert judge(write + start + stop.replace("= 0", "= -1 EIO (Input/output error)") + answer).too_early == {vote_id}
    assert judge(write + start + stop + answer) == Found({vote_id}, set())
    assert judge(answer) == Found({vote_id}, {vote_id})
