"""A vote's sender: tries until the answer is certain, with one key, so that however often it tries, it counts once."""

import asyncio
from collections.abc import Callable
from random import SystemRandom
from typing import Final, NamedTuple, Protocol

from aplauso.domain.journal import Outcome
from aplauso.domain.vote import Ballot

_jitter: Final = SystemRandom().uniform


class Answer(NamedTuple):
    """What came of one attempt.

    Attributes:
        outcome: recorded, refused (certainly not recorded by this attempt) or undecided.
        status: the HTTP status, None where no answer came.
        id: the vote's id, None where none is known.
        contest: the contest's id, None where it is not known.
        detail: for a person, or "". Text from elsewhere: not safe for a terminal as it is.
        retry_after: seconds that the gateway asks to wait, or None.
    """

    outcome: Outcome
    status: int | None
    id: str | None = None
    contest: str | None = None
    detail: str = ""
    retry_after: float | None = None

    @property
    def is_final(self) -> bool:
        """Whether the same vote sent again would get the same answer."""
        if self.outcome is Outcome.UNDECIDED:
            return False
        return self.outcome is Outcome.RECORDED or self.status not in (None, 429, 503)


class Sender(Protocol):
    """Sends one vote to a gateway, once."""

    async def send(self, ballot: Ballot, key: str | None) -> Answer:
        """Sends the vote and returns what came of it; failures of the network are answers too, never raised.

        Args:
            ballot: the vote.
            key: its Idempotency-Key; None for an anonymous vote.
        """
        ...

    def lost(self, key: str | None, detail: str) -> Answer:
        """The answer of an attempt that was given up while it was under way."""
        ...


class Patience(NamedTuple):
    """How long to try, in seconds.

    Attributes:
        total: from the first attempt to the start of the last one.
        first: the first pause; each one is twice the one before, less a random part of up to a half.
        longest: no pause is longer, unless the gateway asks for it.
    """

    total: float = 30.0
    first: float = 0.1
    longest: float = 3.0

    def pause(self, tries: int, asked: float | None) -> float:
        """The pause after so many tries, not shorter than the gateway asked for."""
        longest = min(self.longest, self.first * 2.0 ** min(tries - 1, 30))
        pause = _jitter(longest / 2, longest)
        return pause if asked is None else max(pause, asked * _jitter(1.0, 1.1))


Note = Callable[[Ballot, str | None, Answer], None]
"""Is told of every attempt: the vote, its key, the answer."""


async def settle(
    sender: Sender, ballot: Ballot, key: str | None, patience: Patience, halt: asyncio.Event, note: Note
) -> Answer:
    """Sends a vote until its fate is known, patience ends or `halt` is set.

    An anonymous vote whose answer was lost is not sent again: it could count twice.

    Returns:
        The last answer; but once an attempt was undecided, a later refusal does not decide it: then the undecided one.
    """
    loop = asyncio.get_running_loop()
    end, tries, undecided = loop.time() + patience.total, 0, None
    while True:
        answer = await _attempt(sender, ballot, key, note)
        tries += 1
        if answer.outcome is Outcome.RECORDED:
            return answer
        if answer.outcome is Outcome.UNDECIDED:
            undecided = answer
        if answer.is_final or (key is None and undecided is not None):
            break
        pause = patience.pause(tries, answer.retry_after)
        if loop.time() + pause > end or await _halted(halt, pause):
            break
    return undecided or answer


async def _attempt(sender: Sender, ballot: Ballot, key: str | None, note: Note) -> Answer:
    try:
        answer = await sender.send(ballot, key)
    except asyncio.CancelledError:
        # What was sent may have arrived: whoever reads the journal must know of it.
        note(ballot, key, sender.lost(key, "given up while waiting for the answer"))
        raise
    note(ballot, key, answer)
    return answer


async def _halted(halt: asyncio.Event, seconds: float) -> bool:
    """Waits; True as soon as `halt` is set."""
    try:
        async with asyncio.timeout(seconds):
            return await halt.wait()
    except TimeoutError:
        return False
