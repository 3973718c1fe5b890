"""Clients that trickle, hang up or lie about their length cost nothing but their connections."""

import contextlib
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from embedded import Up, exchange, wait_until
from hostile import GOOD

BODY = b"POST /insert HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
CHUNKED = BODY + b"transfer-encoding: chunked\r\n\r\n"
SINGLE = BODY + b"content-length: %d\r\n\r\n" % len(GOOD)
BATCH = b"POST /v1/contests/bandas-gt/votes HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-ndjson\r\n"
READ_SECONDS = 10.0
"""What the server gives a client for a head or a vote's body."""


class Trickle(threading.Thread):
    """Connections that each send a byte a second and never come to an end."""

    def __init__(self, up: Up, heads: list[tuple[bytes, bytes]]) -> None:
        super().__init__(daemon=True)
        self.open: dict[socket.socket, bytes] = {}
        self.answers: Counter[bytes] = Counter()
        self.since = time.monotonic()
        self.stopped = threading.Event()
        for head, drop in heads:
            connection = socket.create_connection(("127.0.0.1", up.port))
            connection.sendall(head)
            connection.setblocking(False)
            self.open[connection] = drop

    def run(self) -> None:
        while self.open and not self.stopped.wait(1.0):
            for connection, drop in list(self.open.items()):
                self._drip(connection, drop)

    def _drip(self, connection: socket.socket, drop: bytes) -> None:
        with contextlib.suppress(BlockingIOError):
            try:
                connection.send(drop)
                answer = connection.recv(65536)
            except ConnectionError:
                answer = b""
            self.answers[answer[:12]] += 1
            del self.open[connection]
            connection.close()

    def end(self) -> None:
        """Stops it and hangs up."""
        self.stopped.set()
        self.join()
        for connection in self.open:
            connection.close()


@contextlib.contextmanager
def trickling(up: Up, heads: list[tuple[bytes, bytes]]) -> Iterator[Trickle]:
    """Trickles while the block runs."""
    trickle = Trickle(up, heads)
    trickle.start()
    try:
        yield trickle
    finally:
        trickle.end()


def files(up: Up) -> int:
    """Files and sockets that the server has open."""
    return len(list(Path(f"/proc/{up.pid}/fd").iterdir()))


@pytest.mark.slow
def test_trickles_cost_only_their_connections(up: Up) -> None:
    """With 400 clients of a byte a second others are served, and after ten seconds each of them has its 408."""
    assert up.vote().status == 201
    before, memory, votes = files(up), up.rss(), 1
    vote = [(SINGLE + GOOD[:-60], b" "), (CHUNKED, b"1\r\n \r\n")]
    with trickling(up, vote * 200) as trickle:
        while len(trickle.open) == 400:
            started = time.monotonic()
            assert up.vote().status == 201
            assert time.monotonic() - started < 5
            votes += 1
            assert started - trickle.since < READ_SECONDS + 20, "nobody was told that it is too late"
        assert time.monotonic() - trickle.since > READ_SECONDS - 1
        wait_until(lambda: not trickle.open, "an answer for each of them", 20)
    assert trickle.answers == {b"HTTP/1.1 408": 400}
    wait_until(lambda: files(up) <= before + 2, "their connections closed")
    assert votes > 20
    up.wait_total(votes)
    assert up.rss() - memory < 400 * 64 * 1024 + 10 * 2**20


@pytest.mark.slow
def test_heads_that_never_end_are_cut_off(up: Up) -> None:
    """Connections whose heads trickle, or that say nothing of what they announced, are closed after ten seconds."""
    before = files(up)
    head = (b"POST /insert HTTP/1.1\r\nhost: x\r\nx-a: b", b"c")
    lines = (b"GET / HTTP/1.1\r\n", b"a: b\r\n")
    silent = (BODY + b"content-length: 1000\r\n\r\n" + GOOD, b"")
    with trickling(up, [head, lines, silent] * 30) as trickle:
        wait_until(lambda: not trickle.open, "the end of all of them", READ_SECONDS + 20)
    assert trickle.answers[b"HTTP/1.1 408"] >= 30
    assert trickle.answers.total() == 90
    assert not [answer for answer in trickle.answers if answer not in (b"", b"HTTP/1.1 408")]
    wait_until(lambda: files(up) <= before + 2, "their connections closed")
    assert up.vote().status == 201
    up.wait_total(1)


def test_hang_ups_leave_nothing_behind(up: Up) -> None:
    """Clients that hang up in the middle of a head, of a body or of a batch leave no vote, no file and no error."""
    assert up.vote().status == 201
    before = files(up)
    whole = [
        SINGLE + GOOD,
        CHUNKED + b"%x\r\n" % len(GOOD) + GOOD + b"\r\n0\r\n\r\n",
        BATCH + b"content-length: 9\r\n\r\n12345678",
    ]
    for at in range(300):
        message = whole[at % 3]
        cut = message[: 20 + at * 7 % (len(message) - 21)]
        with up.socket() as connection:
            connection.sendall(cut)
            if at % 2:  # a reset instead of an orderly end
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    wait_until(lambda: files(up) <= before + 2, "their connections closed")
    assert up.vote().status == 201
    up.wait_total(2)
    assert '"level": "error"' not in up.log()
    assert up.recount()["records"] == 2


def test_a_length_longer_than_the_body_is_no_vote(shared: Up) -> None:
    """A body that ends before its announced length is no vote, even when what came is a whole one."""
    before = shared.standings()["total"]
    for more in (1, 100, 10_000):
        head = BODY + b"content-length: %d\r\n\r\n" % (len(GOOD) + more)
        assert b" 201 " not in exchange(shared, head + GOOD, half_close=True)
    assert shared.vote().status == 201
    shared.wait_total(before + 1)


def test_a_client_that_reads_nothing_holds_nobody_up(up: Up) -> None:
    """A client that asks for a thousand pages and reads none of them costs its connection, not the others' answers."""
    asked = b"GET /static/aplauso.css HTTP/1.1\r\nhost: x\r\n\r\n" * 1000
    before = up.rss()
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            connection = stack.enter_context(up.socket())
            connection.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                connection.send(asked)
        for _ in range(20):
            assert up.vote().status == 201
        assert up.rss() - before < 30 * 2**20
    up.wait_total(20)
