"""What the gateway's intake makes of collectors that are away, die, stop, hang or answer nonsense."""

import asyncio
import socket
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from aplauso.adapters.grpc.intake import GrpcIntake, _Line
from aplauso.domain.errors import Misconfigured, Unavailable
from aplauso.domain.vote import Vote
from aplauso.ports.intake import Receipt, Status
from aplauso.stack.process import free_port
from contract.intake_suite import Authority, until, vote
from grpc_world import TOKEN, CollectorProcess, Proxy, closing, collector


def intake(*ports: int, **options: Any) -> GrpcIntake:
    return GrpcIntake([f"127.0.0.1:{port}" for port in ports], token=TOKEN, **options)


async def one(gateway: GrpcIntake, name: str = "Marimba") -> Receipt:
    [receipt] = await gateway.submit([vote(name)])
    return receipt


async def is_ready(gateway: GrpcIntake) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                return await gateway.ready()
            except Unavailable:
                await asyncio.sleep(0.01)


async def test_killed_in_the_middle_of_a_call() -> None:
    """A collector that is killed while it holds a vote leaves it undecided, and the vote is not sent to another."""
    other = Authority()
    async with CollectorProcess() as dying, collector(other) as spare:
        async with closing(intake(dying.port)) as gateway:
            flight = asyncio.create_task(one(gateway, "hang"))
            await until(lambda: bool(dying.taken))
            await dying.kill()
            receipt = await asyncio.wait_for(flight, 5)
        assert receipt.status is Status.UNDECIDED
        assert dying.taken == [receipt.id]
        async with closing(intake(dying.port, spare.port)) as gateway:
            assert (await one(gateway)).status is Status.RECORDED
        assert receipt.id not in other.ids


async def test_not_repeated_to_the_other_collector() -> None:
    """With a healthy collector beside the one that dies, a lost answer stays lost: nobody gets the vote again."""
    healthy = Authority()
    async with CollectorProcess() as dying, collector(healthy) as other:
        async with closing(intake(dying.port, other.port)) as gateway:
            await is_ready(gateway)
            await until(lambda: all(line.ready for line in gateway._lines))  # or the other one would get them all
            flights = [asyncio.create_task(one(gateway, "hang")) for _ in range(8)]
            await until(lambda: len(dying.taken) + healthy.calls == 8 and bool(dying.taken))
            await dying.kill()
            receipts = await asyncio.gather(*flights)
        lost = {receipt.id for receipt in receipts if receipt.status is Status.UNDECIDED}
        assert lost == set(dying.taken)
        assert Counter(healthy.ids) == Counter(receipt.id for receipt in receipts if receipt.id not in lost)


async def test_swallowed_answer() -> None:
    """An answer that is lost on the way makes the vote undecided at the deadline, though it is recorded, once."""
    authority = Authority()
    async with collector(authority) as server, Proxy(server.port) as proxy:
        async with closing(intake(proxy.port, deadline=0.5)) as gateway:
            await is_ready(gateway)
            proxy.swallowing = True
            receipt = await one(gateway)
        assert receipt.status is Status.UNDECIDED
        assert authority.ids == [receipt.id]


async def test_cut_connection() -> None:
    """A connection that breaks under a call makes its votes undecided at once; the next vote finds a new one."""
    authority = Authority()
    async with collector(authority) as server, Proxy(server.port) as proxy, closing(intake(proxy.port)) as gateway:
        authority.open.clear()
        flight = asyncio.create_task(one(gateway))
        await until(lambda: authority.calls == 1)
        proxy.cut()
        assert (await asyncio.wait_for(flight, 5)).status is Status.UNDECIDED
        authority.open.set()
        await is_ready(gateway)
        assert (await one(gateway)).status is Status.RECORDED


async def test_down() -> None:
    """Without a collector, votes are certainly not recorded, at once, and `ready` names the address."""
    port = free_port()
    async with closing(intake(port)) as gateway:
        await one(gateway)
        started = time.monotonic()
        receipt = await one(gateway)
        assert receipt.status is Status.NOT_RECORDED
        assert time.monotonic() - started < 0.5
        with pytest.raises(Unavailable, match=str(port)):
            await gateway.ready()


async def test_black_hole() -> None:
    """An address that accepts connections and says nothing gets no vote: it is not recorded, soon."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        async with closing(intake(silent.getsockname()[1], connecting=0.3)) as gateway:
            started = time.monotonic()
            assert (await one(gateway)).status is Status.NOT_RECORDED
            assert time.monotonic() - started < 2


async def test_comes_back() -> None:
    """A collector that starts again on its address is found within two seconds."""
    async with CollectorProcess() as first, closing(intake(first.port)) as gateway:
        assert (await one(gateway)).status is Status.RECORDED
        await first.kill()
        assert (await one(gateway)).status is not Status.RECORDED
        async with CollectorProcess(first.port):
            started = time.monotonic()
            await is_ready(gateway)
            assert time.monotonic() - started < 2
            assert (await one(gateway)).status is Status.RECORDED


async def test_in_turn() -> None:
    """Two collectors take batches in turn."""
    left, right = Authority(), Authority()
    async with collector(left) as a, collector(right) as b, closing(intake(a.port, b.port)) as gateway:
        await is_ready(gateway)
        await until(lambda: all(line.ready for line in gateway._lines))
        for _ in range(10):
            assert (await one(gateway)).status is Status.RECORDED
    assert (left.calls, right.calls) == (5, 5)


async def test_one_of_two_killed() -> None:
    """When one of two collectors is killed between calls, at most the calls on its way are lost: the rest goes on."""
    healthy = Authority()
    async with (
        CollectorProcess() as dying,
        collector(healthy) as other,
        closing(intake(dying.port, other.port)) as gateway,
    ):
        await is_ready(gateway)
        await until(lambda: all(line.ready for line in gateway._lines))
        await dying.kill()
        receipts = [await one(gateway) for _ in range(50)]
    statuses = Counter(receipt.status for receipt in receipts)
    assert statuses[Status.NOT_RECORDED] == 0
    assert statuses[Status.UNDECIDED] <= 1
    assert statuses[Status.RECORDED] >= 49
    assert healthy.ids == [receipt.id for receipt in receipts if receipt.status is Status.RECORDED]


async def test_gone_before_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """When gRPC finds that a connection has gone that seemed to be there, the vote goes to the other collector."""
    monkeypatch.setattr(_Line, "ready", True)
    authority = Authority()
    async with collector(authority) as server, closing(intake(free_port(), server.port)) as gateway:
        receipts = [await one(gateway) for _ in range(4)]
    assert {receipt.status for receipt in receipts} == {Status.RECORDED}
    assert authority.ids == [receipt.id for receipt in receipts]
    async with closing(intake(free_port())) as gateway:
        receipt = await one(gateway)
    assert receipt.status is Status.NOT_RECORDED
    assert "Connection refused" in receipt.detail


async def test_unhealthy_is_left_out() -> None:
    """A collector that tells it does not serve gets nothing; once it serves again, it does."""
    left, right = Authority(), Authority()
    async with collector(left) as a, collector(right) as b, closing(intake(a.port, b.port)) as gateway:
        await is_ready(gateway)
        await until(lambda: all(line.ready for line in gateway._lines))
        await a.set_serving(False)
        await until(lambda: not gateway._lines[0].ready)
        assert {(await one(gateway)).status for _ in range(6)} == {Status.RECORDED}
        assert (left.calls, right.calls) == (0, 6)
        await a.set_serving(True)
        await until(lambda: gateway._lines[0].ready)
        await one(gateway)
        await one(gateway)
        assert left.calls == 1


async def test_full_collector_is_not_the_last_word() -> None:
    """A collector that refuses a call as a whole recorded nothing: the votes go to the other one, else nowhere."""
    full, free = Authority(), Authority()
    full.open.clear()
    async with collector(full, max_concurrent=1) as a, collector(free) as b, closing(intake(a.port)) as alone:
        first = asyncio.create_task(one(alone))
        await until(lambda: full.calls == 1)
        refused = await one(alone)
        assert refused.status is Status.NOT_RECORDED
        assert "too many calls" in refused.detail
        async with closing(intake(a.port, b.port)) as both:
            await is_ready(both)
            await until(lambda: all(line.ready for line in both._lines))
            assert {(await one(both)).status for _ in range(4)} == {Status.RECORDED}
        assert (full.calls, free.calls) == (1, 4)
        full.open.set()
        assert (await first).status is Status.RECORDED


async def test_stop_answers_what_is_in_flight() -> None:
    """A stopping collector answers the calls that it has, refuses new ones as not recorded, and ends in time."""
    authority = Authority()
    authority.open.clear()
    server = await collector(authority).start()
    async with closing(intake(server.port)) as gateway:
        flight = asyncio.create_task(one(gateway))
        await until(lambda: authority.calls == 1)
        stopping = asyncio.create_task(server.stop())
        await until(lambda: not gateway._lines[0].ready)
        assert not stopping.done()
        assert (await one(gateway)).status is Status.NOT_RECORDED
        authority.open.set()
        assert (await flight).status is Status.RECORDED
        started = time.monotonic()
        await stopping
        assert time.monotonic() - started < 2


async def test_stop_gives_up_in_time() -> None:
    """A log that never answers does not keep a collector from stopping: what it holds is answered as undecided."""
    authority = Authority()
    authority.open.clear()
    server = await collector(authority).start()
    async with closing(intake(server.port)) as gateway:
        flight = asyncio.create_task(one(gateway))
        await until(lambda: authority.calls == 1)
        started = time.monotonic()
        await server.stop(grace=1.0)
        assert time.monotonic() - started < 2
        receipt = await flight
        assert (receipt.status, receipt.detail) == (Status.UNDECIDED, "the log did not answer in time")
    authority.open.set()


async def test_rolling_restart() -> None:
    """While collectors restart one after the other under load, every vote is recorded, and none twice."""
    authority, over = Authority(), asyncio.Event()
    servers = [await collector(authority, notice=0.25).start() for _ in range(2)]
    async with closing(intake(*(server.port for server in servers))) as gateway:
        receipts: list[Receipt] = []

        async def load() -> None:
            while not over.is_set():
                receipts.extend(await gateway.submit([vote(), vote()]))

        loads = [asyncio.create_task(load()) for _ in range(8)]
        for turn in range(4):
            await until(lambda: bool(gateway._lines) and all(line.ready for line in gateway._lines))
            stopped = servers[turn % 2]
            await stopped.stop()
            servers[turn % 2] = await collector(authority, stopped.port, notice=0.25).start()
        over.set()
        await asyncio.gather(*loads)
    for server in servers:
        await server.stop()
    assert Counter(receipt.status for receipt in receipts) == {Status.RECORDED: len(receipts)}
    assert Counter(authority.ids) == Counter(receipt.id for receipt in receipts)


@pytest.mark.slow
async def test_dead_connection() -> None:
    """A connection that goes silent is given up within seconds by its keepalive, and the votes find the other way."""
    authority = Authority()
    async with (
        collector(authority) as server,
        Proxy(server.port) as proxy,
        closing(intake(proxy.port, server.port, deadline=25.0)) as gateway,
    ):
        await is_ready(gateway)
        await until(lambda: all(line.ready for line in gateway._lines))
        proxy.swallowing = True
        started = time.monotonic()
        both = await asyncio.gather(one(gateway), one(gateway))
        assert {receipt.status for receipt in both} == {Status.UNDECIDED, Status.RECORDED}
        assert time.monotonic() - started < 12
        assert {(await one(gateway)).status for _ in range(4)} == {Status.RECORDED}


async def test_cancelled_while_connecting() -> None:
    """A submission that is cancelled before it has a connection leaves no call behind."""
    authority = Authority()
    async with collector(authority) as server, Proxy(server.port) as proxy, closing(intake(proxy.port)) as gateway:
        await is_ready(gateway)
        for _ in range(20):
            flight = asyncio.create_task(one(gateway))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            flight.cancel()
            with pytest.raises(asyncio.CancelledError):
                await flight
        assert (await one(gateway)).status is Status.RECORDED
    assert authority.calls == 1


async def test_close_while_cancelled() -> None:
    """A submission that its caller cancels ends as cancelled, and does not keep the intake from closing."""
    authority = Authority()
    async with collector(authority) as server:
        gateway = intake(server.port)
        authority.open.clear()
        flight = asyncio.create_task(one(gateway))
        await until(lambda: authority.calls == 1)
        flight.cancel()
        with pytest.raises(asyncio.CancelledError):
            await flight
        await asyncio.wait_for(gateway.close(), 5)
        authority.open.set()


async def test_nonsense() -> None:
    """Receipts that are missing, or are for other votes, decide nothing."""

    class Forgetful(Authority):
        async def collect(self, votes: Sequence[Vote], values: Sequence[bytes]) -> Sequence[Receipt]:
            receipts = await super().collect(votes, values)
            return [Receipt("somebody-else", receipt.status) for receipt in receipts]

    async with collector(Forgetful()) as server, closing(intake(server.port)) as gateway:
        assert (await one(gateway)).status is Status.UNDECIDED


async def test_needs_an_address() -> None:
    """An intake without addresses is refused at once."""
    with pytest.raises(Misconfigured, match="address"):
        GrpcIntake([])
