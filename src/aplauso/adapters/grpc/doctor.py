"""What is wrong with a collector, as a gateway would find it."""

from collections.abc import Sequence
from typing import Final

import grpc

from aplauso.adapters.grpc.tls import ClientTls, channel_credentials
from aplauso.adapters.grpc.wire import CAST_BATCH, COLLECTOR, ROLE

_SECONDS: Final = 3.0


def problems(addresses: Sequence[str], token: str | None, tls: ClientTls | None) -> list[str]:
    """Sends each collector a batch of no votes, with the gateway's token and certificates.

    Returns:
        A sentence for each that does not take it.

    Raises:
        Misconfigured: the certificates cannot be read.
    """
    found = {address: _problem(address, token, tls) for address in addresses}
    return [f"the collector at {address}: {problem}" for address, problem in found.items() if problem]


def _problem(address: str, token: str | None, tls: ClientTls | None) -> str:
    metadata = (ROLE, ("authorization", f"Bearer {token}")) if token else (ROLE,)
    with _channel(address, tls) as channel:
        try:
            channel.unary_unary(f"/{COLLECTOR}/{CAST_BATCH}", None, None)(b"", timeout=_SECONDS, metadata=metadata)
        except grpc.RpcError as error:
            return f"{error.code().name}: {error.details()}" if isinstance(error, grpc.Call) else str(error)
    return ""


def _channel(address: str, tls: ClientTls | None) -> grpc.Channel:
    if tls is None:
        return grpc.insecure_channel(address)
    options = [("grpc.ssl_target_name_override", tls.server_name)] if tls.server_name else []
    return grpc.secure_channel(address, channel_credentials(tls), options)
