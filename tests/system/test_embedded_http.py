"""Every HTTP call of one running system: status, shape and headers, as clients rely on them."""

import json
import re
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from embedded import JSON, NDJSON, VOTE, Answer, Up, exchange, wait_until, write_contest

ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[78][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
VOTES = "/v1/contests/bandas-gt/votes"
LINE = json.dumps(VOTE).encode()


def unique(name: str = "Banda") -> str:
    """A band of the test's own."""
    return f"{name} {uuid.uuid4()}"


def check_problem(answer: Answer, status: int, *fields: str) -> Any:
    """A problem document (RFC 9457) with its status, and exactly these fields at fault."""
    assert answer.status == status, answer
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json
    assert problem["status"] == status
    assert problem["type"].startswith("urn:aplauso:problem:")
    assert problem["title"]
    assert problem["detail"]
    assert [error["field"] for error in problem.get("errors", [])] == list(fields)
    assert all(error["message"] for error in problem.get("errors", []))
    assert answer.headers["x-request-id"] in problem["instance"]
    return problem


def check_receipt(answer: Answer, contest: str = "bandas-gt") -> str:
    """A receipt, and its id."""
    assert answer.status == 201, answer
    assert answer.headers["content-type"] == "application/json"
    receipt = answer.json
    assert ID.fullmatch(receipt["id"])
    assert receipt == {"id": receipt["id"], "contest": contest, "status": "recorded"}
    return str(receipt["id"])


@pytest.mark.parametrize("path", ["/insert", VOTES])
def test_a_vote_is_answered_with_its_receipt(shared: Up, path: str) -> None:
    """A vote gets 201 with its id, and stands in the archive under it, with its place in the log."""
    name = unique()
    vote_id = check_receipt(shared.call("POST", path, VOTE | {"name": f"  {name}  ", "year": "1988", "rank": "09"}))
    found = shared.find(vote_id)
    assert INSTANT.fullmatch(found.pop("cast_at"))
    assert found.pop("offset") >= 0
    expected = VOTE | {"id": vote_id, "contest": "bandas-gt", "name": name, "year": 1988, "rank": 9, "partition": 0}
    assert found == expected


def test_standings_show_a_band_with_its_albums(shared: Up) -> None:
    """Spellings that differ in case, spaces or Unicode form are one band, and equal votes share a place."""
    name = unique("Bohemia é")
    spellings = (name, name.upper(), name.replace(" ", "   "), name.replace("é", "e\u0301"))
    votes = [(spellings[at % 4], ("Sub", "sub", "Otro")[at % 3], at + 1) for at in range(4)]
    for spelling, album, rank in votes:
        check_receipt(shared.vote(name=spelling, album=album, rank=rank))
    other = unique("Bohemia")
    for _ in range(4):
        check_receipt(shared.vote(name=other))

    def shown() -> dict[str, Any]:
        return {line["name"]: line for line in shared.standings()["standings"]}

    wait_until(lambda: {name, other} <= shown().keys() and shown()[other]["votes"] == 4, "both bands")
    line = shown()[name]
    assert (line["votes"], line["rank_mean"]) == (4, 2.5)
    assert line["albums"] == [{"album": "Sub", "votes": 3}, {"album": "Otro", "votes": 1}]
    assert shown()[other]["place"] == line["place"]
    frame = shared.standings()
    assert list(frame) == ["contest", "total", "standings", "as_of"]
    assert INSTANT.fullmatch(frame["as_of"])
    assert frame["total"] == sum(line["votes"] for line in frame["standings"])
    assert [line["votes"] for line in frame["standings"]] == sorted(
        (line["votes"] for line in frame["standings"]), reverse=True
    )


def test_contests_are_described(shared: Up) -> None:
    """The contests are listed with their titles, window, scale and bands, and each can be asked for."""
    answer = shared.get("/v1/contests")
    (contest,) = answer.json["contests"]
    assert answer.headers["content-type"] == "application/json"
    assert {"id", "title", "opens", "closes", "rank", "bands"} <= contest.keys()
    assert contest["rank"] == {"min": 1, "max": 10}
    assert contest["bands"][0].keys() == {"name", "albums"}
    assert shared.get("/v1/contests/bandas-gt").json == contest
    for path in ("", "/standings", "/standings/stream", "/records"):
        check_problem(shared.get("/v1/contests/none" + path), 404)
    check_problem(shared.call("POST", "/v1/contests/none/votes", VOTE), 404)


def test_records_are_newest_first(shared: Up) -> None:
    """Records come newest first, 20 or as many as asked for, and the older address gives them as a bare array."""
    last = ""
    for _ in range(25):
        last = check_receipt(shared.vote(name=unique()))
    shared.find(last)
    records = shared.get("/v1/contests/bandas-gt/records").json
    assert records.keys() == {"contest", "records"}
    assert len(records["records"]) == 20
    assert records["records"][0].keys() == {"id", "name", "album", "year", "rank", "cast_at"}
    assert records["records"][0]["id"] == last
    stamps = [record["cast_at"] for record in records["records"]]
    assert stamps == sorted(stamps, reverse=True)
    assert shared.get("/latest-records").json == records["records"]
    assert len(shared.get("/v1/contests/bandas-gt/records?limit=3").json["records"]) == 3
    for wrong in ("0", "101", "-1", "x", "1.5", "", "١", "9" * 30):
        check_problem(shared.get(f"/v1/contests/bandas-gt/records?limit={quote(wrong)}"), 422, "limit")


def test_unknown_votes_are_404(shared: Up) -> None:
    """What is no id, and an id that nobody has, are answered 404; an id in capitals is the same id."""
    vote_id = check_receipt(shared.vote())
    shared.find(vote_id)
    assert shared.get(f"/v1/votes/{vote_id.upper()}").json["id"] == vote_id
    for unknown in (str(uuid.uuid4()), "x", "..", "%00", "a" * 5000, vote_id + "0"):
        check_problem(shared.get(f"/v1/votes/{unknown}"), 404)


def test_health_and_metrics_are_answered(shared: Up) -> None:
    """It is alive, ready, and tells in Prometheus' format what it has recorded and refused."""
    assert shared.get("/healthz").status == 200
    assert shared.get("/readyz").status == 200
    check_receipt(shared.vote())
    check_problem(shared.vote(rank=11), 422, "rank")
    answer = shared.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    text = answer.body.decode()
    for sample in (
        'aplauso_votes_recorded_total{contest="bandas-gt"}', 'aplauso_votes_refused_total{reason="invalid"}',
        'aplauso_votes_counted_total{contest="bandas-gt"}', 'aplauso_projection_lag_votes{partition="0",',
        "aplauso_vote_recorded_seconds_bucket", "aplauso_vote_counted_seconds_count", "aplauso_standing_votes{",
    ):  # fmt: skip
        assert sample in text, sample
    assert "votes_repeated_total" in text
    assert "votes_rejected_total" in text


def test_pages_and_documents_are_served(shared: Up) -> None:
    """The pages come as HTML with a strict policy, the description of the API as JSON."""
    for path in ("/", "/vote", "/records", "/docs"):
        answer = shared.get(path)
        assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert "default-src 'none'" in answer.headers["content-security-policy"] or path == "/docs"
    assert shared.get("/openapi.json").json["openapi"].startswith("3.1")
    for path in (
        "/nothing",
        "/static/nothing.js",
        "/static/..%2fapp.py",
        "/static/../app.py",
        "//",
        "/v1",
        "/V1/contests",
    ):
        check_problem(shared.get(path), 404)


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        ({"name": 1}, ["name"]),
        ({"name": ""}, ["name"]),
        ({"name": " \t\u3000"}, ["name"]),
        ({"name": "x" * 201}, ["name"]),
        ({"name": None}, ["name"]),
        ({"album": ["x"]}, ["album"]),
        ({"album": "x" * 201}, ["album"]),
        ({"year": 1899}, ["year"]),
        ({"year": 2101}, ["year"]),
        ({"year": "MCMXC"}, ["year"]),
        ({"year": 1990.5}, ["year"]),
        ({"year": True}, ["year"]),
        ({"year": " 1990"}, ["year"]),
        ({"year": "+1990"}, ["year"]),
        ({"year": "١٩٩٠"}, ["year"]),
        ({"year": "9" * 400}, ["year"]),
        ({"year": 10**30}, ["year"]),
        ({"rank": 0}, ["rank"]),
        ({"rank": 11}, ["rank"]),
        ({"rank": -1}, ["rank"]),
        ({"rank": "1e1"}, ["rank"]),
        ({"rank": -(10**400)}, ["rank"]),
        ({"rank": {}}, ["rank"]),
        ({"name": "", "album": "", "year": 1, "rank": 99}, ["name", "album", "year", "rank"]),
        ({"name": 1, "album": 1, "year": None, "rank": None}, ["name", "album", "year", "rank"]),
    ],
)
def test_each_wrong_field_is_named(shared: Up, change: dict[str, Any], fields: list[str]) -> None:
    """Every field at fault is named in one answer, 422, and nothing is recorded."""
    before = recorded(shared)
    check_problem(shared.vote(**change), 422, *fields)
    assert recorded(shared) == before


def recorded(up: Up) -> float:
    """Votes that the log has acknowledged, as the metrics say."""
    found = re.search(r'aplauso_votes_recorded_total\{contest="bandas-gt"\} (\S+)', up.get("/metrics").body.decode())
    return float(found[1]) if found else 0.0


def test_missing_fields_are_named(shared: Up) -> None:
    """A ballot without fields is 422 and names them all; fields that nobody knows are passed over."""
    check_problem(shared.call("POST", "/insert", {}), 422, "name", "album", "year", "rank")
    check_problem(shared.call("POST", "/insert", b"[]", JSON), 422, "")
    check_receipt(shared.vote(comment="mine", id="1", contest="x", cast_at=0))


@pytest.mark.parametrize(
    "body", [b"", b"{", b"nonsense", LINE + b"x", LINE + LINE, b'{"name": "\xff"}', b"\xef\xbb\xbf" + LINE, b"[" * 9000]
)
def test_what_is_not_json_is_400(shared: Up, body: bytes) -> None:
    """A body that is not JSON is answered 400."""
    check_problem(shared.call("POST", "/insert", body, JSON), 400)


def test_the_media_type_decides(shared: Up) -> None:
    """Another media type is 415 and says what would be right; parameters and capitals do not matter."""
    for path in ("/insert", VOTES):
        for kind in ("text/plain", "application/x-www-form-urlencoded", "application/jsonp", "", "\xe9", "json"):
            answer = shared.call("POST", path, LINE, {"content-type": kind})
            check_problem(answer, 415)
            assert answer.headers["accept-post"] == "application/json, application/x-ndjson"
    check_problem(shared.call("POST", "/insert", LINE, NDJSON), 415)
    check_receipt(shared.call("POST", "/insert", LINE, {"content-type": "Application/JSON; charset=utf-8"}))


@pytest.mark.parametrize("token", ["Bearer x", "Basic eDp5", "", "\xe9"])
def test_authorization_is_never_ignored(shared: Up, token: str) -> None:
    """An Authorization header is answered 401, on a vote and on a batch, whatever it holds."""
    before = recorded(shared)
    for path, kind in (("/insert", JSON), (VOTES, JSON), (VOTES, NDJSON)):
        answer = shared.call("POST", path, LINE, {**kind, "authorization": token})
        check_problem(answer, 401)
        assert answer.headers["www-authenticate"] == "Bearer"
    assert recorded(shared) == before


def test_other_methods_are_405(shared: Up) -> None:
    """A method that a call does not have is 405, and Allow names those that it has."""
    for path, allowed in (("/insert", "POST"), (VOTES, "POST"), ("/v1/contests", "GET, HEAD"), ("/", "GET, HEAD")):
        for method in ("DELETE", "PUT", "PATCH", "POST" if "GET" in allowed else "GET"):
            answer = shared.call(method, path)
            check_problem(answer, 405)
            assert answer.headers["allow"] == allowed


def test_what_is_not_http_is_400(shared: Up) -> None:
    """A method that HTTP does not have, and bytes that are no request, are answered 400 with a problem document."""
    for path in ("/insert", VOTES, "/none"):
        check_problem(shared.call("BREW", path), 400)
    for message in (b"\x16\x03\x01\x02\x00", b"GET / HTTP/1.1\r\nno colon\r\n\r\n", b"nonsense\r\n\r\n"):
        answer = exchange(shared, message)
        assert answer.startswith(b"HTTP/1.1 400")
        assert b"urn:aplauso:problem:malformed" in answer


def test_head_answers_as_get_without_a_body(shared: Up) -> None:
    """HEAD gives GET's status and headers, and no body."""
    for path in ("/", "/v1/contests", "/v1/contests/bandas-gt", "/healthz", "/readyz", "/openapi.json", "/none"):
        head, get = shared.call("HEAD", path), shared.get(path)
        assert (head.status, head.body) == (get.status, b"")
        assert head.headers["content-type"] == get.headers["content-type"]
        if path != "/none":  # its document holds the request's id
            assert head.headers["content-length"] == get.headers["content-length"]
    check_problem_less = shared.call("HEAD", "/insert")
    assert (check_problem_less.status, check_problem_less.body) == (405, b"")


def test_head_of_a_stream_ends(shared: Up) -> None:
    """HEAD of the stream is answered at once and ends."""
    answer = shared.call("HEAD", "/v1/contests/bandas-gt/standings/stream")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["content-type"] == "text/event-stream"


def test_allowed_origins_may_vote(shared: Up) -> None:
    """Pages of an allowed origin may vote from the browser, others may not."""
    asked = {"origin": "https://a.example", "access-control-request-method": "POST"}
    answer = shared.call("OPTIONS", VOTES, None, asked)
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == "https://a.example"
    assert answer.headers["access-control-allow-methods"] == "POST"
    assert "idempotency-key" in answer.headers["access-control-allow-headers"]
    assert "origin" in answer.headers["vary"].lower()
    for answer in (
        shared.vote({"origin": "https://a.example"}),
        shared.vote({"origin": "https://a.example"}, rank=99),
        shared.call("POST", "/insert", b"x", {**JSON, "origin": "https://a.example"}),
    ):
        assert answer.headers["access-control-allow-origin"] == "https://a.example"
        assert "x-request-id" in answer.headers["access-control-expose-headers"]
    for origin in ("https://b.example", "null", "https://a.example.b.example", "\xe9"):
        answer = shared.call("OPTIONS", VOTES, None, asked | {"origin": origin})
        assert "access-control-allow-origin" not in answer.headers
        assert "access-control-allow-origin" not in shared.vote({"origin": origin}).headers


def test_request_ids_are_echoed(shared: Up) -> None:
    """A request id that is well formed comes back; another one, or none, is replaced by a new one."""
    for answer in (shared.vote({"x-request-id": "Abc.1_2-3"}), shared.get("/none", x_request_id="Abc.1_2-3")):
        assert answer.headers["x-request-id"] == "Abc.1_2-3"
    seen = set()
    for given in ("a b", "x" * 65, "<script>", "\xe9", ""):
        answer = shared.vote({"x-request-id": given})
        assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", answer.headers["x-request-id"])
        seen |= {given, answer.headers["x-request-id"]}
    assert len(seen) == 10
    for path in ("/", "/v1/contests", "/metrics", "/healthz", "/openapi.json", "/static/aplauso.css"):
        assert shared.get(path, x_request_id="mine").headers["x-request-id"] == "mine", path


def test_large_bodies_are_413(shared: Up) -> None:
    """A vote of more than 16 KiB and a batch of more than 4 MiB are 413, announced or in chunks; less is read."""
    padded = LINE + b" " * (16 * 1024 - len(LINE))
    check_receipt(shared.call("POST", "/insert", padded, JSON))
    check_problem(shared.call("POST", "/insert", padded + b" ", JSON), 413)
    chunked = (
        b"POST /insert HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n"
        b"transfer-encoding: chunked\r\n\r\n"
    )
    chunk = b"4000\r\n" + padded + b"\r\n"
    assert b" 201 " in exchange_one(shared, chunked + chunk + b"0\r\n\r\n")
    assert exchange(shared, chunked + chunk + b"1\r\n \r\n0\r\n\r\n").startswith(b"HTTP/1.1 413")
    lines = (LINE + b"\n") * 5
    full = lines + b" " * (4 * 1024 * 1024 - len(lines))
    assert shared.batch(full).json["recorded"] == 5
    check_problem(shared.batch(full + b" "), 413)


def test_a_refusal_reaches_a_client_that_sends_on(shared: Up) -> None:
    """A client that sends its whole body before it reads gets its refusal, and may go on with the connection."""
    big = b"x" * 10_000_000
    for path, headers, status in (
        ("/insert", JSON, 413), (VOTES, NDJSON, 413), ("/none", JSON, 404), ("/v1/contests", JSON, 405),
        ("/insert", JSON | {"authorization": "Bearer x"}, 401), ("/insert", {"content-type": "text/plain"}, 415),
    ):  # fmt: skip
        check_problem(shared.call("POST", path, big, headers), status)
    message = b"POST /none HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n" + b"x" * 100_000
    answer = exchange(shared, message + b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 404")
    assert b"HTTP/1.1 200 OK" in answer
    endless = (
        b"POST /insert HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 99999999999\r\n\r\n"
    )
    assert exchange(shared, endless).startswith(b"HTTP/1.1 413")


def exchange_one(up: Up, message: bytes) -> bytes:
    """The beginning of an answer on a connection that stays open."""
    with up.socket() as connection:
        connection.sendall(message)
        return connection.recv(65536)


def test_a_batch_takes_ten_thousand_lines(shared: Up) -> None:
    """A batch of 10,000 lines is recorded, one of 10,001 is 413 and nothing of it is."""
    line = b'{"name":"Mil","album":"a","year":1990,"rank":1}\n'
    answer = shared.batch(line * 10_000)
    assert answer.json == {"recorded": 10_000, "rejected": [], "undecided": []}
    before = recorded(shared)
    check_problem(shared.batch(line * 10_001), 413)
    assert recorded(shared) == before


def test_a_batch_answers_for_each_line(shared: Up) -> None:
    """Lines that are wrong are named by their number, from 1, and the others are recorded; empty lines are nothing."""
    lines = [
        LINE,
        b"",
        b"nonsense",
        json.dumps(VOTE | {"rank": 11}).encode(),
        LINE + b"\r",
        b"   ",
        b'{"name":"\xff"}',
        LINE,
    ]
    answer = shared.batch(b"\n".join(lines))
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json["recorded"] == 3
    assert [line["line"] for line in answer.json["rejected"]] == [3, 4, 7]
    assert all(line.keys() == {"line", "error"} and line["error"] for line in answer.json["rejected"])
    assert "rank" in answer.json["rejected"][1]["error"]
    assert answer.json["undecided"] == []
    assert shared.batch(b"").json == {"recorded": 0, "rejected": [], "undecided": []}
    check_problem(shared.call("POST", "/v1/contests/none/votes", LINE, NDJSON), 404)


def test_one_key_is_one_vote(launch: Callable[..., Up]) -> None:
    """The same key sent 100 times at once counts one vote and gives 100 equal receipts."""
    up = launch().start()
    key, gate = {"idempotency-key": str(uuid.uuid4())}, threading.Barrier(100)

    def send(_: int) -> bytes:
        gate.wait(30)
        answer = up.vote(key)
        check_receipt(answer)
        return answer.body

    with ThreadPoolExecutor(100) as pool:
        assert len(set(pool.map(send, range(100)))) == 1
    other = check_receipt(up.vote({"idempotency-key": str(uuid.uuid4())}))
    up.find(other)
    up.wait_total(2)
    assert up.vote(key, name="Otra").status == 201
    last = check_receipt(up.vote())
    up.find(last)
    assert {line["name"] for line in up.wait_total(3)["standings"]} == {VOTE["name"]}
    assert up.recount()["repeated"] == 100


@pytest.mark.parametrize("key", ["", "short", "x" * 15, "x" * 129, "sixteen chars ñññ", "with a space here"])
def test_keys_of_another_form_are_422(shared: Up, key: str) -> None:
    """A key that is not 16 to 128 visible ASCII characters is 422, on a vote and on a batch; nothing is recorded."""
    before = recorded(shared)
    headers = {"idempotency-key": key}
    check_problem(shared.call("POST", "/insert", LINE, JSON | headers), 422, "Idempotency-Key")
    check_problem(shared.call("POST", VOTES, LINE, NDJSON | headers), 422, "Idempotency-Key")
    assert recorded(shared) == before


def test_two_keys_are_422(shared: Up) -> None:
    """A vote that is sent with two keys is refused: nobody can tell which vote it is."""
    head = b"POST /insert HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n"
    keys = b"idempotency-key: 0123456789abcdef\r\nidempotency-key: fedcba9876543210\r\n"
    answer = exchange(shared, head + keys + b"content-length: %d\r\n\r\n" % len(LINE) + LINE)
    assert answer.startswith(b"HTTP/1.1 422"), answer


def test_a_batch_sent_twice_counts_once(launch: Callable[..., Up]) -> None:
    """A batch with a key may be sent again: its votes are those of (key, line), each counted once."""
    up = launch().start()
    body = b"\n".join(json.dumps(VOTE | {"name": f"Banda {at}"}).encode() for at in range(50))
    key = str(uuid.uuid4())
    for _ in range(3):
        assert up.batch(body, idempotency_key=key).json["recorded"] == 50
    single = check_receipt(up.vote({"idempotency-key": key}))
    up.find(single)
    up.wait_total(51)
    assert up.recount()["repeated"] == 100


def instant(seconds_from_now: float) -> str:
    """A moment as a contest file writes it, to the second."""
    return datetime.fromtimestamp(time.time() + seconds_from_now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def test_a_vote_outside_the_window_is_409(launch: Callable[..., Up], tmp_path: Path) -> None:
    """Before the opening and after the closing votes are 409; without a default contest /insert is 404."""
    folder = tmp_path / "contests"
    write_contest(folder, "early", f"opens = {instant(3600)}")
    write_contest(folder, "late", f"closes = {instant(-3600)}")
    write_contest(folder, "now", f"opens = {instant(-3600)}\ncloses = {instant(3600)}\nrank = {{ min = 0, max = 100 }}")
    up = launch(contests=folder).start()
    for contest in ("early", "late"):
        path = f"/v1/contests/{contest}/votes"
        check_problem(up.call("POST", path, VOTE), 409)
        check_problem(up.call("POST", path, VOTE | {"name": ""}), 409)
        check_problem(up.call("POST", path, LINE, NDJSON), 409)
    vote_id = check_receipt(up.call("POST", "/v1/contests/now/votes", VOTE | {"rank": 100}), "now")
    check_problem(up.call("POST", "/v1/contests/now/votes", VOTE | {"rank": 101}), 422, "rank")
    assert up.find(vote_id)["contest"] == "now"
    for answer in (up.vote(), up.get("/latest-records")):
        check_problem(answer, 404)
    assert {c["id"] for c in up.get("/v1/contests").json["contests"]} == {"early", "late", "now"}
    assert up.recount()["totals"] == {"now": 1}


def test_the_closing_moment_is_decided_by_the_stamp(launch: Callable[..., Up], tmp_path: Path) -> None:
    """When a contest closes under load, exactly the votes stamped before that moment have receipts, and all count."""
    folder = tmp_path / "contests"
    closes = instant(4)
    write_contest(folder, "short", f"closes = {closes}")
    up = launch(contests=folder).start()
    receipts: list[str] = []

    def cast(_: int) -> None:
        while (answer := up.call("POST", "/v1/contests/short/votes", VOTE)).status == 201:
            receipts.append(check_receipt(answer, "short"))
        check_problem(answer, 409)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(cast, range(8)))
    assert up.wait_total(len(receipts), "short")
    closing = closes.replace("Z", ".000Z")
    assert all(up.find(vote_id)["cast_at"] < closing for vote_id in receipts[-20:])
    assert up.recount()["totals"] == {"short": len(receipts)}


def test_listed_bands_only(launch: Callable[..., Up], tmp_path: Path) -> None:
    """Where bands are listed another one is 422, and the file's spelling is shown."""
    folder = tmp_path / "contests"
    write_contest(folder, "listed", 'nominations = "listed"')
    with (folder / "listed.toml").open("a", encoding="utf-8") as file:
        file.write('[[bands]]\nname = "Alux Nahual"\nalbums = ["Alto al Fuego"]\n[[bands]]\nname = "Otra"\n')
    up = launch(contests=folder).start()
    check_receipt(up.vote(name="ALUX  nahual", album="alto al FUEGO"), "listed")
    check_receipt(up.vote(name="otra", album="cualquiera"), "listed")
    check_problem(up.vote(name="Nadie"), 422, "name")
    check_problem(up.vote(album="Otro"), 422, "album")
    assert {line["name"] for line in up.wait_total(2, "listed")["standings"]} == {"Alux Nahual", "Otra"}
