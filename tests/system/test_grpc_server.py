"""The collector's gRPC server: who may do what, what it refuses, its limits, its deadlines, its health."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import grpc
import pytest
from grpc import StatusCode, aio
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub

from aplauso.adapters.grpc.door import SHORTER, TURNS
from aplauso.adapters.grpc.intake import GrpcIntake
from aplauso.adapters.grpc.server import CollectorServer
from aplauso.adapters.system.clock import SystemClock
from aplauso.domain.contest import Contest, Scale
from aplauso.domain.errors import Misconfigured
from aplauso.domain.record import MAX_BYTES, encode, is_anonymous, to_message
from aplauso.domain.vote import Vote
from aplauso.flow.turns import LARGE
from aplauso.ports.intake import Status
from aplauso.v1 import collector_pb2 as pb
from aplauso.v1 import vote_pb2
from contract.intake_suite import CONTEST, Authority, until, vote
from grpc_world import TOKEN, collector

GATEWAY = (("authorization", f"Bearer {TOKEN}"),)
MARK = "aplauso-not-recorded"


@pytest.fixture
def authority() -> Authority:
    return Authority()


@pytest.fixture
async def server(authority: Authority) -> AsyncIterator[CollectorServer]:
    async with collector(authority) as running:
        yield running
        authority.open.set()


async def cast(server: CollectorServer, *votes: vote_pb2.Vote, **options: Any) -> Any:
    return await cast_bytes(server, pb.VoteBatch(votes=votes).SerializeToString(), **options)


async def cast_bytes(server: CollectorServer, body: bytes, **options: Any) -> Any:
    """One CastBatch as a plain client makes it."""
    async with aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        call = channel.unary_unary("/aplauso.v1.Collector/CastBatch", None, pb.BatchReceipt.FromString)
        return (await call(body, **({"timeout": 5.0} | options))).receipts


async def refused(server: CollectorServer, *votes: vote_pb2.Vote, **options: Any) -> aio.AioRpcError:
    """The error of a call that the collector refuses as a whole, which carries the mark."""
    with pytest.raises(aio.AioRpcError) as caught:
        await cast(server, *votes, **options)
    assert MARK in dict(caught.value.trailing_metadata() or ())  # type: ignore[arg-type]
    return caught.value


async def test_gateway(server: CollectorServer, authority: Authority) -> None:
    """A gateway's vote keeps its id and its stamp, and enters the log with the bytes of `encode`."""
    sent = vote("Alux Nahual")
    [receipt] = await cast(server, to_message(sent), metadata=GATEWAY)
    assert (receipt.id, receipt.status, receipt.cast_at_ms) == (sent.id, pb.STATUS_RECORDED, sent.cast_at)
    assert authority.taken == [(sent, encode(sent))]


async def test_stranger(server: CollectorServer, authority: Authority) -> None:
    """A vote of somebody who is no gateway is normalised, and gets its id and its stamp here."""
    before = SystemClock().now_ms()
    sent = vote_pb2.Vote(
        id=vote().id, contest="bandas", name="  Alux  NAHUAL ", album=" Sub ", year=1999, rank=7, cast_at_ms=1, band="x"
    )
    [receipt] = await cast(server, sent)
    [(taken, value)] = authority.taken
    assert receipt.id == taken.id != sent.id
    assert is_anonymous(taken.id)
    assert before <= taken.cast_at == receipt.cast_at_ms <= SystemClock().now_ms()
    assert (taken.name, taken.band, taken.album, taken.record) == ("Alux  NAHUAL", "alux nahual", "Sub", "sub")
    assert value == encode(taken)


async def test_gateway_without_id(server: CollectorServer, authority: Authority) -> None:
    """A gateway's vote without an id is taken as anybody's; without a contest, it goes to the only one."""
    [receipt] = await cast(server, vote_pb2.Vote(name="A", album="B", year=2000, rank=1), metadata=GATEWAY)
    assert receipt.status == pb.STATUS_RECORDED
    assert receipt.id == authority.taken[0][0].id
    assert authority.taken[0][0].contest == "bandas"


@pytest.mark.parametrize(
    ("changed", "reason", "field"),
    [
        ({"name": " "}, "invalid", "name"),
        ({"album": "x" * 201}, "invalid", "album"),
        ({"year": 1899}, "invalid", "year"),
        ({"year": -1}, "invalid", "year"),
        ({"rank": 11}, "invalid", "rank"),
        ({"contest": "another"}, "unknown-contest", ""),
        ({"contest": "closed"}, "not-open", ""),
    ],
)
async def test_stranger_refused(authority: Authority, changed: Mapping[str, Any], reason: str, field: str) -> None:
    """A wrong vote of somebody who is no gateway is refused with its reason and field; its neighbours are not."""
    contests = {"bandas": CONTEST, "closed": Contest(id="closed", title=CONTEST.title, closes=1)}
    right: dict[str, Any] = {"contest": "bandas", "name": "A", "album": "B", "year": 2000, "rank": 1}
    votes = [vote_pb2.Vote(**fields) for fields in (right, right | dict(changed), right)]
    async with collector(authority, contests=contests) as server:
        receipts = await cast(server, *votes)
    assert [r.status for r in receipts] == [pb.STATUS_RECORDED, pb.STATUS_REFUSED, pb.STATUS_RECORDED]
    assert (receipts[1].reason, receipts[1].field, receipts[1].id) == (reason, field, "")
    assert receipts[1].detail
    assert [r.id for r in receipts if r.id] == authority.ids


@pytest.mark.parametrize(
    "changed",
    [
        {"id": "not-a-uuid"},
        {"id": "01890a5d-ac96-4b7c-8f7e-1f3a7b3c9d10"},
        {"contest": "Nó"},
        {"name": ""},
        {"album": "x" * 201},
        {"band": "x" * 601},
        {"year": 2101},
        {"rank": 1001},
        {"cast_at_ms": -1},
    ],
)
async def test_gateway_refused(server: CollectorServer, authority: Authority, changed: Mapping[str, Any]) -> None:
    """A gateway's vote that breaks a record's rule is refused; nothing that a projection would reject gets in."""
    message = to_message(vote())
    for name, value in changed.items():
        setattr(message, name, value)
    [receipt] = await cast(server, message, metadata=GATEWAY)
    assert (receipt.id, receipt.status, receipt.reason) == (message.id, pb.STATUS_REFUSED, "invalid")
    assert authority.calls == 0


@pytest.mark.parametrize(("seconds", "status"), [(-61, 3), (61, 3), (-55, 1), (55, 1)])
async def test_skewed_stamp(server: CollectorServer, seconds: int, status: int) -> None:
    """A stamp more than 60 s from the collector's clock, either way, is refused as "try later"."""
    message = to_message(vote())
    message.cast_at_ms += seconds * 1000
    [receipt] = await cast(server, message, metadata=GATEWAY)
    assert receipt.status == status
    assert receipt.reason == ("clock" if status == pb.STATUS_NOT_RECORDED else "")


async def test_unknown_fields(server: CollectorServer, authority: Authority) -> None:
    """What a newer gateway adds to a vote does not enter the log unchecked."""
    sent = vote()
    field_99 = b"\x9a\x06" + (3).to_bytes() + b"new"
    value = encode(sent) + field_99
    body = b"\x0a" + bytes([len(value) & 0x7F | 0x80, len(value) >> 7]) + value
    assert pb.VoteBatch.FromString(body).votes[0].SerializeToString() == value
    await cast_bytes(server, body, metadata=GATEWAY)
    assert authority.taken == [(sent, encode(sent))]


async def test_largest_vote(server: CollectorServer, authority: Authority) -> None:
    """The largest vote there may be passes, and its record stays below the log's limit."""
    largest = Vote(vote().id, "c" * 64, "𝕬" * 200, "𝕬" * 200, 2100, 1000, SystemClock().now_ms(), "𝕬" * 600, "𝕬" * 600)
    receipts = await cast(server, *[to_message(largest)] * 256, metadata=GATEWAY)
    assert {receipt.status for receipt in receipts} == {pb.STATUS_RECORDED}
    assert len(authority.taken[0][1]) < MAX_BYTES


@pytest.mark.parametrize(
    "metadata",
    [
        (("authorization", "Bearer wrong"),),
        (("authorization", f"Bearer {TOKEN}x"),),
        (("authorization", f"Basic {TOKEN}"),),
        (("authorization", TOKEN),),
        (("authorization", "Bearer "),),
        (("authorization", ""),),
        (("aplauso-role", "gateway"),),
    ],
)
async def test_wrong_token(server: CollectorServer, authority: Authority, metadata: Any) -> None:
    """A wrong token, or a gateway without one, is UNAUTHENTICATED, never taken for anybody."""
    error = await refused(server, to_message(vote()), metadata=metadata)
    assert error.code() is StatusCode.UNAUTHENTICATED
    assert authority.calls == 0


async def test_several_tokens(authority: Authority) -> None:
    """Each of several tokens makes a gateway, so that they can be changed one after the other."""
    async with collector(authority, gateway_tokens=["old-token", "new-token"]) as server:
        for token in ("old-token", "new-token"):
            sent = vote()
            [receipt] = await cast(server, to_message(sent), metadata=(("authorization", f"bearer {token}"),))
            assert receipt.id == sent.id


async def test_no_token_configured(authority: Authority) -> None:
    """A server without tokens and certificates knows no gateway, whatever anybody shows."""
    async with collector(authority, gateway_tokens=()) as server:
        error = await refused(server, to_message(vote()), metadata=GATEWAY)
        assert error.code() is StatusCode.UNAUTHENTICATED
        sent = vote()
        [receipt] = await cast(server, to_message(sent))
        assert receipt.id != sent.id


async def test_trust_all(authority: Authority) -> None:
    """A server that trusts everybody takes anybody's ids; it cannot have tokens too, nor an empty one."""
    async with collector(authority, gateway_tokens=(), trust_all=True) as server:
        sent = vote()
        [receipt] = await cast(server, to_message(sent))
        assert receipt.id == sent.id
    with pytest.raises(Misconfigured, match="choose one"):
        collector(authority, trust_all=True)
    with pytest.raises(Misconfigured, match="empty"):
        collector(authority, gateway_tokens=[""])


async def test_intake_without_the_token(server: CollectorServer, authority: Authority) -> None:
    """A gateway that has no token, or a wrong one, records nothing, rather than votes under other ids."""
    for token in (None, "wrong"):
        gateway = GrpcIntake([f"127.0.0.1:{server.port}"], token=token)
        [receipt] = await gateway.submit([vote()])
        await gateway.close()
        assert receipt.status is Status.NOT_RECORDED
        assert "token" in receipt.detail
    assert authority.calls == 0


@pytest.mark.parametrize("body", [b"\xff", b"\x0a\x05abc", b"\x0a\x03\x12\x01\xff"])
async def test_garbage(server: CollectorServer, authority: Authority, body: bytes) -> None:
    """Bytes that are no batch, or hold text that is not UTF-8, are INVALID_ARGUMENT."""
    with pytest.raises(aio.AioRpcError) as caught:
        await cast_bytes(server, body)
    assert caught.value.code() is StatusCode.INVALID_ARGUMENT
    assert authority.calls == 0


async def test_too_large(authority: Authority) -> None:
    """A message above the limit is RESOURCE_EXHAUSTED, one with too many votes INVALID_ARGUMENT."""
    async with collector(authority, max_message_bytes=50_000) as server:
        with pytest.raises(aio.AioRpcError) as caught:
            await cast_bytes(server, b"\0" * 50_001)
        assert caught.value.code() is StatusCode.RESOURCE_EXHAUSTED
        error = await refused(server, *[vote_pb2.Vote()] * 10_001)
        assert error.code() is StatusCode.INVALID_ARGUMENT
        assert await cast(server, *[vote_pb2.Vote()] * 10_000)


async def test_too_many_calls(authority: Authority) -> None:
    """Calls beyond the limit are RESOURCE_EXHAUSTED, marked as not recorded; those under way are answered."""
    async with collector(authority, max_concurrent=2) as server:
        authority.open.clear()
        flights = [asyncio.create_task(cast(server, to_message(vote()), metadata=GATEWAY)) for _ in range(2)]
        await until(lambda: authority.calls == 2)
        error = await refused(server, to_message(vote()), metadata=GATEWAY)
        assert error.code() is StatusCode.RESOURCE_EXHAUSTED
        authority.open.set()
        for flight in flights:
            assert [receipt.status for receipt in await flight] == [pb.STATUS_RECORDED]
        assert await cast(server, to_message(vote()), metadata=GATEWAY)


async def all_turns(
    server: CollectorServer, authority: Authority, large: Sequence[vote_pb2.Vote], **options: Any
) -> list[asyncio.Task[Any]]:
    """Batches that have taken all turns, once they are at work."""
    flights = [asyncio.create_task(cast(server, *large, **options)) for _ in range(TURNS)]
    await until(lambda: authority.calls == TURNS)
    return flights


async def test_large_batches_take_turns(authority: Authority) -> None:
    """Of large batches a few are at work at once: others wait, small ones do not, none waits beyond its deadline."""
    async with collector(authority) as server:
        authority.open.clear()
        large = [to_message(vote()) for _ in range(LARGE // 50)]
        flights = await all_turns(server, authority, large, metadata=GATEWAY)
        error = await refused(server, *large, metadata=GATEWAY, timeout=0.5)
        assert error.code() is StatusCode.RESOURCE_EXHAUSTED
        waiting = asyncio.create_task(cast(server, *large, metadata=GATEWAY))
        small = asyncio.create_task(cast(server, to_message(vote()), metadata=GATEWAY))
        await until(lambda: authority.calls == TURNS + 1)
        assert not waiting.done()
        authority.open.set()
        for flight in (*flights, small, waiting):
            assert {receipt.status for receipt in await flight} == {pb.STATUS_RECORDED}
        assert authority.calls == TURNS + 2


async def test_a_stop_refuses_large_batches_that_wait(authority: Authority) -> None:
    """When the collector stops, those that wait are refused before those at work are answered; all of these are."""
    async with collector(authority) as server:
        authority.open.clear()
        large = [to_message(vote()) for _ in range(LARGE // 50)]
        flights = await all_turns(server, authority, large, metadata=GATEWAY)
        waiting = asyncio.create_task(refused(server, *large, metadata=GATEWAY))
        flights.append(asyncio.create_task(cast(server, to_message(vote()), metadata=GATEWAY)))
        await until(lambda: authority.calls == TURNS + 1)
        stopping = asyncio.create_task(server.stop())
        assert (await waiting).code() is StatusCode.UNAVAILABLE
        assert not any(flight.done() for flight in flights)
        authority.open.set()
        for flight in flights:
            assert {receipt.status for receipt in await flight} == {pb.STATUS_RECORDED}
        await stopping


async def test_others_have_large_batches_in_fewer_bytes(authority: Authority) -> None:
    """What is no gateway's takes turns from a sixteenth of the bytes on: what is no vote may be short."""
    async with collector(authority) as server:
        authority.open.clear()
        large = [to_message(vote()) for _ in range(LARGE // SHORTER // 50)]
        flights = await all_turns(server, authority, large)
        error = await refused(server, *large, timeout=0.5)
        assert error.code() is StatusCode.RESOURCE_EXHAUSTED
        authority.open.set()
        for flight in flights:
            assert {receipt.status for receipt in await flight} == {pb.STATUS_RECORDED}


async def test_deadline(server: CollectorServer, authority: Authority) -> None:
    """A call is answered before its deadline: what is not known by then is undecided, the refused stays refused."""
    authority.open.clear()
    wrong = to_message(vote())
    wrong.year = 1
    started = time.monotonic()
    receipts = await cast(server, to_message(vote()), wrong, metadata=GATEWAY, timeout=1.0)
    assert time.monotonic() - started < 1.0
    assert [receipt.status for receipt in receipts] == [pb.STATUS_UNDECIDED, pb.STATUS_REFUSED]


async def test_abandoned_calls_count(authority: Authority) -> None:
    """Votes that were answered as undecided, or whose client has gone, still take their place until the log answers."""
    async with collector(authority, max_concurrent=2) as server:
        authority.open.clear()
        await cast(server, to_message(vote()), metadata=GATEWAY, timeout=0.3)
        gone = asyncio.create_task(cast(server, to_message(vote()), metadata=GATEWAY))
        await until(lambda: authority.calls == 2)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        error = await refused(server, to_message(vote()), metadata=GATEWAY)
        assert error.code() is StatusCode.RESOURCE_EXHAUSTED
        authority.open.set()
        assert len(authority.taken) == 2


async def test_collector_fails(server: CollectorServer, authority: Authority) -> None:
    """A collector that fails on a batch leaves it undecided, and the server goes on."""
    authority.dying = True
    [receipt] = await cast(server, to_message(vote()), metadata=GATEWAY)
    assert receipt.status == pb.STATUS_UNDECIDED
    authority.dying = False
    [receipt] = await cast(server, to_message(vote()), metadata=GATEWAY)
    assert receipt.status == pb.STATUS_RECORDED


async def test_health(server: CollectorServer) -> None:
    """Health is told by the standard service, for the whole and for each service, as a watcher sees too."""
    serving, away = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
    async with aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub: Any = HealthStub(channel)
        for service in ("", "aplauso.v1.Collector", "confproto.getInfo"):
            assert (await stub.Check(health_pb2.HealthCheckRequest(service=service))).status == serving
        watch = stub.Watch(health_pb2.HealthCheckRequest(service=""))
        assert (await watch.read()).status == serving
        await server.set_serving(False)
        assert (await watch.read()).status == away
        await server.set_serving(True)
        assert (await watch.read()).status == serving
        stopping = asyncio.create_task(server.stop())
        assert (await watch.read()).status == away
        await stopping


async def test_reflection(authority: Authority) -> None:
    """Reflection tells the services where it is on, and is not there where it is off."""

    async def services(server: CollectorServer) -> set[str]:
        ask = reflection_pb2.ServerReflectionRequest(list_services="")
        async with aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            answers: Any = ServerReflectionStub(channel).ServerReflectionInfo(iter([ask]))
            return {s.name async for a in answers for s in a.list_services_response.service}

    async with collector(authority, reflection=True) as server:
        ours = {"aplauso.v1.Collector", "confproto.getInfo"}
        assert await services(server) == ours | {"grpc.reflection.v1alpha.ServerReflection"}
    async with collector(authority) as server:
        with pytest.raises(aio.AioRpcError) as caught:
            await services(server)
        assert caught.value.code() is StatusCode.UNIMPLEMENTED


async def test_address_in_use(server: CollectorServer, authority: Authority) -> None:
    """A second collector on the same port says so, instead of sharing its connections."""
    with pytest.raises(Misconfigured, match=str(server.port)):
        await collector(authority, port=server.port).start()


async def test_default_contest(authority: Authority) -> None:
    """A vote that names no contest goes to the default one; where there is none, it is refused."""
    contests = {"bandas": CONTEST, "wide": Contest(id="wide", title=CONTEST.title, rank=Scale(0, 100))}
    anonymous = vote_pb2.Vote(name="A", album="B", year=2000, rank=50)
    async with collector(authority, contests=contests, default_contest="wide") as server:
        [receipt] = await cast(server, anonymous)
        assert receipt.status == pb.STATUS_RECORDED
        assert authority.taken[0][0].contest == "wide"
    async with collector(authority, contests=contests) as server:
        [receipt] = await cast(server, anonymous)
        assert (receipt.status, receipt.reason) == (pb.STATUS_REFUSED, "unknown-contest")


async def test_refuses_while_stopping(server: CollectorServer, authority: Authority) -> None:
    """A stopping server refuses new calls of clients that do not watch its health, marked as not recorded."""
    authority.open.clear()
    flight = asyncio.create_task(cast(server, to_message(vote()), metadata=GATEWAY))
    await until(lambda: authority.calls == 1)
    stopping = asyncio.create_task(server.stop())
    await asyncio.sleep(0)
    error = await refused(server, to_message(vote()), metadata=GATEWAY)
    assert (error.code(), error.details()) == (StatusCode.UNAVAILABLE, "the collector is stopping")
    authority.open.set()
    assert [receipt.status for receipt in await flight] == [pb.STATUS_RECORDED]
    await stopping
    assert authority.calls == 1


async def test_stop_twice(authority: Authority) -> None:
    """Stopping twice, or what was never started, is harmless; a stopped server is away."""
    await collector(authority).stop()
    server = await collector(authority).start()
    await server.stop()
    await server.stop()
    with pytest.raises(grpc.RpcError):
        await cast(server, to_message(vote()))
