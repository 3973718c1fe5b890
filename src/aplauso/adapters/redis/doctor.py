"""What is wrong with a Redis that is to hold standings."""

import time
from typing import Any, Final

import redis

from aplauso.adapters.redis.client import Connection, RedisSettings, explain, hmget
from aplauso.domain.errors import Misconfigured

OLDEST: Final = (6, 2)
"""The oldest version of Redis that the scripts are held against."""

MAX_SKEW: Final = 5.0
"""Seconds that a server's clock may differ from ours before it is worth naming."""


def problems(settings: RedisSettings) -> list[str]:
    """Every fault that can be seen from outside, each in a sentence; empty when all is well. Raises nothing."""
    try:
        connection = Connection(settings)
        try:
            found = [problem for name, node in _nodes(connection) for problem in _of_node(name, node)]
            return found + _dirty(connection)
        finally:
            connection.close()
    except Misconfigured as error:
        return [str(error)]
    except (redis.RedisError, redis.exceptions.RedisClusterException, OSError) as error:
        return [explain(error)]


def _nodes(connection: Connection) -> list[tuple[str, Any]]:
    """The masters of a cluster, or the one server, each with a name for messages."""
    client: Any = connection.client
    if not connection.settings.cluster:
        return [("Redis", client)]
    return [(f"Redis at {node.name}", client.get_redis_connection(node)) for node in client.get_primaries()]


def _of_node(name: str, node: Any) -> list[str]:
    return [
        f"{name} {problem}" for check in (_version, _role, _memory, _persistence, _clock) for problem in check(node)
    ]


def _version(node: Any) -> list[str]:
    server = node.info("server")
    # Valkey keeps the version of Redis that it is compatible with under its old name.
    version = str(server["redis_version"])
    numbers = tuple(int(part) for part in version.split(".")[:2])
    oldest = ".".join(map(str, OLDEST))
    return [f"is of version {version}; {oldest} is the oldest that will do"] if numbers < OLDEST else []


def _clock(node: Any) -> list[str]:
    before = time.time()
    seconds, micros = node.time()
    after = time.time()
    skew = seconds + micros / 1e6 - (before + after) / 2
    return [f"has a clock {skew:+.0f} s from this machine's"] if abs(skew) > MAX_SKEW + (after - before) else []


def _role(node: Any) -> list[str]:
    replication = node.info("replication")
    if replication["role"] == "master":
        return []
    return [f"is a replica of {replication['master_host']}:{replication['master_port']}; name its master instead"]


def _memory(node: Any) -> list[str]:
    policy = str(node.info("memory")["maxmemory_policy"])
    if policy == "noeviction":
        return []
    return [f"may drop keys when its memory is full: maxmemory-policy is {policy}, and must be noeviction"]


def _persistence(node: Any) -> list[str]:
    persistence = node.info("persistence")
    if persistence["aof_enabled"]:
        failed = persistence["aof_last_write_status"] != "ok"
        return ["could not write its append-only file lately: is its disk full?"] if failed else []
    if persistence["rdb_last_bgsave_status"] != "ok":
        return ["could not save its snapshot lately: is its disk full?"]
    try:
        saves = node.config_get("save").get("save")
    except redis.ResponseError:
        # Hosted ones often deny CONFIG; without it a server that saves snapshots cannot be told from one that does not.
        return ["has no append-only file, and does not let us ask whether it saves snapshots (CONFIG GET save)"]
    return [] if saves else ["keeps nothing on disk: neither an append-only file (appendonly) nor snapshots (save)"]


def _dirty(connection: Connection) -> list[str]:
    partitions = range(connection.settings.partitions)
    dirty = [
        str(partition)
        for partition, state in zip(partitions, hmget(connection, partitions, ["dirty"]), strict=True)
        if state[0] is not None
    ]
    if not dirty:
        return []
    return [f"Redis holds partitions left half written, which the tally will rebuild: {', '.join(dirty)}"]
