"""A disk that is full or may not be written: nothing is acknowledged, and all goes on by itself when it is mended."""

import contextlib
import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from casting import Casting
from embedded import Answer, Up, wait_until

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts file systems")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(disk)], check=False, capture_output=True
    )
    if done.returncode != 0:
        pytest.skip(f"file systems cannot be mounted here: {done.stderr.decode()}")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def refused(up: Up) -> Answer:
    """A vote's answer, which must say that it is not recorded."""
    answer = up.vote()
    assert answer.status == 503, answer
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["retry-after"]) >= 1
    return answer


def check_away(up: Up) -> None:
    """Votes are refused and the system says that it is not ready, but the other calls answer."""
    refused(up)
    for _ in range(10):
        ready = up.get("/readyz")
        assert ready.status == 503
        assert ready.json["wrong"]
    for path in ("/healthz", "/v1/contests", "/v1/contests/bandas-gt/standings", "/v1/contests/bandas-gt/records", "/"):
        assert up.get(path).status == 200, path
    assert up.get("/metrics").status == 200


def check_back(up: Up, casting: Casting) -> None:
    """Votes are recorded again without any help, and every receipt's vote is there, once; no refused one is."""

    def recorded() -> bool:
        answer = up.vote()
        if answer.status == 201:
            casting.recorded.append(answer.json["id"])
        return answer.status == 201

    wait_until(recorded, "a receipt")
    wait_until(lambda: up.get("/readyz").status == 200, "readiness")
    assert set(casting.statuses) <= {201, 503, 504}
    for headers, problem in casting.problems:
        assert problem["status"] in (503, 504)
        assert headers["retry-after"] or problem["status"] == 504
        assert problem.get("id") or problem["status"] == 503
    casting.check()


@needs_root
def test_a_full_disk(launch: Callable[..., Up], small_disk: Path) -> None:
    """On a full disk votes are 503 and nothing else breaks; when there is room again, they are recorded again."""
    up = launch(data=small_disk / "data").start()
    with Casting(up) as casting:
        casting.wait(200)
        filler = small_disk / "filler"
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        wait_until(lambda: casting.statuses[503] > 20, "votes to be refused")
        check_away(up)
        filler.unlink()
        casting.wait(100)
    check_back(up, casting)


@needs_root
def test_a_disk_that_votes_fill(launch: Callable[..., Up], small_disk: Path) -> None:
    """Votes that fill the disk themselves are acknowledged or refused, never both, to the last one."""
    up = launch(data=small_disk / "data").start()
    reserve = small_disk / "reserve"
    reserve.write_bytes(bytes(20 * 2**20))
    with Casting(up, voters=16) as casting:
        wait_until(lambda: casting.statuses[503] > 50, "the disk to be full", 60)
        reserve.unlink()
        casting.wait(200)
    check_back(up, casting)


@needs_root
def test_a_read_only_disk(launch: Callable[..., Up], small_disk: Path) -> None:
    """On a read-only disk it does not start, and says why in one line; once that is mended, all votes are there.

    A disk that turns read-only under a running system fails its writes as a limit on the size of files does; the
    kernel lets nobody do the former while files are open.
    """
    up = launch(data=small_disk / "data").start()
    assert up.vote().status == 201
    assert up.stop() == 0
    for mode, code in (("ro", 1), ("rw", 0)):
        subprocess.run(["mount", "-o", f"remount,{mode}", str(small_disk)], check=True)
        if code:
            up.launch()
            assert up.code() == code
            (line,) = up.log().splitlines()
            assert line.startswith("aplauso: ")
            assert str(up.data) in line
            assert "read-only" in line.lower()
    up.start()
    up.wait_total(1)


def test_a_limit_on_the_size_of_files(up: Up) -> None:
    """When no file may grow any more votes are 503, and recorded again when the limit is gone."""
    with Casting(up) as casting:
        casting.wait(200)
        size = max(path.stat().st_size for path in up.data.iterdir())
        soft, hard = resource.prlimit(up.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(up.pid, resource.RLIMIT_FSIZE, (min(4096, size), hard))
        wait_until(lambda: casting.statuses[503] > 20, "votes to be refused")
        refused = up.batch(b'{"name":"A","album":"B","year":1990,"rank":3}\n' * 200)
        assert refused.status == 503, "a batch of which nothing is recorded is not done"
        assert refused.headers["retry-after"]
        check_away(up)
        resource.prlimit(up.pid, resource.RLIMIT_FSIZE, (soft, hard))
        casting.wait(100)
    check_back(up, casting)


def test_a_limit_that_comes_and_goes(up: Up) -> None:
    """A disk that fails again and again, in the middle of commits too, never makes a receipt wrong."""
    soft, hard = resource.prlimit(up.pid, resource.RLIMIT_FSIZE)
    with Casting(up, voters=16) as casting:
        for _ in range(6):
            casting.wait(150)
            log = up.data / "log.db-wal"
            refusals = casting.statuses[503] + casting.statuses[504]
            # In the middle of a frame of the write-ahead log.
            resource.prlimit(up.pid, resource.RLIMIT_FSIZE, (log.stat().st_size + 6000 if log.exists() else 6000, hard))
            wait_until(lambda: casting.statuses[503] + casting.statuses[504] > refusals, "votes to be refused")  # noqa: B023
            resource.prlimit(up.pid, resource.RLIMIT_FSIZE, (soft, hard))
    check_back(up, casting)


def test_killed_on_a_full_disk(up: Up) -> None:
    """Killed while its disk is full, and started with room: every receipt's vote is there, once."""
    with Casting(up) as casting:
        casting.wait(200)
        hard = resource.prlimit(up.pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(up.pid, resource.RLIMIT_FSIZE, (4096, hard))
        wait_until(lambda: casting.statuses[503] > 20, "votes to be refused")
        up.kill()
    up.start()
    casting.check()
