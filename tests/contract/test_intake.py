"""The intake's promises, held by the one in the process and the one over gRPC; and broken ones, caught."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from aplauso.adapters.grpc.intake import GrpcIntake
from aplauso.adapters.grpc.server import CollectorServer
from aplauso.adapters.system.clock import SystemClock
from aplauso.domain.record import encode
from aplauso.domain.vote import Vote
from aplauso.ports.intake import Receipt, Status
from contract.intake_suite import CONTEST, Authority, IntakeSuite, World

TOKEN = "the-gateways-token"


class Near:
    """An honest intake in the same process, the plainest there can be."""

    def __init__(self, authority: Authority) -> None:
        self.authority = authority
        self.flights: set[asyncio.Task[Sequence[Receipt]]] = set()
        self.closed = False

    async def submit(self, votes: Sequence[Vote]) -> Sequence[Receipt]:
        if self.closed:
            return [Receipt(vote.id, Status.NOT_RECORDED, "not-recorded") for vote in votes]
        flight = asyncio.create_task(self.ask(votes))
        self.flights.add(flight)
        flight.add_done_callback(self.flights.discard)
        return await flight

    async def ask(self, votes: Sequence[Vote]) -> Sequence[Receipt]:
        try:
            return await self.authority.collect(votes, [encode(vote) for vote in votes])
        except RuntimeError:
            return [Receipt(vote.id, Status.UNDECIDED, "undecided") for vote in votes]

    async def close(self) -> None:
        self.closed = True
        if self.flights:
            await asyncio.wait(self.flights)


def near_world(make: Callable[[Authority], Near] = Near) -> World:
    authority = Authority()

    async def lose_answers() -> None:
        authority.dying = True

    return World(make(authority), authority, lose_answers)


class TestNear(IntakeSuite):
    """The honest fake keeps every promise."""

    @pytest.fixture
    def world(self) -> World:
        return near_world()


class TestGrpc(IntakeSuite):
    """The gateway's intake and the collector's server keep every promise, over a real socket."""

    @pytest.fixture
    async def world(self) -> AsyncIterator[World]:
        authority = Authority()
        contests, clock = {CONTEST.id: CONTEST}, SystemClock()
        server = CollectorServer(
            authority, "127.0.0.1:0", contests=contests, clock=clock, gateway_tokens=[TOKEN], notice=0.0
        )

        async def lose_answers() -> None:
            # The call ends with its deadline while the collector still waits for its log.
            authority.open.clear()

        async with server:
            intake = GrpcIntake([f"127.0.0.1:{server.port}"], token=TOKEN, deadline=1.0)
            yield World(intake, authority, lose_answers)
            authority.open.set()
            await intake.close()


class Shuffled(Near):
    async def ask(self, votes: Sequence[Vote]) -> Sequence[Receipt]:
        return (await super().ask(votes))[::-1]


class Summary(Near):
    async def ask(self, votes: Sequence[Vote]) -> Sequence[Receipt]:
        return [*(await super().ask(votes))[:1]] * len(votes)


class Optimist(Near):
    async def ask(self, votes: Sequence[Vote]) -> Sequence[Receipt]:
        return [Receipt(receipt.id, Status.RECORDED) for receipt in await super().ask(votes)]


class Taciturn(Near):
    async def ask(self, votes: Sequence[Vote]) -> Sequence[Receipt]:
        return [Receipt(receipt.id, receipt.status) for receipt in await super().ask(votes)]


class Editor(Near):
    async def ask(self, votes: Sequence[Vote]) -> Sequence[Receipt]:
        return await self.authority.collect(votes, [encode(vote)[:-1] for vote in votes])


class Small(Near):
    async def ask(self, votes: Sequence[Vote]) -> Sequence[Receipt]:
        return await super().ask(votes[:256])


class Stubborn(Near):
    async def ask(self, votes: Sequence[Vote]) -> Sequence[Receipt]:
        await super().ask(votes)
        return await super().ask(votes)


class Hasty(Near):
    async def ask(self, votes: Sequence[Vote]) -> Sequence[Receipt]:
        receipts = await super().ask(votes)
        lost = self.authority.dying
        return [Receipt(r.id, Status.NOT_RECORDED, "not-recorded") for r in receipts] if lost else receipts


class Impatient(Near):
    async def close(self) -> None:
        self.closed = True


class Ajar(Near):
    async def close(self) -> None:
        pass


class Brittle(Near):
    async def close(self) -> None:
        if self.closed:
            raise RuntimeError("closed already")
        await super().close()


class Mixed(Near):
    last: Sequence[Receipt] = ()

    async def ask(self, votes: Sequence[Vote]) -> Sequence[Receipt]:
        self.last = await super().ask(votes)
        await asyncio.sleep(0)
        return self.last


@pytest.mark.parametrize(
    ("broken", "promise"),
    [
        (Shuffled, "test_order"),
        (Summary, "test_order"),
        (Optimist, "test_statuses"),
        (Taciturn, "test_statuses"),
        (Editor, "test_arrives_unchanged"),
        (Small, "test_many"),
        (Mixed, "test_at_once"),
        (Stubborn, "test_lost_answer"),
        (Hasty, "test_lost_answer"),
        (Optimist, "test_lost_answer"),
        (Impatient, "test_close_answers"),
        (Ajar, "test_closed"),
        (Brittle, "test_closed"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
async def test_broken(broken: type[Near], promise: str) -> None:
    """An intake that breaks a promise is caught by the test of that promise."""
    with pytest.raises((AssertionError, RuntimeError)):
        await getattr(IntakeSuite(), promise)(near_world(broken))


async def test_raising_is_caught() -> None:
    """An intake that raises what it should tell in receipts is caught."""

    class Raising(Near):
        async def ask(self, votes: Sequence[Vote]) -> Sequence[Receipt]:
            return await self.authority.collect(votes, [encode(vote) for vote in votes])

    with pytest.raises(RuntimeError, match="died after recording"):
        await IntakeSuite().test_lost_answer(near_world(Raising))
