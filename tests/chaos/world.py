"""The system on trial: the real stack, two replicas of each projection, a fault proxy on every link, a keeper.

    client ═ gateway ═ collector ═ Kafka ═ tally ═ Redis ═══╗
                                     ╚═══ archive ═ MongoDB ═ board        ═ is a link with a proxy

Kafka tells its clients where to connect. So that the proxy stays between, collector, tally and archive have a
listener each, and the address that Kafka gives out on it is the proxy's.
"""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from unittest import mock

import msgspec

from aplauso.settings import PREFIX, Settings, load
from aplauso.stack.kafka import free_low_port
from aplauso.stack.process import Process
from aplauso.stack.supervisor import LOOK_SECONDS, Say, Watched
from aplauso.stack.system import Stack
from aplauso.wiring import Readers
from aplauso.wiring.distributed.tools import readers
from chaos.proxy import Mode, Proxy
from chaos.waiting import NotInTimeError

PARTITIONS: Final = 6
SESSION_SECONDS: Final = 2.0
"""Silence after which a replica's partitions move."""
CALL_SECONDS: Final = 4.0
"""How long a vote may be on its way: shorter than the default, so that a round is."""
CLOSING_EVERY_S: Final = 5
_CLOSING: Final = 360
LINKS: Final = (
    "client-gateway", "gateway-collector", "collector-kafka", "tally-redis", "archive-mongo", "tally-kafka",
    "archive-kafka", "board-redis", "board-mongo", "gateway-board",
)  # fmt: skip
"""By who connects and what to; replicas share theirs."""


class World:
    """Everything that runs.

    Args:
        home: directory of its own.
        rounds: how many contests are wanted.
        start: seconds since the epoch; from then on a contest closes every few seconds.
        say: tells a person what happens.
    """

    def __init__(self, home: Path, rounds: int, start: float, say: Say) -> None:
        self.home = home
        self.say = say
        self.closing: list[tuple[str, int]] = []
        """Contests that close, with the moment in milliseconds since the epoch, in order."""
        self._contests = [f"round-{number}" for number in range(rounds)]
        directory = self._write_contests(start)
        settings = msgspec.structs.replace(
            Settings(), contests=directory, default_contest=self._contests[0], partitions=PARTITIONS,
            kafka_session_seconds=SESSION_SECONDS,
        )  # fmt: skip
        # A part that is dead must find its port again: no client's connection may take it meanwhile.
        places = [f"aplauso.stack.{name}.free_port" for name in ("system", "redis", "mongo")]
        with contextlib.ExitStack() as patches:
            for place in places:
                patches.enter_context(mock.patch(place, free_low_port))
            self.stack = Stack(home / "stack", settings, 0, say)
        self.proxies = {name: Proxy(name, free_low_port(), 0) for name in LINKS}
        self.rooms = dict(self.stack.rooms)
        for name in ("tally", "archive"):
            self.rooms[f"{name}-2"] = self.replica(name, f"{name}-2")
        self._set_proxies()
        self.parts: dict[str, Process] = {
            "kafka": self.stack.kafka, "redis": self.stack.redis.process, "mongo": self.stack.mongo, **self.rooms
        }  # fmt: skip
        self._held: set[str] = set()
        self._watched: dict[str, Watched] = {}
        self._lock = threading.RLock()
        self._ending = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="keeper", daemon=True)
        self._readers: Readers | None = None

    def _write_contests(self, start: float) -> Path:
        directory = self.home / "contests"
        directory.mkdir(parents=True)
        texts = dict.fromkeys(self._contests, "")
        for number in range(1, _CLOSING + 1):
            closes = int(start) + number * CLOSING_EVERY_S
            name = f"closing-{number}"
            self.closing.append((name, closes * 1000))
            texts[name] = f"closes = {_toml_moment(closes)}\n"
        for name, rest in texts.items():
            (directory / f"{name}.toml").write_text(
                f'id = "{name}"\nnominations = "open"\n{rest}title = {{ es = "{name}", en = "{name}" }}\n'
            )
        return directory

    def replica(self, name: str, label: str) -> Process:
        """One more replica of the tally or the archive, not started."""
        port = free_low_port()
        room = self.stack.room(name, ["--health-port", port], port, label)
        if hasattr(self, "parts"):
            self._set_links(name, room)
        return room

    def _set_proxies(self) -> None:
        targets = {**self.stack.ports, "redis": self.stack.redis.port, "mongo": self.stack.mongo.port}
        for name, proxy in self.proxies.items():
            server = name.partition("-")[2]
            proxy.target = free_low_port() if server == "kafka" else targets[server]
        self._add_listeners()
        for name, room in self.rooms.items():
            self._set_links(name.removesuffix("-2"), room)

    def _add_listeners(self) -> None:
        """A listener of Kafka for each proxy before it: the broker tells a client the address of the one it came by."""
        kafka = self.stack.kafka
        ours, links = kafka.properties(), {}
        for name, proxy in self.proxies.items():
            client, _, server = name.partition("-")
            if server == "kafka":
                links[client.upper()] = proxy
        listeners = "".join(f",{name}://127.0.0.1:{link.target}" for name, link in links.items())
        advertised = "".join(f",{name}://127.0.0.1:{link.port}" for name, link in links.items())
        protocols = "".join(f",{name}:PLAINTEXT" for name in links)
        kafka._settings.update({
            "listeners": ours["listeners"] + listeners,
            "listener.security.protocol.map": ours["listener.security.protocol.map"] + protocols,
            "advertised.listeners": f"PLAINTEXT://{kafka.bootstrap}{advertised}",
        })  # fmt: skip

    def _set_links(self, name: str, room: Process) -> None:
        """Leads a room's ways to what it needs through the proxies."""
        env = {"CALL_SECONDS": str(CALL_SECONDS)}
        for link, proxy in self.proxies.items():
            client, _, server = link.partition("-")
            if client == name:
                env.update([self._way(link, server, proxy)])
        room._env.update({PREFIX + key: value for key, value in env.items()})

    def _way(self, link: str, server: str, proxy: Proxy) -> tuple[str, str]:
        """The setting that says where a server is, and the proxy's address as its value."""
        match server:
            case "collector":
                return "COLLECTORS", f"127.0.0.1:{proxy.port}"
            case "kafka":
                return "KAFKA_BOOTSTRAP", f"127.0.0.1:{proxy.port}"
            case "board":
                return "BOARD_URL", f"http://127.0.0.1:{proxy.port}"
            case "redis":
                return "REDIS_URL_FILE", self._redirected("redis_url", link, proxy)
            case _:
                return "MONGO_URI_FILE", self._redirected("mongo_uri", link, proxy)

    def _redirected(self, name: str, link: str, proxy: Proxy) -> str:
        original = Path(self.stack.environment[f"{PREFIX}{name.upper()}_FILE"])
        path = original.with_name(f"{name}_of_{link}")
        path.touch(mode=0o600)
        path.write_text(original.read_text().replace(f"127.0.0.1:{proxy.target}", f"127.0.0.1:{proxy.port}"))
        return str(path)

    @property
    def url(self) -> str:
        """The gateway, through the proxy."""
        return f"http://127.0.0.1:{self.proxies['client-gateway'].port}"

    @property
    def settings(self) -> Settings:
        """With which readers reach the servers, without any proxy."""
        return load(self.stack.environment, None).settings

    @property
    def readers(self) -> Readers:
        """Log, standings and archive, read past the proxies."""
        if self._readers is None:
            self._readers = readers(self.settings)
        return self._readers

    def contest(self) -> str:
        """A contest that nobody has voted in. Raises `IndexError` when none is left."""
        return self._contests.pop(0)

    async def start(self) -> None:
        """Starts everything."""
        for proxy in self.proxies.values():
            await proxy.start()
        await asyncio.to_thread(self._start)

    def _start(self) -> None:
        self.stack.start()
        for name in ("tally-2", "archive-2"):
            self.rooms[name].start()
        self.refresh()
        self._keeper.start()

    async def stop(self) -> None:
        """Stops everything, at once."""
        self._ending.set()
        if self._keeper.ident is not None:
            await asyncio.to_thread(self._keeper.join)
        for part in reversed(self.parts.values()):
            await asyncio.to_thread(part.kill)
        for proxy in self.proxies.values():
            await proxy.close()
        if self._readers is not None:
            self._readers.close()

    def refresh(self) -> None:
        """The keeper forgets how often a part has died: each round begins as the first did."""
        with self._lock:
            self._watched = {name: Watched(part) for name, part in self.parts.items()}

    def _keep(self) -> None:
        """Starts parts that have died, as `up --stack` does; parts that are held are left as they are."""
        while not self._ending.wait(LOOK_SECONDS):
            with self._lock:
                for name, watched in self._watched.items():
                    if name not in self._held:
                        watched.look(self.say)

    @contextlib.contextmanager
    def held(self, *names: str) -> Iterator[None]:
        """Keeps the keeper off parts."""
        with self._lock:
            self._held.update(names)
        try:
            yield
        finally:
            with self._lock:
                self._held.difference_update(names)
                self._watched.update({name: Watched(self.parts[name]) for name in names})

    async def ready(self, name: str, within: float = 45.0) -> None:
        """Waits until a part runs and answers. Raises `NotInTimeError`."""
        part = self.parts[name]

        def answers() -> bool:
            try:
                return part.running and part._ready()
            except Exception:  # noqa: BLE001 - whatever it raises, the part is not ready yet
                return False

        end = asyncio.get_running_loop().time() + within
        while not await asyncio.to_thread(answers):
            if asyncio.get_running_loop().time() > end:
                raise NotInTimeError(f"{name} was not ready in {within:g} s: {part.tail(5)}")
            await asyncio.sleep(0.05)

    async def heal(self) -> None:
        """Everything runs and every link passes, when this returns."""
        for proxy in self.proxies.values():
            proxy.switch(Mode.PASS)
        for name in self.parts:
            await self.ready(name)


def _toml_moment(seconds: int) -> str:

    return datetime.fromtimestamp(seconds, UTC).isoformat()
