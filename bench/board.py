"""The board: many stream viewers on one process while votes come."""

import resource
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from bench.harness import Row, Samples, at_least, at_most, cpu_seconds, memory_mb
from bench.world import CONTEST, World, world

PROCESSES = 2
"""Processes of viewers, so that none is near a core: 10,000 take 0.14 of one at two frames a second."""
PACE = 1_000


def rows(viewers: int, seconds: int, repeats: int) -> Iterator[Row]:
    """Frames, memory and processor time with so many viewers, votes coming at 1,000 a second."""
    allow_connections(viewers + 500)
    with world() as servers:
        servers.begin("collector", "gateway", "tally", "archive", "board")
        frames, core = Samples(), Samples()
        before = memory_mb(servers.pid("board"))
        with voting(servers, seconds * repeats * 3 + 60), _watching(servers, viewers, seconds) as watch:
            for _ in range(repeats):
                least, busy = watch()
                frames.values.append(least / seconds)
                core.values.append(busy)
            share = (memory_mb(servers.pid("board")) - before) * 1e6 / 1024 / viewers
        note = f"{viewers:,} viewers, {PACE:,} votes/s"
        yield at_least("board, frames of the slowest viewer", frames, "a second", 1, note)
        yield at_most("board, share of a core", core, "cores", 0.6, note)
        yield at_most("board, memory a viewer", Samples([share]), "KiB", 40, note)
        servers.end("gateway")
        servers.recount()


@contextmanager
def _watching(servers: World, viewers: int, seconds: int) -> Iterator[Callable[[], tuple[int, float]]]:
    """Viewers for as long as the block runs; gives what watches them for some seconds.

    That returns the frames of the viewer that got fewest, and the share of a core that the board took.
    """
    path, port = f"/v1/contests/{CONTEST}/standings/stream", servers.stack.ports["board"]
    argv = [sys.executable, "-m", "bench.viewers", str(port), path, str(viewers // PROCESSES), str(seconds)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    clients = [subprocess.Popen(argv, **pipes) for _ in range(PROCESSES)]  # type: ignore[call-overload]
    try:
        for client in clients:
            assert client.stdout.readline() == "ready\n"
        yield lambda: _watch(clients, servers.pid("board"), seconds)
    finally:
        for client in clients:
            client.kill()
            client.communicate()


def _watch(clients: Iterable[subprocess.Popen[str]], board: int, seconds: int) -> tuple[int, float]:
    before = cpu_seconds(board)
    for client in clients:
        assert client.stdin
        client.stdin.write("go\n")
        client.stdin.flush()
    answers = [client.stdout.readline().split() for client in clients if client.stdout]
    return min(int(answer[0]) for answer in answers), (cpu_seconds(board) - before) / seconds


@contextmanager
def voting(servers: World, seconds: int) -> Iterator[None]:
    """Votes at a steady pace for as long as the block runs."""
    argv = [sys.executable, "-m", "bench.pace", str(servers.stack.ports["gateway"]), str(PACE), str(seconds)]
    client = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
    try:
        yield
        assert client.poll() is None, "the votes ended before the measurement"
    finally:
        client.kill()
        client.wait()


def allow_connections(wanted: int) -> None:
    """Raises the limit of open files for this process and its children, as far as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(wanted, soft)), hard))
    if hard < wanted:
        raise RuntimeError(f"{wanted} open files are needed, and {hard} allowed: raise the limit (ulimit -Hn)")
