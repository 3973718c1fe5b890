"""Serving HTTP inside this process and on its event loop; see docs/adr/0009."""

import asyncio
import errno
import socket
from functools import partial
from typing import Final

from aplauso.domain.errors import Misconfigured
from aplauso.services.clients import Clients
from aplauso.services.connection import Connection
from aplauso.web.app import App

_BACKLOG: Final = 4096
"""Connections that may wait to be accepted."""


class HTTPServer:
    """One listening address.

    Args:
        app: answers requests.
        host: to listen on.
        port: to listen on; 0 takes a free one.

    Raises:
        Misconfigured: the address cannot be used.
    """

    def __init__(self, app: App, host: str, port: int) -> None:
        self.host = host
        self._app = app
        address = _resolve(host)
        self._local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)  # noqa: S104 - where to reach it
        self._socket = _bind(address, port)
        self.port = int(self._socket.getsockname()[1])
        self._server: asyncio.Server | None = None
        self._clients: Clients | None = None

    @property
    def url(self) -> str:
        """Where it is reached."""
        return f"http://[{self._local}]:{self.port}" if ":" in self._local else f"http://{self._local}:{self.port}"

    async def start(self) -> None:
        """Listens; connections are accepted once it returns."""
        self._clients = Clients(self._app)
        make = partial(Connection, self._clients)
        self._server = await asyncio.get_running_loop().create_server(make, sock=self._socket, backlog=_BACKLOG)

    async def stop(self, seconds: float = 5.0) -> None:
        """Stops listening, answers what is in flight, and closes the connections."""
        if self._server is not None:
            await asyncio.sleep(0)  # who waits to be accepted is, and answered with the others
            self._server.close()
            await asyncio.sleep(0)
        self._socket.close()
        if self._clients is not None:
            await self._clients.end(seconds)


def _resolve(host: str) -> str:
    """A host's numeric address. Raises `Misconfigured` when it has none."""
    try:
        return str(socket.getaddrinfo(host or "127.0.0.1", None, type=socket.SOCK_STREAM)[0][4][0])
    except (OSError, UnicodeError) as error:
        raise Misconfigured(f"there is no host {host!r} to listen on: {error}") from None


def _bind(host: str, port: int) -> socket.socket:
    """A socket that has the address. Raises `Misconfigured`: at once, before anything else is started."""
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        advice = "; choose another --port" if error.errno in (errno.EADDRINUSE, errno.EACCES) else ""
        raise Misconfigured(f"cannot listen on {host}:{port}: {error.strerror}{advice}") from None
    return bound
