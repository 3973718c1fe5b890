"""A running stack for the tests: real servers and the rooms as processes, each to be killed and started at will.

The servers are started once and shared; every test votes in a contest of its own, which it takes from a pool.
"""

import atexit
import contextlib
import functools
import http.client
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Self

import msgspec
import pytest
from confluent_kafka import Producer
from pymongo import MongoClient

from aplauso.domain.errors import Unavailable
from aplauso.settings import Settings, load
from aplauso.stack.process import Process, free_port
from aplauso.stack.system import Stack
from aplauso.wiring import Readers
from aplauso.wiring.distributed.tools import readers
from embedded import JSON, VOTE, Answer, Ended, read_answer, wait_until, write_contest

CONTESTS: Final = 30
"""Contests in the pool."""
DEFAULT: Final = "principal"
PARTITIONS: Final = 6
Headers = Mapping[str, str]


class Client:
    """Asks one HTTP address, on a connection of its own for each request."""

    def __init__(self, port: int) -> None:
        self.port = port

    def call(
        self, method: str, path: str, body: Any = None, headers: Headers | None = None, timeout: float = 20.0
    ) -> Answer:
        """One request; a body that is not bytes is sent as JSON."""
        if body is not None and not isinstance(body, bytes):
            body, headers = json.dumps(body).encode(), {**JSON, **(headers or {})}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        with contextlib.closing(connection):
            connection.request(method, path, body, dict(headers or {}))
            return read_answer(connection.getresponse())

    def get(self, path: str, headers: Headers | None = None) -> Answer:
        """GET."""
        return self.call("GET", path, None, headers)

    def vote(self, contest: str, headers: Headers | None = None, timeout: float = 20.0, **fields: Any) -> Answer:
        """A right vote, with some of its fields changed."""
        return self.call("POST", f"/v1/contests/{contest}/votes", {**VOTE, **fields}, headers, timeout)

    def standings(self, contest: str) -> Any:
        """The standings now."""
        answer = self.get(f"/v1/contests/{contest}/standings")
        assert answer.status == 200, answer
        return answer.json

    def is_ready(self) -> bool:
        """What `/readyz` says."""
        return self.get("/readyz").status == 200


class World(Client):
    """A stack in pieces, asked through its gateway.

    Args:
        home: directory for its data and its contest files.
        environment: settings of all rooms over those of the stack, names without `APLAUSO_`.
        settings: that the stack is made with.
    """

    def __init__(self, home: Path, environment: Mapping[str, str] | None = None, **settings: Any) -> None:
        self.home = home
        contests = home / "contests"
        # With letters that no hexadecimal digit is: rejections are found by these names in records full of ids.
        self.names = [f"contest-{number:02}" for number in range(CONTESTS)]
        for name in (DEFAULT, *self.names):
            write_contest(contests, name)
        made = msgspec.structs.replace(
            Settings(), contests=contests, default_contest=DEFAULT, partitions=PARTITIONS, **settings
        )
        self.said: list[str] = []
        self.stack = Stack(home / "data", made, 0, self.said.append)
        self.environment = {f"APLAUSO_{name}": value for name, value in (environment or {}).items()}
        self.rooms = dict(self.stack.rooms)
        for room in self.rooms.values():
            room._env.update(self.environment)
        super().__init__(self.stack.ports["gateway"])

    def start(self) -> Self:
        """Starts everything, without a supervisor: what a test kills stays dead until it starts it again."""
        self.stack.redis.prepare()
        for part in self.servers:
            part.spawn()
        for part in self.servers:
            part.wait_ready(90)
        self.start_rooms()
        return self

    @property
    def servers(self) -> list[Process]:
        """The servers' processes."""
        return [self.stack.kafka, self.stack.redis.process, self.stack.mongo]

    def start_rooms(self, *names: str) -> None:
        """Starts rooms that do not run, and waits until they are ready; all of them when none is named."""
        chosen = [self.rooms[name] for name in names or self.rooms]
        for room in chosen:
            if not room.running:
                room.spawn()
        for room in chosen:
            room.wait_ready(60)

    def close(self) -> None:
        """Ends everything."""
        for part in [*self.rooms.values(), *self.servers]:
            part.kill()

    def heal(self) -> None:
        """Has everything run again that a test left dead."""
        for part in self.servers:
            if not part.running:
                part.start(60)
        self.start_rooms()

    def contest(self) -> str:
        """A contest that no other test votes in."""
        return self.names.pop()

    def room(self, name: str, label: str, **environment: str) -> tuple[Process, int]:
        """One more process of a room, not started, and its HTTP port; settings without `APLAUSO_`."""
        port = free_port()
        options: list[str | int] = ["--port", port] if name in ("gateway", "board") else ["--health-port", port]
        if name == "collector":
            options += ["--port", free_port()]
        room = self.stack.room(name, options, port, label)
        room._env.update(self.environment)
        room._env.update({f"APLAUSO_{field}": value for field, value in environment.items()})
        return room, port

    def restart(self, *names: str) -> None:
        """Stops rooms cleanly and starts them again."""
        for name in names:
            self.rooms[name].stop()
        self.start_rooms(*names)

    def aplauso(self, *arguments: str | Path, **environment: str) -> Ended:
        """A command with this stack's settings."""
        given = {**os.environ, **self.stack.environment, **{f"APLAUSO_{n}": v for n, v in environment.items()}}
        done = subprocess.run(
            [sys.executable, "-m", "aplauso", *map(str, arguments)], env={**given, "COLUMNS": "300"},
            check=False, capture_output=True, timeout=120, stdin=subprocess.DEVNULL, cwd=self.home,
        )  # fmt: skip
        return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())

    def total(self, contest: str) -> int:
        """Votes in the standings."""
        return int(self.standings(contest)["total"])

    def wait_total(self, contest: str, total: int, seconds: float = 30.0) -> None:
        """Waits for so many votes, and holds that there are not more."""
        wait_until(lambda: self.total(contest) >= total, f"{total} votes of {contest}", seconds)
        assert self.total(contest) == total

    def wait_rest(self, seconds: float = 30.0) -> Any:
        """Waits until tally and archive have read the whole log; returns a recount, which must find no difference."""
        with contextlib.closing(self.readers()) as readers:
            rest = "tally 0 records behind, archive 0 records behind"
            wait_until(lambda: readers.lag_state() == rest, "the projections to be at rest", seconds)
        ended = self.aplauso("recount", "--json")
        assert ended.code == 0, ended
        found = json.loads(ended.out)
        assert found["behind"] == 0
        return found

    def readers(self) -> Readers:
        """Readers of log, standings and archive, for the caller to close."""
        return readers(load(self.stack.environment, None).settings)

    def counted_up_to_now(self, seconds: float) -> float:
        """Waits until the standings have gone, in every partition, as far as the log goes now; returns the seconds."""
        began = time.monotonic()
        with contextlib.closing(self.readers()) as readers:
            ends = readers.log.ends()

            def there() -> bool:
                positions = readers.standings.partitions()
                return all(not end or (p in positions and positions[p].offset >= end) for p, end in ends.items())

            wait_until(there, "the votes of every partition to be counted", seconds)
        return time.monotonic() - began

    def produce(self, *records: tuple[int, bytes | None, bytes | None], max_bytes: int = 1_000_000) -> None:
        """A stranger writes records straight to the topic: partition, key, value."""
        producer = Producer({"bootstrap.servers": self.stack.kafka.bootstrap, "message.max.bytes": max_bytes})
        errors: list[Any] = []
        for partition, key, value in records:
            producer.produce("votes", value, key, partition, lambda error, _: errors.append(error) if error else None)
        assert producer.flush(20) == 0
        assert not errors

    def archive_ids(self, contest: str) -> set[str]:
        """The ids of a contest's archived votes, asked of MongoDB itself."""
        with MongoClient[dict[str, Any]](self.stack.mongo.uri) as client:
            return {str(found["_id"]) for found in client["aplauso"]["votes"].find({"contest": contest}, {"_id": 1})}

    def load(self, contest: str, journal: Path, votes: int, *options: str) -> "subprocess.Popen[str]":
        """`aplauso load` of the traffic file, under way."""
        file = Path(__file__).parents[1] / "load" / "traffic.json"
        return subprocess.Popen(
            [sys.executable, "-m", "aplauso", "load", str(file), "--url", f"http://127.0.0.1:{self.port}",
             "--contest", contest, "--votes", str(votes), "--journal", str(journal), *options],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
            env={**os.environ, "COLUMNS": "200"}, cwd=self.home,
        )  # fmt: skip


class Voters:
    """Votes in one contest on some connections, each with a key, until it is stopped.

    Attributes:
        recorded: ids that were acknowledged.
        statuses: every other answer.
    """

    def __init__(self, client: Client, contest: str, voters: int = 4) -> None:
        self.recorded: list[str] = []
        self.statuses: list[int] = []
        self._client, self._contest = client, contest
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(voters)]

    def _run(self) -> None:
        while not self._ending.is_set():
            headers = {"idempotency-key": str(uuid.uuid4())}
            try:
                answer = self._client.vote(self._contest, headers)
            except (OSError, http.client.HTTPException):
                self.statuses.append(0)
                self._ending.wait(0.05)
                continue
            if answer.status == 201:
                self.recorded.append(answer.json["id"])
            else:
                self.statuses.append(answer.status)
                self._ending.wait(0.05)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(30)

    def more(self, votes: int = 20, seconds: float = 30.0) -> None:
        """Waits until so many more are acknowledged."""
        goal = len(self.recorded) + votes
        wait_until(lambda: len(self.recorded) >= goal, f"{votes} more acknowledged votes", seconds)


def read_env(path: Path) -> dict[str, str]:
    """The settings that a stack wrote to its shell file."""
    words = (shlex.split(line) for line in path.read_text("utf-8").splitlines())
    return dict(word[1].split("=", 1) for word in words)


def children(pid: int) -> list[int]:
    """The processes that a process has started, and theirs."""
    done = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
    direct = [int(line) for line in done.stdout.split()]
    return [*direct, *(grandchild for child in direct for grandchild in children(child))]


def gone(pids: list[int]) -> bool:
    """Whether none of these processes is alive; one that has ended and was not collected is not."""
    return not any(_alive(pid) for pid in pids)


def _alive(pid: int) -> bool:
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8")
    except OSError:
        return False
    return text.rsplit(")", 1)[1].split()[0] != "Z"


@contextlib.contextmanager
def running(home: Path, **options: Any) -> Iterator[World]:
    """A stack of a test's own. Without its packages the test fails under CI, and is skipped elsewhere."""
    world = World(home, **options)
    try:
        try:
            world.start()
        except Unavailable as error:
            if os.environ.get("CI") or "install" not in str(error):
                raise
            pytest.skip(str(error))
        yield world
    finally:
        world.close()


@functools.cache  # imported fixtures are instantiated once for each module: the stack is not
def _shared() -> World:
    home = Path(tempfile.mkdtemp(prefix="aplauso-stack-"))
    world = World(home, {"CALL_SECONDS": "3"})
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    atexit.register(world.close)
    try:
        return world.start()
    except Unavailable as error:
        if os.environ.get("CI") or "install" not in str(error):
            raise
        pytest.skip(str(error))


@pytest.fixture
def world() -> World:
    """The shared stack, with everything running; calls take three seconds at most."""
    shared = _shared()
    shared.heal()
    return shared
