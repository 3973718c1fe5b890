"""The connection to Redis: how it is made, and what its failures mean."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha1
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, Final

import redis
from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.exceptions import NoScriptError, RedisClusterException, RedisError
from redis.retry import Retry

from aplauso.domain.errors import Misconfigured, Unavailable

Client = redis.Redis | RedisCluster
Command = tuple[str, ...]
_HERE: Final = Path(__file__).parent
_MEANINGS: Final = (
    ("OOM", "is out of memory"),
    ("'maxmemory'", "is out of memory"),
    ("READONLY", "is a read-only replica"),
    ("NOREPLICAS", "has fewer replicas than min-replicas-to-write"),
    ("MISCONF", "refuses writes because it cannot save to its disk"),
    ("LOADING", "is still loading its data"),
    ("MASTERDOWN", "is a replica that lost its master"),
    ("CLUSTERDOWN", "is a cluster that does not serve this slot now"),
    ("TRYAGAIN", "is moving this slot to another node"),
    ("TTL exhausted", "kept redirecting: a slot is on the move"),
    ("BUSY ", "is busy with a long script"),
    ("NOPERM", "denies a command or a key to this user (ACL)"),
    ("authenticat", "demands a user and a password, or denies these"),
    ("WRONGTYPE", "holds something else under one of our keys"),
)


@dataclass(frozen=True)
class RedisSettings:
    """Where Redis is, and how to speak to it.

    Attributes:
        url: `redis://[user:password@]host:port[/db]`, or `rediss://` for TLS.
        partitions: the number of the log's partitions.
        cluster: whether it is a Redis Cluster; the URL then names any of its nodes.
        username: the ACL user, where the URL does not name one.
        password: likewise.
        ca: file of the certificates that the server's is checked against; the system's where it is empty.
        certificate: the client's own certificate, for servers that demand one.
        key: its private key.
        timeout: seconds to wait for a connection or an answer.
    """

    url: str = field(repr=False)
    partitions: int
    cluster: bool = False
    username: str = ""
    password: str = field(default="", repr=False)
    ca: str = ""
    certificate: str = ""
    key: str = ""
    timeout: float = 5.0

    def options(self) -> dict[str, Any]:
        """The driver's keyword arguments."""
        options: dict[str, Any] = {"socket_timeout": self.timeout, "socket_connect_timeout": self.timeout}
        options |= {"username": self.username} if self.username else {}
        options |= {"password": self.password} if self.password else {}
        if self.url.startswith("rediss://"):
            files = {"ssl_ca_certs": self.ca, "ssl_certfile": self.certificate, "ssl_keyfile": self.key}
            options |= {name: path for name, path in files.items() if path}
        elif self.ca or self.certificate:
            raise Misconfigured("certificates for Redis are given, but its URL is not rediss://")
        return options


class Connection:
    """Connects when it is first used, so that a room starts while Redis is still away."""

    def __init__(self, settings: RedisSettings) -> None:
        self.settings = settings
        self._options = settings.options()
        self._client: Client | None = None

    @property
    def client(self) -> Client:
        """The driver's client. Raises its errors, and `Misconfigured`."""
        if self._client is None:
            try:
                self._client = self._connect()
            except ValueError as error:
                raise Misconfigured(f"the URL of Redis: {error}") from None
        return self._client

    def _connect(self) -> Client:
        # Never sends a command again by itself: an answer that was lost is for the stored position to tell.
        retry: Any = Retry(NoBackoff(), 0)
        if self.settings.cluster:
            return RedisCluster.from_url(self.settings.url, retry=retry, **self._options)
        return redis.Redis.from_url(self.settings.url, retry=retry, **self._options)

    def close(self) -> None:
        """Closes what is open."""
        if self._client is not None:
            self._client.close()


@contextmanager
def translated() -> Iterator[None]:
    """Makes each failure of Redis an `Unavailable`: none of them says anything about a vote."""
    try:
        yield
    except (RedisError, RedisClusterException, OSError) as error:
        raise Unavailable(explain(error)) from error


def explain(error: Exception) -> str:
    """What a failure of Redis means, for a person."""
    text = str(error) or type(error).__name__
    if isinstance(error, redis.TimeoutError):
        return f"Redis did not answer in time: {text}"
    # The driver strips the code off some answers and makes it the exception's type.
    kind = type(error).__name__.lower()
    for code, meaning in _MEANINGS:
        if code in text or code.strip().lower() in kind:
            return f"Redis {meaning}: {text}"
    return f"Redis is away: {text}" if isinstance(error, redis.ConnectionError) else f"Redis failed: {text}"


class Script:
    """One of the Lua scripts beside this file, sent by its digest and, to a server that lacks it, in full."""

    def __init__(self, connection: Connection, name: str) -> None:
        self._connection = connection
        self._source = (_HERE / "layout.lua").read_text() + (_HERE / name).read_text()
        # The name that Redis gives to a script is its SHA-1.
        self._digest = sha1(self._source.encode(), usedforsecurity=False).hexdigest()

    def __call__(self, partition: int, *arguments: str | bytes | int) -> Any:
        """Runs it over a partition. Raises the driver's errors."""
        keys = (key(partition, "state"), key(partition, "absent"))
        client = self._connection.client
        try:
            return client.evalsha(self._digest, len(keys), *keys, *arguments)
        except NoScriptError:
            return client.eval(self._source, len(keys), *keys, *arguments)


def transactions(connection: Connection, each: Sequence[Sequence[Command]]) -> Generator[list[Any]]:
    """Runs transactions, each of some commands, and gives their answers as they come. Not for a cluster.

    The server is at work on the next one while the caller is at work on the last one's answers; no more than
    two are asked for at a time, since an answer may be large. Raises the driver's errors.
    """
    client: Any = connection.client
    link = client.connection_pool.get_connection()
    try:
        for commands, following in pairwise(chain([None], each, [None])):
            if following is not None:
                link.send_packed_command(link.pack_commands([("MULTI",), *following, ("EXEC",)]))
            if commands is not None:
                yield _executed(link, len(commands))
    except BaseException:
        link.disconnect()  # an answer that nobody waits for would be taken for the next command's
        raise
    finally:
        client.connection_pool.release(link)


def _executed(link: Any, commands: int) -> list[Any]:
    """A transaction's answers, which come after those to its beginning and to each command that waits in it."""
    for _ in range(1 + commands):
        link.read_response()
    answers: list[Any] = link.read_response()
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


def key(partition: int, name: str) -> str:
    """A key of a partition; all of a partition's lie in one hash slot."""
    return f"aplauso:{{p{partition}}}:{name}"


def hmget(connection: Connection, partitions: Sequence[int], fields: Sequence[str]) -> list[list[bytes | None]]:
    """Fields of the state of several partitions, in one round trip to each node. Raises the driver's errors."""
    answers: list[list[bytes | None]] = of_each(connection, partitions, "HMGET", "state", *fields)
    return answers


def of_each(connection: Connection, partitions: Sequence[int], command: str, name: str, *arguments: str | int) -> Any:
    """A command's answers for a key of each partition, in one round trip to each node. Raises the driver's errors."""
    pipeline: Any = connection.client.pipeline(transaction=False)
    for partition in partitions:
        pipeline.execute_command(command, key(partition, name), *arguments)
    return pipeline.execute()
