"""An `aplauso up` of a test's own: started, asked, killed and started again on the same data."""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

T = TypeVar("T")
VOTE: dict[str, Any] = {"name": "Alux Nahual", "album": "Alto al Fuego", "year": 1988, "rank": 9}
JSON = {"content-type": "application/json"}
NDJSON = {"content-type": "application/x-ndjson"}
PATIENCE = 30.0
"""Seconds that a condition may take on a busy machine."""
_URL = re.compile(r"board +http://127\.0\.0\.1:(\d+)/")
_PID = re.compile(r"\(process (\d+)\)")


class Answer(NamedTuple):
    """What came back; headers in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Ended(NamedTuple):
    """A command that has ended."""

    code: int
    out: str
    err: str


class Up:
    """One running system; `data` outlives its processes."""

    def __init__(
        self,
        folder: Path,
        *,
        contests: Path | None = None,
        environment: Mapping[str, str] | None = None,
        options: Sequence[str] = (),
        program: Sequence[str] = ("-m", "aplauso"),
        data: Path | None = None,
    ) -> None:
        self.folder = folder
        self.data = data or folder / "data"
        self.environment = {**os.environ, "APLAUSO_LOG_FORMAT": "json", **(environment or {})}
        self.options = [*options, *(("--contests", str(contests)) if contests else ())]
        self.program = program
        self.prefix: Sequence[str] = ()
        self.port = 0
        self.pid = 0
        self.process: subprocess.Popen[bytes] | None = None
        self.starts = 0

    def start(self, port: int = 0) -> Self:
        """Starts it, and waits until it says that it is up."""
        self.launch(port)
        wait_until(lambda: self._announced() or self._gone(), "the announcement")
        if self._gone():
            raise AssertionError(f"ended with {self.code()}: {self.out()}{self.log()}")
        self.port = int(_URL.search(self.out())[1])  # type: ignore[index]
        self.pid = int(_PID.search(self.out())[1])  # type: ignore[index]
        return self

    def launch(self, port: int = 0) -> None:
        """Starts it without waiting."""
        self.starts += 1
        command = [
            *self.prefix, sys.executable, *self.program, "up", "--port", str(port), "--data", str(self.data),
            *self.options,
        ]  # fmt: skip
        with self._file("out").open("wb") as out, self._file("log").open("wb") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=log, env=self.environment, cwd=self.folder
            )

    def _file(self, what: str) -> Path:
        return self.folder / f"up-{self.starts}.{what}"

    def _announced(self) -> bool:
        return _PID.search(self.out()) is not None

    def _gone(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def out(self) -> str:
        """What this start has printed."""
        return self._file("out").read_text("utf-8")

    def log(self) -> str:
        """What this start has logged."""
        return self._file("log").read_text("utf-8")

    def code(self, seconds: float = PATIENCE) -> int:
        """The exit code, once it has ended."""
        assert self.process is not None
        return self.process.wait(seconds)

    def kill(self) -> None:
        """kill -9 of the process that it named."""
        os.kill(self.pid, signal.SIGKILL)
        self.code()

    def stop(self, signum: int = signal.SIGTERM) -> int:
        """Asks it to stop, and returns its exit code."""
        if not self._gone():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid or self.process.pid, signum)  # type: ignore[union-attr]
        return self.code()

    def call(
        self,
        method: str,
        path: str,
        body: bytes | Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = PATIENCE,
    ) -> Answer:
        """One request on a connection of its own; a mapping is sent as JSON."""
        if isinstance(body, Mapping):
            body, headers = json.dumps(body).encode(), {**JSON, **(headers or {})}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body, dict(headers or {}))
            return read_answer(connection.getresponse())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        """GET; underscores of header names stand for hyphens."""
        return self.call("GET", path, None, {name.replace("_", "-"): value for name, value in headers.items()})

    def vote(self, headers: Mapping[str, str] | None = None, **fields: Any) -> Answer:
        """POST /insert of a right vote, with some of its fields changed."""
        return self.call("POST", "/insert", {**VOTE, **fields}, headers)

    def batch(self, lines: bytes, contest: str = "bandas-gt", **headers: str) -> Answer:
        """An NDJSON batch."""
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.call("POST", f"/v1/contests/{contest}/votes", lines, {**NDJSON, **more})

    def standings(self, contest: str = "bandas-gt") -> Any:
        """The standings now."""
        return self.get(f"/v1/contests/{contest}/standings").json

    def wait_total(self, total: int, contest: str = "bandas-gt") -> Any:
        """The standings, once they hold so many votes."""
        wait_until(lambda: self.standings(contest)["total"] >= total, f"{total} votes in the standings")
        found = self.standings(contest)
        assert found["total"] == total, f"{found['total']} votes are counted, not {total}"
        return found

    def find(self, vote_id: str) -> Any:
        """An archived vote, once it is there."""
        wait_until(lambda: self.get(f"/v1/votes/{vote_id}").status == 200, f"{vote_id} in the archive")
        return self.get(f"/v1/votes/{vote_id}").json

    @contextlib.contextmanager
    def socket(self, timeout: float = PATIENCE) -> Iterator[socket.socket]:
        """A bare connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout) as connection:
            yield connection

    def rss(self) -> int:
        """Resident memory in bytes."""
        text = Path(f"/proc/{self.pid}/status").read_text("ascii")
        return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) * 1024  # type: ignore[index]

    def recount(self) -> Any:
        """`aplauso recount --json`, which must find no difference."""
        ended = aplauso("recount", "--json", "--data", self.data)
        assert ended.code == 0, ended
        return json.loads(ended.out)


def read_answer(response: http.client.HTTPResponse) -> Answer:
    """A response, read to its end."""
    body = response.read()
    return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, body)


def aplauso(*arguments: str | Path, seconds: float = 120.0, **environment: str) -> Ended:
    """Runs a command to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "aplauso", *map(str, arguments)],
        check=False, capture_output=True, timeout=seconds, stdin=subprocess.DEVNULL,
        env={**os.environ, "COLUMNS": "200", **environment},
    )  # fmt: skip
    return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())


def wait_until(condition: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    """Waits for a condition; a connection that is refused meanwhile only means "not yet"."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError, http.client.HTTPException):
            if condition():
                return
        assert time.monotonic() < deadline, f"still waiting for {what} after {seconds} s"
        time.sleep(0.02)


def write_contest(folder: Path, contest_id: str, more: str = "") -> None:
    """Adds a contest file to a directory, which is made."""
    folder.mkdir(exist_ok=True)
    title = f'title = {{ es = "Concurso {contest_id}", en = "Contest {contest_id}" }}'
    (folder / f"{contest_id}.toml").write_text(f'id = "{contest_id}"\n{more}\n{title}\n', "utf-8")


def exchange(up: Up, message: bytes, *, seconds: float = PATIENCE, half_close: bool = False) -> bytes:
    """Sends bytes as they are and returns all that comes until the server closes; raises `TimeoutError`."""
    with up.socket(seconds) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(message)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
        received = bytearray()
        with contextlib.suppress(ConnectionError):
            while chunk := connection.recv(65536):
                received += chunk
        return bytes(received)
