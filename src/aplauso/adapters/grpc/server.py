"""The collector's gRPC server: one event loop, both services, health, and a stop that answers what is in flight."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final, Self

import grpc
from grpc import aio
from grpc_health.v1 import health_pb2
from grpc_health.v1._async import HealthServicer
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server
from grpc_reflection.v1alpha import reflection as grpc_reflection

from aplauso.adapters.grpc.door import Collects, Door, Rules
from aplauso.adapters.grpc.guard import Guard
from aplauso.adapters.grpc.tls import ServerTls, server_credentials
from aplauso.adapters.grpc.wire import CAST_BATCH, COLLECTOR, MAX_MESSAGE, OLDER, RETURN_INFO
from aplauso.domain.contest import Contest
from aplauso.domain.errors import Misconfigured
from aplauso.ports.clock import Clock
from aplauso.v1 import confproto_pb2 as older

SERVICES: Final = ("", COLLECTOR, OLDER)
"""Whose health is told; "" is the whole server."""
_WATCHERS: Final = 1024  # calls that watch health or ask for reflection; they do not count as batches
_LAST_WORDS: Final = 0.3  # seconds for answers that are written already, once the server has stopped
_STATUS: Final = health_pb2.HealthCheckResponse


class CollectorServer:
    """Serves `aplauso.v1.Collector` and `confproto.getInfo`.

    Args:
        collector: judges and records.
        address: host:port, port 0 for a free one.
        contests: by id, for votes of those who are no gateway; may be replaced while votes come in.
        clock: gives stamps, and judges those of gateways.
        default_contest: the default contest's id, for votes that name none; None when it is the only one.
        gateway_tokens: any of them makes a gateway. Without tokens, only a client certificate does.
        trust_all: everybody who reaches the port is a gateway; for loopback only.
        tls: certificates; None for plain connections.
        max_message_bytes: a larger message is refused with RESOURCE_EXHAUSTED.
        max_concurrent: batches under way at once; one more is refused with RESOURCE_EXHAUSTED.
        reflection: whether the server describes its services to whoever asks.
        notice: seconds between telling that it stops and refusing calls, in which gateways turn to another one.

    Raises:
        Misconfigured: the credentials contradict each other.
    """

    def __init__(
        self,
        collector: Collects,
        address: str,
        *,
        contests: Mapping[str, Contest],
        clock: Clock,
        default_contest: str | None = None,
        gateway_tokens: Sequence[str] = (),
        trust_all: bool = False,
        tls: ServerTls | None = None,
        max_message_bytes: int = MAX_MESSAGE,
        max_concurrent: int = 256,
        reflection: bool = False,
        notice: float = 0.25,
    ) -> None:
        certificates = tls is not None and tls.client_ca is not None
        self._guard = Guard(gateway_tokens, certificates=certificates, trust_all=trust_all)
        self._collector = collector
        self._address = address
        self._rules = Rules(contests, default_contest, clock)
        self._tls = tls
        self._max_message = max_message_bytes
        self._max_concurrent = max_concurrent
        self._reflection = reflection
        self._notice = notice
        self._health = HealthServicer()
        self._server: aio.Server | None = None
        self._door: Door | None = None
        self.port = 0

    async def start(self) -> Self:
        """Listens; from then on `port` is the port and health is SERVING.

        Raises:
            Misconfigured: the address is taken, or the certificates are not usable.
        """
        self._door = Door(self._collector, self._rules, self._guard, self._max_concurrent)
        server = aio.server(
            options=_options(self._max_message),
            maximum_concurrent_rpcs=self._max_concurrent + _WATCHERS,
        )
        server.add_generic_rpc_handlers(_handlers(self._door))
        add_HealthServicer_to_server(self._health, server)
        if self._reflection:
            names = [name for name in SERVICES if name]
            grpc_reflection.enable_server_reflection([*names, grpc_reflection.SERVICE_NAME], server)
        self.port = self._bind(server)
        await self.set_serving(True)
        await server.start()
        self._server = server
        return self

    def _bind(self, server: aio.Server) -> int:
        try:
            if self._tls is None:
                return server.add_insecure_port(self._address)
            return server.add_secure_port(self._address, server_credentials(self._tls))
        except RuntimeError as error:
            with_what = " with its certificates" if self._tls else ""
            raise Misconfigured(f"cannot listen on {self._address}{with_what}: {error}") from None

    async def set_serving(self, serving: bool) -> None:
        """Tells the health of the server; gateways send nothing to one that does not serve."""
        status = _STATUS.SERVING if serving else _STATUS.NOT_SERVING
        for service in SERVICES:
            await self._health.set(service, status)

    async def stop(self, grace: float = 10.0) -> None:
        """Tells that it does not serve any more, answers what is in flight, and lets go; may be called twice.

        Args:
            grace: seconds that all of it takes at most. What the log has not answered by then is undecided.
        """
        server, self._server = self._server, None
        if server is None or self._door is None:
            return
        await self._health.enter_graceful_shutdown()
        notice = min(self._notice, grace / 4)
        await asyncio.sleep(notice)
        await self._door.drain(max(0.0, grace - notice - 2 * _LAST_WORDS))
        # Watchers of health never end by themselves: what is left is cut off.
        await server.stop(_LAST_WORDS)

    async def wait(self) -> None:
        """Returns once the server has stopped."""
        if self._server is not None:
            await self._server.wait_for_termination()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()


def _options(max_message: int) -> list[tuple[str, Any]]:
    return [
        ("grpc.max_receive_message_length", max_message),
        ("grpc.max_send_message_length", -1),
        # Two collectors on one port would share its connections without a word.
        ("grpc.so_reuseport", 0),
        # Gateways ask every few seconds whether the connection is alive, with or without a call.
        ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.http2.ping_timeout_ms", 10_000),
    ]


def _handlers(door: Door) -> "tuple[grpc.GenericRpcHandler[Any, Any], ...]":
    cast = grpc.unary_unary_rpc_method_handler(door.cast_batch, None, None)
    info = grpc.unary_unary_rpc_method_handler(door.return_info, None, older.replyInfo.SerializeToString)
    return (
        grpc.method_handlers_generic_handler(COLLECTOR, {CAST_BATCH: cast}),
        grpc.method_handlers_generic_handler(OLDER, {RETURN_INFO: info}),
    )
