"""The real servers and the rooms over them, each started when a row needs it."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from aplauso.adapters.kafka.topics import Topics
from aplauso.adapters.redis.standings import RedisStandingsReader
from aplauso.settings import Settings, load
from aplauso.stack.process import free_port
from aplauso.stack.system import Stack
from aplauso.wiring.distributed.kafka import kafka_settings
from aplauso.wiring.distributed.mongo import mongo_settings
from aplauso.wiring.distributed.redis import redis_settings
from bench.harness import process

CONTEST = "bandas-gt"
WAIT = 900.0
"""Seconds that a backlog may take to drain."""


class World:
    """A stack's servers, and its rooms by name. Everything is on loopback ports and in one directory."""

    def __init__(self, data: Path, partitions: int) -> None:
        settings = Settings(partitions=partitions, log_format="json", log_level="warning")
        self.stack = Stack(data, settings, 0, print)
        self.servers = [self.stack.kafka, self.stack.redis.process, self.stack.mongo]

    def start(self) -> None:
        """Starts the servers, none of the rooms."""
        self.stack.redis.prepare()
        for server in self.servers:
            server.start()

    def settings(self, topic: str = "votes", partitions: int = 0) -> Settings:
        """What the rooms are set to, over another topic if one is named."""
        return load(self.environment(topic, partitions), None).settings

    def environment(self, topic: str = "votes", partitions: int = 0) -> dict[str, str]:
        """The same as variables."""
        given = {**self.stack.environment, "APLAUSO_KAFKA_TOPIC": topic, "APLAUSO_LOG_LEVEL": "warning"}
        return given | ({"APLAUSO_PARTITIONS": str(partitions)} if partitions else {})

    def pid(self, name: str) -> int:
        """The process id of a room or a server."""
        servers = {"kafka": self.servers[0], "redis": self.servers[1], "mongo": self.servers[2]}
        return {**self.stack.rooms, **servers}[name].pid

    def begin(self, *rooms: str) -> None:
        """Starts rooms; returns when they are ready."""
        for name in rooms:
            self.stack.rooms[name].start()

    def end(self, *rooms: str) -> None:
        """Stops rooms."""
        for name in rooms:
            self.stack.rooms[name].stop()

    def stop(self) -> None:
        """Stops everything, rooms before servers."""
        self.end("gateway", "board", "tally", "archive", "collector")
        for server in reversed(self.servers):
            server.stop()

    @contextmanager
    def projection(self, name: str, topic: str, partitions: int = 0) -> Iterator[int]:
        """A tally or an archive over a topic of its own, for as long as the block runs; gives its pid."""
        port = free_port()
        argv = [sys.executable, "-m", "aplauso", name, "--health-port", str(port)]
        url = f"http://127.0.0.1:{port}/healthz"
        with process(argv, lambda: _answers(url), self.environment(topic, partitions)) as pid:
            yield pid

    def make_topic(self, topic: str, partitions: int = 0) -> None:
        """Makes a topic as the collector would."""
        Topics(kafka_settings(self.settings(topic, partitions))).create()

    def counted(self, topic: str = "votes", partitions: int = 0) -> Callable[[], int]:
        """Asks how many records the standings have passed."""
        reader = RedisStandingsReader(redis_settings(self.settings(topic, partitions)))
        return lambda: sum(position.offset for position in reader.partitions().values())

    def archived(self) -> Callable[[], int]:
        """Asks how many records the archive has passed."""
        from aplauso.adapters.mongo.archive import MongoArchiveReader

        reader = MongoArchiveReader(mongo_settings(self.settings()))
        return lambda: sum(position.offset for position in reader.partitions().values())

    def recorded(self, topic: str = "votes", partitions: int = 0) -> int:
        """How many records the log has."""
        settings = kafka_settings(self.settings(topic, partitions))
        return sum(Topics(settings).ends(range(settings.partitions)).values())

    def forget(self) -> None:
        """Empties Redis and the archive."""
        from pymongo import MongoClient

        with self.stack.redis.client() as client:
            client.flushall()
        with MongoClient[dict[str, object]](self.stack.mongo.uri) as mongo:
            mongo.drop_database("aplauso")

    def recount(self, topic: str = "votes", partitions: int = 0) -> None:
        """The recount; raises `CalledProcessError` when it does not hold."""
        command = [sys.executable, "-m", "aplauso", "recount"]
        env = {**os.environ, **self.environment(topic, partitions)}
        subprocess.run(command, check=True, env=env, stdout=subprocess.DEVNULL)


@contextmanager
def world(partitions: int = 12) -> Iterator[World]:
    """Fresh servers for as long as the block runs."""
    data = Path(tempfile.mkdtemp(prefix="aplauso-bench-"))
    made = World(data, partitions)
    try:
        made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(data, ignore_errors=True)


def _answers(url: str) -> bool:
    with urllib.request.urlopen(url, timeout=2) as answer:
        return bool(answer.status == 200)


def wait_until(done: Callable[[], int], total: int, what: str, pause: float = 0.05) -> int:
    """Waits until a number is reached; returns it as it then is. Raises `TimeoutError`."""
    deadline = time.monotonic() + WAIT
    while (seen := done()) < total:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: {seen:,} of {total:,}")
        time.sleep(pause)
    return seen


def rate_until(done: Callable[[], int], total: int, pause: float = 0.02, begin: int = 0) -> float:
    """The rate at which a number grows from `begin` to a total, from the moment at which it is first seen to move."""
    first = wait_until(done, begin + 1, "the first batch", 0.005)
    started = time.perf_counter()
    last = wait_until(done, total, "the backlog", pause)
    return (last - first) / (time.perf_counter() - started)


def limit(name: str, *arguments: object) -> float:
    """What one of `bench/limits` measures in a process of its own."""
    return measured(f"limits.{name}", *arguments)


def measured(name: str, *arguments: object, env: Mapping[str, str] | None = None) -> float:
    """The figure that a module of `bench` prints; see `said`."""
    return float(said(name, *arguments, env=env))


def said(name: str, *arguments: object, env: Mapping[str, str] | None = None) -> str:
    """What a module of `bench` prints in a process of its own, which is told so in these variables, too."""
    command = [sys.executable, "-m", f"bench.{name}", *map(str, arguments)]
    found = subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=WAIT, env={**os.environ, **(env or {})}
    )
    return found.stdout
