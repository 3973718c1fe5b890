"""One client's connection: what is answered to which bytes, and when it ends."""

import asyncio
import itertools
import tracemalloc
import weakref
from collections.abc import AsyncIterator
from functools import partial
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aplauso.services.connection import HEAD_BYTES, HEAD_FIELDS, HEAD_SECONDS, Connection
from aplauso.services.heads import LONGEST, MOST, Head, Heads
from aplauso.services.sending import IDLE_SECONDS, LINGER_SECONDS, STALL_SECONDS
from aplauso.web.http import DISCARD_BYTES, READ_SECONDS, Response
from unit.fakes import uncollected, until
from unit.wired import LIMIT, Room, answers, room

HEAD = b"POST /echo HTTP/1.1\r\nhost: x\r\n"
LATER = b"POST /later HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\n"
MORE = 2.0
"""Seconds by which one may be late without being so: deadlines are looked after once a second."""
GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.fixture
async def hall() -> AsyncIterator[Room]:
    async with room() as made:
        yield made


def message(body: bytes, more: bytes = b"") -> bytes:
    """A request to `/echo`."""
    return HEAD + more + b"content-length: %d\r\n\r\n" % len(body) + body


def chunked(*parts: bytes) -> bytes:
    """The same in chunks."""
    body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    return HEAD + b"transfer-encoding: chunked\r\n\r\n" + body + b"0\r\n\r\n"


async def settled() -> None:
    """Lets everything run that is due."""
    for _ in range(10):
        await asyncio.sleep(0)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(cuts=st.lists(st.integers(0, 400), max_size=12))
async def test_pieces_do_not_matter(hall: Room, cuts: list[int]) -> None:
    """However the bytes of several requests are cut, each gets its answer, in order."""
    sent = message(b"one") + chunked(b"t", b"wo") + GET + b"GET /items/a%20b?x=%2F HTTP/1.1\r\n\r\n"
    sent += message(b"six", b"connection: close\r\n")
    connection, wire = hall.connect()
    edges = sorted({0, len(sent), *(cut % len(sent) for cut in cuts)})
    for start, stop in pairwise(edges):
        connection.data_received(sent[start:stop])
        await settled()
    found = answers(bytes(wire.sent))
    assert [(one.status, one.body) for one in found] == [
        (201, b"one"), (201, b"two"), (200, b"root"), (200, b"a b"), (201, b"six"),
    ]  # fmt: skip
    assert [one.headers.get("connection") for one in found] == [None] * 4 + ["close"]
    assert all("date" in one.headers for one in found)
    assert wire.closed


ODD = (
    GET, message(b"one"), message(b"another"), message(b""), message(b"{}", b"X-Request-Id: given\r\n"),
    chunked(b"t", b"wo"), b"\r\n" + GET, GET.replace(b"\r\n", b"\n"), message(b"in\r\n\r\nside"), message(GET),
    GET.replace(b"\r\n", b"\n") + message(b"one"), GET + message(b"one"), message(b"one") + message(b"another"),
    message(b"one")[:-1], message(b"one") + b"GE", GET.replace(b"1.1", b"1.0"),
    message(b"x" * (LIMIT + 1)), message(b"old", b"connection: keep-alive\r\n").replace(b"1.1", b"1.0"),
    message(b"last", b"connection: close\r\n"), message(b"word", b"expect: 100-continue\r\n"),
    message(b"up", b"connection: upgrade\r\nupgrade: h2c\r\n"), message(b"up", b"upgrade: h2c\r\n"), b"HEAD" + GET[3:],
    GET.replace(b"/", b"http://x/items/a%20b?c=/", 1), GET.replace(b"/", b"/nowhere", 1), b"\x00\x01",
    b"CONNECT x:1 HTTP/1.1\r\n\r\n", b"POST / HTTP/1.1\r\ncontent-length: 1\r\n\r\nx", b"GET / HTTP/9\r\n\r\n",
    b"OPTIONS" + GET[3:], message(b"two", b"content-length: 3\r\n"), message(b"two", b"accept: a\r\nAccept: b\r\n"),
    HEAD.replace(b"echo", b"refused") + b"content-length: 2\r\n\r\nab", message(b"folded", b"accept: a\r\n b\r\n"),
)  # fmt: skip
"""What clients send, alone or together with others, and what they should not."""


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(sent=st.lists(st.lists(st.sampled_from(ODD), min_size=1, max_size=2).map(b"".join), min_size=1, max_size=4))
async def test_a_head_that_came_before_means_what_it_meant(hall: Room, sent: list[bytes]) -> None:
    """Whatever came before on this or another connection, a client is answered as if nothing had."""

    async def told(forgetful: bool) -> tuple[bytes, bool]:
        numbers = itertools.count()
        hall.app.new_id = lambda: f"request-{next(numbers)}"  # type: ignore[method-assign]
        connection, wire = hall.connect()
        for data in sent:
            if forgetful:
                hall.clients.heads = Heads()
            if not wire.ended:
                connection.data_received(data)
                await settled()
        lines = bytes(wire.sent).split(b"\r\n")
        return b"\r\n".join(line for line in lines if not line.startswith(b"date:")), wire.ended

    first = await told(forgetful=True)
    assert [await told(forgetful=False) for _ in range(3)] == [first] * 3


async def test_a_head_that_came_before_is_known(hall: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole request with a head that came before is answered without being parsed, or judged by its head again."""
    connection, wire = hall.connect()
    connection.data_received(message(b"one"))
    other, their_wire = hall.connect()
    with monkeypatch.context() as patch:
        patch.setattr(Connection, "_read", lambda _, data: pytest.fail(f"{data} is parsed"))
        patch.setattr(hall.app, "begin", lambda request: pytest.fail(f"{request.target} is judged"))
        for body in (b"two", b"six"):
            other.data_received(message(body))
    assert [one.body for one in answers(bytes(their_wire.sent))] == [b"two", b"six"]
    assert [one.body for one in answers(bytes(wire.sent))] == [b"one"]


def test_known_heads_have_an_end() -> None:
    """So many heads are kept, none of them long, and none with a secret or with what differs from vote to vote."""
    heads = Heads()
    for number in range(2 * MOST):
        heads.keep(b"GET /%d\r\n\r\n" % number, Head("GET", f"/{number}", {}, [], 0, None, None, True))
    assert heads.find(b"GET /0\r\n\r\n") is None
    kept = [number for number in range(2 * MOST) if heads.find(b"GET /%d\r\n\r\n" % number)]
    assert kept == list(range(MOST, 2 * MOST))
    long = b"GET /" + b"x" * LONGEST + b"\r\n\r\n"
    heads.keep(long, Head("GET", "/", {}, [], 0, None, None, True))
    assert heads.find(long) is None
    for name in ("authorization", "idempotency-key", "x-request-id"):
        heads.keep(b"GET /own\r\n\r\n", Head("GET", "/own", {name: b"x"}, [], 0, None, None, True))
        assert heads.find(b"GET /own\r\n\r\n") is None


async def test_requests_wait_for_the_answer_before_them(hall: Room) -> None:
    """Of requests that were sent together, each is begun once the one before it has its answer."""
    connection, wire = hall.connect()
    connection.data_received(LATER + b"1" + LATER + b"2" + GET)
    assert [request.body for request in hall.asked] == [b"1"]
    assert not wire.sent
    connection.data_received(LATER + b"3")
    hall.asked[0].reply(Response(200, [], b"first"))
    await settled()
    assert [request.body for request in hall.asked] == [b"1", b"2"]
    hall.asked[1].reply(Response(200, [], b"second"))
    await settled()
    assert [one.body for one in answers(bytes(wire.sent))] == [b"first", b"second", b"root"]
    assert [request.body for request in hall.asked] == [b"1", b"2", b"3"]
    assert not wire.ended


async def test_bytes_do_not_overtake_those_before_them(hall: Room) -> None:
    """What comes in the very turn in which an answer goes out waits behind what came before it."""
    connection, wire = hall.connect()
    second = message(b"second")
    connection.data_received(LATER + b"1")
    connection.data_received(second[:30])
    hall.asked[0].reply(Response(200, [], b"first"))
    connection.data_received(second[30:] + LATER)
    await settled()
    connection.data_received(b"3")
    hall.asked[0].reply(Response(200, [], b"again"))  # of one that has been answered, nothing comes of it
    hall.asked[1].reply(Response(200, [], b"third"))
    await settled()
    found = [(one.status, one.body) for one in answers(bytes(wire.sent))]
    assert found == [(200, b"first"), (201, b"second"), (200, b"third")]


async def test_nothing_is_done_behind_the_last_answer(hall: Room) -> None:
    """After an answer that ends the connection no request is done that came behind it: it may be asked again."""
    connection, wire = hall.connect()
    connection.data_received(LATER + b"1" + LATER + b"2")
    hall.app.close()
    hall.asked[0].reply(Response(200, [], b"first"))
    await settled()
    assert [one.headers["connection"] for one in answers(bytes(wire.sent))] == ["close"]
    connection, wire = hall.connect()
    connection.data_received(
        b"POST /refused HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\nab" + LATER + b"2"
    )
    await settled()
    assert [one.status for one in answers(bytes(wire.sent))] == [401]
    assert len(hall.asked) == 1


async def test_who_sends_without_end_is_not_listened_to(hall: Room) -> None:
    """While an answer is awaited, so many bytes more are taken and no others, until it has come."""
    connection, wire = hall.connect()
    connection.data_received(LATER + b"1")
    connection.data_received(GET * 1_000)
    assert not wire.paused
    connection.data_received(GET * 2_000)
    assert wire.paused
    hall.asked[0].reply(Response(200, [], b"first"))
    await until(lambda: len(answers(bytes(wire.sent))) == 3_001, "all of them are answered")
    assert not wire.paused


async def test_who_does_not_read_is_not_answered_further(hall: Room) -> None:
    """A client that leaves its answers unread gets no more of them until it reads, and is cut off when it does not."""
    connection, wire = hall.connect()
    connection.pause_writing()
    connection.data_received(GET)
    await settled()
    assert not wire.sent
    connection.resume_writing()
    await settled()
    assert len(answers(bytes(wire.sent))) == 1
    connection.pause_writing()
    connection.data_received(GET)
    hall.pass_time(STALL_SECONDS)
    assert not wire.aborted
    hall.pass_time(MORE)
    assert wire.aborted


async def test_a_last_answer_that_is_not_read_is_cut_off(hall: Room) -> None:
    """A connection that ends with its answer does not wait for ever for the client to take it."""
    connection, wire = hall.connect()
    connection.data_received(message(b"one", b"connection: close\r\n"))
    assert wire.closed
    connection.pause_writing()
    connection.resume_writing()
    hall.pass_time(STALL_SECONDS + MORE)
    assert wire.aborted


async def test_nothing_comes_of_a_connection_that_is_gone(hall: Room) -> None:
    """What was to be gone on with in the next turn is not, when the connection has gone meanwhile."""
    connection, wire = hall.connect()
    connection.data_received(LATER + b"1" + GET)
    hall.asked[0].reply(Response(200, [], b"first"))
    wire.aborted = True
    connection.connection_lost(None)
    await settled()
    assert [one.body for one in answers(bytes(wire.sent))] == [b"first"]
    assert not wire.half


async def test_a_large_body_is_read_to_its_end_and_refused(hall: Room) -> None:
    """A body over the limit is forgotten as it comes, and refused on a connection that may go on."""
    for sent in (message(b"x" * (LIMIT + 1)), chunked(b"x" * LIMIT, b"x")):
        connection, wire = hall.connect()
        connection.data_received(sent[:-5])
        assert not wire.sent
        connection.data_received(sent[-5:] + GET)
        await settled()
        assert [one.status for one in answers(bytes(wire.sent))] == [413, 200]
    connection, wire = hall.connect()
    connection.data_received(message(b"x" * LIMIT) + chunked(b"x" * LIMIT))
    await settled()
    assert [one.status for one in answers(bytes(wire.sent))] == [201, 201]


async def test_a_huge_body_is_cut_off(hall: Room) -> None:
    """A body that announces too much is refused at once, one that has no end in sight once it is too much."""
    connection, wire = hall.connect()
    connection.data_received(HEAD + b"content-length: %d\r\n\r\n" % (DISCARD_BYTES + 1))
    (answer,) = answers(bytes(wire.sent))
    assert (answer.status, answer.headers["connection"]) == (413, "close")
    assert wire.half, "what it still sends is taken, so that it sees the answer"
    assert not wire.closed
    hall.pass_time(LINGER_SECONDS + MORE)
    assert wire.aborted
    connection, wire = hall.connect()
    connection.data_received(HEAD + b"transfer-encoding: chunked\r\n\r\n")
    megabyte = b"100000\r\n" + b"x" * 2**20 + b"\r\n"
    for _ in range(DISCARD_BYTES // 2**20):
        connection.data_received(megabyte)
    assert not wire.sent
    connection.data_received(megabyte)
    assert [one.status for one in answers(bytes(wire.sent))] == [413]
    assert wire.half


async def test_a_refusal_by_the_head_waits_for_the_body(hall: Room) -> None:
    """A request that is refused by its head is answered when its body has come, however long that is."""
    for path, status in ((b"/refused", 401), (b"/nothing", 404), (b"/", 405)):
        connection, wire = hall.connect()
        connection.data_received(b"POST %b HTTP/1.1\r\ncontent-length: 5000\r\n\r\n" % path + b"x" * 4999)
        assert not wire.sent
        connection.data_received(b"x" + GET)
        await settled()
        assert [one.status for one in answers(bytes(wire.sent))] == [status, 200]


async def test_who_waits_for_a_word_gets_it(hall: Room) -> None:
    """A client that waits for "100 Continue" gets it, or its refusal before it has sent a byte of the body."""
    expect = b"expect: 100-continue\r\n"
    connection, wire = hall.connect()
    connection.data_received(HEAD + expect + b"content-length: 2\r\n\r\n")
    assert bytes(wire.sent) == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.data_received(b"ab")
    assert b"HTTP/1.1 201" in wire.sent
    for head in (HEAD + b"content-length: 1000\r\n", b"POST /refused HTTP/1.1\r\ncontent-length: 2\r\n"):
        connection, wire = hall.connect()
        connection.data_received(head + expect + b"\r\n")
        (answer,) = answers(bytes(wire.sent))
        assert answer.status in (413, 401)
        assert answer.headers["connection"] == "close"


@pytest.mark.parametrize(
    ("sent", "seconds", "status"),
    [
        (HEAD, HEAD_SECONDS, 408), (HEAD + b"content-length: 2\r\n\r\na", READ_SECONDS, 408), (b"", IDLE_SECONDS, None),
        (GET, IDLE_SECONDS, None), (GET + HEAD, HEAD_SECONDS, 408),
    ],
    ids=["head", "body", "silence", "idle", "second head"],
)  # fmt: skip
async def test_who_is_late_is_told(hall: Room, sent: bytes, seconds: float, status: int | None) -> None:
    """A head or a body that does not come is 408 in time; a connection that asks nothing ends without a word."""
    connection, wire = hall.connect()
    connection.data_received(sent)
    before = len(wire.sent)
    for _ in range(4):  # what trickles does not put it off
        connection.data_received(b"a" if status and b"\r\n\r\na" not in sent else b"")
        hall.pass_time(seconds / 4)
        assert not wire.ended
    hall.pass_time(MORE)
    assert [one.status for one in answers(bytes(wire.sent[before:]))] == ([status] if status else [])
    assert wire.ended


async def test_who_waits_for_an_answer_is_not_late(hall: Room) -> None:
    """A request that is being answered has no deadline here; one that has begun behind it has its own again then."""
    connection, wire = hall.connect()
    connection.data_received(LATER + b"1" + HEAD)
    hall.pass_time(1000.0)
    assert not wire.ended
    hall.asked[0].reply(Response(200, [], b""))
    await settled()
    assert len(answers(bytes(wire.sent))) == 1
    hall.pass_time(HEAD_SECONDS + MORE)
    assert [one.status for one in answers(bytes(wire.sent))] == [200, 408]


async def test_one_clients_trouble_is_its_own(hall: Room) -> None:
    """A connection that fails when its time is over is cut off, and others have their deadlines all the same."""
    connections = [hall.connect() for _ in range(2)]
    for connection, wire in connections:
        connection.data_received(HEAD)
        wire.write = broken  # type: ignore[method-assign,assignment]
    hall.pass_time(HEAD_SECONDS + MORE)
    assert [wire.aborted for _, wire in connections] == [True, True]


def broken(_: object) -> None:
    """A transport that has failed."""
    raise RuntimeError("unable to perform operation")


async def test_a_client_that_ends_its_side_is_answered(hall: Room) -> None:
    """Who sends a request and ends the sending side gets the answer, and then the end."""
    connection, wire = hall.connect()
    connection.data_received(LATER + b"1")
    assert connection.eof_received() is True
    hall.asked[0].reply(Response(200, [], b"yes"))
    assert [one.body for one in answers(bytes(wire.sent))] == [b"yes"]
    assert wire.closed
    connection, wire = hall.connect()
    assert connection.eof_received() is False
    connection, wire = hall.connect()
    connection.data_received(LATER + b"1")
    connection.data_received(GET)
    hall.asked[1].reply(Response(200, [], b"first"))
    assert connection.eof_received() is True, "a request waits"
    await settled()
    assert [one.body for one in answers(bytes(wire.sent))] == [b"first", b"root"]
    assert wire.ended


@pytest.mark.parametrize(
    "sent",
    [message(b"abc")[:-1], chunked(b"abc")[:-2], chunked(b"abc")[:-7]],
    ids=["announced", "unended", "cut"],
)
async def test_a_body_without_its_end_is_refused(hall: Room, sent: bytes) -> None:
    """A body that ends before it is whole is 400, and nobody is handed what there is of it."""
    connection, wire = hall.connect()
    connection.data_received(sent)
    connection.eof_received()
    assert [one.status for one in answers(bytes(wire.sent))] == [400]
    assert wire.ended


async def test_headers_that_are_no_text_are_not_absent(hall: Room) -> None:
    """A header of other bytes is "", a missing one None, and one that came twice is "" where one is wanted."""
    connection, _ = hall.connect()
    more = b"Authorization: \xff\r\nidempotency-key: a\r\nIDEMPOTENCY-KEY: b\r\nOrigin:  y \r\nX-Unknown: z\r\n"
    connection.data_received(LATER.replace(b"host: x\r\n", more) + b"1")
    found = hall.asked[0]
    assert (found.header("authorization"), found.header("accept"), found.header("origin")) == ("", None, "y")
    assert (found.single("idempotency-key"), found.single("origin"), found.single("accept")) == ("", "y", None)
    with pytest.raises(AssertionError):
        found.header("x-unknown")


async def test_older_clients_are_understood(hall: Room) -> None:
    """HTTP/1.0 ends with its answer, unless it asks to be kept, and is told so."""
    connection, wire = hall.connect()
    connection.data_received(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + b"GET / HTTP/1.0\r\n\r\n")
    await settled()
    assert [one.headers["connection"] for one in answers(bytes(wire.sent))] == ["keep-alive", "close"]
    assert wire.closed


async def test_the_target_may_come_in_any_form(hall: Room) -> None:
    """A target may name the host too, and be escaped; one that is no text is refused."""
    for target, status in (
        (b"http://x:80/items/a?b", 200), (b"http://x", 200), (b"/%69tems/%C3%A1", 200), (b"/items/a%2Fb", 404),
        (b"*", 404), (b"/items/\xff", 400), (b"http://[::1", 400),
    ):  # fmt: skip
        connection, wire = hall.connect()
        method = b"OPTIONS " if target == b"*" else b"GET "
        connection.data_received(method + target + b" HTTP/1.1\r\n\r\n")
        assert [one.status for one in answers(bytes(wire.sent))] == [status], target


async def test_heads_have_an_end(hall: Room) -> None:
    """A head of too many bytes, or of too many headers, is 431 and the connection's end."""
    for filler in (b"x: " + b"y" * HEAD_BYTES, b"x: y\r\n" * (HEAD_FIELDS + 1) + b"\r\n"):
        connection, wire = hall.connect()
        connection.data_received(HEAD)
        for at in range(0, len(filler), 4096):
            connection.data_received(filler[at : at + 4096])
        connection.data_received(b"y" * 20_000)
        (answer,) = answers(bytes(wire.sent))
        assert (answer.status, answer.headers["connection"]) == (431, "close")
        assert wire.half


async def test_trailers_have_an_end(hall: Room) -> None:
    """What comes behind a body in chunks is limited as a head is, in bytes and in number."""
    for filler in (b"x: " + b"y" * HEAD_BYTES, b"x: y\r\n" * (HEAD_FIELDS + 1)):
        connection, wire = hall.connect()
        connection.data_received(HEAD + b"transfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n")
        for at in range(0, len(filler), 4096):
            connection.data_received(filler[at : at + 4096])
        connection.data_received(b"y" * 20_000)
        assert [one.status for one in answers(bytes(wire.sent))] == [431]
        assert wire.half


async def test_nobody_is_upgraded(hall: Room) -> None:
    """An offer to speak something else is passed over, its body is its own, and HTTP goes on."""
    connection, wire = hall.connect()
    offer = b"connection: upgrade\r\nupgrade: h2c\r\n"
    sent = GET.replace(b"host: x\r\n", offer) * 2 + message(LATER, offer) + b"POST /none HTTP/1.1\r\n" + offer
    sent += b"content-length: %d\r\n\r\n" % len(LATER) + LATER + GET
    for piece in (sent[:200], sent[200:300], sent[300:]):
        connection.data_received(piece)
        await settled()
    found = answers(bytes(wire.sent))
    assert [one.status for one in found] == [200, 200, 201, 404, 200]
    assert found[2].body == LATER
    assert not hall.asked, "what was a body was taken for a request"


async def test_what_follows_a_connect_is_no_request(hall: Room) -> None:
    """CONNECT, and an offer whose body comes in chunks, are refused with the connection: what follows is not HTTP."""
    offer = b"connection: upgrade\r\nupgrade: h2c\r\n"
    for sent in (
        b"CONNECT x:1 HTTP/1.1\r\nhost: x\r\n\r\n", b"CONNECT x:1 HTTP/1.1\r\ncontent-length: 99\r\n\r\n",
        chunked(b"one").replace(b"host: x\r\n", offer),
    ):  # fmt: skip
        connection, wire = hall.connect()
        connection.data_received(sent + LATER + b"1")
        await settled()
        assert [one.status for one in answers(bytes(wire.sent))] == [400]
        assert wire.half
    assert not hall.asked


async def test_small_chunks_take_no_more_than_they_are(hall: Room) -> None:
    """A body in the smallest of chunks takes little more memory than it has bytes."""
    hall.limit = 2**20
    connection, wire = hall.connect()
    connection.data_received(HEAD + b"transfer-encoding: chunked\r\n\r\n")
    tracemalloc.start()
    for _ in range(100):
        connection.data_received(b"1\r\na\r\n" * 2_000)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used < 600_000
    connection.data_received(b"0\r\n\r\n")
    assert answers(bytes(wire.sent))[0].body == b"a" * 200_000


async def test_an_error_of_ours_tells_nothing(hall: Room, caplog: pytest.LogCaptureFixture) -> None:
    """What goes wrong in a call is 500 without its words, one that cannot be done now 503; the connection goes on."""
    connection, wire = hall.connect()
    for path in (b"/wrong", b"/away", b"/"):
        connection.data_received(b"GET %b HTTP/1.1\r\n\r\n" % path)
        await settled()
    wrong, away, right = answers(bytes(wire.sent))
    assert (wrong.status, away.status, right.status) == (500, 503, 200)
    assert b"secret" not in wrong.body
    assert away.headers["retry-after"]


async def test_head_has_no_body(hall: Room) -> None:
    """HEAD gets the head of what GET gets, of a stream too, and then the next request is answered."""
    connection, wire = hall.connect()
    connection.data_received(b"HEAD / HTTP/1.1\r\n\r\n")
    assert b"content-length: 4\r\n" in wire.sent
    assert wire.sent.endswith(b"\r\n\r\n")
    for path in (b"/pushed", b"/chunks"):
        connection, wire = hall.connect()
        connection.data_received(b"HEAD %b HTTP/1.1\r\n\r\n" % path)
        assert b"\r\n\r\n" in wire.sent
        assert wire.sent.endswith(b"\r\n\r\n")
        assert wire.closed
    assert not hall.sinks


async def test_a_stream_is_pushed_in_chunks(hall: Room) -> None:
    """What is pushed goes out as chunks, older clients get it as it is, and the end is told."""
    for version, parts in ((b"1.1", b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"), (b"1.0", b"onetwo")):
        connection, wire = hall.connect()
        connection.data_received(b"GET /pushed HTTP/%b\r\n\r\n" % version)
        sink = hall.sinks.pop()
        assert sink.push(b"one")
        connection.data_received(GET)  # nobody listens to that any more
        assert sink.push(b"two")
        sink.end()
        assert bytes(wire.sent).partition(b"\r\n\r\n")[2] == parts
        assert wire.closed
        assert not sink.push(b"three")


async def test_a_viewer_that_goes_is_told_of(hall: Room) -> None:
    """A stream's viewer that ends its side, or breaks, is pushed nothing more; a stop ends the stream in order."""
    connection, wire = hall.connect()
    connection.data_received(b"GET /pushed HTTP/1.1\r\n\r\n")
    assert connection.eof_received() is False
    wire.closed = True
    connection.connection_lost(None)
    assert not hall.sinks.pop().push(b"x")
    connection, wire = hall.connect()
    connection.data_received(b"GET /pushed HTTP/1.1\r\n\r\n")
    connection.finish()
    assert wire.sent.endswith(b"\r\n\r\n0\r\n\r\n")
    assert wire.closed


async def test_chunks_are_sent_as_they_come(hall: Room) -> None:
    """A stream that somebody iterates is sent to its end; one that breaks is cut; a viewer's going ends it."""
    connection, wire = hall.connect()
    connection.data_received(b"GET /chunks HTTP/1.1\r\n\r\n")
    await until(lambda: wire.closed, "its end")
    assert wire.sent.endswith(b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")
    connection, wire = hall.connect()
    connection.data_received(b"GET /broken HTTP/1.1\r\n\r\n")
    await until(lambda: wire.aborted, "its end")
    assert wire.sent.endswith(b"3\r\none\r\n")
    connection, wire = hall.connect()
    connection.data_received(b"GET /chunks HTTP/1.1\r\n\r\n")
    connection.pause_writing()
    await until(lambda: wire.sent.endswith(b"3\r\none\r\n"), "the first chunk")
    await settled()
    assert wire.sent.endswith(b"3\r\none\r\n"), "who does not read is not sent more"
    connection.connection_lost(None)
    await until(lambda: hall.closed_streams == 3, "everything was let go of")


async def test_a_client_that_has_gone_disturbs_nobody(hall: Room) -> None:
    """An answer whose client has gone is dropped, as are the requests behind it."""
    connection, wire = hall.connect()
    connection.data_received(LATER + b"1" + LATER + b"2")
    connection.connection_lost(ConnectionResetError())
    wire.aborted = True
    hall.asked[0].reply(Response(200, [], b""))
    await settled()
    assert len(hall.asked) == 1
    assert not hall.clients.all


async def test_a_stop_lets_answers_out(hall: Room) -> None:
    """At the end idle connections close, one that is being answered closes with its answer, a silent one is cut off."""
    connection, wire = hall.connect()
    connection.data_received(HEAD + b"content-length: 5\r\n\r\na")
    connection.finish()
    assert [one.status for one in answers(bytes(wire.sent))] == [503], "what is not whole is certainly not recorded"
    connection.connection_lost(None)
    idle, busy, silent = hall.connect(), hall.connect(), hall.connect()
    busy[0].data_received(LATER + b"1")
    silent[0].data_received(LATER + b"2")
    for connection, wire in (idle, busy, silent):
        wire.close = wire.abort = partial(connection.connection_lost, None)  # type: ignore[method-assign]
    ending = asyncio.create_task(hall.clients.end(0.2))
    await until(lambda: len(hall.clients.all) == 2, "the idle one has gone")
    hall.asked[0].reply(Response(200, [], b"yes"))
    (answer,) = answers(bytes(busy[1].sent))
    assert answer.headers["connection"] == "close"
    await ending
    assert not hall.clients.all


@pytest.mark.parametrize(
    "sent",
    [message(b"one"), message(b"x" * (LIMIT + 1)), GET.replace(b"/", b"/nowhere", 1), b"\x00\x01", HEAD + b"host: y"],
    ids=["answered", "too large", "nowhere", "no HTTP", "no end"],
)
async def test_a_connection_is_let_go_of(hall: Room, sent: bytes) -> None:
    """Whatever it was answered, a connection's memory is free when it ends, not when garbage is collected next."""
    connection, wire = hall.connect()
    seen = weakref.ref(wire)
    with uncollected():
        connection.data_received(sent)
        await settled()
        connection.connection_lost(None)
        await settled()
        hall.wires.clear()
        del connection, wire
        assert seen() is None
