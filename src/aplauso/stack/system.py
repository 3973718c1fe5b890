"""`aplauso up --stack`: the rooms as processes of their own, over real servers, without containers."""

import json
import os
import secrets
import shlex
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from aplauso.adapters.system.lock import take
from aplauso.domain.errors import Misconfigured
from aplauso.settings import PREFIX, Settings
from aplauso.stack.kafka import Kafka
from aplauso.stack.mongo import Login, MongoServer
from aplauso.stack.process import Process, free_port
from aplauso.stack.redis import RedisServer
from aplauso.stack.supervisor import Say, Supervisor

_ROOM_SECONDS: Final = 60.0
_SERVER_SECONDS: Final = 90.0
_OWN: Final = tuple(
    PREFIX + name
    for name in ("KAFKA_", "REDIS_", "MONGO_", "GRPC_", "COLLECTOR", "GATEWAY_", "BOARD_URL", "DATA", "CONTESTS")
)
"""Settings that the stack decides itself; what the caller's environment says of them is left out."""


class Stack:
    """Real servers and the five rooms on loopback ports.

    Args:
        data: directory of the servers' data, their logs and the stack's secrets.
        settings: what the caller decides: contests, partitions, the log's format.
        port: the gateway's, where the board is shown too; 0 takes a free one.
        say: tells a person what happens.

    Raises:
        DataInUse: another process has the directory.
        Misconfigured: the directory cannot be used.
    """

    def __init__(self, data: Path, settings: Settings, port: int, say: Say) -> None:
        self.data = data.resolve()
        self._settings = settings
        self._logs = self.data / "logs"
        self._secrets = self.data / "secrets"
        self._make_directories()
        self._lock = take(self.data)  # before anything in it is written
        self.kafka = Kafka(self.data / "kafka", log=self._logs / "kafka.log")
        self.redis = RedisServer(self.data / "redis", password=self._secret("redis_password"))
        login = Login("aplauso", self._secret("mongo_password"))
        self.mongo = MongoServer(self.data / "mongo", self._logs / "mongo.log", login=login)
        self.ports = {name: free_port() for name in ("collector", "collector-health", "tally", "archive", "board")}
        self.ports["gateway"] = port or free_port()
        self._environment = self._make_environment()
        self.rooms = self._make_rooms()
        servers: list[Process] = [self.kafka, self.redis.process, self.mongo]
        collector, gateway, *readers = (self.rooms[n] for n in ("collector", "gateway", "tally", "archive", "board"))
        self._supervisor = Supervisor([servers, [collector], [*readers, gateway]], say)

    @property
    def url(self) -> str:
        """Where gateway and board are reached."""
        return f"http://127.0.0.1:{self.ports['gateway']}"

    @property
    def environment(self) -> Mapping[str, str]:
        """The settings of all rooms; with them, `recount`, `rejected` and `doctor` work on this stack."""
        return self._environment

    def start(self) -> Supervisor:
        """Starts everything, and returns the supervisor that watches it. Raises `Unavailable`."""
        self.redis.prepare()
        self._supervisor.start(_SERVER_SECONDS)
        return self._supervisor

    def environment_file(self) -> Path:
        """A shell file of those settings, for other terminals."""
        path = self.data / "env"
        lines = [f"export {name}={shlex.quote(value)}\n" for name, value in sorted(self._environment.items())]
        path.write_text("".join(lines), encoding="utf-8")
        return path

    def _make_directories(self) -> None:
        try:
            for directory in (self.data, self._logs, self._secrets):
                directory.mkdir(parents=True, exist_ok=True)
            self._secrets.chmod(0o700)
        except OSError as error:
            raise Misconfigured(f"the data directory {self.data} cannot be used: {error}") from None

    def _secret(self, name: str) -> str:
        """A secret of this stack, made the first time."""
        path = self._secrets / name
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(secrets.token_urlsafe(24), encoding="utf-8")
        return path.read_text(encoding="utf-8")

    def _secret_file(self, name: str, value: str) -> str:
        path = self._secrets / name
        path.touch(mode=0o600)
        path.write_text(value, encoding="utf-8")
        return str(path)

    def _make_environment(self) -> dict[str, str]:
        self._secret("gateway_token")
        settings = {
            "KAFKA_BOOTSTRAP": self.kafka.bootstrap,
            "KAFKA_TOPIC": self._settings.kafka_topic,
            "PARTITIONS": str(self._settings.partitions),
            "REDIS_URL_FILE": self._secret_file("redis_url", self.redis.url),
            "MONGO_URI_FILE": self._secret_file("mongo_uri", self.mongo.uri),
            "GATEWAY_TOKEN_FILE": str(self._secrets / "gateway_token"),
            "COLLECTORS": f"127.0.0.1:{self.ports['collector']}",
            "BOARD_URL": f"http://127.0.0.1:{self.ports['board']}",
            "KAFKA_SESSION_SECONDS": str(self._settings.kafka_session_seconds),
            "KAFKA_PROTOCOL": self._settings.kafka_protocol,
        }
        if self._settings.contests is not None:
            settings["CONTESTS"] = str(self._settings.contests.resolve())
        if self._settings.default_contest is not None:
            settings["DEFAULT_CONTEST"] = self._settings.default_contest
        return {PREFIX + name: value for name, value in settings.items()}

    def _make_rooms(self) -> dict[str, Process]:
        ports = self.ports
        host = ["--host", self._settings.host]
        commands: dict[str, list[str | int]] = {
            "collector": ["--port", ports["collector"], "--health-port", ports["collector-health"]],
            "tally": ["--health-port", ports["tally"]],
            "archive": ["--health-port", ports["archive"]],
            "board": ["--port", ports["board"]],
            "gateway": ["--port", ports["gateway"], *host],
        }
        health = {**ports, "collector": ports["collector-health"]}
        return {name: self.room(name, options, health[name]) for name, options in commands.items()}

    def room(self, name: str, options: list[str | int], health_port: int, label: str = "") -> Process:
        """One room's process, not started: `options` follow its command; `/readyz` is asked at `health_port`."""
        command = [sys.executable, "-m", "aplauso", name, *map(str, options)]
        return Process(
            label or name,
            command,
            self._logs / f"{label or name}.log",
            lambda: _is_ready(f"http://127.0.0.1:{health_port}/readyz"),
            env=self._environment,
            drop=[name for name in os.environ if name.startswith(_OWN)],
        )


def _is_ready(url: str) -> bool:
    with urllib.request.urlopen(url, timeout=2.0) as answer:  # noqa: S310 - an address of ours
        return bool(json.load(answer)["status"] == "ready")
