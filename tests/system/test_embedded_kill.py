"""kill -9 at any moment: nothing that was acknowledged is lost, nothing is counted twice, nothing survives."""

import fcntl
import os
import random
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from casting import Casting, archived, settled
from embedded import Up, wait_until


def children(pid: int) -> list[int]:
    """Processes whose parent is this one."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text("ascii", "replace")
            except OSError:
                continue
            if int(stat.rpartition(")")[2].split()[1]) == pid:
                found.append(int(entry.name))
    return found


def test_one_process_is_one_process(up: Up) -> None:
    """The pid that `up` prints is all there is: after kill -9 no child is left, the port is free and so is the lock."""
    assert up.pid == up.process.pid  # type: ignore[union-attr]
    with Casting(up) as casting:
        casting.wait(50)
        below = children(up.pid)
        up.kill()
    assert below == []
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", up.port))
        listener.listen()
    with (up.data / "lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.slow
def test_every_acknowledged_vote_outlives_kill_9(launch: Callable[..., Up]) -> None:
    """Killed again and again under load and started on the same data, each acknowledged vote is there, once."""
    up, choose = launch(), random.Random(9)
    everything: list[str] = []
    doubts = 0
    for _ in range(6):
        up.start()
        with Casting(up, voters=16) as casting:
            casting.wait(choose.randrange(1, 600))
            up.kill()
        up.start()
        casting.settle()
        everything += casting.recorded
        doubts += casting.undecided
        if choose.random() < 0.5:
            assert up.stop() == 0
        else:
            up.kill()
    up.start()
    report, kept = settled(up), archived(up.data)
    assert set(everything) <= set(kept)
    assert len(everything) == len(set(everything))
    assert len(kept) == len(set(kept)) == report["votes"]
    assert len(kept) - len(everything) <= doubts
    assert up.standings()["total"] == len(kept)
    for vote_id in choose.sample(everything, 20):
        assert up.find(vote_id)["id"] == vote_id


def test_killed_while_it_starts(launch: Callable[..., Up]) -> None:
    """Killed at any moment of its start, on new data or old, the next start finds its data right."""
    up, choose = launch(), random.Random(5)
    for _ in range(8):
        up.launch()
        assert up.process is not None
        marks = ["lock", "format.json", "log.db", "standings.db", "archive.db"]
        mark = up.data / choose.choice(marks)
        wait_until(mark.exists, f"{mark}")
        up.process.kill()
        up.code()
    up.start()
    assert up.vote().status == 201
    up.wait_total(1)
    up.recount()


def test_kill_9_while_stopping(up: Up) -> None:
    """Killed in the middle of a stop, it keeps what it acknowledged."""
    with Casting(up) as casting:
        casting.wait(100)
        os.kill(up.pid, signal.SIGTERM)
        wait_until(lambda: casting.statuses[503] or casting.keys, "the stop to begin")
        up.process.kill()  # type: ignore[union-attr]
        up.code()
    up.start()
    casting.check()
