"""`aplauso up --stack` as a person uses it: one command, real servers, a clean end."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from embedded import VOTE, Ended, wait_until
from stack_world import Client, children, gone, read_env

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(240)]
LOAD = Path(__file__).parents[2] / "load"


class UpStack(Client):
    """The command as a process; its data outlive it."""

    def __init__(self, home: Path) -> None:
        super().__init__(0)
        self.home = home
        self.process: Any = None
        self.starts = 0

    def launch(self, port: int = 0) -> None:
        self.starts += 1
        environment = {**os.environ, "APLAUSO_KAFKA_BOOTSTRAP": "127.0.0.1:1", "APLAUSO_GATEWAY_TOKEN": "not this one"}
        with self.file("out").open("wb") as out, self.file("err").open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "aplauso", "up", "--stack", "--port", str(port), "--data", str(self.home)],
                stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment, cwd=self.home.parent,
            )  # fmt: skip

    def start(self) -> Self:
        self.launch()
        wait_until(lambda: "source " in self.said("out") or self.process.poll() is not None, "the announcement", 90)
        assert self.process.poll() is None, self.said("err")
        self.port = int(re.findall(r"board +http://127\.0\.0\.1:(\d+)/", self.said("out"))[0])
        return self

    def file(self, what: str) -> Path:
        return self.home.parent / f"up-{self.starts}.{what}"

    def said(self, what: str) -> str:
        return self.file(what).read_text("utf-8")

    @property
    def parts(self) -> list[int]:
        return children(self.process.pid)

    def command(self, *arguments: str | Path) -> Ended:
        done = subprocess.run(
            [sys.executable, "-m", "aplauso", *map(str, arguments)], check=False, capture_output=True, timeout=120,
            env={**os.environ, **read_env(self.home / "stack" / "env")}, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())

    def end(self, signum: int, seconds: float = 20.0) -> int:
        self.process.send_signal(signum)
        return int(self.process.wait(seconds))


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UpStack]:
    """One stack that the tests below start, use, stop and start again, in their order."""
    up = UpStack(tmp_path_factory.mktemp("up") / "with a 'quote'")
    yield up
    if up.process is not None and up.process.poll() is None:
        up.process.kill()
        up.process.wait()


def test_traffic_gives_what_is_expected(up: UpStack) -> None:
    """On a fresh directory the stack comes up by itself, and the traffic file gives the expected standings exactly."""
    began = time.monotonic()
    up.start()
    assert time.monotonic() - began < 60
    assert b"<html" in up.get("/").body
    for what in ("board", "ballot", "records", "API", "kafka", "redis", "mongo", "gRPC", "data", "settings"):
        assert re.search(rf"^  {what} ", up.said("out"), re.MULTILINE), what
    url = f"http://127.0.0.1:{up.port}"
    loaded = up.command("load", LOAD / "traffic.json", "--url", url, "--journal", up.home / "journal")
    assert loaded.code == 0, loaded
    expected = json.loads((LOAD / "expected-standings.json").read_text("utf-8"))
    wait_until(lambda: up.standings("bandas-gt")["total"] >= expected["total"], "the traffic in the standings")
    found = up.standings("bandas-gt")
    del found["as_of"]
    assert found == expected
    at_rest(up)
    assert up.command("verify", "--journal", up.home / "journal").code == 0
    assert up.call("POST", "/insert", VOTE).status == 201
    wait_until(lambda: up.standings("bandas-gt")["total"] == expected["total"] + 1, "the vote by hand")
    at_rest(up)


def at_rest(up: UpStack) -> None:
    """Recount and doctor agree with everything, once tally and archive have read all there is."""
    wait_until(lambda: "tally 0 records behind, archive 0 records" in up.command("doctor").out, "rest", 40)
    for command in ("recount", "doctor"):
        ended = up.command(command)
        assert ended.code == 0, ended


def test_a_dead_part_is_named_and_comes_back(up: UpStack) -> None:
    """A part that is killed is named on standard error, and started again by itself."""
    tally = next(pid for pid in up.parts if b"\0tally\0" in Path(f"/proc/{pid}/cmdline").read_bytes())
    os.kill(tally, signal.SIGKILL)
    wait_until(lambda: "tally is started again" in up.said("err"), "the tally's return")
    assert re.search(r"tally has ended.*tally\.log", up.said("err"))
    before = up.standings("bandas-gt")["total"]
    assert up.call("POST", "/insert", VOTE).status == 201
    wait_until(lambda: up.standings("bandas-gt")["total"] == before + 1, "the vote after it")


def test_a_second_one_is_refused(up: UpStack) -> None:
    """A second stack on the same data says that they are in use, exits 1, and disturbs nothing."""
    ended = subprocess.run(
        [sys.executable, "-m", "aplauso", "up", "--stack", "--port", "0", "--data", str(up.home)],
        check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert ended.returncode == 1
    assert f"in use by process {up.process.pid}" in ended.stderr
    assert up.call("POST", "/insert", VOTE).status == 201


def test_sigint_stops_everything(up: UpStack) -> None:
    """SIGINT stops every part within twenty seconds, and the command exits 0."""
    parts = up.parts
    assert len(parts) >= 8
    began = time.monotonic()
    assert up.end(signal.SIGINT) == 0
    assert time.monotonic() - began < 20
    assert gone(parts)
    assert "has ended" not in up.said("err").split("tally is started again")[-1]


def test_kill_leaves_nothing_and_loses_nothing(up: UpStack) -> None:
    """Started again it has the same standings, and kill -9 of the command leaves no process behind."""
    up.start()
    wait_until(lambda: up.standings("bandas-gt")["total"] == 6003, "the standings of before")
    parts = up.parts
    up.process.kill()
    up.process.wait()
    wait_until(lambda: gone(parts), "the end of all parts", 10)
    up.start()
    wait_until(lambda: up.standings("bandas-gt")["total"] == 6003, "the standings of before")
    at_rest(up)


def test_interrupted_start(up: UpStack) -> None:
    """SIGTERM while it is still starting ends it at once, with nothing left running."""
    up.end(signal.SIGTERM)
    up.launch()
    wait_until(lambda: len(up.parts) >= 3, "the first parts")
    parts = up.parts
    began = time.monotonic()
    up.end(signal.SIGTERM)
    assert time.monotonic() - began < 20
    assert gone(parts)


def test_a_part_that_cannot_come_up(up: UpStack) -> None:
    """A part that cannot come up is named, with the end of its log, and nothing is left running."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        up.launch(taken.getsockname()[1])
        assert up.process.wait(60) == 1
    assert re.search(r"gateway ended at its start(.|\n)*cannot listen on", up.said("err")), up.said("err")
