"""Names are text everywhere, traffic is counted to the last vote, and nothing personal is in the logs."""

import http.client
import json
import re
import sqlite3
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from embedded import JSON, VOTE, Up, aplauso, wait_until

LOAD = Path(__file__).parents[2] / "load"
HOSTILE = [
    "<script>alert(1)</script>", "\u202egnp.exe", "\u200f\u200f", "=1+1", "@SUM(A1)", "\x1b[2J\x1b]0;title\x07",
    "\x9b31m", "{{ 7*7 }}", "a\r\nSet-Cookie: x=1", "\ndata: x\n\n", '"},{"name":"', "[red]x[/red]", "\x00\x7f\u2028",
]  # fmt: skip
HARMFUL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def test_hostile_names_are_shown_as_they_are(up: Up) -> None:
    """Scripts, directions, formulas and terminal escapes come back as the text that they are, from every call."""
    for name in HOSTILE:
        assert up.vote(name=name, album=name).status == 201
    names = {name.strip() for name in HOSTILE}
    shown = up.wait_total(len(HOSTILE))
    assert {line["name"] for line in shown["standings"]} == names
    assert {line["albums"][0]["album"] for line in shown["standings"]} == names
    wait_until(lambda: len(up.get("/latest-records").json) == len(HOSTILE), "the archive")
    assert {record["name"] for record in up.get("/latest-records").json} == names
    connection = http.client.HTTPConnection("127.0.0.1", up.port, timeout=30)
    connection.request("GET", "/v1/contests/bandas-gt/standings/stream")
    response = connection.getresponse()
    event, data, end = (response.readline() for _ in range(3))
    connection.close()
    assert (event, end) == (b"event: standings\n", b"\n")
    assert {line["name"] for line in json.loads(data.removeprefix(b"data: "))["standings"]} == names
    for sample in up.get("/metrics").body.decode().split("\n"):
        assert not sample or sample.startswith(("#", "aplauso_")), sample
    for path in ("/", "/records", "/vote"):
        assert b"<script>alert(1)" not in up.get(path).body


def test_commands_obey_no_name(up: Up) -> None:
    """A recount of tampered standings shows hostile names with their control characters written out."""
    for name in HOSTILE:
        assert up.vote(name=name).status == 201
    up.wait_total(len(HOSTILE))
    connection = sqlite3.connect(up.data / "standings.db", timeout=20)
    with connection:
        connection.execute("UPDATE bands SET votes = 9")
    connection.close()
    ended = aplauso("recount", "--data", up.data)
    assert ended.code == 1
    assert "alert(1)" in ended.err
    assert not HARMFUL.search(ended.out + ended.err)
    ended = aplauso("recount", "--json", "--data", up.data)
    assert ended.code == 1
    assert json.loads(ended.out)["differing"] >= len(HOSTILE)
    assert "\x1b" not in ended.out


def test_nothing_personal_is_logged(launch: Callable[..., Up]) -> None:
    """Names, albums, keys, addresses and headers are never in the logs, whatever goes wrong."""
    up = launch(environment={"APLAUSO_LOG_LEVEL": "debug"}).start()
    secret, key = f"Secreta{uuid.uuid4().hex}", f"key{uuid.uuid4().hex}"
    headers = {"idempotency-key": key, "user-agent": secret, "cookie": secret, "x-forwarded-for": "203.0.113.77"}
    for vote in (VOTE, {"rank": 99}, {"year": secret}, {"name": [secret]}):
        up.vote(headers, **{"name": secret, "album": secret, **vote})
    up.call("POST", "/insert", f"{secret} {{".encode(), JSON | headers)
    up.call("POST", "/insert", b"{}", JSON | {"authorization": f"Bearer {secret}"})
    up.batch(f'{{"name":"{secret}"}}\n{secret}\n'.encode(), idempotency_key=key)
    up.get(f"/v1/contests/bandas-gt/records?limit={secret}")
    with up.socket() as connection:
        connection.sendall(b"POST /insert HTTP/1.1\r\nhost: x\r\ncontent-length: 900\r\n\r\n" + secret.encode())
    assert up.vote().status == 201
    assert up.stop() == 0
    for line in up.log().splitlines():
        assert json.loads(line)["event"]
    for personal in (secret, key, "203.0.113.77"):
        assert personal not in up.log()
    assert not re.search(rf"127\.0\.0\.1:(?!{up.port}\b)\d+", up.log())


def test_log_lines_carry_the_request(launch: Callable[..., Up]) -> None:
    """What goes wrong is logged with the id that the client got, and a hostile path is written harmlessly."""
    up = launch(environment={"APLAUSO_LOG_FORMAT": "console", "APLAUSO_LOG_LEVEL": "debug"}).start()
    with up.socket() as connection:
        head = b"POST /insert HTTP/1.1\r\nhost: x\r\nx-request-id: the-id-of-mine\r\ncontent-length: 900\r\n\r\n{"
        connection.sendall(head)
    wait_until(lambda: "the-id-of-mine" in up.log(), "the line")
    up.get("/%1b%5b2J%0afalse/%E2%80%AE")
    up.call("POST", "/v1/contests/%1b%5b2J/votes", VOTE)
    assert up.stop() == 0
    assert not HARMFUL.search(up.log())


@pytest.mark.slow
def test_the_traffic_file_is_counted_to_the_last_vote(up: Up, tmp_path: Path) -> None:
    """`load` of the traffic file gives exactly the standings that were counted by other means, and recount agrees."""
    expected = json.loads((LOAD / "expected-standings.json").read_text("utf-8"))
    journal = tmp_path / "journal"
    ended = aplauso("load", LOAD / "traffic.json", "--url", f"http://127.0.0.1:{up.port}", "--journal", journal)
    assert ended.code == 0, ended
    shown = up.wait_total(expected["total"])
    shown.pop("as_of")
    assert shown == {name: expected[name] for name in ("contest", "total", "standings")}
    wait_until(lambda: up.recount()["archived"] == expected["total"], "the archive")
    assert up.recount()["totals"] == {"bandas-gt": expected["total"]}
    assert len(journal.read_text("utf-8").splitlines()) >= expected["total"]


def test_vote_prints_a_receipt(up: Up) -> None:
    """`vote` casts a vote and prints the receipt under which it is found."""
    url = f"http://127.0.0.1:{up.port}"
    ended = aplauso("vote", "Alux Nahual", "Conquista", "--year", "1981", "--rank", "10", "--url", url)
    assert ended.code == 0, ended
    assert up.find(json.loads(ended.out)["id"])["album"] == "Conquista"
    ended = aplauso("vote", "Alux Nahual", "Conquista", "--year", "1981", "--rank", "11", "--url", url)
    assert ended.code == 1
    assert "rank" in ended.err


def test_the_demo_casts_votes(launch: Callable[..., Up]) -> None:
    """`up --demo` casts votes by itself, and what it cast is counted as any other."""
    up = launch(options=("--demo",)).start()
    wait_until(lambda: up.standings()["total"] >= 5, "votes of the demo")
    assert up.stop() == 0
    assert aplauso("recount", "--data", up.data).code == 0
