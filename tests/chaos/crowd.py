"""The voters: many at once, half of them anonymous, with a journal; how many votes are unanswered is known."""

import asyncio
from array import array
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from time import monotonic
from typing import Final, NamedTuple, Self

from aplauso.adapters.http.client import GatewayClient
from aplauso.adapters.system.clock import SystemClock
from aplauso.domain.contest import instant
from aplauso.domain.journal import Attempt, Outcome, encode
from aplauso.domain.vote import Ballot
from aplauso.flow.load import Load, Plan, Summary
from aplauso.flow.send import Answer, Patience, Sender
from chaos.waiting import until

WORKERS: Final = 320
ANSWER_SECONDS: Final = 7.0
"""How long a voter waits for an answer: longer than the rooms' own deadline in the trial."""
_PATIENCE: Final = Patience(total=40.0, first=0.05, longest=0.4)


class Seen(NamedTuple):
    """An answer: when its vote was sent, when it came (monotonic seconds), and what it was."""

    sent: float
    ended: float
    outcome: Outcome
    status: int | None


class Counting:
    """A sender that counts the votes that are unanswered."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self.unanswered = 0
        self.recorded = 0
        self.last_sent = 0.0
        """When the latest of the acknowledged votes was sent."""
        self.seen: list[Seen] = []

    async def send(self, ballot: Ballot, key: str | None) -> Answer:
        """Sends the vote; its answer is seen."""
        sent = monotonic()
        self.unanswered += 1
        try:
            answer = await self._sender.send(ballot, key)
        finally:
            self.unanswered -= 1
        if answer.outcome is Outcome.RECORDED:
            self.recorded += 1
            self.last_sent = max(self.last_sent, sent)
        self.seen.append(Seen(sent, monotonic(), answer.outcome, answer.status))
        return answer

    def lost(self, key: str | None, detail: str) -> Answer:
        """As the sender says."""
        return self._sender.lost(key, detail)


class Crowd:
    """Sends votes of a contest until it is told to stop. An async context manager.

    Args:
        url: of the gateway.
        contest: the contest's id.
        ballots: as many as are wanted; endless.
        workers: votes under way at most.
    """

    def __init__(self, url: str, contest: str, ballots: Iterator[Ballot], workers: int = WORKERS) -> None:
        self.url = url
        self.contest = contest
        self.journal: list[Attempt] = []
        client = GatewayClient(url, contest, connections=workers, timeout=ANSWER_SECONDS)
        self._client = client
        self.sender = Counting(client)
        plan = Plan(None, workers, 0.5, _PATIENCE)
        self._load = Load(self.sender, ballots, plan, SystemClock(), self.journal.append)
        self._task: asyncio.Task[Summary] | None = None

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        self._task = asyncio.create_task(self._load.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._load.abort()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)
        await self._client.__aexit__()

    async def halt(self, grace: float = 3 * ANSWER_SECONDS) -> Summary:
        """Sends nothing new, waits for the answers that are due, and returns what became of the votes."""
        assert self._task is not None
        self._load.halt()
        await asyncio.wait([self._task], timeout=grace)
        self._load.abort()
        return await self._task

    @property
    def unanswered(self) -> int:
        """Votes that were sent and have no answer yet."""
        return self.sender.unanswered

    @property
    def recorded(self) -> int:
        """Votes with a receipt."""
        return self.sender.recorded

    async def recorded_since(self, moment: float, within: float) -> float:
        """Waits for a receipt of a vote that was sent after `moment`; returns the seconds that it took since then."""
        await until(lambda: self.sender.last_sent > moment, within, f"no vote was acknowledged in {within:g} s")
        return monotonic() - moment

    def answers(self, start: float, end: float) -> Counter[str]:
        """The answers that came in a stretch of time, by what a client saw."""
        return Counter(_said(seen) for seen in self.sender.seen if start <= seen.ended <= end)

    def under_way(self, moment: float) -> Counter[str]:
        """The answers to votes that had been sent before a moment and were unanswered then."""
        return Counter(_said(seen) for seen in self.sender.seen if seen.sent <= moment < seen.ended)

    def longest_silence(self, start: float, end: float) -> float:
        """The longest time without a receipt within a stretch of time."""
        moments = array("d", [start])
        moments.extend(
            sorted(s.ended for s in self.sender.seen if s.outcome is Outcome.RECORDED and start < s.ended < end)
        )
        moments.append(end)
        return max(later - earlier for earlier, later in pairwise(moments))

    def note(self, ballot: Ballot, key: str | None, answer: Answer) -> None:
        """Adds an attempt that somebody else made to the journal."""
        at = instant(SystemClock().now_ms())
        self.journal.append(Attempt(at, answer.id, key, answer.contest, answer.outcome, answer.status, ballot))

    def write(self, path: Path) -> None:
        """Writes the journal, for `aplauso verify`."""
        path.write_bytes(b"".join(map(encode, self.journal)))


def _said(seen: Seen) -> str:
    if seen.status is not None:
        return str(seen.status)
    return "no connection" if seen.outcome is Outcome.REFUSED else "no answer"
