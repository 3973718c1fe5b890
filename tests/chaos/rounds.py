"""A round: voters, some faults, healing, and the checker; and the deck that deals the faults."""

import asyncio
import contextlib
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle
from time import monotonic
from typing import Final, Protocol

from aplauso.domain.errors import Unavailable
from aplauso.domain.journal import Attempt
from aplauso.domain.vote import Ballot
from aplauso.flow.traffic import Traffic
from aplauso.ports.rejected import Place, Rejection
from aplauso.wiring.distributed import tools
from chaos import faults_links, faults_log, faults_process, faults_redis  # noqa: F401 - they add their kinds
from chaos.check import Checked, check
from chaos.crowd import Crowd
from chaos.scene import FAULTS, LIMIT_SECONDS, UNANSWERED, Event, Scene
from chaos.waiting import NotInTimeError, until, until_async
from chaos.world import World

VOTES: Final = 5_000
"""Acknowledged votes of a round, at least."""
SILENCE_SECONDS: Final = 1.2
"""The longest time without a receipt while a part is down that intake does not need. The ledger's worst was 0.63 s, a
duplicate storm, where the trial did not hold itself up: this is twice as long."""
RECEIPTS: Final = 100
"""Receipts a second, at least, for as long as such a part is away: 300 were the fewest, 700 are usual."""
_MOMENT_SECONDS: Final = 0.5
"""What is over sooner says nothing of a pace."""
UNTOLD: Final = 0.02
"""Share of the votes under way at a graceful stop that may get neither 201 nor 503: what the room had not read yet."""
_PATIENCE_SECONDS: Final = 90.0
_STAGGER_SECONDS: Final = 1.5
SIZES: Final = (1, 3, 5, 6, 6)
"""Faults of five rounds. One of them has a single one, for figures that are its own."""


@dataclass
class Round:
    """What a round showed. Times are in seconds.

    Attributes:
        number: from 1.
        events: the faults, as they happened.
        intake: from when everything was whole again to the receipt of a vote that was sent afterwards.
        caught_up: from the first receipt after the last fault until tally and archive had passed what the log held
            at that receipt, while votes went on coming. None when no fault came so far.
        standings: from the last answer to when tally and archive had caught up with all of the log. By then the
            voters have gone on for a while: it says nothing of how long a fault has kept the standings.
        seconds: all of it.
        checked: by the checker; None when the round broke before.
        recheck: has the checker look again.
        wrong: what else is not as it should be, in words.
    """

    number: int
    events: list[Event] = field(default_factory=list)
    intake: float = 0.0
    caught_up: float | None = None
    standings: float = 0.0
    seconds: float = 0.0
    checked: Checked | None = None
    recheck: Callable[[], Checked] | None = None
    wrong: list[str] = field(default_factory=list)


class Seen(Protocol):
    """What clients saw of a fault, as in `Event`."""

    @property
    def kind(self) -> str: ...
    @property
    def answers(self) -> Mapping[str, int]: ...
    @property
    def silence(self) -> float: ...
    @property
    def recorded_during(self) -> int: ...
    @property
    def lasted(self) -> float: ...


def spares_intake(kinds: Iterable[str]) -> bool:
    """Whether intake needs none of what these faults break."""
    return not any(FAULTS[kind].stops_intake for kind in kinds)


def needless(event: Seen) -> list[str]:
    """What clients saw of a fault of a part that intake does not need, in a round of such faults: nothing, if right."""
    others = {answer: number for answer, number in event.answers.items() if answer != "201"}
    found = [f"{event.kind}: {others}, although intake does not need that part"] if others else []
    if event.silence > SILENCE_SECONDS:
        found.append(f"{event.kind}: no receipt for {event.silence:.1f} s, although intake does not need that part")
    if event.lasted >= _MOMENT_SECONDS and event.recorded_during < RECEIPTS * event.lasted:
        found.append(
            f"{event.kind}: only {event.recorded_during} receipts in {event.lasted:.1f} s, although intake does not"
            " need that part"
        )
    return found


def left_alone(event: Event) -> list[str]:
    """What a room that was asked to end did not do for votes that were under way: each is told what became of it."""
    others = {answer: number for answer, number in event.under_way.items() if answer not in ("201", "503")}
    whole = sum(event.under_way.values())
    if sum(others.values()) <= UNTOLD * whole:
        return []
    return [f"{event.kind}: of {whole} votes that were under way, some were not told what became of them: {others}"]


class Deck:
    """Deals kinds of faults from a shuffled pile, which is used up before all kinds are shuffled again.

    Rounds come in sets too: one of each of `sizes`, shuffled. That is 4.2 kinds a round in the mean, and 832 at
    least in any 200 successive rounds, wherever they begin: 39 whole sets of 21, and five rounds of the sets at both
    ends, 1 + 3 and 1 + 3 + 5 at least. Of 75 kinds, one may be missing from what is left of a pile at the beginning
    and from what is dealt of one at the end, 74 cards each; the other 684 are more than nine piles, so that there
    are ten whole ones, and each has every kind.

    Args:
        kinds: all of them.
        rng: shuffles.
        sizes: kinds in the rounds of a set.
        times: how often each struck in former runs. What struck less than others comes first, before all are
            shuffled: the least first, and one card less than a pile at most, so that the promise above holds.
    """

    def __init__(
        self,
        kinds: Sequence[str],
        rng: random.Random,
        sizes: Sequence[int] = SIZES,
        times: Mapping[str, int] | None = None,
    ) -> None:
        self._set = sizes
        self._kinds = sorted(kinds)
        self._rng = rng
        self._sizes: list[int] = []
        self._pile = self._lacking(times or {})

    def _lacking(self, times: Mapping[str, int]) -> list[str]:
        most = max(times.get(kind, 0) for kind in self._kinds)
        cards = [(level, self._rng.random(), kind) for kind in self._kinds for level in range(times.get(kind, 0), most)]
        pile: list[str] = []
        for _, _, kind in sorted(cards)[: len(self._kinds) - 1]:
            # A kind that two cards of one round may name could not be dealt in its turn.
            if kind in pile[max(0, len(pile) - max(self._set) + 1) :]:
                break
            pile.append(kind)
        return pile

    def deal(self) -> list[str]:
        """The faults of the next round, of different kinds."""
        if not self._sizes:
            self._sizes = self._rng.sample(self._set, len(self._set))
        size = min(self._sizes.pop(), len(self._kinds))
        hand: list[str] = []
        while len(hand) < size:
            # A kind that the round has already waits for the next one.
            at = next((at for at, kind in enumerate(self._pile) if kind not in hand), None)
            if at is None:
                self._pile += self._rng.sample(self._kinds, len(self._kinds))
            else:
                hand.append(self._pile.pop(at))
        return hand

    def take_back(self, kinds: Iterable[str]) -> None:
        """Puts kinds under the pile that were dealt and did not happen: they come again before the next shuffle."""
        self._pile += kinds


class Trial:
    """Rounds on one system.

    Args:
        world: the system, running.
        traffic: votes to send.
        votes: acknowledged votes of a round, at least.
    """

    def __init__(self, world: World, traffic: Traffic, votes: int = VOTES) -> None:
        self.world = world
        self.planted: dict[Place, str] = {}
        self.journal: list[Attempt] = []
        """Of all rounds that were checked."""
        self._votes = votes
        self._ballots: Iterator[Ballot] = cycle(traffic.once())

    async def round(self, number: int, kinds: Sequence[str], rng: random.Random) -> Round:
        """Runs a round. What is wrong with it stands in the result, what broke it too: then nobody has checked it."""
        result, started = Round(number), monotonic()
        try:
            await self._play(result, kinds, rng)
        except Exception as error:  # noqa: BLE001 - whatever ends a round must be seen in the ledger
            result.wrong.append(f"the round broke ({', '.join(kinds)}): {error!r}")
        result.seconds = monotonic() - started
        return result

    async def _play(self, result: Round, kinds: Sequence[str], rng: random.Random) -> None:
        """The round's course. Raises what ends it before its end."""
        world = self.world
        world.refresh()
        starts = await asyncio.to_thread(world.readers.log.ends)
        scenes: list[Scene] = []
        async with Crowd(world.url, world.contest(), self._ballots) as crowd:
            await until(lambda: crowd.recorded > 0 and crowd.unanswered >= UNANSWERED, 40, "no votes came in")
            locks = {name: asyncio.Lock() for name in sorted({lock for kind in kinds for lock in FAULTS[kind].locks})}
            for kind in kinds:
                event = Event(kind, alone=len(kinds) == 1)
                scenes.append(Scene(world, crowd, random.Random(rng.random()), event, self.planted))
                result.events.append(event)
            done = await asyncio.gather(*(self._fault(scene, locks) for scene in scenes), return_exceptions=True)
            result.wrong += [f"{e.kind}: {error!r}" for e, error in zip(result.events, done, strict=True) if error]
            # The clock of the standings runs already: neither healing nor the wait for a receipt is to hide a delay.
            result.intake, result.caught_up = await asyncio.gather(
                self._whole_again(crowd), self._standings_back(result.events)
            )
            with contextlib.suppress(NotInTimeError):
                await until(lambda: crowd.recorded >= self._votes, 30, "")
            await crowd.halt()
            self._observe(crowd, result)
        crowd.write(world.home / f"journal-{result.number}.ndjson")
        ended = monotonic()
        await until_async(self.caught_up, _PATIENCE_SECONDS, "tally and archive did not catch up")
        result.standings = monotonic() - ended
        result.recheck = partial(check, crowd.journal, starts, world.readers)
        result.checked = await asyncio.to_thread(result.recheck)
        self.journal += crowd.journal
        await self._judge(result, scenes)

    async def _whole_again(self, crowd: Crowd) -> float:
        """Heals everything; seconds from then to the receipt of a vote that was sent afterwards."""
        await self.world.heal()
        return await crowd.recorded_since(monotonic(), _PATIENCE_SECONDS)

    async def _standings_back(self, events: Sequence[Event]) -> float | None:
        """Seconds from the last fault's first receipt to when tally and archive had passed what was in the log then."""
        last = max(events, key=lambda event: event.noted)
        if not last.noted:
            return None
        passed = partial(asyncio.to_thread, self._have_passed, last.ends)
        await until_async(passed, _PATIENCE_SECONDS, "tally and archive did not pass what was acknowledged")
        return monotonic() - last.noted

    async def _fault(self, scene: Scene, locks: Mapping[str, asyncio.Lock]) -> None:
        fault, event = FAULTS[scene.event.kind], scene.event
        if not event.alone:
            await asyncio.sleep(scene.rng.uniform(0, _STAGGER_SECONDS))
        async with contextlib.AsyncExitStack() as stack:
            for name in sorted(fault.locks):  # in one order everywhere, so that none waits for the other for ever
                await stack.enter_async_context(locks[name])
            await fault.run(scene)
        assert event.unanswered >= UNANSWERED
        event.recovery = await scene.crowd.recorded_since(event.back, _PATIENCE_SECONDS)
        noted = monotonic()
        event.ends = await scene.ends()  # a little later, so with a few votes more: that flatters nobody
        event.noted = noted

    def _observe(self, crowd: Crowd, result: Round) -> None:
        """What clients saw of each fault."""
        for event in result.events:
            if not event.back:
                continue
            end = event.back + event.recovery
            event.answers = crowd.answers(event.struck, end)
            event.recorded_during = crowd.answers(event.struck, event.back)["201"]
            event.silence = crowd.longest_silence(event.struck, end)
            if spares_intake(each.kind for each in result.events):
                result.wrong += needless(event)
            event.under_way = crowd.under_way(event.struck)
            if event.alone and event.kind.startswith("stop "):
                result.wrong += left_alone(event)
            if event.alone and event.recovery > LIMIT_SECONDS:
                result.wrong.append(f"{event.kind}: votes were acknowledged again only after {event.recovery:.1f} s")

    async def caught_up(self) -> bool:
        """Whether tally and archive have applied all of the log."""
        return await asyncio.to_thread(self._is_at_rest)

    def _is_at_rest(self) -> bool:
        return self._have_passed(self.world.readers.log.ends())

    def _have_passed(self, ends: Mapping[int, int]) -> bool:
        """Whether the stored positions of both have reached these; not while one cannot be read."""
        readers = self.world.readers
        try:
            positions = (readers.standings.partitions(), readers.archive.partitions())
        except Unavailable:
            return False
        return all((found[p].offset if p in found else 0) >= end for found in positions for p, end in ends.items())

    async def _judge(self, result: Round, scenes: Sequence[Scene]) -> None:
        assert result.checked is not None
        result.wrong += result.checked.differences
        took: dict[str, float | None] = {"intake": result.intake, "the rest of the log": result.standings}
        if len(scenes) == 1:  # of several faults the last may strike while standings still recover from another
            took["standings"] = result.caught_up
        for name, seconds in took.items():
            if seconds is not None and seconds > LIMIT_SECONDS:
                result.wrong.append(f"{name} took {seconds:.1f} s to recover")
        rejected = {r.place: r.reason for r in await asyncio.to_thread(self._rejected)}
        if rejected != self.planted:
            differing = dict(rejected.items() ^ self.planted.items())
            result.wrong.append(
                f"rejected are {len(rejected)} records, planted were {len(self.planted)}; not alike: {differing}"
            )
        # What is planted has ids of its own: of the voters' votes none has a reason to be rejected.
        result.wrong += [f"{each.subject}: {each.what}" for each in result.checked.verdict.rejected.examples]
        for scene in scenes:
            for contest, closes in scene.late:
                if (stamp := result.checked.stamps.get(contest)) is not None and stamp >= closes:
                    result.wrong.append(f"{contest} counts a vote stamped {stamp}, and closed at {closes}")

    def _rejected(self) -> list[Rejection]:
        log = tools.rejected(self.world.settings)
        try:
            return list(log.open())
        finally:
            log.close()
