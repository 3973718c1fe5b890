"""The live stream of standings: server-sent events (WHATWG HTML, section 9.2), as a viewer gets them."""

import http.client
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Self

import pytest

from aplauso.web.results import UNREAD_BYTES
from embedded import VOTE, Up, wait_until

STREAM = "/v1/contests/bandas-gt/standings/stream"
BUFFERED = 16 * 1024 * 1024
"""What the system holds for a connection, at most, beside what the server does."""


class Event(NamedTuple):
    """An event, or a comment under the name ":", and when it came."""

    name: str
    data: str
    at: float

    @property
    def frame(self) -> Any:
        """The standings."""
        assert self.name == "standings"
        return json.loads(self.data)


class Viewer:
    """One open stream."""

    def __init__(self, up: Up, timeout: float = 30.0) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", up.port, timeout=timeout)
        self._connection.request("GET", STREAM)
        self.response = self._connection.getresponse()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def events(self) -> Iterator[Event]:
        """Events and comments, until the stream ends."""
        name, data = "", ""
        for raw in iter(self.response.readline, b""):
            line = raw.decode().rstrip("\n")
            if line.startswith(":"):
                yield Event(":", line, time.monotonic())
            elif not line and data:
                yield Event(name, data, time.monotonic())
                name, data = "", ""
            elif line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                data += line.removeprefix("data: ")

    def next(self) -> Event:
        """The next one."""
        return next(self.events())


def without_moment(frame: Any) -> Any:
    """Standings without the moment at which they were read."""
    return {name: value for name, value in frame.items() if name != "as_of"}


def test_a_frame_comes_at_once_and_another_on_change(up: Up) -> None:
    """A viewer gets the standings at once, and again when they change, within a second, equal to those of the API."""
    with Viewer(up) as viewer:
        assert viewer.response.status == 200
        headers = {name.lower(): value for name, value in viewer.response.getheaders()}
        assert headers["content-type"] == "text/event-stream"
        assert headers["cache-control"] == "no-store"
        assert headers["x-request-id"]
        first = viewer.next()
        assert (first.frame["total"], first.frame["standings"]) == (0, [])
        for total in (1, 2, 3):
            assert up.vote(name="<b>\r\n\ndata: x\u2028").status == 201
            cast = time.monotonic()
            event = viewer.next()
            assert event.at - cast < 1
            assert event.frame["total"] == total
        assert without_moment(event.frame) == without_moment(up.standings())


def test_at_most_five_frames_a_second(up: Up) -> None:
    """While votes pour in a viewer gets at most five frames a second, each another one, the last one complete."""
    stopped, votes = threading.Event(), 0

    def cast() -> None:
        nonlocal votes
        while not stopped.is_set():
            votes += up.batch(b"\n".join([json.dumps(VOTE).encode()] * 20)).json["recorded"]

    with Viewer(up) as viewer:
        events = viewer.events()
        frames = [next(events)]
        caster = threading.Thread(target=cast)
        caster.start()
        while len(frames) < 16:
            frames.append(next(events))
        stopped.set()
        caster.join()
        while frames[-1].frame["total"] < votes:
            frames.append(next(events))
    totals = [event.frame["total"] for event in frames]
    assert totals == sorted(set(totals))
    assert totals[-1] == votes
    # From the second frame on, as the first one came at once; a busy machine may deliver two at a time.
    assert frames[15].at - frames[1].at > 14 * 0.2 * 0.9


@pytest.mark.slow
def test_a_quiet_stream_says_that_it_is_alive(up: Up) -> None:
    """When nothing changes there is no frame, but a comment every 15 seconds."""
    with Viewer(up) as viewer:
        events = viewer.events()
        first = next(events)
        comment = next(events)
        assert comment.name == ":"
        assert 13 < comment.at - first.at < 18


def test_a_viewer_that_does_not_read_is_cut_off(up: Up) -> None:
    """What waits for a viewer that does not read is bounded, and its stream ends with: come again. Others go on."""
    lines = [
        json.dumps({"name": f"{at:04} " + "x" * 190, "album": "y" * 200, "year": 1990, "rank": 1}) for at in range(1500)
    ]
    assert up.batch("\n".join(lines).encode()).json["recorded"] == 1500
    up.wait_total(1500)
    with Viewer(up) as stalled, Viewer(up) as viewer:
        before, total = up.rss(), 0
        for event in viewer.events():
            total += len(event.data)
            if total > BUFFERED + 4 * UNREAD_BYTES:
                break
            assert up.vote(name=f"0000 {'x' * 190}").status == 201
        assert up.rss() - before < 16 * 2**20
        got = stalled.response.read()
    assert len(got) < total
    assert got.endswith(b"\n\nretry: 250\n\n")


def test_viewers_that_leave_are_forgotten(up: Up) -> None:
    """Viewers that hang up leave no connection behind, and the system stops though others still watch."""
    up.vote()
    with Viewer(up) as last:
        last.next()
        for _ in range(30):
            with Viewer(up) as viewer:
                assert viewer.next().frame["total"] >= 0
        up.vote()

        wait_until(lambda: len(open_sockets(up)) < 12, "the connections closed")
        assert up.stop() == 0
        assert all(event.name in ("standings", ":") for event in last.events())


def open_sockets(up: Up) -> list[str]:
    """The server's sockets."""
    found = [entry.readlink() for entry in Path(f"/proc/{up.pid}/fd").iterdir() if entry.is_symlink()]
    return [str(link) for link in found if str(link).startswith("socket:")]
