"""The embedded mode: one process, SQLite, fsync on."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aplauso.stack.process import free_port
from bench.harness import Row, Samples, at_least, at_most, memory_mb, process, share_of
from bench.wrk import wrk

PORT, BARE, NGINX = free_port(), free_port(), 8098  # nginx has its port in its file
URL = f"http://127.0.0.1:{PORT}"


def rows(repeats: int, seconds: int, votes: int) -> Iterator[Row]:
    """All rows of the embedded mode.

    Args:
        repeats: of each figure.
        seconds: of each.
        votes: after which memory is read.
    """
    yield ready_row(repeats)
    with aplauso() as pid, bare_granian(), nginx():
        ours, p99, bare, empty = Samples(), Samples(), Samples(), Samples()
        for _ in range(repeats):
            single = wrk(f"{URL}/insert", "single.lua", 256, seconds)
            assert not single.failed, single
            ours.values.append(single.per_second)
            p99.values.append(single.p99_ms)
            catch_up()  # the machine is the limits' alone
            bare.values.append(wrk(f"http://127.0.0.1:{BARE}/insert", "single.lua", 256, seconds).per_second)
            empty.values.append(wrk(f"http://127.0.0.1:{NGINX}/insert", "single.lua", 256, seconds).per_second)
        note = f"nginx {empty.median:,.0f}/s, fsync {fsyncs():,.0f}/s"
        yield at_least("embedded single votes", ours, "votes/s", 15_000, note)
        yield share_of("embedded single, of bare Granian", ours, bare, "votes/s", 0.5, note)
        yield at_most("embedded single, p99", p99, "ms", 60)
        while recorded() < votes:
            wrk(f"{URL}/insert", "single.lua", 256, seconds)
        catch_up()
        yield at_most("embedded memory", Samples([memory_mb(pid)]), "MB", 120, f"after {recorded():,.0f} votes")
    with aplauso() as pid:
        batches = Samples()
        for _ in range(repeats):
            # Not as long: what comes in is to be counted and archived before it ends, and that takes longer by far.
            batch = wrk(f"{URL}/v1/contests/bandas-gt/votes", "batch.lua", 8, 1)
            assert not batch.failed, batch
            batches.values.append(batch.per_second * 5_000)
        catch_up()
        memory = f"peak memory {memory_mb(pid, 'VmHWM'):,.0f} MB"
        yield at_least("embedded NDJSON batches", batches, "votes/s", 80_000, memory)


@contextmanager
def aplauso() -> Iterator[int]:
    """`aplauso up` on fresh data; the recount must hold before it ends."""
    data = Path(tempfile.mkdtemp(prefix="aplauso-bench-"))
    command = [sys.executable, "-m", "aplauso"]
    try:
        with process(
            [*command, "up", "--port", str(PORT), "--data", str(data)], lambda: answers(f"{URL}/readyz")
        ) as pid:
            yield pid
            subprocess.run([*command, "recount", "--data", str(data)], check=True, stdout=subprocess.DEVNULL)
    finally:
        shutil.rmtree(data, ignore_errors=True)


@contextmanager
def bare_granian() -> Iterator[int]:
    """Granian's own server, one worker, in its fastest configuration."""
    command = [sys.executable, "-m", "granian", "--interface", "rsgi", "--host", "127.0.0.1", "--port", str(BARE)]
    command += ["--workers", "1", "--loop", "uvloop", "--http", "1", "--no-ws", "--backlog", "2048"]
    command += ["--backpressure", "2048", "--log-level", "warning", "bench.limits.bare_granian:app"]
    with process(command, lambda: listens(BARE)) as pid:
        yield pid


@contextmanager
def nginx() -> Iterator[int]:
    """nginx with one worker."""
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program, "nginx is missing (Debian's nginx-light)"
    config = Path(__file__).parent / "limits" / "nginx.conf"
    with process([program, "-c", str(config)], lambda: listens(NGINX)) as pid:
        yield pid


def ready_row(repeats: int) -> Row:
    """From the start of the process to the first answer of /readyz."""
    times = Samples()
    for _ in range(repeats):
        started = time.perf_counter()
        with aplauso():
            times.values.append(time.perf_counter() - started)
    return at_most("embedded, ready after", times, "s", 2)


def listens(port: int) -> bool:
    """Whether anybody answers at a port; raises OSError otherwise."""
    import socket

    with socket.create_connection(("127.0.0.1", port), timeout=1):
        return True


def answers(url: str) -> bool:
    """Whether an address answers 200; raises OSError otherwise."""
    with urllib.request.urlopen(url, timeout=5) as answer:
        return bool(answer.status == 200)


def metric(name: str) -> float:
    """The sum of a metric's samples."""
    with urllib.request.urlopen(f"{URL}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


def recorded() -> float:
    """Votes that the server says it has recorded."""
    return metric("aplauso_votes_recorded_total")


def catch_up() -> None:
    """Waits until the projections have counted everything."""
    deadline = time.monotonic() + 300
    while metric("aplauso_projection_lag_votes"):
        if time.monotonic() > deadline:
            raise TimeoutError("the projections do not catch up")
        time.sleep(0.1)


def fsyncs(count: int = 500) -> float:
    """How often a second this disk takes 16 KiB and syncs them."""
    with tempfile.NamedTemporaryFile(dir=".") as file:
        started = time.perf_counter()
        for _ in range(count):
            file.write(b"x" * 16_384)
            file.flush()
            os.fdatasync(file.fileno())
        return count / (time.perf_counter() - started)
