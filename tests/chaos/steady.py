"""Votes at a steady pace: by an absolute schedule, over kept connections, with next to no cost for each."""

import asyncio
import re
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Final, cast

from chaos.answers import Answers, Votes

ANSWER_SECONDS: Final = 15.0
"""How long a vote waits for its answer: longer than the gateway's own deadline, so that its 504 arrives."""
_TICK_SECONDS: Final = 0.005
_LATE_SECONDS: Final = 5.0
"""What has not found a free connection so long after the end is not sent."""
_REUSE_SECONDS: Final = 0.2
_CONNECTIONS: Final = (8, 512)
_LENGTH: Final = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_ID: Final = b'"id":"'


class Voter(asyncio.Protocol):
    """One connection, with one vote under way at most.

    Args:
        pace: whose votes these are.
    """

    def __init__(self, pace: "Pace") -> None:
        self._pace = pace
        self._buffer = b""
        self.number: int | None = None
        self.since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's are no instances of it
        self._pace.free.append(self)

    def vote(self, number: int, request: bytes, now: float) -> None:
        """Sends a vote."""
        self.number, self.since = number, now
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        length = _LENGTH.search(self._buffer, 0, head)
        if length is None or self.number is None:
            self.transport.abort()  # nothing that the gateway should say; the loss is noted below
        elif len(self._buffer) >= head + 4 + int(length[1]):
            answer, number = self._buffer, self.number
            self._buffer, self.number = b"", None
            at = answer.find(_ID, head) + len(_ID)
            vote_id = answer[at : at + 36] if at > head else b""
            self._pace.answers.add(number, int(answer[9:12]), vote_id)
            self._pace.free.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.number is not None:
            self._pace.answers.add(self.number, 0, b"")
        self._pace.replace(self)


class Pace:
    """Sends votes. Run once.

    Args:
        port: of the gateway, on the loopback address.
        votes: by their numbers.
        answers: notes them.
        rate: votes a second.
        total: votes in all.
    """

    def __init__(self, port: int, votes: Votes, answers: Answers, rate: float, total: int) -> None:
        self.answers = answers
        self.free: deque[Voter] = deque()
        """Connections without a vote; used in turn, so that none is idle for long and closed by the server."""
        self.sent = 0
        self.behind = 0
        """The most votes that were due and had not found a free connection."""
        self._port, self._votes, self._rate, self._total = port, votes, rate, total
        self._voters: set[Voter] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._closing = False

    @property
    def unanswered(self) -> int:
        """Votes under way."""
        return sum(voter.number is not None for voter in self._voters)

    async def connect(self) -> None:
        """Opens the connections. Raises `OSError`."""
        least, most = _CONNECTIONS
        for _ in range(max(least, min(most, int(self._rate * _REUSE_SECONDS)))):
            await self._open()

    async def run(self, started: Callable[[], None] = lambda: None) -> None:
        """Sends all votes, and returns when they are answered; what is not in time is undecided."""
        begin = monotonic()
        started()
        end, looked = begin + self._total / self._rate + _LATE_SECONDS, begin
        try:
            while self.sent < self._total and (now := monotonic()) < end:
                self._send(now, min(self._total, int((now - begin) * self._rate)))
                if now > looked + 1:
                    looked = now
                    self._give_up(now - ANSWER_SECONDS)
                await asyncio.sleep(_TICK_SECONDS)
            end = monotonic() + ANSWER_SECONDS
            while self.unanswered and monotonic() < end:  # noqa: ASYNC110 - an event a vote would cost more
                await asyncio.sleep(_TICK_SECONDS)
        finally:
            await self._close()

    def _send(self, now: float, due: int) -> None:
        while self.sent < due and self.free:
            self.free.popleft().vote(self.sent, self._votes.request(self.sent), now)
            self.sent += 1
        self.behind = max(self.behind, due - self.sent)

    def _give_up(self, before: float) -> None:
        for voter in list(self._voters):
            if voter.number is not None and voter.since < before:
                voter.transport.abort()

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        _, voter = await loop.create_connection(lambda: Voter(self), "127.0.0.1", self._port)
        self._voters.add(voter)

    def replace(self, voter: Voter) -> None:
        """A connection is lost; another one takes its place."""
        self._voters.discard(voter)
        if voter in self.free:
            self.free.remove(voter)
        if not self._closing:
            task = asyncio.get_running_loop().create_task(self._open_again())
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)

    async def _open_again(self) -> None:
        while True:
            try:
                return await self._open()
            except OSError:
                await asyncio.sleep(0.5)

    async def _close(self) -> None:
        self._closing = True
        for task in list(self._connecting):
            task.cancel()
        for voter in list(self._voters):
            voter.transport.abort()
        while self._voters:  # noqa: ASYNC110 - the loop tells each of its loss in its next turn
            await asyncio.sleep(0)
