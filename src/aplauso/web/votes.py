"""The votes' calls: a single vote, and a batch of them."""

import asyncio
import time
from collections.abc import Awaitable, Sequence
from functools import partial
from typing import Any, Final

import msgspec

from aplauso.domain.contest import Contest
from aplauso.domain.errors import FieldError, InvalidVote
from aplauso.domain.vote import KEY
from aplauso.flow.cast import Caster, failure
from aplauso.flow.lines import Lines, cut, fault_of
from aplauso.flow.turns import LARGE, Turns
from aplauso.metrics import Metrics
from aplauso.ports.intake import Receipt, Recorded, Status
from aplauso.web.http import Body, HTTPError, Request, Response

VOTE_BYTES: Final = 16 * 1024
BATCH_BYTES: Final = 4 * 1024 * 1024
BATCH_LINES: Final = 10_000
BATCH_SECONDS: Final = 30.0
"""How long a client may take for a batch's body."""
TURNS: Final = 4
"""Large batches at work at once. One of 5,000 votes takes 5 MB until its answer, of which its body is a tenth."""
TURN_SECONDS: Final = 10.0
"""How long a large batch waits for its turn. Behind a collector that hangs, that may be too short."""
BREATH: Final = 500
"""Lines of a batch after which single votes get their turn. A batch of more is a large one: wrong lines are short, and
take room all the same."""
_JSON: Final = "application/json"
_NDJSON: Final = "application/x-ndjson"
_IS_JSON: Final = ("content-type", _JSON)
_SINGLE: Final = Body(VOTE_BYTES)
_BATCH: Final = Body(BATCH_BYTES, BATCH_SECONDS)


class Votes:
    """Takes votes over HTTP.

    Args:
        caster: where ballots go.
        default: the contest of `/insert`, if there is one.
        metrics: is told what was recorded and what was refused.
    """

    def __init__(self, caster: Caster, default: Contest | None, metrics: Metrics) -> None:
        self._caster = caster
        self._default = default
        self._metrics = metrics
        self._seconds: list[float] = []
        self._recorded: dict[str, int] = {}
        self._turns = Turns(TURNS)

    def head(self, request: Request, contest_id: str | None = None) -> Body:
        """Judges a vote or a batch by its head. Raises `HTTPError`, `UnknownContest`."""
        self._contest(contest_id)
        check_access(request)
        kind = media_type(request)
        batch = kind == _NDJSON and contest_id is not None
        if not batch and kind not in (_JSON, None):
            raise unsupported(f"send {_JSON}, or {_NDJSON} for a batch")
        check_encoding(request)
        return _BATCH if batch else _SINGLE

    def insert(self, request: Request) -> None:
        """`POST /insert`: a vote in the default contest."""
        self._single(request, self._contest(None))

    def cast(self, request: Request, contest_id: str) -> Awaitable[Response] | None:
        """`POST /v1/contests/{contest}/votes`: a vote, or a batch of them."""
        contest = self._contest(contest_id)
        if media_type(request) == _NDJSON:
            return self._batch(request, contest)
        self._single(request, contest)
        return None

    def _contest(self, contest_id: str | None) -> Contest:
        if contest_id is not None:
            return self._caster.contest(contest_id)
        if self._default is None:
            raise HTTPError(404, "there is no default contest: name one at /v1/contests/{contest}/votes", "not-found")
        return self._default

    def _single(self, request: Request, contest: Contest) -> None:
        """Casts a vote; it is answered when its receipt comes, without a task that waits for it."""
        started = time.perf_counter()
        key = request.single("idempotency-key") if "idempotency-key" in request.headers else None
        self._caster.hand_in(contest, request.body, key, partial(self._answer, request, contest.id, started))

    def _answer(self, request: Request, contest_id: str, started: float, receipt: Receipt) -> None:
        if receipt.status is not Status.RECORDED:
            request.fail(failure(receipt))
            return
        self._note(contest_id, 1, time.perf_counter() - started)
        body = f'{{"id":"{receipt.id}","contest":"{contest_id}","status":"recorded"}}'
        request.reply(Response(201, [_IS_JSON, ("x-request-id", request.id)], body.encode()))

    async def _batch(self, request: Request, contest: Contest) -> Response:
        started = time.perf_counter()
        key = request.single("idempotency-key")
        if key is not None and not KEY.fullmatch(key):
            raise InvalidVote([FieldError("Idempotency-Key", "must be 16 to 128 visible ASCII characters")])
        lines, size = count_lines(request.body), len(request.body)
        contest.check_window(now := self._caster.now())  # a batch that came in time stays so while it waits
        batch = self._caster.lines(contest, key, now)
        async with self._turns.turn(size, TURN_SECONDS, large=lines > BREATH or size >= LARGE):
            await _read(request, batch)
            receipts = await self._caster.cast_many(batch.lot())
        if receipts and all(receipt.status is Status.NOT_RECORDED for receipt in receipts):
            raise failure(receipts[0])  # who looks at the status alone must not take the batch for done
        answer = summary(receipts, batch)
        self._note(contest.id, answer["recorded"], time.perf_counter() - started)
        for line in answer["rejected"]:
            self._metrics.refused.labels(line.pop("reason")).inc()
        return Response(200, [_IS_JSON, ("x-request-id", request.id)], msgspec.json.encode(answer))

    def _note(self, contest: str, votes: int, seconds: float) -> None:
        """Counts per batch, not per vote: `flush` brings it to the metrics."""
        self._recorded[contest] = self._recorded.get(contest, 0) + votes
        self._seconds.append(seconds)
        if len(self._seconds) >= 256:
            self.flush()

    def close(self) -> None:
        """Refuses batches that wait for their turn."""
        self._turns.close()

    def flush(self) -> None:
        """Brings what was gathered to the metrics; called before they are read."""
        seconds, self._seconds = self._seconds, []
        recorded, self._recorded = self._recorded, {}
        self._metrics.recorded_seconds.observe(seconds)
        for contest, votes in recorded.items():
            self._metrics.recorded.labels(contest).inc(votes)


def media_type(request: Request) -> str | None:
    """The body's media type, without parameters, in lower case."""
    if request.headers.get("content-type") == b"application/json":  # as nearly always
        return _JSON
    value = request.header("content-type")
    return value and value.partition(";")[0].strip().lower()


def unsupported(detail: str) -> HTTPError:
    """415, with what would be supported."""
    return HTTPError(415, detail, "unsupported-media-type", [("accept-post", f"{_JSON}, {_NDJSON}")])


def check_encoding(request: Request) -> None:
    """Refuses a compressed body: taken for plain, it would be called malformed."""
    if "content-encoding" in request.headers and request.header("content-encoding") != "identity":
        raise unsupported("send the body without Content-Encoding")


def check_access(request: Request) -> None:
    """Refuses an Authorization header: voter tokens do not exist yet, and what is not checked is not ignored."""
    if "authorization" in request.headers:
        headers = [("www-authenticate", "Bearer")]
        raise HTTPError(401, "voter tokens are not known here: vote without Authorization", "unauthorized", headers)


def count_lines(body: bytes) -> int:
    """The number of a batch's lines; the last may end without a line feed. Raises `HTTPError` 413: too many."""
    lines = body.count(b"\n") + (not body.endswith(b"\n"))
    if lines > BATCH_LINES:
        raise HTTPError(413, f"the batch has {lines} lines; {BATCH_LINES} are the limit", "too-large")
    return lines


async def _read(request: Request, batch: Lines) -> None:
    """Takes the lines of the body, which is let go of; between them, single votes get their turn."""
    lines, request.body = request.body.removesuffix(b"\n").split(b"\n"), b""
    for part in cut(lines, BREATH):
        batch.take(part)
        await asyncio.sleep(0)


def summary(receipts: Sequence[Receipt], batch: Lines) -> dict[str, Any]:
    """The answer to a batch. Lines that were not recorded stand with the rejected ones: they may be sent again."""
    faults, undecided = dict(batch.faults), []
    doubtful = () if isinstance(receipts, Recorded) else zip(receipts, batch.numbers, strict=True)
    for receipt, number in doubtful:
        if receipt.status is Status.UNDECIDED:
            undecided.append({"line": number, "id": receipt.id})
        elif receipt.status is not Status.RECORDED:
            faults[number] = fault_of(failure(receipt))
    rejected = [{"line": line, "error": why.text, "reason": why.reason} for line, why in sorted(faults.items())]
    recorded = len(receipts) - len(undecided) - (len(faults) - len(batch.faults))
    return {"recorded": recorded, "rejected": rejected, "undecided": undecided}
