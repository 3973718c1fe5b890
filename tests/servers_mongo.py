"""A MongoDB-compatible server for the tests, started once and shared by every suite that asks for it.

Suites keep apart by their own databases (`fresh_database`); whoever stops or kills a server makes one of their
own (`own_mongo`). A machine without the server's package skips these tests, but fails them under CI.
"""

import atexit
import contextlib
import functools
import os
import shutil
import socket
import tempfile
import threading
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import bson
import pytest

from aplauso.adapters.mongo.client import MongoSettings
from aplauso.domain.errors import Unavailable
from aplauso.stack.mongo import MongoServer


@functools.cache  # imported fixtures are instantiated once for each module: the server is not
def shared_mongo() -> MongoServer:
    """The shared server: running, never to be stopped."""
    home = Path(tempfile.mkdtemp(prefix="aplauso-mongo-"))
    server = MongoServer(home / "data", home / "mongo.log")
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    atexit.register(server.kill)
    return started(server)


def started(server: MongoServer) -> MongoServer:
    """The server, up. Without its package the test is skipped, but fails under CI."""
    try:
        server.start()
    except Unavailable as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    return server


def fresh_database(server: MongoServer) -> MongoSettings:
    """A database that nobody else uses."""
    return MongoSettings(server.uri, f"test-{uuid.uuid4().hex[:12]}")


@pytest.fixture(scope="session")
def mongo() -> MongoServer:
    """The shared server."""
    return shared_mongo()


@pytest.fixture
def own_mongo(tmp_path: Path) -> Iterator[MongoServer]:
    """A server of the test's own, to be killed and started at will."""
    server = started(MongoServer(tmp_path / "data", tmp_path / "mongo.log"))
    yield server
    server.kill()


class CuttingProxy:
    """Stands between a client and a MongoDB server, and cuts everything at one of the client's commands.

    Args:
        port: of the server.
        at: what the command does, in the words of `STEPS`; "" to cut at none.
        after: cut once the server has answered, its answer lost; otherwise the server never sees the command.
    """

    STEPS: Final = ("find positions", "createIndexes votes", "insert votes", "find votes", "write positions")
    """What an application sends, in order; the documents are looked at only when some were there before."""

    def __init__(self, port: int, at: str = "", after: bool = False) -> None:
        self._port, self._at, self._after = port, at, after
        self.commands: list[Mapping[str, Any]] = []
        """The commands on the archive's collections, as they came, without their documents."""
        self._cut = False
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def uri(self) -> str:
        """Where clients find it; they give up soon, for once it has cut it never answers again."""
        return f"mongodb://127.0.0.1:{self._listener.getsockname()[1]}/?serverSelectionTimeoutMS=200"

    def close(self) -> None:
        """Cuts what there is, and ends."""
        self._cut_all()
        for thread in self._threads:
            thread.join(5)

    def _cut_all(self) -> None:
        with self._lock:
            self._cut = True
            # A socket that a thread waits on has to be shut down: closing alone does not wake the thread.
            for one in [self._listener, *self._sockets]:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                one.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._port))
                with self._lock:
                    self._sockets += [client, server]
                thread = threading.Thread(target=self._serve, args=(client, server), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, client: socket.socket, server: socket.socket) -> None:
        """One message of the client, one of the server, in turn: a standalone server never speaks unasked."""
        with contextlib.suppress(OSError, EOFError):
            while True:
                message = _message(client)
                here = self._counts(message)
                if here and not self._after:
                    break
                server.sendall(message)
                answer = _message(server)
                if here:
                    break
                client.sendall(answer)
            self._cut_all()

    def _counts(self, message: bytes) -> bool:
        """Whether this is the command to cut at."""
        if int.from_bytes(message[12:16], "little") != 2013:  # OP_MSG; the driver greets by an older one
            return False
        command = bson.decode(_first_document(message))
        name, collection = next(iter(command.items()))
        if collection not in ("votes", "positions"):
            return False
        written = name in ("insert", "update") and collection == "positions"
        with self._lock:
            self.commands.append(command)
            return self._at == ("write positions" if written else f"{name} {collection}")


def _message(source: socket.socket) -> bytes:
    """One message of MongoDB's wire protocol, which begins with its length. Raises `EOFError`."""
    head = _exactly(source, 4)
    return head + _exactly(source, int.from_bytes(head, "little") - 4)


def _exactly(source: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = source.recv(size - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def _first_document(message: bytes) -> bytes:
    """The body of an OP_MSG: after the header (16 bytes), the flags (4) and the section's kind (1)."""
    size = int.from_bytes(message[21:25], "little")
    return message[21 : 21 + size]
