"""The client's judgement of answers, against a gateway that misbehaves in every way that networks and servers do."""

import asyncio
import json

import pytest

from aplauso.adapters.http.client import GatewayClient
from aplauso.domain.errors import Misconfigured
from aplauso.domain.journal import Outcome
from aplauso.domain.vote import Ballot, id_from_key
from aplauso.flow.send import Answer
from aplauso.stack.process import free_port
from scripted_gateway import ANONYMOUS, CONTEST, Reply, Script, ScriptedGateway, Then, http, in_turn, problem, recorded

BALLOT = Ballot("Alux Nahual", "Alto al Fuego", "1988", 2)
KEY = "a-key-of-this-test"
ID = id_from_key(CONTEST, KEY)
RECORDED, REFUSED, UNDECIDED = Outcome.RECORDED, Outcome.REFUSED, Outcome.UNDECIDED
RECEIPT = json.dumps({"id": ID, "contest": CONTEST, "status": "recorded"}).encode()


async def ask(script: Script | Reply, contest: str | None = CONTEST, key: str | None = KEY) -> Answer:
    """The answer that the client makes of a gateway's reply."""
    async with (
        ScriptedGateway(in_turn(script)) as gateway,
        GatewayClient(gateway.url, contest, timeout=0.3) as client,
    ):
        return await client.send(BALLOT, key)


async def test_receipt_is_recorded() -> None:
    """A 201 with a receipt is recorded, under the receipt's id and contest."""
    assert await ask(recorded) == Answer(RECORDED, 201, ID, CONTEST)


@pytest.mark.parametrize(("contest", "path"), [(None, "/shows/insert"), ("gt", "/shows/v1/contests/gt/votes")])
async def test_vote_goes_where_it_belongs(contest: str | None, path: str) -> None:
    """A vote is posted as it is, with its key, to its contest's address or to the default's, below the given path."""
    async with ScriptedGateway() as gateway, GatewayClient(f"{gateway.url}/shows/", contest) as client:
        await client.send(BALLOT, KEY)
        await client.send(BALLOT, None)
    first, second = gateway.votes
    assert (first.path, first.key, second.key) == (path, KEY, None)
    assert json.loads(first.body) == {"name": "Alux Nahual", "album": "Alto al Fuego", "year": "1988", "rank": 2}
    assert first.headers["content-type"] == "application/json"


@pytest.mark.parametrize("status", [400, 401, 404, 409, 413, 415, 422, 429, 503, 301, 308])
async def test_refusals_are_refused(status: int) -> None:
    """A status that says that nothing was recorded is refused; only 429 and 503 are worth another attempt."""
    answer = await ask(problem(status, detail="because of that"))
    assert answer[:5] == (REFUSED, status, ID, CONTEST, "because of that")
    assert answer.is_final == (status not in (429, 503))


async def test_fields_at_fault_are_told() -> None:
    """The detail of a 422 names each field at fault."""
    errors = [{"field": "rank", "message": "must be 1 to 10"}, {"field": "", "message": "and more"}]
    assert (await ask(problem(422, detail="wrong", errors=errors))).detail == "rank: must be 1 to 10; and more"


@pytest.mark.parametrize("reply", [Reply(http(200, b"<html>hello</html>")), Reply(http(500, b"")), problem(502)])
async def test_answers_that_say_nothing_are_undecided(reply: Reply) -> None:
    """An answer that is not one of a gateway's leaves the vote undecided."""
    answer = await ask(reply)
    assert answer.outcome is UNDECIDED
    assert answer.id == ID
    assert not answer.is_final


async def test_504_is_undecided_under_its_id() -> None:
    """A 504 is undecided, and tells the id also of an anonymous vote."""
    answer = await ask(problem(504, id=ANONYMOUS), key=None)
    assert (answer.outcome, answer.status, answer.id) == (UNDECIDED, 504, ANONYMOUS)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(then=Then.HANG),
        Reply(then=Then.CLOSE),
        Reply(then=Then.RESET),
        Reply(b"HTTP/1.1 201 Cre", Then.CLOSE),
        Reply(b"HTTP/1.1 201 Cre", Then.HANG),
        Reply(b"this is not HTTP\r\n\r\n", Then.CLOSE),
        Reply(b"\x00\xff" * 40_000, Then.CLOSE),
    ],
    ids=["hang", "close", "reset", "cut", "stuck", "garbage", "flood"],
)
async def test_lost_answers_are_undecided(reply: Reply) -> None:
    """A vote whose answer does not come, or comes as no answer, is undecided; a key tells its id all the same."""
    answer = await ask(reply)
    assert (answer.outcome, answer.status, answer.id) == (UNDECIDED, None, ID)
    assert answer.detail
    assert (await ask(reply, key=None)).id is None
    assert (await ask(reply, contest=None)).id is None


@pytest.mark.parametrize(
    "reply",
    [
        Reply(http(201, RECEIPT)[:-5], Then.CLOSE),
        Reply(http(201, RECEIPT)[:-5], Then.RESET),
        Reply(http(201, RECEIPT)[: -len(RECEIPT)], Then.HANG),
        Reply(http(201, b"OK")),
        Reply(http(201, b'{"id":"x","contest":"y"}')),
        Reply(http(201, RECEIPT.replace(b'"recorded"', b'"queued"'))),
        Reply(http(201, b"\xff" * 100_000)),
    ],
    ids=["closed", "reset", "hang", "text", "partial", "queued", "flood"],
)
async def test_receipt_that_cannot_be_read_is_undecided(reply: Reply) -> None:
    """A 201 without a whole receipt is undecided: nobody has the receipt."""
    answer = await ask(reply)
    assert (answer.outcome, answer.status, answer.id) == (UNDECIDED, 201, ID)


@pytest.mark.parametrize("then", [Then.HANG, Then.RESET, Then.CLOSE])
async def test_refusal_stands_without_its_body(then: Then) -> None:
    """A 503 whose body is lost is still certain: its status has been read."""
    answer = await ask(Reply(http(503, b"x" * 100, {"Retry-After": "7"})[:-50], then))
    assert (answer.outcome, answer.status, answer.retry_after) == (REFUSED, 503, 7.0)


async def test_vote_without_connection_is_refused() -> None:
    """Where nobody listens nothing was sent: refused without a status, worth another attempt."""
    async with GatewayClient(f"http://127.0.0.1:{free_port()}", CONTEST) as client:
        answer = await client.send(BALLOT, KEY)
    assert (answer.outcome, answer.status, answer.id) == (REFUSED, None, ID)
    assert not answer.is_final


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("3", 3.0), ("0", 0.0), ("soon", None), ("-3", None), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0), ("٣", None)],
)
async def test_retry_after_is_read(said: str, seconds: float | None) -> None:
    """Retry-After is a number of seconds or a date; anything else is passed over."""
    reply = Reply(http(503, b"", {"Retry-After": said.encode().decode("latin-1")}))
    assert (await ask(reply)).retry_after == seconds


async def test_contest_is_learned_from_a_receipt() -> None:
    """After one receipt of the default contest, ids are known also where the answer is lost."""
    script = in_turn(recorded, Reply(then=Then.RESET))
    async with ScriptedGateway(script) as gateway, GatewayClient(gateway.url) as client:
        await client.send(BALLOT, None)
        answer = await client.send(BALLOT, KEY)
    assert (answer.outcome, answer.id, answer.contest) == (UNDECIDED, ID, CONTEST)


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        (Reply(http(200, b'{"contests":[{"id":"bandas-gt","bands":[%s]}]}' % (b"{}," * 50_000 + b"{}"))), CONTEST),
        (Reply(http(200, b'{"contests":[{"id":"bandas-gt"},{"id":"other"}]}')), None),
        (Reply(http(200, b'{"contests":[]}')), None),
        (Reply(http(200, b'{"contests":[7]}')), None),
        (Reply(http(200, b'{"contests":[{"id":"../x"}]}')), None),
        (Reply(http(200, b'{"contests":[{"id":7}]}')), None),
        (Reply(http(200, b"[]")), None),
        (Reply(http(200, b"<html>")), None),
        (problem(404), None),
        (Reply(then=Then.RESET), None),
        (Reply(then=Then.HANG), None),
    ],
)
async def test_only_contest_is_found(reply: Reply, found: str | None) -> None:
    """Where a gateway has one contest its id is found before the first vote; where not, that is no fault."""
    async with (
        ScriptedGateway(in_turn(Reply(then=Then.CLOSE)), contests=reply) as gateway,
        GatewayClient(gateway.url, timeout=0.5) as client,
    ):
        await client.find_contest()
        assert client.contest == found
        assert (await client.send(BALLOT, KEY)).id == (ID if found else None)


async def test_vote_is_sent_once_on_a_connection_that_breaks() -> None:
    """A kept connection that breaks under a vote does not make the client send it again by itself."""
    script = in_turn(recorded, Reply(then=Then.RESET))
    async with ScriptedGateway(script) as gateway, GatewayClient(gateway.url, connections=1) as client:
        await client.send(BALLOT, KEY)
        assert (await client.send(BALLOT, None)).outcome is UNDECIDED
        assert len(gateway.votes) == 2


async def test_connections_are_bounded() -> None:
    """No more votes are under way than there are connections."""
    async with (
        ScriptedGateway(in_turn(Reply(then=Then.HANG))) as gateway,
        GatewayClient(gateway.url, CONTEST, connections=3, timeout=0.3, connect_timeout=0.1) as client,
    ):
        answers = await asyncio.gather(*(client.send(BALLOT, None) for _ in range(5)))
    assert sorted(answer.outcome for answer in answers) == [REFUSED] * 2 + [UNDECIDED] * 3
    assert len(gateway.votes) == 3


@pytest.mark.parametrize("url", ["", "localhost:8080", "ftp://host", "http://", "http://host:port"])
def test_address_that_is_none_is_named(url: str) -> None:
    """What is no http address is said to be none, before anything is sent."""
    with pytest.raises(Misconfigured, match="is not an address"):
        GatewayClient(url)


def test_contest_that_is_none_is_named() -> None:
    """What cannot be a contest's id never gets into an address."""
    with pytest.raises(Misconfigured, match="is not an id"):
        GatewayClient("http://host", "../admin")
