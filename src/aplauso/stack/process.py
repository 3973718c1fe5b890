"""A server that we start ourselves: its process, its log file, and when it is ready."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Final

from aplauso.domain.errors import Unavailable


def free_port() -> int:
    """A TCP port of the loopback address that nobody listens on now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


_LEASH: Final = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); "
    "os.getppid() == int(sys.argv[1]) or os._exit(1); os.execvp(sys.argv[2], sys.argv[2:])"
)
"""Runs a command that the kernel kills when the thread that started it ends (prctl(2), PR_SET_PDEATHSIG = 1): nothing
outlives a `kill -9` of the process that started it. Processes are therefore started on threads that stay."""


class Process:
    """One server process. Its output goes to a log file; it dies with its parent.

    Args:
        name: for messages.
        argv: the command.
        log: file that its output is appended to.
        env: added to the environment.
        ready: whether it answers; asked again and again until it does. May raise: that is "not yet".
        stop_signal: what asks it to stop cleanly.
        drop: variables of our environment that it does not get.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str | Path],
        log: Path,
        ready: Callable[[], bool],
        env: Mapping[str, str] | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        drop: Collection[str] = (),
    ) -> None:
        self.name = name
        self.argv = [str(part) for part in argv]
        self.log = log
        self._ready = ready
        kept = {name: value for name, value in os.environ.items() if name not in drop}
        self._env = {**kept, **(env or {})}
        self._stop_signal = stop_signal
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id. Raises `RuntimeError` when it has not been started."""
        if self._process is None:
            raise RuntimeError(f"{self.name} is not running")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is there; a stopped (SIGSTOP) one is."""
        return self._process is not None and self._process.poll() is None

    def start(self, timeout: float = 60.0) -> None:
        """Starts it and waits until it is ready.

        Raises:
            Unavailable: it ended, or was not ready in time (it is killed then); the end of its log is in the message.
        """
        self.spawn()
        self.wait_ready(timeout)

    def spawn(self) -> None:
        """Starts it and does not wait."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(  # noqa: S603 - the command is ours
                [sys.executable, "-IS", "-c", _LEASH, str(os.getpid()), *self.argv],
                stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                env=self._env, start_new_session=True,
            )  # fmt: skip

    def wait_ready(self, timeout: float) -> None:
        """Waits until it is ready. Raises `Unavailable` as `start` does."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if not self.running:
                raise Unavailable(f"{self.name} ended at its start; the end of {self.log}:\n{self.tail()}")
            with contextlib.suppress(Exception):
                if self._ready():
                    return
            time.sleep(0.05)
        self.kill()
        raise Unavailable(f"{self.name} was not ready in {timeout:.0f} s; the end of {self.log}:\n{self.tail()}")

    def tail(self, lines: int = 15) -> str:
        """The last lines of its log."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def send(self, signum: signal.Signals) -> None:
        """Sends it a signal, if it is there."""
        if self._process is not None and self.running:
            self._process.send_signal(signum)

    def stop(self, timeout: float = 15.0) -> None:
        """Asks it to stop, waits, and kills it when it does not."""
        if self._process is None:
            return
        self.send(self._stop_signal)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout)
        self.kill()

    def kill(self) -> None:
        """kill -9, of it and of what it started; returns once it is gone."""
        if self._process is None:
            return
        if self._process.poll() is None:  # not reaped yet, so the id is still its own
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
