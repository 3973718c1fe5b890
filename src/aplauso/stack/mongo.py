"""A MongoDB-compatible server for development and tests: SecantusDB, a process of its own, never imported.

It speaks MongoDB's wire protocol over WiredTiger and keeps its data through kill -9. In production MongoDB
itself is used.
"""

import sys
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote

from pymongo import MongoClient
from pymongo.errors import OperationFailure

from aplauso.domain.errors import Misconfigured
from aplauso.stack.process import Process, free_port

CACHE_MIB: Final = 256
"""What the server's cache may grow to, in MiB: it would fill 1 GiB, which a laptop with everything else on it lacks."""


class Login(NamedTuple):
    """A user of the server and its password."""

    user: str
    password: str


class Tls(NamedTuple):
    """PEM files: the server's certificate with its chain, its key, and the authority that clients are to trust."""

    certificate: Path
    key: Path
    authority: Path


class MongoServer(Process):
    """The server over a data directory, on the loopback address.

    Args:
        data: directory of its data; made when absent. One server at a time may have it.
        log: file of its output.
        port: TCP port, 0 for any that is free; it stays the same when the server is started again.
        login: demand SCRAM-SHA-256 with this user, who is made on the first start. None for no authentication.
        tls: take only connections over TLS. None for plain ones.
        sync: fsync at every commit, so that data outlive a power cut too. Costs much of the speed; without it
            the server still does so for write concerns that ask for the journal.
    """

    def __init__(
        self,
        data: Path,
        log: Path,
        port: int = 0,
        login: Login | None = None,
        tls: Tls | None = None,
        sync: bool = False,
    ) -> None:
        self.data = data
        self.port = port or free_port()
        self.login = login
        self.tls = tls
        self._sync = sync
        super().__init__("the MongoDB-compatible server", [], log, ready=self._answers)

    @property
    def uri(self) -> str:
        """Where it answers, with the password in it where it demands one."""
        return self._uri(self.login)

    def _uri(self, login: Login | None) -> str:
        who = f"{quote(login.user, safe='')}:{quote(login.password, safe='')}@" if login else ""
        secured = f"?tls=true&tlsCAFile={quote(str(self.tls.authority), safe='')}" if self.tls else ""
        return f"mongodb://{who}127.0.0.1:{self.port}/{secured}"

    def spawn(self) -> None:
        """Starts it and does not wait; the first time with a login, makes the user before."""
        self.data.mkdir(parents=True, exist_ok=True)
        # An empty configuration of its own: otherwise it takes whatever it finds in the working directory.
        config = self.data.with_name(f"{self.data.name}.toml")
        config.write_text("", encoding="utf-8")
        if self.login and not self._knows(self.login):
            self._make_user(config, self.login)
        self.argv = self._command(config, auth=self.login is not None)
        super().spawn()

    def _command(self, config: Path, auth: bool) -> list[str]:
        # The package's script beside this interpreter, called as a module: no PATH is needed.
        command = [
            sys.executable, "-m", "secantus", "--config", str(config), "--host", "127.0.0.1",
            "--port", str(self.port), "--storage-path", str(self.data), "--standalone", "--log-level", "WARNING",
            "--cache-size", f"{CACHE_MIB}M",
        ]  # fmt: skip
        if self.tls:
            command += ["--tls-cert-file", str(self.tls.certificate), "--tls-key-file", str(self.tls.key)]
        return [*command, *(["--auth"] if auth else []), *(["--sync-on-commit"] if self._sync else [])]

    @property
    def _user(self) -> Path:
        """A digest of the login that the data were given last."""
        return self.data.with_name(f"{self.data.name}.user")

    def _knows(self, login: Login) -> bool:
        return self._user.exists() and self._user.read_text(encoding="utf-8") == _digest(login)

    def _make_user(self, config: Path, login: Login) -> None:
        """The server has no other way: it is started without authentication once, and given the user."""
        open_server = Process(
            self.name, self._command(config, auth=False), self.log, ready=lambda: self._ping(self._uri(None))
        )
        open_server.start()
        try:
            with _client(self._uri(None)) as client:
                known = client.admin.command("usersInfo", login.user)["users"]
                # A user with another password, or of a first start that was cut short, gets this one.
                client.admin.command(
                    "updateUser" if known else "createUser", login.user, pwd=login.password, roles=["root"]
                )
        except OperationFailure as error:
            raise Misconfigured(f"{self.name} did not take the user {login.user!r}: {error}") from None
        finally:
            open_server.stop()
        self._user.write_text(_digest(login), encoding="utf-8")

    def _answers(self) -> bool:
        return self._ping(self.uri)

    @staticmethod
    def _ping(uri: str) -> bool:
        with _client(uri) as client:
            return bool(client.aplauso.command("listCollections")["ok"])


def _digest(login: Login) -> str:
    return sha256(repr(tuple(login)).encode()).hexdigest()


def _client(uri: str) -> "MongoClient[dict[str, object]]":
    return MongoClient(uri, serverSelectionTimeoutMS=1000, connectTimeoutMS=1000)
