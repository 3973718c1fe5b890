"""Step 1: validate, stamp, hand in.

A vote that came alone is handed in together with those that came at the same time; nobody waits longer
than a moment for company, and nobody at all when the way is free.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Final, NamedTuple

from aplauso.domain.contest import Contest
from aplauso.domain.errors import (
    AplausoError,
    FieldError,
    InvalidVote,
    NotOpen,
    NotRecorded,
    Undecided,
    UnknownContest,
)
from aplauso.domain.vote import Ballot, Vote, id_from_key, keys_of_lines, make_vote, read_vote
from aplauso.flow.lines import Lines
from aplauso.ports.clock import Clock
from aplauso.ports.intake import Intake, Receipt, Status, joined

Answered = Callable[[Receipt], None]
"""Is told what became of a vote."""
BATCH: Final = 256
"""Votes handed in together, at most, when each came alone."""
CHUNK: Final = 2_500
"""Votes handed in together, at most, when they came as one batch: far below gRPC's message limit."""


class Limits(NamedTuple):
    """How the gateway gathers votes.

    Attributes:
        wait: seconds that a vote waits for company while another batch is on its way.
        flights: batches on their way at once.
        waiting: votes that may wait for an answer; one more is refused as "try later".
    """

    wait: float = 0.003
    flights: int = 8
    waiting: int = 100_000


class Batcher:
    """Gathers single votes into batches for the intake. Used by one event loop."""

    def __init__(self, intake: Intake, limits: Limits | None = None) -> None:
        self._intake = intake
        self._limits = limits or Limits()
        self._votes: list[Vote] = []
        self._waiting: list[Answered] = []
        self._flights: set[asyncio.Task[None]] = set()
        self._batches: set[asyncio.Task[Sequence[Receipt]]] = set()
        self._timer: asyncio.Handle | None = None
        self._unanswered = 0
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None

    def submit(self, vote: Vote, answered: Answered) -> None:
        """Hands in one vote; `answered` is called with its receipt, once, and must not raise.

        Nobody takes a vote back: whoever asked for it may have gone by then.

        Raises:
            NotRecorded: too many votes wait already, or the batcher is closed.
        """
        self._admit(1)
        self._votes.append(vote)
        self._waiting.append(answered)
        if len(self._votes) >= BATCH:
            self._send()
        elif self._timer is None:
            loop = self._loop
            if loop is None:
                loop = self._loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._limits.wait, self._due) if self._flights else loop.call_soon(self._due)

    async def submit_many(self, votes: Sequence[Vote]) -> Sequence[Receipt]:
        """Hands in votes that came together and returns their receipts, in order. Raises as `submit`."""
        self._admit(len(votes))
        chunks = [votes[at : at + CHUNK] for at in range(0, len(votes), CHUNK)]
        batches = [asyncio.create_task(self._hand_in(chunk)) for chunk in chunks]
        self._batches.update(batches)
        for batch in batches:
            batch.add_done_callback(self._batches.discard)
        return joined(votes, await asyncio.shield(asyncio.gather(*batches)))

    async def close(self) -> None:
        """Refuses what comes from now on, and answers what is under way."""
        self._closed = True
        while self._votes or self._flights or self._batches:
            self._send()
            await asyncio.wait(self._flights | self._batches)

    def _admit(self, votes: int) -> None:
        if self._closed:
            raise NotRecorded("the gateway is stopping")
        if self._unanswered + votes > self._limits.waiting:
            raise NotRecorded("too many votes wait for their answer")
        self._unanswered += votes

    def _due(self) -> None:
        self._timer = None
        self._send()

    def _send(self) -> None:
        """Sends the next batch, if a flight is free; a flight that ends calls again."""
        if not self._votes or len(self._flights) >= self._limits.flights:
            return
        votes, self._votes = self._votes[:BATCH], self._votes[BATCH:]
        waiting, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
        flight = asyncio.create_task(self._fly(votes, waiting))
        self._flights.add(flight)
        flight.add_done_callback(self._landed)
        if not self._votes and self._timer is not None:  # who comes next waits for company of its own
            self._timer.cancel()
            self._timer = None

    def _landed(self, flight: asyncio.Task[None]) -> None:
        self._flights.discard(flight)
        # As long as others are under way, a small batch is worth waiting for: each call costs as much as fifty votes.
        if not self._flights or self._timer is None or len(self._votes) >= BATCH:
            self._send()

    async def _fly(self, votes: list[Vote], waiting: list[Answered]) -> None:
        for answered, receipt in zip(waiting, await self._hand_in(votes), strict=True):
            try:
                answered(receipt)
            except Exception as error:  # noqa: BLE001 - the others of the batch are to have their answers
                _tell_loop("a receipt could not be handed back", error)

    async def _hand_in(self, votes: Sequence[Vote]) -> Sequence[Receipt]:
        """The intake's receipts. Votes take room until then: a client that hangs up takes back none of them."""
        try:
            receipts = await self._intake.submit(votes)
            if len(receipts) == len(votes):
                return receipts
            raise ValueError(f"{len(receipts)} receipts for {len(votes)} votes")
        except Exception as error:  # noqa: BLE001 - the port promises one receipt a vote, and never to raise
            _tell_loop("the intake broke its promise", error)
            return [Receipt(vote.id, Status.UNDECIDED, "undecided", detail=str(error)) for vote in votes]
        finally:
            self._unanswered -= len(votes)


class Caster:
    """Takes ballots for the contests and gives receipts.

    Args:
        contests: by id.
        batcher: where votes go.
        clock: gives the stamps.
        new_id: gives anonymous votes their UUIDv7.
        new_keys: gives so many at once, in UTF-8; without it, they are asked for one by one.
    """

    def __init__(
        self,
        contests: Mapping[str, Contest],
        batcher: Batcher,
        clock: Clock,
        new_id: Callable[[], str],
        new_keys: Callable[[int], Sequence[bytes]] | None = None,
    ) -> None:
        self.contests = contests
        self._batcher = batcher
        self._clock = clock
        self._new_id = new_id
        self._new_keys = new_keys or (lambda count: [new_id().encode() for _ in range(count)])

    def contest(self, contest_id: str) -> Contest:
        """The contest of an id. Raises `UnknownContest`."""
        contest = self.contests.get(contest_id)
        if contest is None:
            raise UnknownContest(contest_id)
        return contest

    def hand_in(self, contest: Contest, body: bytes, key: str | None, answered: Answered) -> None:
        """Casts one vote, of a ballot in JSON; `answered` is called with its receipt, as `Batcher.submit` says.

        Raises:
            MalformedBody, NotOpen, InvalidVote: it was refused.
            NotRecorded: it was certainly not recorded.
        """
        self._batcher.submit(read_vote(body, contest, self._ids(contest, key), self._clock.now_ms()), answered)

    def _ids(self, contest: Contest, key: str | None) -> Callable[[], str]:
        return self._new_id if key is None else partial(id_from_key, contest.id, key)

    async def cast(self, contest: Contest, ballot: Ballot, key: str | None = None) -> str:
        """Casts one vote and returns its id once the log has it.

        Raises:
            NotOpen, InvalidVote: it was refused.
            NotRecorded: it was certainly not recorded.
            Undecided: nobody can tell.
        """
        future: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        vote = make_vote(ballot, contest, self._ids(contest, key)(), self._clock.now_ms())
        self._batcher.submit(vote, lambda receipt: None if future.done() else future.set_result(receipt))
        receipt = await future
        if receipt.status is Status.RECORDED:
            return receipt.id
        raise failure(receipt)

    def lines(self, contest: Contest, key: str | None, at: int) -> Lines:
        """Begins a batch, stamped `at`, in a contest that is open then; with a key, its lines' ids come from it."""
        if key is None:
            return Lines(contest, at, lambda numbers: self._new_keys(len(numbers)))
        return Lines(contest, at, partial(keys_of_lines, contest.id, key))

    async def cast_many(self, votes: Sequence[Vote]) -> Sequence[Receipt]:
        """Casts the votes of a batch and returns their receipts, in order. Raises `NotRecorded`."""
        return await self._batcher.submit_many(votes)

    def now(self) -> int:
        """The stamp of this moment, in milliseconds since the epoch."""
        return self._clock.now_ms()

    async def close(self) -> None:
        """Refuses what comes from now on, and answers what is under way."""
        await self._batcher.close()


def _tell_loop(message: str, error: Exception) -> None:
    asyncio.get_running_loop().call_exception_handler({"message": message, "exception": error})


def failure(receipt: Receipt) -> AplausoError:
    """The error that a receipt other than `RECORDED` stands for."""
    if receipt.status is Status.UNDECIDED:
        return Undecided(receipt.id, receipt.detail)
    if receipt.status is Status.NOT_RECORDED:
        return NotRecorded(receipt.detail or "the log cannot be reached")
    if receipt.reason == NotOpen.reason:
        return NotOpen(receipt.detail)
    return InvalidVote([FieldError(receipt.field, receipt.detail)])


def choose_default(contests: Mapping[str, Contest], named: str | None) -> Contest | None:
    """The default contest: the named one, or the only one, or none."""
    if named is not None:
        return contests.get(named)
    return next(islice(contests.values(), 1)) if len(contests) == 1 else None
