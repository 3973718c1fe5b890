"""The gateway of a stack while its collector, Kafka or the board are away, and while it stops."""

import contextlib
import http.client
import re
import signal
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from embedded import wait_until
from stack_world import Client, Voters, World, world

__all__ = ["world"]
pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(120)]


def key() -> dict[str, str]:
    return {"idempotency-key": str(uuid.uuid4())}


def test_no_collector(world: World) -> None:
    """Without a collector a vote is answered 503 with Retry-After, and is certainly not recorded."""
    contest, headers = world.contest(), key()
    world.rooms["collector"].stop()
    answer = world.vote(contest, headers)
    assert (answer.status, answer.headers["content-type"]) == (503, "application/problem+json")
    assert int(answer.headers["retry-after"]) > 0
    assert world.get("/readyz").status == 503
    world.start_rooms("collector")
    wait_until(world.is_ready, "the gateway's connection", 10)
    assert world.vote(contest).status == 201
    world.wait_rest()
    world.wait_total(contest, 1)


def test_lost_answer(world: World) -> None:
    """A vote whose answer is lost after sending is answered 504 with its id, and counts once when it is sent again."""
    contest, headers = world.contest(), key()
    assert world.vote(contest).status == 201
    world.rooms["collector"].send(signal.SIGSTOP)
    try:
        answer = world.vote(contest, headers)
        assert answer.status == 504, answer
    finally:
        world.rooms["collector"].send(signal.SIGCONT)
    wait_until(lambda: world.vote(contest, headers).status == 201, "the vote's receipt")
    assert world.vote(contest, headers).json["id"] == answer.json["id"]
    world.wait_rest()
    world.wait_total(contest, 2)


def test_kafka_killed(world: World) -> None:
    """When Kafka dies, votes are soon answered 503, and taken again within ten seconds of its return."""
    contest = world.contest()
    with Voters(world, contest) as voters:
        voters.more()
        world.stack.kafka.kill()
        died = time.monotonic()
        wait_until(lambda: world.vote(contest).status == 503, "a 503", 10)
        assert time.monotonic() - died < 2 + 3.5, "the vote under way at the death may take its three seconds"
        began = time.monotonic()
        assert world.vote(contest).status == 503
        assert time.monotonic() - began < 2
        world.stack.kafka.start(60)
        voters.more(1, 10)
    world.wait_rest()
    assert set(voters.recorded) <= recorded(world, contest, len(voters.recorded))


def recorded(world: World, contest: str, least: int) -> set[str]:
    """The ids that are archived for a contest, read from MongoDB through the board's call for one vote."""
    assert world.total(contest) >= least
    reader = world.archive_ids(contest)
    assert len(reader) == world.total(contest)
    return reader


@pytest.mark.parametrize("room", ["gateway", "collector"])
def test_graceful_stop_under_load(world: World, room: str) -> None:
    """A room that is stopped under load answers what is in flight: whatever was acknowledged is counted."""
    contest = world.contest()
    with Voters(world, contest, voters=16) as voters:
        voters.more(50)
        began = time.monotonic()
        world.rooms[room].stop()
        assert time.monotonic() - began < 10
        world.start_rooms(room)
        voters.more(50)
    assert 504 not in voters.statuses
    world.wait_rest()
    assert set(voters.recorded) <= recorded(world, contest, len(voters.recorded))


def test_front(world: World) -> None:
    """Pages, files, results and streams are the same through the gateway's port as from the board itself."""
    contest = world.contest()
    vote_id = world.vote(contest).json["id"]
    world.wait_rest()
    board = Client(world.stack.ports["board"])
    static = sorted(set(re.findall(r'(?:src|href)="(/[^"]+\.(?:js|css|svg|woff2|png))', world.get("/").body.decode())))
    assert static
    paths = [
        "/", "/?lang=en", "/vote", "/records", "/docs", "/openapi.json", "/nothing/here", *static,
        f"/v1/contests/{contest}/records?limit=3", f"/v1/votes/{vote_id}", f"/v1/votes/{uuid.uuid4()}",
        f"/v1/contests/{contest}/records?limit=1000", "/v1/contests/none/standings", "/latest-records",
    ]  # fmt: skip
    for path in paths:
        ours, theirs = world.get(path), board.get(path)
        assert ours.status == theirs.status, path
        assert stable(ours.body) == stable(theirs.body), path
        hidden = {"date", "x-request-id", "content-length", "server", "transfer-encoding"}
        assert {n: v for n, v in ours.headers.items() if n not in hidden} == {
            n: v for n, v in theirs.headers.items() if n not in hidden
        }, path
    ours, theirs = world.standings(contest), board.standings(contest)
    assert {**ours, "as_of": 0} == {**theirs, "as_of": 0}
    assert ours["total"] == 1
    spanish = {"accept-language": "es"}
    assert (
        world.get("/", spanish).body == board.get("/", spanish).body != world.get("/", {"accept-language": "en"}).body
    )


def stable(body: bytes) -> bytes:
    """A body without what differs from answer to answer."""
    return re.sub(rb'nonce[="-]+[\w+/=-]+|"request_id":\s*"[^"]*"|"instance":\s*"[^"]*"', b"", body)


@contextlib.contextmanager
def streaming(client: Client, contest: str) -> Iterator[Any]:
    """A stream of standings."""
    connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=20)
    with contextlib.closing(connection):
        connection.request("GET", f"/v1/contests/{contest}/standings/stream")
        with connection.getresponse() as answer:
            assert answer.status == 200
            assert (answer.getheader("content-type") or "").startswith("text/event-stream")
            yield answer


def next_event(answer: Any) -> str:
    lines = []
    while (line := answer.readline().decode()) != "":
        lines.append(line)
        if line == "\n" and any(one.startswith("data:") for one in lines):
            return "".join(lines)
    return ""


def test_front_without_a_board(world: World) -> None:
    """A stream through the gateway follows the votes and ends with the board; pages are 503 until it is back."""
    contest = world.contest()
    with streaming(world, contest) as stream:
        first = next_event(stream)
        assert "event: standings" in first
        assert '"total":0' in first.replace(" ", "")
        assert world.vote(contest).status == 201
        assert '"total":1' in next_event(stream).replace(" ", "")
        world.rooms["board"].kill()
        assert not next_event(stream)
    answer = world.get("/")
    assert (answer.status, answer.headers["content-type"]) == (503, "application/problem+json")
    assert int(answer.headers["retry-after"]) > 0
    assert world.vote(contest).status == 201
    world.start_rooms("board")
    world.wait_total(contest, 2)
    with streaming(world, contest) as stream:
        assert '"total":2' in next_event(stream).replace(" ", "")
