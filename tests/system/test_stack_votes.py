"""Votes through the whole stack: who sends them, what they are told, and what strangers write beside them."""

import base64
import json
import os
import time
import uuid
from typing import Any

import grpc
import msgspec
import pytest

from aplauso.adapters.kafka.config import KafkaSettings
from aplauso.domain.record import encode, partition_of
from aplauso.domain.vote import Vote, id_from_key, id_from_place
from aplauso.v1 import confproto_pb2 as older
from embedded import wait_until
from stack_world import DEFAULT, PARTITIONS, Client, World, world

__all__ = ["world"]
pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(120)]


def make_vote(contest: str, **fields: Any) -> Vote:
    """A vote as the gateway would have made it."""
    key = uuid.uuid4().hex
    vote = Vote(
        id_from_key(contest, key), contest, "Marimba", "Sub", 1999, 7, int(time.time() * 1000), "marimba", "sub"
    )
    return msgspec.structs.replace(vote, **fields)


def home_of(vote: Vote) -> int:
    return partition_of(vote.id.encode(), PARTITIONS)


def test_older_client(world: World) -> None:
    """An older client gets the older reply from the collector's port, and its vote counts in the default contest."""
    before = world.total(DEFAULT)
    with grpc.insecure_channel(f"127.0.0.1:{world.stack.ports['collector']}") as channel:
        call: Any = channel.unary_unary(
            "/confproto.getInfo/returnInfo", older.requestId.SerializeToString, older.replyInfo.FromString
        )
        reply = call(older.requestId(name="Alux Nahual", album="Alto al Fuego", year="1987", rank="9"), timeout=5)
    assert reply.info == "Información enviada con éxito"
    world.wait_total(DEFAULT, before + 1)


def test_one_key_through_two_gateways(world: World) -> None:
    """One key sent through two gateways, all rooms restarted in between, is one vote with equal receipts."""
    contest, headers = world.contest(), {"idempotency-key": str(uuid.uuid4())}
    first = world.vote(contest, headers)
    world.restart(*world.rooms)
    second, port = world.room("gateway", "gateway-2")
    try:
        second.start()
        again = Client(port).vote(contest, headers)
    finally:
        second.stop()
    assert first.status == again.status == 201
    assert first.json == again.json
    world.wait_rest()
    world.wait_total(contest, 1)
    assert len(world.get(f"/v1/contests/{contest}/records").json["records"]) == 1


def rejections(world: World, contest: str) -> dict[str, dict[str, Any]]:
    """The open rejections whose bytes name a contest, by place."""
    ended = world.aplauso("rejected", "list", "--json")
    assert ended.code == 0, ended
    found = json.loads(ended.out)
    named = {f"{one['partition']}:{one['offset']}": one for one in found if contest.encode() in _value(one)}
    assert len(named) == sum(contest.encode() in _value(one) for one in found), "one is listed twice"
    return named


def wait_for_rejections(world: World, contest: str, number: int) -> None:
    """Waits until a contest has so many; where they do not come, what the tally said of it is told."""
    try:
        wait_until(lambda: len(rejections(world, contest)) == number, f"{number} rejections", 75)
    except AssertionError as error:
        kept = sorted(one["reason"] for one in rejections(world, contest).values())
        raise AssertionError(f"{error}: {kept}; the tally's log:\n{world.rooms['tally'].tail(30)}") from None


def _value(rejection: dict[str, Any]) -> bytes:
    return base64.b64decode(rejection["value"] or "") + base64.b64decode(rejection["key"] or "")


def test_foreign_records(world: World) -> None:
    """Whatever strangers write to the topic is rejected once, with its reason, and counting goes on."""
    contest = world.contest()
    mark = contest.encode()
    foreign, lost, fine = make_vote(contest), make_vote(contest), make_vote(contest)
    size = KafkaSettings("").max_bytes - 200
    world.produce((0, mark + b"-garbage", b"\xff\xfe" + os.urandom(40)), max_bytes=size + 1000)
    world.produce((1, b"another-key", encode(foreign)))
    world.produce(((home_of(lost) + 1) % PARTITIONS, lost.id.encode(), encode(lost)))
    world.produce((2, mark + b"-large", os.urandom(size)), max_bytes=size + 1000)
    world.produce((3, mark + b"-null", None))
    world.produce((home_of(fine), None, encode(fine)))
    world.produce((4, mark + b"-bad", encode(make_vote(contest, rank=5000))))
    rank = make_vote(contest, rank=5000)
    world.produce((home_of(rank), rank.id.encode(), encode(rank)))
    assert world.vote(contest).status == 201
    world.wait_total(contest, 1)
    world.wait_rest()
    reasons = sorted(one["reason"] for one in rejections(world, contest).values())
    assert reasons == ["bad-number", *["unreadable"] * 3, *["wrong-key"] * 3, "wrong-partition"]
    world.restart("tally", "archive")
    world.wait_rest()
    assert len(rejections(world, contest)) == 8


def test_rejected_retry(world: World) -> None:
    """A rejected record whose vote can be read is put back once; the others stay, and say why."""
    contest = world.contest()
    votes = [make_vote(contest) for _ in range(3)]
    for vote in votes:
        world.produce((0, b"wrong", encode(vote)))
    world.produce((0, contest.encode(), b"\xff\xff"), (0, b"wrong", encode(make_vote(contest, rank=99))))
    wait_for_rejections(world, contest, 5)
    found = rejections(world, contest)
    readable = [place for place, one in found.items() if any(vote.id.encode() in _value(one) for vote in votes)]
    retried = world.aplauso("rejected", "retry", readable[0])
    assert retried.code == 0, retried
    rejection = found[readable[0]]
    vote_id = id_from_place(rejection["topic"], rejection["partition"], rejection["offset"])
    assert vote_id in retried.out
    world.wait_total(contest, 1)
    wait_until(lambda: world.get(f"/v1/votes/{vote_id}").status == 200, "the vote in the archive")
    archived = world.get(f"/v1/votes/{vote_id}").json
    assert archived["name"] == "Marimba"
    again = world.aplauso("rejected", "retry", readable[0])
    assert again.code == 1
    assert "no rejected record at" in again.err
    every = world.aplauso("rejected", "retry", *[place for place in found if place != readable[0]])
    assert every.code == 1
    assert "2 rejected records retried, 2 stay as they are" in every.out
    assert "not an aplauso.v1.Vote" in every.out
    assert "its contest does not take it" in every.out
    world.wait_total(contest, 3)
    left = rejections(world, contest)
    assert len(left) == 2
    assert world.aplauso("rejected", "drop", *left).code == 0
    assert not rejections(world, contest)
    world.wait_rest()
    world.wait_total(contest, 3)
