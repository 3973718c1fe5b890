"""What a fault finds when it strikes: the system, the voters, and the rule that votes must be unanswered then."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Final, NamedTuple, TypeVar

from aplauso.domain.errors import Unavailable
from aplauso.ports.rejected import Place
from chaos.crowd import Crowd
from chaos.waiting import until
from chaos.world import World

T = TypeVar("T")
UNANSWERED: Final = 100
"""Votes that must be unanswered when a fault strikes."""
LIMIT_SECONDS: Final = 10.0
"""Intake is back so long after a fault, standings so long after that, and so are the board's pages."""
_STRIKE_SECONDS: Final = 40.0


@dataclass
class Event:
    """A fault as it happened. Moments are monotonic seconds.

    Attributes:
        kind: which.
        unanswered: votes that were, when it struck.
        alone: no other fault was there in the round.
        struck: when.
        back: when the part was back.
        recovery: seconds from then to the receipt of a vote that was sent afterwards.
        silence: longest time without a receipt, from the strike to then.
        recorded_during: receipts while it lasted.
        answers: what clients saw while it lasted.
        under_way: what those saw whose votes were under way when it struck.
        noted: when that receipt was seen.
        ends: the log's ends at that moment.
        refused: batches that a zombie, woken, still had in hand and that the store refused.
    """

    kind: str
    alone: bool
    unanswered: int = 0
    struck: float = 0.0
    back: float = 0.0
    recovery: float = 0.0
    silence: float = 0.0
    recorded_during: int = 0
    answers: Mapping[str, int] = field(default_factory=dict)
    under_way: Mapping[str, int] = field(default_factory=dict)
    noted: float = 0.0
    ends: Mapping[int, int] = field(default_factory=dict)
    refused: int = 0

    @property
    def lasted(self) -> float:
        """Seconds from the strike until the part was back."""
        return self.back - self.struck


class Scene:
    """A fault's view of a round.

    Args:
        world: the system.
        crowd: the voters.
        rng: of this fault alone.
        event: to be filled in.
        planted: where garbage was put into the log, and the reason for which it has to be rejected.
    """

    def __init__(self, world: World, crowd: Crowd, rng: random.Random, event: Event, planted: dict[Place, str]) -> None:
        self.world, self.crowd, self.rng, self.event, self.planted = world, crowd, rng, event, planted
        self.late: list[tuple[str, int]] = []
        """Contests with a closing moment: no vote in them may be stamped at it or later."""

    async def strike(self, action: Callable[[], object]) -> None:
        """Does it, in one step, while at least `UNANSWERED` votes are. Raises `NotInTimeError` when they never are."""
        await self.unanswered()
        self.event.unanswered = self.crowd.unanswered
        self.event.struck = monotonic()
        action()
        assert self.event.unanswered >= UNANSWERED

    async def unanswered(self) -> None:
        """Returns at a moment when enough votes are unanswered."""
        await until(
            lambda: self.crowd.unanswered >= UNANSWERED, _STRIKE_SECONDS,
            f"{self.event.kind}: there were never {UNANSWERED} unanswered votes",
        )  # fmt: skip

    def back(self) -> None:
        """The part is there again."""
        self.event.back = monotonic()

    async def lasting(self, least: float, most: float) -> None:
        """Lets a fault last for a while, which the seed decides."""
        await asyncio.sleep(self.rng.uniform(least, most))

    async def positions(self, name: str) -> dict[int, int]:
        """Where the tally or the archive stands, by partition."""
        readers = self.world.readers
        reader = readers.standings if name == "tally" else readers.archive
        found = await _asked(reader.partitions)
        return {partition: position.offset for partition, position in found.items()}

    async def ends(self) -> Mapping[int, int]:
        """The log's ends."""
        return await _asked(self.world.readers.log.ends)

    async def topic(self) -> str:
        """The log's id."""
        return await _asked(self.world.readers.log.topic)


async def _asked(question: Callable[[], T]) -> T:
    """Asks a server, again while it is away: another fault may have struck it."""
    end = monotonic() + _STRIKE_SECONDS
    while True:
        try:
            return await asyncio.to_thread(question)
        except Unavailable:
            if monotonic() > end:
                raise
            await asyncio.sleep(0.1)


Strike = Callable[[Scene], Awaitable[None]]


class Fault(NamedTuple):
    """A kind of fault.

    Attributes:
        run: makes it happen, proves it, and returns when it is over.
        locks: what it must have for itself.
        stops_intake: whether votes may go unacknowledged while it lasts.
    """

    run: Strike
    locks: frozenset[str]
    stops_intake: bool


FAULTS: Final[dict[str, Fault]] = {}
"""All kinds, by name."""


def add(kind: str, run: Strike, *locks: str, stops_intake: bool = False) -> None:
    """Adds a kind."""
    assert kind not in FAULTS
    FAULTS[kind] = Fault(run, frozenset(locks), stops_intake)
