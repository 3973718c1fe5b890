"""What the browser's tests share: a site of their own, and a watch over what its pages do."""

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, Dialog, Page

DEFAULT = "bandas"
Opener = Callable[..., Page]
"""Opens a path of the site in a new window; see the fixture `open_page`."""
HOSTILE = [
    ("<script>alert(1)</script>", "<script>alert(1)</script>"),
    ("<img src=x onerror=alert(1)>", "<img src=x onerror=alert(1)>"),
    ("=cmd|' /C calc'!A0", "=cmd|' /C calc'!A0"),
    ("\x1b[31mrojo\x07", "␛[31mrojo␇"),
    ("\u200f\u200f", "[U+200F][U+200F]"),
    ("abc\u202edcba", "abc[U+202E]dcba"),
    ("{{ 7 * 7 }}${7*7}", "{{ 7 * 7 }}${7*7}"),
    ("مشروع ليلى", "مشروع ليلى"),
    ("Ñandú 🎸🔥 & Co", "Ñandú 🎸🔥 & Co"),
]


class Site:
    """An `aplauso up` of its own, which may be stopped and started again on the same data."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.contests = folder / "contests"
        self.contests.mkdir()
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def write_contest(self, contest_id: str, more: str = "") -> None:
        """Adds a contest; to be called before the start."""
        title = f'title = {{ es = "Concurso {contest_id}", en = "Contest {contest_id}" }}'
        (self.contests / f"{contest_id}.toml").write_text(f'id = "{contest_id}"\n{title}\n{more}', "utf-8")

    def start(self) -> None:
        """Starts it and waits until it can do its job."""
        command = [
            sys.executable, "-m", "aplauso", "up", "--port", str(self.port),
            "--data", str(self.folder / "data"), "--contests", str(self.contests),
        ]  # fmt: skip
        environment = {**os.environ, "APLAUSO_DEFAULT_CONTEST": DEFAULT}
        with (self.folder / "up.log").open("ab") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
        self.wait_until(self._ready, "ready", 30)

    def stop(self) -> None:
        """Stops it as Ctrl-C does."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise AssertionError(f"`aplauso up` did not stop within 15 s: {self._log()}") from None
        finally:
            self._process = None

    def cast(self, contest: str, name: str, rank: int = 7, album: str = "Uno", year: int = 1999) -> str:
        """Casts a vote and returns its id."""
        body = json.dumps({"name": name, "album": album, "year": year, "rank": rank}).encode()
        url = f"{self.url}/v1/contests/{contest}/votes"
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 201
            return str(json.load(answer)["id"])

    def get(self, path: str) -> Any:
        """The JSON at a path."""
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            return json.load(answer)

    def standings(self, contest: str, total: int) -> dict[str, Any]:
        """The standings, once they count `total` votes."""
        found: dict[str, Any] = {}

        def counted() -> bool:
            found.update(self.get(f"/v1/contests/{contest}/standings"))
            return bool(found["total"] == total)

        self.wait_until(counted, f"at {total} votes in {contest}", 10)
        return found

    def wait_until(self, condition: Callable[[], bool], what: str, seconds: float) -> None:
        """Waits for a condition, with a deadline."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"not {what} within {seconds} s: {self._log()}")
            time.sleep(0.02)

    def _ready(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"`aplauso up` ended with {self._process.returncode}: {self._log()}")
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _log(self) -> str:
        return (self.folder / "up.log").read_text("utf-8", "replace")[-3000:]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Watch:
    """Notes whatever a page does that it should not."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self._expected: list[str] = []

    def expect(self, pattern: str) -> None:
        """Lets pass what matches a regular expression, such as the console's line on a 422."""
        self._expected.append(pattern)

    def attach(self, context: BrowserContext) -> None:
        """Watches all pages of a context."""
        context.on("console", lambda m: self.note(f"console: {m.text}") if m.type in ("error", "warning") else None)
        context.on("weberror", lambda error: self.note(f"script: {error.error}"))
        context.on("dialog", self._dismiss)
        context.on("request", lambda request: self._check_host(request.url))
        context.add_init_script(
            "document.addEventListener('securitypolicyviolation', (e) => "
            "console.error('CSP', e.violatedDirective, e.blockedURI))"
        )

    def note(self, fault: str) -> None:
        """Keeps a fault for the end of the test."""
        self.faults.append(fault)

    def check(self) -> None:
        """Fails on every fault that was not expected."""
        wrong = [fault for fault in self.faults if not any(re.search(p, fault) for p in self._expected)]
        assert wrong == []

    def _dismiss(self, dialog: Dialog) -> None:
        self.note(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _check_host(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob") and parts.hostname != "127.0.0.1":
            self.note(f"request to another host: {url}")


def table_rows(page: Page) -> list[list[str]]:
    """The table's cells, as text."""
    rows: list[list[str]] = page.locator("#table tbody tr").evaluate_all(
        "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))"
    )
    return rows


def wait_until_true(page: Page, expression: str, seconds: float = 10) -> None:
    """Waits until a JavaScript expression is true; playwright's own way of it is at odds with the pages' policy."""
    deadline = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, f"not within {seconds} s: {expression}"
        page.wait_for_timeout(20)
