"""What comes in over gRPC, up to the collector's own rules: reading, ids and stamps, deadlines, limits."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from itertools import repeat
from typing import Any, Final, NamedTuple, NoReturn, Protocol, TypeVar

import structlog
from google.protobuf.message import DecodeError
from grpc import StatusCode
from grpc.aio import ServicerContext
from uuid_utils import uuid7

from aplauso.adapters.grpc.guard import Guard
from aplauso.adapters.grpc.wire import NOTHING_RECORDED, all_recorded, to_wire, undecided
from aplauso.domain.batch import read_batch
from aplauso.domain.columns import FEW, Columns, tagged_ids
from aplauso.domain.contest import Contest
from aplauso.domain.errors import BadRecord, InvalidVote, NotOpen, NotRecorded, Refused, UnknownContest
from aplauso.domain.lot import REST, TAGS, Form, Lot
from aplauso.domain.record import check, encode, from_message
from aplauso.domain.vote import Ballot, Vote, make_vote
from aplauso.flow.cast import choose_default
from aplauso.flow.turns import LARGE, Turns
from aplauso.ports.clock import Clock
from aplauso.ports.intake import Receipt, Recorded, Status
from aplauso.v1 import collector_pb2 as pb
from aplauso.v1 import confproto_pb2 as older
from aplauso.v1 import vote_pb2

SENT: Final = "Información enviada con éxito"
"""What the older service answers for a recorded vote."""
LONGEST: Final = 10.0
"""Seconds until a call is answered at the latest, whatever its own deadline."""
MAX_VOTES: Final = 10_000
"""Votes of a call, at most."""
MAX_SKEW: Final = 60_000
"""Milliseconds that a gateway's stamp may differ from the collector's clock."""
TURNS: Final = 3
"""Large batches at work at once. One of 5,000 votes takes 9 MiB until its answer; the processor does one at a time."""
SHORTER: Final = 16
"""Times smaller, batches of others than gateways are large ones: what is no vote may be short, and takes room too."""
_ID: Final = slice(len(TAGS), REST)
_MARGIN: Final = 0.25  # seconds before the call's deadline at which it is answered: the way back takes time
_REFUSED: Final = ((NOTHING_RECORDED, "1"),)

Context = ServicerContext[Any, Any]
B = TypeVar("B")
M = TypeVar("M")
_log = structlog.get_logger(__name__)


class Collects(Protocol):
    """Whoever judges votes by their contests and records them: `aplauso.flow.collect.Collector`."""

    def collect(self, votes: Sequence[Vote], values: Sequence[bytes]) -> Awaitable[Sequence[Receipt]]:
        """One receipt a vote, in order."""
        ...


class Rules(NamedTuple):
    """What votes without an id are made with.

    Attributes:
        contests: by id; may be replaced while votes come in.
        default: the default contest's id; None when it is the only one, or there is none.
        clock: gives the stamps.
    """

    contests: Mapping[str, Contest]
    default: str | None
    clock: Clock


class Door:
    """The handlers of both services.

    Args:
        collector: where votes go.
        rules: for votes of those who are no gateway.
        guard: says who is one.
        max_concurrent: batches under way at once; one more is refused with RESOURCE_EXHAUSTED.
    """

    def __init__(self, collector: Collects, rules: Rules, guard: Guard, max_concurrent: int) -> None:
        self._collector = collector
        self._rules = rules
        self._guard = guard
        self._max_concurrent = max_concurrent
        self._under_way: set[asyncio.Future[Sequence[Receipt]]] = set()
        self._calls: set[asyncio.Task[Any]] = set()
        self._stopping = False
        self._turns = Turns(TURNS)
        self._give_up: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def cast_batch(self, body: bytes, context: Context) -> bytes:
        """`aplauso.v1.Collector/CastBatch`; answers the bytes of a `BatchReceipt`."""
        try:
            gateway = self._guard.is_gateway(context)
        except PermissionError as error:
            await _refuse(context, StatusCode.UNAUTHENTICATED, str(error))
        now = self._rules.clock.now_ms()  # a batch that came in time stays so while it waits
        large = len(body) >= (LARGE if gateway else LARGE // SHORTER)
        try:
            async with self._turns.turn(len(body), _patience(context), large=large):
                return await self._cast_batch(body, gateway, now, context)
        except NotRecorded as error:
            code = StatusCode.UNAVAILABLE if self._stopping else StatusCode.RESOURCE_EXHAUSTED
            await _refuse(context, code, str(error))

    async def _cast_batch(self, body: bytes, gateway: bool, now: int, context: Context) -> bytes:
        await self._admit(context)
        batch = await _parse(pb.RawVoteBatch.FromString, body, context)
        if len(batch.votes) > MAX_VOTES:
            await _refuse(context, StatusCode.INVALID_ARGUMENT, f"more than {MAX_VOTES} votes in a batch")
        values = list(batch.votes)
        votes = plain_votes(values, now) if gateway else None
        if votes is None:
            return await self._answer(await _parse(_read_each, values, context), gateway, now, context)
        receipts = await self._collect(votes, values, context)
        if isinstance(receipts, Recorded):
            return all_recorded(votes)
        return _reply([to_wire(receipt, vote.cast_at) for receipt, vote in zip(receipts, votes, strict=True)])

    async def _answer(self, messages: Sequence[vote_pb2.Vote], gateway: bool, now: int, context: Context) -> bytes:
        verdicts: list[Receipt | Vote] = []
        values: list[bytes] = []
        self._judge_each(messages, gateway, now, verdicts, values)
        votes = [verdict for verdict in verdicts if isinstance(verdict, Vote)]
        receipts = iter(await self._collect(votes, values, context) if votes else ())
        return _reply(
            [
                to_wire(next(receipts), verdict.cast_at) if isinstance(verdict, Vote) else to_wire(verdict, 0)
                for verdict in verdicts
            ]
        )

    def _judge_each(
        self,
        messages: Iterable[vote_pb2.Vote],
        gateway: bool,
        now: int,
        verdicts: list[Receipt | Vote],
        values: list[bytes],
    ) -> None:
        """Makes a vote of each message, or says why not, and gathers the votes' bytes."""
        for message in messages:
            trusted = gateway and message.id
            verdict = from_gateway(message, now) if trusted else from_voter(message, self._rules, now)
            verdicts.append(verdict)
            if isinstance(verdict, Vote):
                values.append(message.SerializeToString() if trusted else encode(verdict))

    async def return_info(self, body: bytes, context: Context) -> older.replyInfo:
        """`confproto.getInfo/returnInfo`: one vote for the default contest."""
        await self._admit(context)
        request = await _parse(older.requestId.FromString, body, context)
        contest = choose_default(self._rules.contests, self._rules.default)
        if contest is None:
            await _refuse(context, StatusCode.FAILED_PRECONDITION, "there is no default contest")
        ballot = Ballot(request.name, request.album, request.year, request.rank)
        try:
            vote = make_vote(ballot, contest, str(uuid7()), self._rules.clock.now_ms())
        except InvalidVote as error:
            await _refuse(context, StatusCode.INVALID_ARGUMENT, str(error))
        except NotOpen as error:
            await _refuse(context, StatusCode.FAILED_PRECONDITION, str(error))
        [receipt] = await self._collect([vote], [encode(vote)], context)
        if receipt.status is not Status.RECORDED:
            await _fail(context, receipt)
        return older.replyInfo(info=SENT)

    async def _admit(self, context: Context) -> None:
        if self._stopping:
            await _refuse(context, StatusCode.UNAVAILABLE, "the collector is stopping")
        # Those that were answered "undecided" are still under way, and count.
        if len(self._under_way) >= self._max_concurrent:
            await _refuse(context, StatusCode.RESOURCE_EXHAUSTED, "too many calls are under way")

    async def _collect(self, votes: Sequence[Vote], values: Sequence[bytes], context: Context) -> Sequence[Receipt]:
        """The collector's receipts, or "undecided" when they do not come before the call's deadline."""
        task = asyncio.ensure_future(self._collector.collect(votes, values))
        self._under_way.add(task)
        task.add_done_callback(self._done)
        if (call := asyncio.current_task()) is not None:
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)
        # Waiting, unlike awaiting, leaves the task alone when the client goes away.
        either: set[asyncio.Future[Any]] = {task, self._give_up}
        await asyncio.wait(either, timeout=_patience(context), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            return [undecided(vote.id, "the log did not answer in time") for vote in votes]
        if task.cancelled() or task.exception() is not None:
            return [undecided(vote.id, "the collector failed") for vote in votes]
        return task.result()

    def _done(self, task: asyncio.Future[Sequence[Receipt]]) -> None:
        self._under_way.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("the collector failed; its votes are undecided", exc_info=error)

    async def drain(self, seconds: float) -> None:
        """Refuses calls from now on, and waits until those under way are answered.

        Args:
            seconds: after these, what is not known yet is answered as undecided.
        """
        self._stopping = True
        self._turns.close()
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=seconds)
        if not self._give_up.done():
            self._give_up.set_result(None)
        if self._calls:  # gRPC's own tasks: they end once the answer is on its way
            await asyncio.wait(self._calls, timeout=1.0)


def plain_votes(values: Sequence[bytes], now: int) -> Lot | None:
    """The votes of a gateway's batch, when all are just as a gateway writes them and none is to be refused here.

    None when each has to be looked at, or when they are so few that it costs no more. Votes that differ in their ids
    alone are looked at once, but for the ids.

    Args:
        values: the bytes of each.
        now: the collector's clock, in milliseconds since the epoch.
    """
    keys = [value[_ID] for value in values]
    if len(keys) < FEW or not tagged_ids(keys) or not all(map(bytes.startswith, values, repeat(TAGS))):
        return None
    rests = [value[REST:] for value in values]
    places = dict(zip(rests, range(len(rests)), strict=True))
    samples = [*places.values(), *range(FEW)]  # so few alone would not be read by columns
    found = read_batch([keys[at] for at in samples], [values[at] for at in samples], 0, 1)
    # What a parser had to read may hold fields that this collector does not know.
    if not isinstance(found, Columns) or found.odd:
        return None
    if max(found.stamps) - now > MAX_SKEW or now - min(found.stamps) > MAX_SKEW:
        return None
    forms = {rest: Form(vote, rest) for rest, vote in zip(places, found.votes(), strict=False)}
    return Lot(keys, list(map(forms.__getitem__, rests)))


def _read_each(values: Sequence[bytes]) -> list[vote_pb2.Vote]:
    messages = [vote_pb2.Vote.FromString(value) for value in values]
    for message in messages:
        # What a newer gateway knows and this collector does not must not enter the log unchecked.
        message.DiscardUnknownFields()
    return messages


def _reply(receipts: Sequence[pb.VoteReceipt]) -> bytes:
    return pb.BatchReceipt(receipts=receipts).SerializeToString()


def from_gateway(message: vote_pb2.Vote, now: int) -> Vote | Receipt:
    """The vote that a gateway made, or why it is not taken."""
    vote = from_message(message)
    try:
        check(vote)
    except BadRecord as error:
        return Receipt(vote.id, Status.REFUSED, InvalidVote.reason, "", f"{error.reason}: {error}")
    if abs(vote.cast_at - now) > MAX_SKEW:
        late = f"the stamp is {(vote.cast_at - now) / 1000:+.0f} s from the collector's clock"
        return Receipt(vote.id, Status.NOT_RECORDED, "clock", "cast_at_ms", late)
    return vote


def from_voter(message: vote_pb2.Vote, rules: Rules, now: int) -> Vote | Receipt:
    """The vote that somebody who is no gateway means, with an id and a stamp of ours, or why it is not taken."""
    ballot = Ballot(message.name, message.album, message.year, message.rank)
    try:
        contest = rules.contests.get(message.contest) if message.contest else _default(rules)
        if contest is None:
            raise UnknownContest(message.contest)
        return make_vote(ballot, contest, str(uuid7()), now)
    except InvalidVote as error:
        return Receipt("", Status.REFUSED, error.reason, error.errors[0].field, str(error))
    except Refused as error:
        return Receipt("", Status.REFUSED, error.reason, "", str(error))


def _default(rules: Rules) -> Contest | None:
    return choose_default(rules.contests, rules.default)


def _patience(context: Context) -> float:
    remaining: float | None = context.time_remaining()
    return LONGEST if remaining is None else min(LONGEST, max(0.0, remaining - min(_MARGIN, remaining / 5)))


async def _parse(read: Callable[[B], M], body: B, context: Context) -> M:
    try:
        return read(body)
    except (DecodeError, UnicodeDecodeError) as error:
        await _refuse(context, StatusCode.INVALID_ARGUMENT, f"the message cannot be read: {error}")


async def _refuse(context: Context, code: StatusCode, why: str) -> NoReturn:
    """Ends the call, saying that it has recorded nothing."""
    await context.abort(code, why, _REFUSED)


async def _fail(context: Context, receipt: Receipt) -> NoReturn:
    """Ends an older client's call with the code for a vote that is not recorded."""
    if receipt.status is Status.UNDECIDED:
        why = f"undecided, the vote {receipt.id} may be recorded: {receipt.detail}"
        await context.abort(StatusCode.DEADLINE_EXCEEDED, why)
    if receipt.status is Status.NOT_RECORDED:
        await _refuse(context, StatusCode.UNAVAILABLE, f"not recorded: {receipt.detail or receipt.reason}")
    not_open = receipt.reason == NotOpen.reason
    code = StatusCode.FAILED_PRECONDITION if not_open else StatusCode.INVALID_ARGUMENT
    await _refuse(context, code, f"{receipt.field}: {receipt.detail}" if receipt.field else receipt.detail)
