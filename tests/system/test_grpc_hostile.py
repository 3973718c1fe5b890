"""What the gateway's intake makes of servers that are no collector of ours, and of errors that prove nothing."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest
from grpc import StatusCode, aio

from aplauso.adapters.grpc.intake import GrpcIntake
from aplauso.ports.intake import Status
from aplauso.v1 import collector_pb2 as pb
from contract.intake_suite import vote

Handler = Callable[[bytes, Any], Awaitable[bytes]]


async def outcome(handler: Handler, votes: int = 2, **options: float) -> tuple[set[Status], int]:
    """What the votes of one submission become at a server with this handler, and how often it was called."""
    calls = 0

    async def counted(body: bytes, context: Any) -> bytes:
        nonlocal calls
        calls += 1
        return await handler(body, context)

    server = aio.server()
    method = {"CastBatch": grpc.unary_unary_rpc_method_handler(counted)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("aplauso.v1.Collector", method),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    # The same server twice: had a call been sent again, the count would tell.
    gateway = GrpcIntake([f"127.0.0.1:{port}"] * 2, deadline=options.get("deadline", 5.0))
    sent = [vote() for _ in range(votes)]
    receipts = await gateway.submit(sent)
    await gateway.close()
    await server.stop(None)
    assert [receipt.id for receipt in receipts] == [v.id for v in sent]
    return {receipt.status for receipt in receipts}, calls


def answer(change: Callable[[pb.BatchReceipt], object]) -> Handler:
    """A handler that answers rightly but for one change."""

    async def handle(body: bytes, context: Any) -> bytes:
        votes = pb.VoteBatch.FromString(body).votes
        reply = pb.BatchReceipt(receipts=[pb.VoteReceipt(id=v.id, status=pb.STATUS_RECORDED) for v in votes])
        change(reply)
        return reply.SerializeToString()

    return handle


def each(reply: pb.BatchReceipt, **fields: Any) -> None:
    """Changes every receipt."""
    for receipt in reply.receipts:
        for name, value in fields.items():
            setattr(receipt, name, value)


async def test_right() -> None:
    """A server without health, but with the right answers, is taken for a collector."""
    assert await outcome(answer(lambda reply: None)) == ({Status.RECORDED}, 1)


@pytest.mark.parametrize(
    "change",
    [
        lambda reply: reply.receipts.pop(),
        lambda reply: reply.receipts.add(),
        lambda reply: reply.receipts.reverse(),
        lambda reply: reply.Clear(),
        lambda reply: each(reply, status=0),
        lambda reply: each(reply, status=77),
        lambda reply: each(reply, id=""),
    ],
    ids=["too few", "too many", "reversed", "none", "unspecified", "unheard of", "without ids"],
)
async def test_wrong_answers(change: Callable[[pb.BatchReceipt], object]) -> None:
    """Receipts that do not fit the votes, or say nothing, decide nothing."""
    assert await outcome(answer(change)) == ({Status.UNDECIDED}, 1)


async def test_garbage() -> None:
    """An answer that is no receipt decides nothing."""

    async def handle(body: bytes, context: Any) -> bytes:
        return b"\xff\xff"

    assert await outcome(handle) == ({Status.UNDECIDED}, 1)


async def test_answer_too_large() -> None:
    """An answer above the message limit is lost, though gRPC's code for it is the one of a full server."""
    assert await outcome(answer(lambda reply: reply.receipts.add(detail="x" * 5_000_000))) == ({Status.UNDECIDED}, 1)


@pytest.mark.parametrize("code", [code for code in StatusCode if code is not StatusCode.OK])
async def test_unmarked_errors(code: StatusCode) -> None:
    """No code by itself proves that nothing was recorded: an error without the mark is undecided, and not repeated."""

    async def handle(body: bytes, context: Any) -> bytes:
        await context.abort(code, "who knows")
        return b""

    assert await outcome(handle) == ({Status.UNDECIDED}, 1)


@pytest.mark.parametrize(
    ("code", "calls"),
    [(StatusCode.UNAVAILABLE, 2), (StatusCode.RESOURCE_EXHAUSTED, 2), (StatusCode.UNAUTHENTICATED, 1)],
)
async def test_marked_errors(code: StatusCode, calls: int) -> None:
    """A refusal that is marked recorded nothing; each collector is asked once at most, where asking again may help."""

    async def handle(body: bytes, context: Any) -> bytes:
        await context.abort(code, "no", (("aplauso-not-recorded", "1"),))
        return b""

    statuses, called = await outcome(handle)
    assert statuses == {Status.NOT_RECORDED}
    assert 1 <= called <= calls


async def test_crash() -> None:
    """A handler that raises leaves its votes undecided."""

    async def handle(body: bytes, context: Any) -> bytes:
        raise RuntimeError("a fault of the server")

    assert await outcome(handle) == ({Status.UNDECIDED}, 1)


async def test_silence() -> None:
    """A server that never answers leaves its votes undecided at the deadline."""

    async def handle(body: bytes, context: Any) -> bytes:
        await asyncio.get_running_loop().create_future()
        return b""

    assert await outcome(handle, deadline=0.3) == ({Status.UNDECIDED}, 1)


async def test_no_such_method() -> None:
    """A server that knows no such call leaves votes undecided: gRPC's word for it is not the collector's."""
    server = aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    gateway = GrpcIntake([f"127.0.0.1:{port}"])
    [receipt] = await gateway.submit([vote()])
    await gateway.close()
    await server.stop(None)
    assert receipt.status is Status.UNDECIDED
    assert "UNIMPLEMENTED" in receipt.detail
