"""The gateway's way to its collectors: batches over gRPC, several collectors in turn, nothing ever sent twice.

What makes a failure certain: a call is made only while there is a connection, and fails as *undecided*, whatever its
code, unless the collector itself marked the error (`wire.NOTHING_RECORDED`), or gRPC found the connection gone before
the call was sent. gRPC's own retries are off. What this asks of a proxy in between is in docs/adr/0012.
"""

import asyncio
import json
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, cast

import structlog
from google.protobuf.message import DecodeError
from grpc import ChannelConnectivity, StatusCode, aio

from aplauso.adapters.grpc.tls import ClientTls, channel_credentials
from aplauso.adapters.grpc.wire import (
    CAST_BATCH,
    COLLECTOR,
    MAX_MESSAGE,
    NOTHING_RECORDED,
    ROLE,
    all_recorded,
    from_wire,
    undecided,
)
from aplauso.domain.errors import Misconfigured, NotRecorded, Unavailable
from aplauso.domain.lot import Lot
from aplauso.domain.record import encode_batch
from aplauso.domain.vote import Vote
from aplauso.ports.intake import Receipt, Recorded, Status, joined
from aplauso.v1 import collector_pb2 as pb

BATCH: Final = 2_500
"""Votes of a call, at most: what a call costs is shared by them, and the collector has others to answer."""
_BYTES: Final = MAX_MESSAGE // 2
"""Bytes of a call, at most: of the largest votes there are, fewer go together."""
_NO_CONNECTION: Final = "connections to all backends failing"
"""What gRPC's round_robin says of a call for which there is no connection."""
_POLL: Final = 0.01  # seconds between two looks at connections that are being made
# A name that stands for several collectors is used in turn too; one that tells it does not serve is left out.
_SERVICE_CONFIG: Final = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "healthCheckConfig": {"serviceName": COLLECTOR},
}
_OPTIONS: Final[list[tuple[str, Any]]] = [
    ("grpc.enable_retries", 0),
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.keepalive_time_ms", 5_000),
    ("grpc.keepalive_timeout_ms", 2_000),
    # gRPC's core (1.85) ends a silent connection by this one, a minute by default; the one above never fires.
    ("grpc.http2.ping_timeout_ms", 2_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.client_idle_timeout_ms", 2**31 - 1),
]


class _Line(NamedTuple):
    """The connection to one address."""

    address: str
    channel: aio.Channel
    cast: "aio.UnaryUnaryMultiCallable[bytes, bytes]"

    @property
    def ready(self) -> bool:
        return self.channel.get_state(try_to_connect=True) is ChannelConnectivity.READY


class GrpcIntake:
    """`aplauso.ports.intake.Intake` over gRPC. Used by one event loop.

    Args:
        addresses: host:port of every collector; a DNS name may stand for several.
        token: the gateways' token, when the collectors ask for one.
        tls: certificates; None for plain connections.
        deadline: seconds that a call may take; afterwards its votes are undecided.
        connecting: seconds to wait for connections that are being made, before votes are not recorded.

    Raises:
        Misconfigured: there is no address, or the certificates cannot be read.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        *,
        token: str | None = None,
        tls: ClientTls | None = None,
        deadline: float = 10.0,
        connecting: float = 1.0,
    ) -> None:
        if not addresses:
            raise Misconfigured("no collector's address is given")
        self._addresses = tuple(addresses)
        self._metadata = (ROLE, ("authorization", f"Bearer {token}")) if token else (ROLE,)
        self._server_name = tls.server_name if tls else None
        self._credentials = channel_credentials(tls) if tls else None
        self._deadline = deadline
        self._connecting = connecting
        self._lines: list[_Line] = []
        self._turn = 0
        self._submissions = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False
        self._log = structlog.get_logger(__name__)

    async def ready(self) -> None:
        """Checks that a collector could take votes now. Raises `Unavailable`, with the addresses, when none does."""
        if self._closed or await self._line(()) is None:
            raise Unavailable(f"no collector serves at {', '.join(self._addresses)}")

    async def submit(self, votes: Sequence[Vote]) -> Sequence[Receipt]:
        """As `aplauso.ports.intake.Intake`."""
        if self._closed:
            return _not_recorded(votes, "the gateway is stopping")
        self._submissions += 1
        self._idle.clear()
        try:
            if len(votes) <= BATCH:
                return await self._hand_in(votes) if votes else []
            chunks = [votes[at : at + BATCH] for at in range(0, len(votes), BATCH)]
            return joined(votes, await asyncio.gather(*map(self._hand_in, chunks)))
        finally:
            self._submissions -= 1
            if not self._submissions:
                self._idle.set()

    async def close(self) -> None:
        """As `aplauso.ports.intake.Intake`."""
        self._closed = True
        await self._idle.wait()  # every call has a deadline
        lines, self._lines = self._lines, []
        for line in lines:
            await line.channel.close(None)

    async def _hand_in(self, votes: Sequence[Vote]) -> Sequence[Receipt]:
        """Sends a batch, in halves when it is too large for a message."""
        body = votes.encode() if isinstance(votes, Lot) else encode_batch(votes)
        if len(body) <= _BYTES or len(votes) == 1:
            return await self._send(votes, body)
        middle = len(votes) // 2
        halves = votes[:middle], votes[middle:]
        return joined(votes, await asyncio.gather(*map(self._hand_in, halves)))

    async def _send(self, votes: Sequence[Vote], body: bytes) -> Sequence[Receipt]:
        """Sends a batch to the collector whose turn it is, to another one only when it has certainly not arrived."""
        refusal = "no collector can be reached"
        tried: list[_Line] = []
        while (line := await self._line(tried)) is not None:
            tried.append(line)
            call = line.cast(body, timeout=self._deadline, metadata=self._metadata)
            try:
                return self._read(votes, line, await call)
            except aio.AioRpcError as error:
                if not (_never_sent(error) or _nothing_recorded(error)):
                    return self._lost(votes, line, f"{error.code().name}: {error.details()}")
                refusal = f"{line.address}: {error.details()}"
                self._log.warning("a collector took nothing", address=line.address, why=error.details())
                if error.code() not in (StatusCode.UNAVAILABLE, StatusCode.RESOURCE_EXHAUSTED):
                    break
            except asyncio.CancelledError:
                call.cancel()
                if _cancelling():
                    raise
                return self._lost(votes, line, "the connection was closed")
        return _not_recorded(votes, refusal)

    def _read(self, votes: Sequence[Vote], line: _Line, reply: bytes) -> Sequence[Receipt]:
        if reply == all_recorded(votes):  # as nearly always: nothing has to be read
            return Recorded(votes)
        try:
            receipts = pb.BatchReceipt.FromString(reply).receipts
        except DecodeError as error:
            return self._lost(votes, line, str(error))
        if len(receipts) != len(votes):
            return self._lost(votes, line, f"{len(receipts)} receipts for {len(votes)} votes")
        return [from_wire(receipt, vote.id) for receipt, vote in zip(receipts, votes, strict=True)]

    def _lost(self, votes: Sequence[Vote], line: _Line, why: str) -> Sequence[Receipt]:
        self._log.warning("the answer of a collector was lost", address=line.address, votes=len(votes), why=why)
        return [undecided(vote.id, f"the collector's answer was lost ({why})") for vote in votes]

    async def _line(self, tried: Sequence[_Line]) -> _Line | None:
        """The next ready line in turn that was not tried; None when there is none and waiting is of no use."""
        lines = self._lines = self._lines or [self._connect(address) for address in self._addresses]
        patience = 0.0 if tried else self._connecting
        until = asyncio.get_running_loop().time() + patience
        while True:
            for step in range(len(lines)):
                line = lines[(self._turn + step) % len(lines)]
                if line.ready and line not in tried:
                    self._turn = (self._turn + step + 1) % len(lines)
                    return line
            if asyncio.get_running_loop().time() >= until or all(_failed(line) for line in lines):
                return None
            await asyncio.sleep(_POLL)

    def _connect(self, address: str) -> _Line:
        options = list(_OPTIONS)
        if self._credentials is None:
            channel = aio.insecure_channel(address, options)
        else:
            if self._server_name:
                options.append(("grpc.ssl_target_name_override", self._server_name))
            channel = aio.secure_channel(address, self._credentials, options)
        return _Line(address, channel, channel.unary_unary(f"/{COLLECTOR}/{CAST_BATCH}", None, None))


def _failed(line: _Line) -> bool:
    """Whether its connection could not be made, or its collector does not serve; both are tried again by gRPC."""
    return line.channel.get_state() is ChannelConnectivity.TRANSIENT_FAILURE


def _never_sent(error: aio.AioRpcError) -> bool:
    """Whether no connection was found for a call. Only words tell: if they change one day, such calls are undecided."""
    return error.code() is StatusCode.UNAVAILABLE and (error.details() or "").startswith(_NO_CONNECTION)


def _nothing_recorded(error: aio.AioRpcError) -> bool:
    # The type stubs tell of the synchronous library's metadata; these are asyncio's, a mapping.
    return NOTHING_RECORDED in cast("aio.Metadata", error.trailing_metadata() or {})


def _not_recorded(votes: Sequence[Vote], why: str) -> Sequence[Receipt]:
    return [Receipt(vote.id, Status.NOT_RECORDED, NotRecorded.reason, "", why) for vote in votes]


def _cancelling() -> bool:
    """Whether our own task is being cancelled; a call that gRPC cancelled raises the same error."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
