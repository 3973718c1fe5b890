"""Redis servers for the tests, each started once and shared by every suite that asks for it.

Suites empty a shared server before they use it; whoever stops or kills one makes their own (`own_redis`). A kind
whose program is not on this machine is skipped, but fails under CI; Redis 6.2 is only used where it is there.
"""

import atexit
import functools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from hashlib import sha1
from pathlib import Path
from typing import Any, Final

import pytest
import redis

from aplauso.adapters.redis.client import RedisSettings
from aplauso.adapters.redis.standings import RedisStandings, RedisStandingsReader
from aplauso.stack.redis import RedisCluster, RedisServer, find_redis, find_redis_62, find_valkey

PARTITIONS: Final = 4
FINDERS: Final[dict[str, Callable[[], Path | None]]] = {
    "valkey-9": find_valkey,
    "redis-7": find_redis,
    "redis-6.2": find_redis_62,
}


def binary(kind: str) -> Path:
    """The program of a kind of server; skips, or fails under CI, where there is none."""
    found = FINDERS[kind]()
    if found is None:
        if os.environ.get("CI") and kind != "redis-6.2":
            pytest.fail(f"{kind} is not on this machine")
        pytest.skip(f"{kind} is not on this machine")
    return found


@functools.cache
def shared_redis(kind: str = "valkey-9") -> RedisServer:
    """The shared server of a kind: running, never to be stopped."""
    home = Path(tempfile.mkdtemp(prefix="aplauso-redis-"))
    server = RedisServer(home, binary=binary(kind))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    atexit.register(server.kill)
    server.start()
    return server


@functools.cache
def shared_cluster() -> RedisCluster:
    """The shared cluster of three nodes: running, never to be stopped."""
    home = Path(tempfile.mkdtemp(prefix="aplauso-redis-"))
    cluster = RedisCluster(home, binary=binary("valkey-9"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    atexit.register(cluster.kill)
    cluster.start()
    return cluster


@pytest.fixture
def own_redis(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """A server of the test's own, to be killed and started at will; parametrised by its kind where one asks."""
    server = RedisServer(tmp_path / "redis", binary=binary(getattr(request, "param", "valkey-9")), fsync="always")
    server.start()
    yield server
    server.kill()


def settings_of(server: RedisServer | RedisCluster, **options: Any) -> RedisSettings:
    """The settings of a client."""
    return RedisSettings(server.url, PARTITIONS, cluster=isinstance(server, RedisCluster), **options)


class DyingClient:
    """The driver's client of a process that dies at its first script: before sending it, or when it is done."""

    def __init__(self, client: Any, after: bool) -> None:
        self._client, self._after = client, after

    def _die(self, run: Callable[..., Any], *arguments: Any) -> Any:
        if self._after:
            run(*arguments)  # a server that lacks the script says so, and is then sent it in full
        raise redis.ConnectionError("the answer never came")

    def evalsha(self, *arguments: Any) -> Any:
        return self._die(self._client.evalsha, *arguments)

    def eval(self, *arguments: Any) -> Any:
        return self._die(self._client.eval, *arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


def dying_in_script(store: RedisStandings, commands: int) -> RedisStandings:
    """A store whose script for counting ends with an error after so many commands of its own."""
    script: Any = store._count
    dying = f"""local commands = 0
    local call = function(...)
      commands = commands + 1
      if commands > {commands} then error('the script died here') end
      return redis.call(...)
    end"""
    assert script._source.count("local call = redis.call\n") == 1
    script._source = script._source.replace("local call = redis.call\n", dying + "\n")
    script._digest = sha1(script._source.encode(), usedforsecurity=False).hexdigest()
    return store


class RedisPlace:
    """A server, emptied, as the suites of standings take it."""

    def __init__(self, server: RedisServer | RedisCluster) -> None:
        self._server = server
        self._nodes = server.nodes if isinstance(server, RedisCluster) else [server]
        self._made: list[Any] = []
        self._flush()

    def _flush(self) -> None:
        for node in self._nodes:
            with node.client() as client:
                client.flushall()

    def store(self) -> RedisStandings:
        store = RedisStandings(settings_of(self._server))
        self._made.append(store)
        return store

    def reader(self) -> RedisStandingsReader:
        reader = RedisStandingsReader(settings_of(self._server))
        self._made.append(reader)
        return reader

    def dying_stores(self) -> Iterator[RedisStandings]:
        for after in (False, True):
            store: Any = self.store()
            store._connection._client = DyingClient(store._connection.client, after)
            yield store
        # A script has 15 commands and more for any batch of the suites; the last few differ from batch to batch.
        for commands in range(15):
            yield dying_in_script(self.store(), commands)

    def state(self, partition: int) -> Any:
        return self.reader().partition(partition).contests

    def snapshot(self) -> Callable[[], None]:
        kept: list[tuple[RedisServer, bytes, bytes]] = []
        for node in self._nodes:
            with redis.Redis.from_url(node.url) as client:
                kept += [(node, key, client.dump(key)) for key in client.scan_iter("*")]

        def put_back() -> None:
            self._flush()
            for node, key, value in kept:
                with redis.Redis.from_url(node.url) as client:
                    client.restore(key, 0, value)

        return put_back

    def close(self) -> None:
        for one in self._made:
            one.close()
