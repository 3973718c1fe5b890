"""The gateway as a client sees it, over HTTP (aiohttp)."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, Self

import aiohttp
import msgspec
from yarl import URL

from aplauso.domain.contest import ID
from aplauso.domain.errors import Misconfigured
from aplauso.domain.journal import Outcome
from aplauso.domain.vote import Ballot, id_from_key
from aplauso.flow.send import Answer

_MAX_ANSWER: Final = 64 * 1024
"""Bytes of an answer that are read; a receipt has about 120."""
_MAX_LIST: Final = 4 << 20
"""Bytes of the list of contests, which names all their bands."""
_KEPT_S: Final = 15.0
"""Idle connections are closed after this many seconds, before a server or a load balancer does it unseen."""
_MAX_DETAIL: Final = 500

_encode: Final = msgspec.json.Encoder().encode


class _Receipt(msgspec.Struct, frozen=True, gc=False):
    """The body of a 201."""

    id: str
    contest: str
    status: str


_decode_receipt: Final = msgspec.json.Decoder(_Receipt).decode


class GatewayClient:
    """Sends votes to one gateway (a `Sender`). An async context manager; used by one event loop.

    Args:
        url: of the gateway, such as "http://127.0.0.1:8080"; a path in front of the calls is kept.
        contest: the contest's id; None for the gateway's default contest.
        connections: at most so many, which bounds the votes under way.
        timeout: seconds for an answer, from the first byte sent; longer than the gateway's own deadline of
            ten, so that its 504 arrives.
        connect_timeout: seconds for a connection.

    Raises:
        Misconfigured: the address or the contest's id is not well formed.
    """

    def __init__(
        self,
        url: str,
        contest: str | None = None,
        *,
        connections: int = 64,
        timeout: float = 15.0,
        connect_timeout: float = 5.0,
    ) -> None:
        base = _base(url)
        if contest is not None and not ID.fullmatch(contest):
            raise Misconfigured(f"the contest {contest!r} is not an id: 1 to 64 of a-z, 0-9 and -, not at the ends")
        self.contest = contest
        """The contest's id as far as it is known: given, found or learned from a receipt."""
        self._votes = base / "v1" / "contests" / contest / "votes" if contest else base / "insert"
        self._contests = base / "v1" / "contests"
        self._connections = connections
        self._timeout = aiohttp.ClientTimeout(
            total=timeout + connect_timeout, connect=connect_timeout, sock_read=timeout
        )
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._connections, keepalive_timeout=_KEPT_S),
            timeout=self._timeout,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Content-Type": "application/json", "Accept": "application/json"},
            skip_auto_headers=("User-Agent", "Accept-Encoding"),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def send(self, ballot: Ballot, key: str | None) -> Answer:
        """Sends the vote once, and tells what came of it.

        A 201 with a receipt is recorded; 3xx, 4xx and 503 are refused; so is, with no status, what failed before
        there was a connection. All else is undecided: 504, other answers, none in time, a broken connection.
        """
        assert self._session is not None, "used outside of its `async with`"
        headers = None if key is None else {"Idempotency-Key": key}
        try:
            response = await self._session.post(
                self._votes, data=_encode(ballot), headers=headers, allow_redirects=False
            )
        except (aiohttp.ClientConnectorError, aiohttp.ClientSSLError, aiohttp.ConnectionTimeoutError) as error:
            return self._answer(Outcome.REFUSED, None, key, f"no connection: {_said(error)}")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return self.lost(key, f"the answer was lost: {_said(error)}")
        return await self._judge(response, key)

    def lost(self, key: str | None, detail: str) -> Answer:
        """The answer of an attempt that was given up while it was under way: undecided; a key tells the id."""
        return self._answer(Outcome.UNDECIDED, None, key, detail)

    async def find_contest(self) -> None:
        """Asks for the default contest's id where there is only one contest, and it can be asked.

        With it, the id of a vote with a key is known even when its answer is lost.
        """
        if self.contest is not None:
            return
        assert self._session is not None, "used outside of its `async with`"
        try:
            async with self._session.get(self._contests) as response:
                listed = msgspec.json.decode(await _read(response, _MAX_LIST))["contests"]
                if len(listed) == 1 and ID.fullmatch(listed[0]["id"]):
                    self.contest = listed[0]["id"]
        except (aiohttp.ClientError, TimeoutError, OSError, msgspec.DecodeError, LookupError, TypeError):
            return

    async def _judge(self, response: aiohttp.ClientResponse, key: str | None) -> Answer:
        status = response.status
        try:
            async with response:
                body = await _read(response)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if status == 201:
                return self._answer(Outcome.UNDECIDED, status, key, f"the receipt was lost: {_said(error)}")
            body = b""
        if status == 201:
            return self._receipt(body, key)
        refused = 300 <= status < 500 or status == 503
        outcome = Outcome.REFUSED if refused else Outcome.UNDECIDED
        problem = _problem(body)
        detail = _detail(problem) or _without_detail(response)
        return self._answer(outcome, status, key, detail, problem.get("id"), _retry_after(response.headers))

    def _receipt(self, body: bytes, key: str | None) -> Answer:
        try:
            receipt = _decode_receipt(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return self._answer(Outcome.UNDECIDED, 201, key, "the answer is not a receipt of Aplauso")
        if receipt.status != "recorded":
            return self._answer(Outcome.UNDECIDED, 201, key, "the receipt does not say that the vote is recorded")
        self.contest = self.contest or receipt.contest
        return Answer(Outcome.RECORDED, 201, receipt.id, receipt.contest)

    def _answer(
        self, outcome: Outcome, status: int | None, key: str | None, detail: str,
        vote_id: object = None, retry_after: float | None = None,
    ) -> Answer:  # fmt: skip
        if not isinstance(vote_id, str):
            vote_id = id_from_key(self.contest, key) if key is not None and self.contest is not None else None
        return Answer(outcome, status, vote_id, self.contest, detail[:_MAX_DETAIL], retry_after)


def _base(url: str) -> URL:
    try:
        base = URL(url)
    except ValueError as error:
        raise Misconfigured(f"{url!r} is not an address: {error}") from None
    if base.scheme not in ("http", "https") or not base.host:
        raise Misconfigured(f"{url!r} is not an address such as http://127.0.0.1:8080")
    return base.with_query(None).with_fragment(None)


async def _read(response: aiohttp.ClientResponse, limit: int = _MAX_ANSWER) -> bytes:
    """The body, or as much of it as an answer of a gateway could have."""
    body = b""
    while len(body) < limit and (chunk := await response.content.readany()):
        body += chunk
    return body


def _problem(body: bytes) -> dict[str, Any]:
    """A problem document (RFC 9457), or an empty one where the body is none."""
    try:
        problem = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return problem if isinstance(problem, dict) else {}


def _detail(problem: Mapping[str, Any]) -> str:
    errors = problem.get("errors")
    if isinstance(errors, list) and errors and all(isinstance(error, dict) for error in errors):
        return "; ".join(f"{error.get('field', '')}: {error.get('message', '')}".lstrip(": ") for error in errors)
    return str(problem.get("detail") or problem.get("title") or "")


def _without_detail(response: aiohttp.ClientResponse) -> str:
    if location := response.headers.get("Location"):
        return f"the server sends elsewhere, to {location}"
    return response.reason or "no reason given"


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait (RFC 9110, section 10.2.3: a number of seconds or a date), or None."""
    text = headers.get("Retry-After", "")
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _said(error: BaseException) -> str:
    if isinstance(error, asyncio.TimeoutError):
        return str(error) or "none came in time"
    return str(error) or type(error).__name__
