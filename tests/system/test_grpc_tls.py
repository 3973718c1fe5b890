"""Certificates on gRPC, against servers that demand them."""

from pathlib import Path

import pytest

import certs
from aplauso.adapters.grpc.intake import GrpcIntake
from aplauso.adapters.grpc.tls import ClientTls, ServerTls
from aplauso.domain.errors import Misconfigured
from aplauso.ports.intake import Receipt, Status
from contract.intake_suite import Authority, vote
from grpc_world import TOKEN, collector


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> certs.Certificates:
    return certs.make(tmp_path_factory.mktemp("ours"))


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> certs.Certificates:
    return certs.make(tmp_path_factory.mktemp("foreign"))


async def one(address: str, tls: ClientTls | None, token: str | None = TOKEN) -> Receipt:
    gateway = GrpcIntake([address], tls=tls, token=token, connecting=2.0)
    try:
        sent = vote()
        [receipt] = await gateway.submit([sent])
    finally:
        await gateway.close()
    assert receipt.id == sent.id
    return receipt


async def test_tls(ours: certs.Certificates, foreign: certs.Certificates) -> None:
    """A server with a certificate takes votes from gateways that believe its authority, and from no others."""
    authority = Authority()
    async with collector(authority, tls=ServerTls(ours.server, ours.server_key)) as server:
        address = f"localhost:{server.port}"
        assert (await one(address, ClientTls(ours.ca))).status is Status.RECORDED
        assert (await one(address, ClientTls(foreign.ca))).status is Status.NOT_RECORDED
        assert (await one(address, None)).status is Status.NOT_RECORDED
        assert (await one(address, ClientTls(ours.ca), token="wrong")).status is Status.NOT_RECORDED
    assert len(authority.taken) == 1


async def test_server_name(ours: certs.Certificates) -> None:
    """A certificate for another name is not believed, unless that name is the configured one."""
    authority = Authority()
    async with collector(authority, tls=ServerTls(ours.client, ours.client_key)) as server:
        address = f"127.0.0.1:{server.port}"
        assert (await one(address, ClientTls(ours.ca))).status is Status.NOT_RECORDED
        named = ClientTls(ours.ca, server_name="gateway.example")
        assert (await one(address, named)).status is Status.RECORDED


async def test_mtls(ours: certs.Certificates, foreign: certs.Certificates) -> None:
    """A server that demands client certificates knows a gateway by one of its authority, and nobody else gets in."""
    authority = Authority()
    tls = ServerTls(ours.server, ours.server_key, client_ca=ours.ca)
    async with collector(authority, tls=tls, gateway_tokens=()) as server:
        address = f"localhost:{server.port}"
        known = ClientTls(ours.ca, ours.client, ours.client_key)
        stranger = ClientTls(ours.ca, foreign.client, foreign.client_key)
        assert (await one(address, known, token=None)).status is Status.RECORDED
        assert (await one(address, stranger, token=None)).status is Status.NOT_RECORDED
        assert (await one(address, ClientTls(ours.ca), token=None)).status is Status.NOT_RECORDED
    assert len(authority.taken) == 1


async def test_mtls_and_token(ours: certs.Certificates) -> None:
    """Where a token is configured too, a certificate alone does not make a gateway."""
    authority = Authority()
    tls = ServerTls(ours.server, ours.server_key, client_ca=ours.ca)
    async with collector(authority, tls=tls) as server:
        address, known = f"localhost:{server.port}", ClientTls(ours.ca, ours.client, ours.client_key)
        assert (await one(address, known)).status is Status.RECORDED
        assert (await one(address, known, token=None)).status is Status.NOT_RECORDED
    assert len(authority.taken) == 1


async def test_unusable_files(ours: certs.Certificates, tmp_path: Path) -> None:
    """Files that are missing, do not belong together or are no certificates are named at the start."""
    missing = tmp_path / "missing.pem"
    with pytest.raises(Misconfigured, match=r"missing\.pem"):
        GrpcIntake(["localhost:1"], tls=ClientTls(missing))
    with pytest.raises(Misconfigured, match="go together"):
        GrpcIntake(["localhost:1"], tls=ClientTls(ours.ca, certificate=ours.client))
    with pytest.raises(Misconfigured, match=r"missing\.pem"):
        await collector(Authority(), tls=ServerTls(missing, ours.server_key)).start()
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("not a certificate")
    with pytest.raises(Misconfigured, match="certificates"):
        await collector(Authority(), tls=ServerTls(garbage, garbage)).start()
