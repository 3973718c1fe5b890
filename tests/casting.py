"""Voters that go on voting while things happen to the system, and know what they were told."""

import contextlib
import http.client
import json
import sqlite3
import threading
import uuid
from collections import Counter
from pathlib import Path
from typing import Any, Self

from embedded import JSON, VOTE, Up, wait_until


class Casting:
    """Votes from some connections at once, every other one with a key, until it is stopped or the server is gone."""

    def __init__(self, up: Up, voters: int = 8, timeout: float = 30.0) -> None:
        self.up = up
        self.timeout = timeout
        self.recorded: list[str] = []
        self.keys: list[str] = []
        """Keys of votes without an answer, or with an undecided one."""
        self.undecided = 0
        """Votes without a key of which nobody knows."""
        self.statuses: Counter[int] = Counter()
        self.problems: list[tuple[dict[str, str], Any]] = []
        """The last answers that were no receipts: their headers and documents."""
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._vote, daemon=True) for _ in range(voters)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends it, once what is under way has been answered."""
        self._stopped.set()
        for thread in self._threads:
            thread.join(self.timeout + 30)
            assert not thread.is_alive()

    def wait(self, receipts: int) -> None:
        """Waits until there are so many receipts more."""
        goal = len(self.recorded) + receipts
        wait_until(lambda: len(self.recorded) >= goal, f"{goal} receipts; there are {len(self.recorded)}")

    def _vote(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.up.port, timeout=self.timeout)
        with contextlib.closing(connection):
            at = 0
            while not self._stopped.is_set():
                at += 1
                if not self._cast(connection, str(uuid.uuid4()) if at % 2 else None):
                    return

    def _cast(self, connection: http.client.HTTPConnection, key: str | None) -> bool:
        headers = JSON | ({"idempotency-key": key} if key else {})
        try:
            connection.connect() if connection.sock is None else None
        except OSError:
            return False
        try:
            connection.request("POST", "/insert", json.dumps(VOTE), headers)
            response = connection.getresponse()
            answer = json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError):
            connection.close()
            self._doubt(key)
            return True
        self.statuses[response.status] += 1
        if response.status == 201:
            self.recorded.append(answer["id"])
        else:
            self.problems = [*self.problems[-20:], ({k.lower(): v for k, v in response.getheaders()}, answer)]
            if response.status != 503:
                self._doubt(key)
        return True

    def _doubt(self, key: str | None) -> None:
        if key is None:
            self.undecided += 1
        else:
            self.keys.append(key)

    def settle(self) -> None:
        """Sends the votes again whose fate is not known and that have a key: each gets its receipt."""
        keys, self.keys = self.keys, []
        for key in keys:
            answer = self.up.vote({"idempotency-key": key})
            assert answer.status == 201, answer
            self.recorded.append(answer.json["id"])

    def check(self) -> None:
        """Every receipt's vote is counted and archived, once; besides them only those of which nobody knows."""
        self.settle()
        assert len(set(self.recorded)) == len(self.recorded)
        report = settled(self.up)
        kept = archived(self.up.data)
        assert len(kept) == len(set(kept)) == report["votes"] == report["archived"]
        assert set(self.recorded) <= set(kept)
        assert report["rejected"] == 0
        assert len(kept) - len(self.recorded) <= self.undecided


def settled(up: Up) -> Any:
    """The recount's report once both projections have everything."""
    report: Any = None

    def complete() -> bool:
        nonlocal report
        report = up.recount()
        return bool(report["behind"] == 0 and report["archived"] == report["votes"])

    wait_until(complete, "the projections")
    return report


def archived(data: Path) -> list[str]:
    """The ids of all archived votes."""
    with contextlib.closing(sqlite3.connect(data / "archive.db")) as connection:
        return [vote_id for (vote_id,) in connection.execute("SELECT id FROM votes")]
