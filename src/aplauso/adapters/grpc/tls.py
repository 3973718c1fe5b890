"""Certificates for gRPC, read from PEM files."""

from pathlib import Path
from typing import NamedTuple

import grpc

from aplauso.domain.errors import Misconfigured


class ServerTls(NamedTuple):
    """How the collector proves itself, and what it asks of its clients.

    Attributes:
        certificate: its certificate, with the chain up to the root.
        key: the certificate's key, not encrypted.
        client_ca: who may sign clients' certificates; when given, every client needs one (mTLS).
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None


class ClientTls(NamedTuple):
    """Whom a gateway believes, and how it proves itself.

    Attributes:
        ca: who may sign the collectors' certificates; None for the machine's own list.
        certificate: the gateway's own, for collectors that demand one.
        key: its key, not encrypted.
        server_name: the name that the collectors' certificates carry, when it is not their address.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    server_name: str | None = None


def server_credentials(tls: ServerTls) -> grpc.ServerCredentials:
    """Reads the files. Raises `Misconfigured` when one cannot be read."""
    ca = _read(tls.client_ca) if tls.client_ca else None
    pair = (_read(tls.key), _read(tls.certificate))
    return grpc.ssl_server_credentials([pair], ca, require_client_auth=ca is not None)


def channel_credentials(tls: ClientTls) -> grpc.ChannelCredentials:
    """Reads the files. Raises `Misconfigured` when one cannot be read, or a key is there without its certificate."""
    if (tls.certificate is None) != (tls.key is None):
        raise Misconfigured("a client certificate and its key go together: one of them is missing")
    ca, key, chain = (_read(path) if path else None for path in (tls.ca, tls.key, tls.certificate))
    return grpc.ssl_channel_credentials(ca, key, chain)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Misconfigured(f"{path} cannot be read: {error.strerror}") from None
