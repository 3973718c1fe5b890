"""Serving HTTP with Granian, inside this process and on its event loop."""

import asyncio
import contextlib
import errno
import socket
from typing import Any, Final

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from aplauso.domain.errors import Misconfigured, Unavailable

HEADER_MS: Final = 10_000
"""How long a client may take for a request's head."""
_BACKLOG: Final = 4096
"""Connections that may wait to be accepted, and requests under way."""
_READY_SECONDS: Final = 10.0


class HTTPServer:
    """One listening address.

    Args:
        app: an RSGI application.
        host: to listen on.
        port: to listen on; 0 takes a free one.

    Raises:
        Misconfigured: the address cannot be used.
    """

    def __init__(self, app: Any, host: str, port: int) -> None:
        self.host = host
        address = _resolve(host)
        self._local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)  # noqa: S104 - where to reach it
        self.port = _check_address(address, port)
        self._server = Server(
            app,
            address,
            self.port,
            interface=Interfaces.RSGI,
            http=HTTPModes.http1,
            http1_settings=HTTP1Settings(header_read_timeout=HEADER_MS, max_buffer_size=64 * 1024),
            websockets=False,
            backlog=_BACKLOG,
            backpressure=1_000_000,  # an open stream counts as a request under way: ten thousand viewers are welcome
            log_enabled=False,
        )
        self._task: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Where it is reached."""
        return f"http://[{self._local}]:{self.port}" if ":" in self._local else f"http://{self._local}:{self.port}"

    async def start(self) -> None:
        """Listens; returns once connections are accepted. Raises `Unavailable`."""
        self._task = asyncio.create_task(self._server.serve())
        async with asyncio.timeout(_READY_SECONDS):
            while True:
                if self._task.done():
                    raise Unavailable(f"HTTP on {self.host}:{self.port} ended at its start") from self._task.exception()
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection(self._local, self.port)
                    writer.close()
                    return
                await asyncio.sleep(0.01)

    async def stop(self, seconds: float = 5.0) -> None:
        """Stops listening, answers what is in flight, and closes the connections."""
        if self._task is None:
            return
        self._server.stop()  # type: ignore[no-untyped-call]
        await asyncio.wait([self._task], timeout=seconds)
        self._task.cancel()
        await asyncio.wait([self._task])


def _resolve(host: str) -> str:
    """A host's numeric address: Granian takes no names. Raises `Misconfigured` when it has none."""
    try:
        return str(socket.getaddrinfo(host or "127.0.0.1", None, type=socket.SOCK_STREAM)[0][4][0])
    except (OSError, UnicodeError) as error:
        raise Misconfigured(f"there is no host {host!r} to listen on: {error}") from None


def _check_address(host: str, port: int) -> int:
    """The port, once it is known to be free: Granian would share it with whoever listens there already."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            advice = "; choose another --port" if error.errno in (errno.EADDRINUSE, errno.EACCES) else ""
            raise Misconfigured(f"cannot listen on {host}:{port}: {error.strerror}{advice}") from None
        return int(probe.getsockname()[1])
