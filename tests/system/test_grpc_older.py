"""The older service: its clients work unchanged."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from grpc import StatusCode, aio

from aplauso.adapters.grpc.server import CollectorServer
from aplauso.domain.contest import Contest
from aplauso.domain.record import is_anonymous
from aplauso.v1 import confproto_pb2 as older
from contract.intake_suite import CONTEST, Authority, until
from grpc_world import collector

PROTO = Path(__file__).parents[2] / "proto" / "confproto"
CLIENT = """
import sys, grpc, confproto_pb2, confproto_pb2_grpc
with grpc.insecure_channel(sys.argv[1]) as channel:
    stub = confproto_pb2_grpc.getInfoStub(channel)
    reply = stub.returnInfo(confproto_pb2.requestId(name="Alux Nahual", album="Alto al Fuego", year="1987", rank="9"))
sys.stdout.buffer.write(reply.info.encode())
"""


@pytest.fixture
def authority() -> Authority:
    return Authority()


@pytest.fixture
async def server(authority: Authority) -> AsyncIterator[CollectorServer]:
    async with collector(authority) as running:
        yield running
        authority.open.set()


async def send(server: CollectorServer, timeout: float | None = 5.0, **fields: str) -> str:
    """What the server answers to a vote; right but for the given fields."""
    request = older.requestId(**({"name": "Marimba", "album": "Sub", "year": "1999", "rank": "7"} | fields))
    async with aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        call: Any = channel.unary_unary(
            "/confproto.getInfo/returnInfo", older.requestId.SerializeToString, older.replyInfo.FromString
        )
        return str((await call(request, timeout=timeout)).info)


async def failure(server: CollectorServer, timeout: float | None = 5.0, **fields: str) -> tuple[StatusCode, str]:
    with pytest.raises(aio.AioRpcError) as caught:
        await send(server, timeout, **fields)
    return caught.value.code(), caught.value.details() or ""


async def test_older_client(server: CollectorServer, authority: Authority, tmp_path: Path) -> None:
    """A client built from the older .proto file with gRPC's own tools gets its reply, and its vote is taken."""
    protoc = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTO}"]
    out = [f"--python_out={tmp_path}", f"--grpc_python_out={tmp_path}", str(PROTO / "confproto.proto")]
    build = await asyncio.create_subprocess_exec(*protoc, *out)
    assert await build.wait() == 0
    (tmp_path / "client.py").write_text(CLIENT)
    client = await asyncio.create_subprocess_exec(
        sys.executable, str(tmp_path / "client.py"), f"127.0.0.1:{server.port}", stdout=asyncio.subprocess.PIPE
    )
    reply, _ = await asyncio.wait_for(client.communicate(), 30)
    assert client.returncode == 0
    assert reply.decode() == "Información enviada con éxito"
    [(vote, _)] = authority.taken
    assert (vote.contest, vote.name, vote.album, vote.year, vote.rank) == (
        "bandas", "Alux Nahual", "Alto al Fuego", 1987, 9,
    )  # fmt: skip
    assert is_anonymous(vote.id)


@pytest.mark.parametrize(
    ("field", "text"),
    [("name", ""), ("album", " "), ("year", "x"), ("year", "1899"), ("year", ""), ("rank", "11"), ("rank", "-1")],
)
async def test_invalid(server: CollectorServer, authority: Authority, field: str, text: str) -> None:
    """An invalid vote is INVALID_ARGUMENT, and the field is named."""
    code, details = await failure(server, 5.0, **{field: text})
    assert code is StatusCode.INVALID_ARGUMENT
    assert field in details
    assert authority.calls == 0


async def test_refused_by_the_collector(server: CollectorServer) -> None:
    """A vote that the collector refuses is INVALID_ARGUMENT too."""
    assert await failure(server, name="refused") == (StatusCode.INVALID_ARGUMENT, "rank: must be 1 to 10")


async def test_not_recorded(server: CollectorServer) -> None:
    """A vote that was certainly not recorded is UNAVAILABLE."""
    code, details = await failure(server, name="not-recorded")
    assert code is StatusCode.UNAVAILABLE
    assert "the queue is full" in details


async def test_undecided(server: CollectorServer, authority: Authority) -> None:
    """An undecided vote is DEADLINE_EXCEEDED, with its id."""
    code, details = await failure(server, name="undecided")
    assert code is StatusCode.DEADLINE_EXCEEDED
    assert authority.ids[0] in details


async def test_slow_log(server: CollectorServer, authority: Authority) -> None:
    """A log that does not answer before the client's deadline gives DEADLINE_EXCEEDED, from the server."""
    authority.open.clear()
    code, details = await failure(server, timeout=1.0)
    assert code is StatusCode.DEADLINE_EXCEEDED
    assert authority.ids[0] in details


async def test_stopping(server: CollectorServer, authority: Authority) -> None:
    """A stopping server answers the vote that it has."""
    authority.open.clear()
    flight = asyncio.create_task(send(server))
    await until(lambda: authority.calls == 1)
    stopping = asyncio.create_task(server.stop())
    authority.open.set()
    assert await flight == "Información enviada con éxito"
    await stopping


@pytest.mark.parametrize("window", [{"closes": 1}, {"opens": 2**42}])
async def test_not_open(authority: Authority, window: dict[str, Any]) -> None:
    """A vote before the opening or after the closing is FAILED_PRECONDITION: the vote itself is right."""
    closed = Contest(id="bandas", title=CONTEST.title, **window)
    async with collector(authority, contests={"bandas": closed}) as server:
        code, details = await failure(server)
    assert code is StatusCode.FAILED_PRECONDITION
    assert "bandas" in details


async def test_no_default_contest(authority: Authority) -> None:
    """Where there is no default contest, the older service cannot take votes and says so."""
    contests = {name: Contest(id=name, title=CONTEST.title) for name in ("a", "b")}
    async with collector(authority, contests=contests) as server:
        assert await failure(server) == (StatusCode.FAILED_PRECONDITION, "there is no default contest")
    async with collector(authority, contests=contests, default_contest="b") as server:
        await send(server)
    assert authority.taken[0][0].contest == "b"
