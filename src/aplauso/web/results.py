"""The board's calls: standings, their stream, records, one vote."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from aplauso.domain.contest import Contest, instant
from aplauso.domain.errors import FieldError, InvalidVote, UnknownContest
from aplauso.flow.board import Board
from aplauso.ports.archive import ArchivedVote
from aplauso.web.http import HTTPError, Request, Response, Sink, Stream, json_response

_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
MAX_RECORDS: Final = 100
UNREAD_BYTES: Final = 1024 * 1024
"""A stream ends when so many bytes of it wait to be read; a viewer that is still there comes again."""
_COME_AGAIN: Final = b"retry: 250\n\n"
"""Milliseconds after which an EventSource does so."""


class Results:
    """Shows what was counted.

    Args:
        board: reads it.
        contests: by id.
        default: the contest of `/latest-records`, if there is one.
    """

    def __init__(self, board: Board, contests: Mapping[str, Contest], default: Contest | None) -> None:
        self._board = board
        self._contests = contests
        self._default = default

    async def standings(self, request: Request, contest_id: str) -> Response:
        """`GET /v1/contests/{contest}/standings`."""
        return json_response(request, await self._board.body(self._contest(contest_id)))

    async def stream(self, request: Request, contest_id: str) -> Stream:
        """`GET /v1/contests/{contest}/standings/stream`: server-sent events (WHATWG HTML, section 9.2)."""
        contest = self._contest(contest_id)
        first = await self._board.current(contest)  # here, so that a store that is away is answered with a problem
        headers = [
            ("content-type", "text/event-stream"),
            ("cache-control", "no-store"),
            ("x-accel-buffering", "no"),
            ("x-request-id", request.id),
        ]
        return Stream(headers, lambda sink: self._board.watch(contest, first, Viewer(sink).show))

    async def records(self, request: Request, contest_id: str) -> Response:
        """`GET /v1/contests/{contest}/records?limit=20`."""
        contest = self._contest(contest_id)
        votes = await self._board.records(contest, _limit(request))
        return json_response(request, {"contest": contest.id, "records": [_record(vote) for vote in votes]})

    async def latest(self, request: Request) -> Response:
        """`GET /latest-records`: the last 20 of the default contest, as older clients know them."""
        if self._default is None:
            raise HTTPError(404, "there is no default contest", "not-found")
        votes = await self._board.records(self._default, 20)
        return json_response(request, [_record(vote) for vote in votes])

    async def vote(self, request: Request, vote_id: str) -> Response:
        """`GET /v1/votes/{id}`: the archived vote, with its place in the log."""
        vote = await self._board.find(vote_id.lower()) if _ID.fullmatch(vote_id.lower()) else None
        if vote is None:
            raise HTTPError(404, "there is no such vote in the archive", "not-found")
        place = {"contest": vote.contest, "partition": vote.partition, "offset": vote.offset}
        return json_response(request, _record(vote) | place)

    def _contest(self, contest_id: str) -> Contest:
        contest = self._contests.get(contest_id)
        if contest is None:
            raise UnknownContest(contest_id)
        return contest


class Viewer:
    """Somebody who watches: frames as events, for as long as they are read.

    Args:
        sink: where they are sent to.
    """

    __slots__ = ("_sink",)

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def show(self, frame: bytes | None) -> bool:
        """Sends a frame, or a sign of life. False: it was the last one."""
        if self._sink.unsent < UNREAD_BYTES:
            return self._sink.push(_event(frame))
        self._sink.push(_COME_AGAIN)
        self._sink.end()
        return False


@lru_cache(maxsize=4)  # everybody gets the same object
def _event(frame: bytes | None) -> bytes:
    # JSON as we write it holds no line feed, so one data line is enough.
    return b": alive\n\n" if frame is None else b"event: standings\ndata: " + frame + b"\n\n"


def _limit(request: Request) -> int:
    text = request.query("limit")
    if text is None:
        return 20
    if text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= MAX_RECORDS:
        return int(text)
    raise InvalidVote([FieldError("limit", f"must be a whole number from 1 to {MAX_RECORDS}")])


def _record(vote: ArchivedVote) -> dict[str, Any]:
    return {
        "id": vote.id,
        "name": vote.name,
        "album": vote.album,
        "year": vote.year,
        "rank": vote.rank,
        "cast_at": instant(vote.cast_at),
    }
