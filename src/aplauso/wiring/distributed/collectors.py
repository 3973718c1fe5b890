"""The settings' part of the gateway's calls to collectors."""

from aplauso.adapters.grpc.tls import ClientTls
from aplauso.settings import Settings


def collectors(settings: Settings) -> list[str]:
    """Their addresses, `host:port`."""
    return [address.strip() for address in settings.collectors.split(",") if address.strip()]


def client_tls(settings: Settings) -> ClientTls | None:
    """The gateway's side of gRPC's TLS; None for plain connections."""
    if not (settings.grpc_ca or settings.grpc_certificate):
        return None
    return ClientTls(settings.grpc_ca, settings.grpc_certificate, settings.grpc_key, settings.grpc_server_name)
