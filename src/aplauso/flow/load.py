"""A load: many votes at an even pace, each with a key of its own, and what became of them."""

import asyncio
import math
import secrets
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from time import monotonic
from typing import Final, NamedTuple

from aplauso.domain.contest import instant
from aplauso.domain.journal import Attempt, Outcome
from aplauso.domain.vote import Ballot
from aplauso.flow.send import Answer, Patience, Sender, settle
from aplauso.ports.clock import Clock

_SLICE_S: Final = 0.2
"""A worker that waits for its turn looks up this often, to see whether it is to stop."""


class Plan(NamedTuple):
    """How to send.

    Attributes:
        rate: votes a second, evenly; None for as fast as the answers come.
        workers: votes under way at most.
        anonymous: share of votes without a key, 0 to 1, spread evenly.
        patience: how long to try each vote.
    """

    rate: float | None = None
    workers: int = 64
    anonymous: float = 0.0
    patience: Patience = Patience()


class Latency(NamedTuple):
    """How long receipts took, in seconds."""

    p50: float
    p90: float
    p99: float
    max: float


@dataclass
class Summary:
    """What became of the votes. Counts votes, but for `attempts`.

    Attributes:
        sent: taken from the file and sent at least once.
        attempts: answers, lost ones included.
        recorded: with a receipt.
        refused: by HTTP status, None where there never was a connection.
        undecided: nobody knows.
        seconds: from the first vote to the last answer.
        latencies: seconds to each receipt, retries included: from when the vote was due, or sent when there is no pace.
    """

    sent: int = 0
    attempts: int = 0
    recorded: int = 0
    refused: Counter[int | None] = field(default_factory=Counter)
    undecided: int = 0
    seconds: float = 0.0
    latencies: "array[float]" = field(default_factory=lambda: array("f"))

    @property
    def rate(self) -> float:
        """Receipts a second."""
        return self.recorded / self.seconds if self.seconds > 0 else 0.0

    def latency(self) -> Latency | None:
        """The distribution (nearest rank); None without a receipt."""
        if not self.latencies:
            return None
        ordered = sorted(self.latencies)
        p50, p90, p99 = (ordered[math.ceil(len(ordered) * share) - 1] for share in (0.5, 0.9, 0.99))
        return Latency(p50, p90, p99, ordered[-1])

    def count(self, answer: Answer) -> None:
        """Counts a vote by its last answer."""
        if answer.outcome is Outcome.RECORDED:
            self.recorded += 1
        elif answer.outcome is Outcome.REFUSED:
            self.refused[answer.status] += 1
        else:
            self.undecided += 1


class Load:
    """Sends votes with several workers; run it once, within one event loop.

    Args:
        sender: sends one vote.
        ballots: the votes, in the order in which they are sent.
        plan: how.
        clock: for the journal.
        journal: is given every attempt; what it raises ends the run.
    """

    def __init__(
        self, sender: Sender, ballots: Iterator[Ballot], plan: Plan, clock: Clock,
        journal: Callable[[Attempt], None] | None = None,
    ) -> None:  # fmt: skip
        self.summary = Summary()
        self.last_detail = ""
        """The last answer's text that was no receipt, for whoever watches."""
        self._sender = sender
        self._turns = enumerate(ballots)
        self._plan = plan
        self._clock = clock
        self._journal = journal
        # Unique to this run, so that a file sent twice is two votes a line.
        self._run = secrets.token_hex(12)
        self._halt = asyncio.Event()
        self._workers: list[asyncio.Task[None]] = []
        self._started = 0.0

    def halt(self) -> None:
        """Sends nothing new and nothing again; waits for the answers that are under way."""
        self._halt.set()

    def abort(self) -> None:
        """Ends at once; votes under way are undecided."""
        self._halt.set()
        self._cancel()

    @property
    def halted(self) -> bool:
        """Whether it was told to stop."""
        return self._halt.is_set()

    async def run(self) -> Summary:
        """Sends the votes and returns once the fate of each is known or given up.

        Raises:
            Refused: the traffic file changed while it was read.
            Whatever the journal raises.
        """
        self._started = monotonic()
        self._workers = [asyncio.create_task(self._work()) for _ in range(self._plan.workers)]
        try:
            await asyncio.wait(self._workers, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            self._cancel()
            results = await asyncio.gather(*self._workers, return_exceptions=True)
            self.summary.seconds = monotonic() - self._started
        for result in results:
            if isinstance(result, Exception):
                raise result
        return self.summary

    def _cancel(self) -> None:
        for worker in self._workers:
            worker.cancel()

    async def _work(self) -> None:
        for number, ballot in self._turns:
            since = await self._turn(number)
            if self._halt.is_set():
                return
            await self._one(ballot, self._key(number), since)

    async def _turn(self, number: int) -> float:
        """Waits until a vote is due, and returns that moment; without a pace, now."""
        if self._plan.rate is None:
            return monotonic()
        due = self._started + number / self._plan.rate
        # Waiting for the event itself would cost a task a vote.
        while (left := due - monotonic()) > 0 and not self._halt.is_set():  # noqa: ASYNC110
            await asyncio.sleep(min(left, _SLICE_S))
        return due

    def _key(self, number: int) -> str | None:
        share = self._plan.anonymous
        if int((number + 1) * share) > int(number * share):
            return None
        return f"{self._run}-{number}"

    async def _one(self, ballot: Ballot, key: str | None, since: float) -> None:
        summary = self.summary
        summary.sent += 1
        try:
            answer = await settle(self._sender, ballot, key, self._plan.patience, self._halt, self._note)
        except asyncio.CancelledError:
            summary.undecided += 1
            raise
        summary.count(answer)
        if answer.outcome is Outcome.RECORDED:
            summary.latencies.append(monotonic() - since)

    def _note(self, ballot: Ballot, key: str | None, answer: Answer) -> None:
        self.summary.attempts += 1
        if answer.detail:
            self.last_detail = answer.detail
        if self._journal is not None:
            at = instant(self._clock.now_ms())
            self._journal(Attempt(at, answer.id, key, answer.contest, answer.outcome, answer.status, ballot))
