"""Bodies and connections that were never meant well, against one running system."""

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from embedded import JSON, VOTE, Up, exchange
from hostile import GOOD, Message, messages

STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) ")
RECEIPT = re.compile(rb'"status":"recorded"\}')
CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
    "response_schema_conformance",
)  # fmt: skip
BATCH = re.compile(rb'\{"recorded":(\d+),')


def send(up: Up, message: Message) -> tuple[Counter[int], int]:
    """The statuses of the answers, and how many votes they acknowledge."""
    answers = exchange(up, message.data, half_close=message.half_close)
    votes = len(RECEIPT.findall(answers)) + sum(map(int, BATCH.findall(answers)))
    return Counter(map(int, STATUS.findall(answers))), votes


def storm(up: Up, seed: int, number: int) -> tuple[Counter[int], int]:
    """Sends so many hostile messages, eight at a time."""
    statuses: Counter[int] = Counter()
    recorded = 0
    with ThreadPoolExecutor(8) as pool:
        for found, votes in pool.map(lambda message: send(up, message), messages(seed, number)):
            statuses += found
            recorded += votes
    return statuses, recorded


@pytest.mark.slow
def test_ten_thousand_hostile_requests(up: Up) -> None:
    """Hostile requests never give a 5xx, never record more or less than is acknowledged, and leave memory flat."""
    warm, first = storm(up, 1, 3_000)
    before = up.rss()
    statuses, second = storm(up, 2, 10_000)
    assert not [status for status in (warm + statuses) if status >= 500], statuses
    assert {200, 201, 400, 401, 413, 415, 422} <= statuses.keys()
    up.wait_total(first + second)
    assert up.rss() - before < 12 * 2**20
    report = up.recount()
    assert (report["records"], report["rejected"]) == (first + second, 0)
    assert report["totals"] == {"bandas-gt": first + second}
    assert '"level": "error"' not in up.log()


def test_bodies_of_ten_megabytes(up: Up) -> None:
    """Bodies of 10 MB, announced and in chunks, are refused, and memory stays flat."""
    big = b"x" * 10_000_000
    chunked = b"POST /insert HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n"
    chunked += b"transfer-encoding: chunked\r\n\r\n"

    def refuse(at: int) -> None:
        if at % 2:
            assert up.call("POST", "/insert", big, JSON).status == 413
        else:
            assert exchange(up, chunked + b"%x\r\n" % len(big) + big + b"\r\n0\r\n\r\n").startswith(b"HTTP/1.1 413")

    for at in range(10):
        refuse(at)
    before = up.rss()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(refuse, range(40)))
    assert up.rss() - before < 20 * 2**20
    assert up.vote().status == 201
    up.wait_total(1)


@pytest.mark.parametrize(
    "tail", [b"", b"0", b"0\r\n", b"zz\r\n", b"5\r\nab", b"-1\r\n\r\n", b"0\r\nx: trailer\r\n"], ids=repr
)
def test_a_message_without_its_end_is_no_vote(shared: Up, tail: bytes) -> None:
    """A chunked body whose last chunk does not come is not counted, however complete its JSON looks."""
    head = b"POST /insert HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    answer = exchange(shared, head + b"%x\r\n" % len(GOOD) + GOOD + b"\r\n" + tail, half_close=True)
    assert b" 201 " not in answer
    assert shared.vote(name="Después").status == 201


def test_trailers_are_passed_over(shared: Up) -> None:
    """What follows a chunked body as a trailer changes nothing: the vote is whole."""
    head = b"POST /insert HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n"
    body = b"%x\r\n%b\r\n0\r\nauthorization: x\r\nx: trailer\r\n\r\n" % (len(GOOD), GOOD)
    answer = exchange(shared, head + b"connection: close\r\n\r\n" + body)
    assert answer.startswith(b"HTTP/1.1 201")


def test_what_the_names_hold_does_not_matter(launch: Callable[..., Up]) -> None:
    """NULs, controls, lone marks and characters that nobody has assigned are text like any other, and counted."""
    up = launch().start()
    names = [
        "\x00",
        "a\x00b",
        "\x1b[2J",
        "\u202e",
        "\uffff",
        "\U0010ffff",
        "\u0301",
        "\ufeff",
        "'; DROP TABLE votes; --",
        "%s%n",
    ]
    for name in names:
        assert up.vote(name=name, album=name).status == 201, name
    assert {line["name"] for line in up.wait_total(len(names))["standings"]} == set(names)
    assert up.recount()["votes"] == len(names)


@pytest.mark.slow
def test_the_openapi_document_is_kept(shared: Up, tmp_path: Path) -> None:
    """What schemathesis makes of /openapi.json gets the answers that the document says, and never a 5xx."""
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "run", f"http://127.0.0.1:{shared.port}/openapi.json",
        "--exclude-path-regex", "stream", "--max-examples", "25", "--seed", "7", "--generation-deterministic",
        "--phases", "coverage,fuzzing", "--request-timeout", "20", "--no-color",
        "--checks", ",".join(CHECKS),
    ]  # fmt: skip
    done = subprocess.run(command, check=False, capture_output=True, timeout=170, cwd=tmp_path)
    assert done.returncode == 0, done.stdout.decode()[-6000:] + done.stderr.decode()[-2000:]


def test_a_vote_is_not_taken_apart_by_its_line_end(shared: Up) -> None:
    """Line feeds inside a name, escaped as JSON wants them, do not break a batch into other lines."""
    line = json.dumps(VOTE | {"name": "Salto\nde\rlínea\u2028fin"}).encode()
    assert shared.batch(line + b"\n" + line).json == {"recorded": 2, "rejected": [], "undecided": []}
