"""Redis servers of our own: with and without TLS and passwords, as a cluster, and what the doctor says of them."""

import gc
import threading
import warnings
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import certs
from aplauso.adapters.redis.client import RedisSettings
from aplauso.adapters.redis.doctor import problems
from aplauso.adapters.redis.standings import RedisStandings, RedisStandingsReader
from aplauso.domain.errors import Misconfigured, Unavailable
from aplauso.domain.tally import PartitionTally
from aplauso.stack.redis import RedisCluster, RedisServer, Tls
from contract.projection_suite import apply, at, follow, log
from embedded import wait_until
from servers_redis import PARTITIONS, binary, dying_in_script, own_redis, settings_of

__all__ = ["own_redis"]
pytestmark = pytest.mark.servers


def counts_and_reads(settings: RedisSettings) -> None:
    """Asserts that standings can be kept with these settings."""
    records, measure = log(30), PartitionTally()
    measure.fold([entry.vote for entry in records])
    with closing(RedisStandings(settings)) as store, closing(RedisStandingsReader(settings)) as reader:
        follow(store, records)
        assert reader.partition(0) == (at(30), measure.contests)


@pytest.fixture
def tls_server(tmp_path: Path) -> Iterator[tuple[RedisServer, certs.Certificates]]:
    """A server that speaks TLS only, and demands a client's certificate and a password."""
    files = certs.make(tmp_path / "certs")
    tls = Tls(files.server, files.server_key, files.ca)
    server = RedisServer(tmp_path / "redis", binary=binary("redis-7"), tls=tls, password="s3cret-of-tests")
    server.start()
    yield server, files
    server.kill()


def test_a_server_survives_its_restarts(own_redis: RedisServer) -> None:
    """Data outlive a clean stop and kill -9, and the port stays."""
    url = own_redis.url
    with own_redis.client() as client:
        client.set("one", "1")
    own_redis.stop()
    assert not own_redis.process.running
    own_redis.start()
    with own_redis.client() as client:
        client.set("two", "2")
    own_redis.kill()
    own_redis.start()
    with own_redis.client() as client:
        assert client.mget("one", "two") == ["1", "2"]
        assert client.config_get("appendonly") == {"appendonly": "yes"}
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    assert own_redis.url == url


def test_a_wrong_configuration_is_told(tmp_path: Path) -> None:
    """A server that does not come up is named, with the end of what it said."""
    server = RedisServer(tmp_path, options=["no-such-directive 1"])
    with pytest.raises(Unavailable, match=r"redis on port (?s:.)*no-such-directive"):
        server.start()


@pytest.mark.parametrize("kind", ["valkey-9", "redis-7", "redis-6.2"])
def test_a_password_is_demanded(tmp_path: Path, kind: str) -> None:
    """A server with a user lets that user in, by URL or by settings, and nobody else."""
    server = RedisServer(tmp_path, binary=binary(kind), user="tally", password="s3cret-of-tests")
    server.start()
    try:
        counts_and_reads(RedisSettings(server.url, PARTITIONS))
        bare = f"redis://127.0.0.1:{server.port}"
        with closing(
            RedisStandings(RedisSettings(bare, PARTITIONS, username="tally", password="s3cret-of-tests"))
        ) as s:
            assert s.positions([0]) == {0: at(30)}
        for wrong in (
            RedisSettings(bare, PARTITIONS), RedisSettings(bare, PARTITIONS, username="tally", password="guess"),
        ):  # fmt: skip
            with closing(RedisStandings(wrong)) as store, pytest.raises(Unavailable, match="user and"):
                store.positions([0])
        assert "s3cret" not in repr(RedisSettings(server.url, PARTITIONS, password="s3cret-of-tests"))
        assert "s3cret" not in Path(f"/proc/{server.process.pid}/cmdline").read_text()
    finally:
        server.kill()


def test_tls_is_spoken(tls_server: tuple[RedisServer, certs.Certificates]) -> None:
    """Over TLS with certificates on both sides, standings are kept."""
    server, files = tls_server
    settings = RedisSettings(
        server.url, PARTITIONS, ca=str(files.ca), certificate=str(files.client), key=str(files.client_key)
    )
    counts_and_reads(settings)
    assert problems(settings) == []


def test_tls_is_checked(tls_server: tuple[RedisServer, certs.Certificates], tmp_path: Path) -> None:
    """A server of an unknown authority, a client without a certificate, and plain text are all turned away."""
    server, files = tls_server
    stranger = certs.make(tmp_path / "stranger")
    own: dict[str, Any] = {"certificate": str(files.client), "key": str(files.client_key)}
    for wrong in (
        RedisSettings(server.url, PARTITIONS, ca=str(stranger.ca), **own),
        RedisSettings(server.url, PARTITIONS, **own),
        RedisSettings(server.url, PARTITIONS, ca=str(files.ca)),
        RedisSettings(server.url.replace("rediss", "redis"), PARTITIONS),
    ):
        with closing(RedisStandings(wrong)) as store, pytest.raises(Unavailable):
            store.positions([0])
        assert len(problems(wrong)) == 1


def test_contradictions_are_refused() -> None:
    """Certificates without TLS, or what is no URL of Redis, are misconfigurations."""
    with pytest.raises(Misconfigured, match="rediss"):
        RedisStandings(RedisSettings("redis://localhost", 1, ca="ca.pem"))
    with pytest.raises(Misconfigured, match="URL"):
        RedisStandings(RedisSettings("http://localhost", 1)).positions([0])
    assert "URL" in problems(RedisSettings("http://localhost", 1))[0]


def test_a_healthy_server_has_no_problems(own_redis: RedisServer) -> None:
    """The doctor has nothing to say about a server as the stack starts it."""
    assert problems(settings_of(own_redis)) == []


@pytest.mark.parametrize("own_redis", ["valkey-9", "redis-7", "redis-6.2"], indirect=True)
def test_the_doctor_names_each_fault(own_redis: RedisServer) -> None:
    """Eviction, missing persistence, replicas and half-written partitions are each named."""
    settings = settings_of(own_redis)
    with own_redis.client() as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        assert "maxmemory-policy is allkeys-lru" in problems(settings)[0]
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("appendonly", "no")
        client.config_set("save", "")
        assert "keeps nothing on disk" in problems(settings)[0]
        client.config_set("save", "60 1")
        assert problems(settings) == []
        client.execute_command("REPLICAOF", "127.0.0.1", 1)
        assert "is a replica of 127.0.0.1:1" in problems(settings)[0]
        client.execute_command("REPLICAOF", "NO", "ONE")
        with closing(dying_in_script(RedisStandings(settings), 15)) as dying, pytest.raises(Unavailable):
            apply(dying, log(50), 0, 50, partition=2)
        assert problems(settings) == ["Redis holds partitions left half written, which the tally will rebuild: 2"]
    own_redis.kill()
    assert "Redis is away" in problems(settings)[0]


def test_an_old_server_is_named(own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A version below the oldest that will do is named with it."""
    monkeypatch.setattr("aplauso.adapters.redis.doctor.OLDEST", (99, 0))
    assert "99.0 is the oldest" in problems(settings_of(own_redis))[0]


@pytest.mark.parametrize("kind", ["valkey-9", "redis-7", "redis-6.2"])
def test_a_slot_moves_under_load(tmp_path: Path, kind: str) -> None:
    """While a partition's slot moves to another node it may be away; nothing is lost, repeated or seen half."""
    cluster = RedisCluster(tmp_path, binary=binary(kind))
    cluster.start()
    try:
        Move(cluster).run()
    finally:
        cluster.kill()
        # The cluster's client now and then drops, unclosed, a connection to a node that it has learnt anew.
        with warnings.catch_warnings(action="ignore", category=ResourceWarning):
            gc.collect()


class Move:
    """Moves partition 0's slot while another thread counts in it and in another partition."""

    def __init__(self, cluster: RedisCluster) -> None:
        self.cluster, self.settings = cluster, settings_of(cluster)
        self.records = log(4_000)
        self.store, self.beside = RedisStandings(self.settings), RedisStandings(self.settings)
        self.reader = RedisStandingsReader(self.settings)
        self.slot = cluster.slot_of("aplauso:{p0}:state")
        self.stop, self.met = threading.Event(), threading.Event()
        self.errors: list[BaseException] = []
        self.unavailable = self.steps = 0

    def run(self) -> None:
        follow(self.beside, self.records[:2_000], size=500)
        source = self.cluster.owner(self.slot)
        target = next(node for node in self.cluster.nodes if node is not source)
        load = threading.Thread(target=self.load)
        load.start()
        try:
            # One call of the load at least falls into the move: the last keys wait for it.
            self.cluster.move_slot(self.slot, target, keys=3, on_step=self.step)
        finally:
            self.stop.set()
            load.join()
        assert not self.errors, self.errors
        # The node that is asked may not have heard of the move yet.
        wait_until(lambda: self.cluster.owner(self.slot) is target, "the slot at its new owner")
        assert self.unavailable > 0, "no batch was tried during the move"
        follow(self.store, self.records, size=500)
        self.holds()
        for store in (self.store, self.beside, self.reader):
            store.close()

    def step(self) -> None:
        """Waits, at the first step, until the load has met the slot on the move; looks at the standings."""
        self.steps += 1
        if self.steps == 2:
            assert self.met.wait(30)

    def load(self) -> None:
        try:
            while not self.stop.is_set():
                self.try_one()
        except BaseException as error:  # noqa: BLE001 - handed to the test's own thread
            self.errors.append(error)

    def try_one(self) -> None:
        try:
            self.look()
            here = self.store.positions([0])[0]
            start = here.offset if here else 0
            if start < len(self.records):
                apply(self.store, self.records, start, min(start + 20, len(self.records)))
        except Unavailable:
            self.unavailable += 1
            self.met.set()

    def look(self) -> None:
        """Whatever can be read is a whole number of batches."""
        seen: Any = self.reader.partition(0)
        measure = PartitionTally()
        measure.fold([entry.vote for entry in self.records[: seen.position.offset]])
        assert seen.contests == measure.contests

    def holds(self) -> None:
        measure = PartitionTally()
        measure.fold([entry.vote for entry in self.records])
        assert self.reader.partition(0) == (at(len(self.records)), measure.contests)


def test_a_cluster_survives_its_nodes(tmp_path: Path) -> None:
    """A dead node makes its partitions unavailable; with it back, counting goes on where it was."""
    cluster = RedisCluster(tmp_path, options=["appendfsync always"])
    cluster.start()
    records = log(60)
    try:
        settings = settings_of(cluster, timeout=1.0)
        with closing(RedisStandings(settings)) as store, closing(RedisStandingsReader(settings)) as reader:
            apply(store, records, 0, 30)
            assert problems(settings) == []
            owner = cluster.owner(cluster.slot_of("aplauso:{p0}:state"))
            owner.kill()
            with pytest.raises(Unavailable):
                apply(store, records, 30, 60)
            with pytest.raises(Unavailable):
                reader.partition(0)
            cluster.start()
            follow(store, records)
            assert reader.partition(0).position == at(60)
    finally:
        cluster.kill()
