"""Step 4: one look at the store for everybody, a stream that is prompt and never hasty."""

import asyncio
import itertools
import threading
import time
import weakref
from collections.abc import AsyncIterator, Hashable
from typing import Any

import msgspec
import pytest

from aplauso.domain.errors import Unavailable
from aplauso.domain.position import Position
from aplauso.domain.tally import Bands, count
from aplauso.domain.vote import Vote
from aplauso.flow import board as board_module
from aplauso.flow import feed as feed_module
from aplauso.flow.board import Board, make_frame
from aplauso.flow.feed import Current, Feed, Frame
from aplauso.ports.projection import LoggedVote
from fakes_archive import FakeArchive, FakeArchiveReader, World
from unit.fakes import NOW, FakeClock, FakeStandings, a_contest, a_vote, soon, until

CONTEST = a_contest()


class CountedStandings(FakeStandings):
    """Standings that know how often they were read; with `gate`, a reading waits until it opens."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0
        self.reads = 0
        self.gate: threading.Event | None = None

    def version(self) -> Hashable:
        self.looks += 1
        if self.gate is not None:
            self.gate.wait(5)
        return super().version()

    def read(self, contest: str) -> Bands:
        self.reads += 1
        return super().read(contest)

    def cast(self, *votes: Vote) -> None:
        """Counts votes."""
        expected = self.stored.get(0)
        following = Position("log", (expected.offset if expected else 0) + max(1, len(votes)))
        self.apply(0, expected, following, [LoggedVote(at, vote) for at, vote in enumerate(votes)])


class Watching:
    """A viewer, and what it was shown; one that has gone says so when it is shown something."""

    def __init__(self) -> None:
        self.shown: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.gone = False

    def show(self, body: bytes | None) -> bool:
        """Takes it."""
        if not self.gone:
            self.shown.put_nowait(body)
        return not self.gone

    async def following(self) -> dict[str, Any]:
        """The next frame; signs of life are passed over."""
        while (body := await soon(self.shown.get())) is None:
            pass
        decoded: dict[str, Any] = msgspec.json.decode(body)
        return decoded


class Room:
    """A board over standings and an archive in memory."""

    def __init__(self) -> None:
        self.standings, self.world = CountedStandings(), World()
        self.board = Board(self.standings, FakeArchiveReader(self.world), FakeClock())
        self.serial = 0

    def vote(self, votes: int = 1) -> None:
        """Counts so many new votes."""
        first, self.serial = self.serial, self.serial + votes
        self.standings.cast(*(a_vote(serial) for serial in range(first, self.serial)))

    async def total(self) -> int:
        """The votes that the board shows."""
        return (await soon(self.board.frame(CONTEST))).total

    async def viewer(self) -> Watching:
        """Somebody who looks."""
        watching = Watching()
        self.board.watch(CONTEST, await soon(self.board.current(CONTEST)), watching.show)
        return watching


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    """A room with three votes."""
    made = Room()
    made.vote(3)
    yield made
    await soon(made.board.close())


async def test_a_frame_shows_what_was_counted(room: Room) -> None:
    """A frame holds the contest, the total, a line a band and the moment of reading; its body is the same as JSON."""
    frame = await soon(room.board.frame(CONTEST))
    assert (frame.contest, frame.total, frame.as_of) == ("gt", 3, "2026-11-18T11:06:40.000Z")
    assert frame == make_frame("gt", count(a_vote(serial) for serial in range(3))["gt"], NOW)
    assert msgspec.json.decode(await soon(room.board.body(CONTEST)), type=Frame) == frame


async def test_a_contest_without_votes_has_an_empty_frame(room: Room) -> None:
    """Nothing counted yet is shown as nothing."""
    frame = await soon(room.board.frame(a_contest(id="mx")))
    assert (frame.total, frame.standings) == (0, ())


async def test_those_who_ask_together_share_one_reading(room: Room) -> None:
    """A hundred requests at one time are one look at the store."""
    room.standings.gate = threading.Event()
    asking = [asyncio.create_task(room.board.body(CONTEST)) for _ in range(100)]
    await until(lambda: room.standings.looks == 1, "the first look is under way")
    room.standings.gate.set()
    assert len(set(await soon(asyncio.gather(*asking)))) == 1
    assert (room.standings.looks, room.standings.reads) == (1, 1)


async def test_a_client_that_hangs_up_does_not_take_the_reading_with_it(room: Room) -> None:
    """Of those who share a reading, one may go; the others get it."""
    room.standings.gate = threading.Event()
    asking = [asyncio.create_task(room.board.body(CONTEST)) for _ in range(3)]
    await until(lambda: room.standings.looks == 1, "the look is under way")
    asking[0].cancel()
    await asyncio.wait([asking[0]])
    room.standings.gate.set()
    assert len(await soon(asyncio.gather(*asking[1:]))) == 2


async def test_the_store_is_read_once_for_each_change(room: Room) -> None:
    """While nothing changes only the version is looked at; a change is seen within moments."""
    for _ in range(3):
        assert await room.total() == 3
        await past_the_cache()
    assert room.standings.reads == 1
    room.vote()
    await past_the_cache()
    assert await room.total() == 4
    assert room.standings.reads == 2


async def past_the_cache() -> None:
    """Lets the cached look grow old."""
    end = time.monotonic() + board_module._FRESH
    await until(lambda: time.monotonic() > end, "time has passed")


async def test_a_store_that_is_away_is_told_and_forgotten(room: Room) -> None:
    """A failure reaches all who share the reading, and the next request looks again."""
    room.standings.away = True
    for result in await soon(asyncio.gather(*(room.board.body(CONTEST) for _ in range(3)), return_exceptions=True)):
        assert isinstance(result, Unavailable)
    with pytest.raises(Unavailable):
        await soon(room.board.ready())
    room.standings.away = False
    assert await room.total() == 3
    await soon(room.board.ready())


async def test_records_come_from_the_archive(room: Room) -> None:
    """The newest records and single votes are the archive's."""
    votes = [LoggedVote(at, a_vote(at, at=NOW + at)) for at in range(5)]
    FakeArchive(room.world).apply(0, None, Position("log", 5), votes)
    assert [vote.offset for vote in await soon(room.board.records(CONTEST, 3))] == [4, 3, 2]
    found = await soon(room.board.find(votes[2].vote.id))
    assert found is not None
    assert found.offset == 2
    assert await soon(room.board.find("nothing")) is None


async def test_a_stream_begins_at_once(room: Room) -> None:
    """The first frame does not wait for a change, for every viewer."""
    for _ in range(2):
        started = time.monotonic()
        assert (await (await room.viewer()).following())["total"] == 3
        assert time.monotonic() - started < feed_module.INTERVAL
    assert room.board.viewers() == 2


async def test_a_stream_tells_each_change_and_nothing_else(room: Room) -> None:
    """A new vote is a new frame within a blink; a batch that changes no standings is none."""
    stream = await room.viewer()
    await stream.following()
    waiting = asyncio.create_task(stream.following())
    room.standings.cast()
    looks = room.standings.looks
    await until(lambda: room.standings.looks > looks + 3, "the position has moved and was seen")
    assert not waiting.done()
    room.vote()
    started = time.monotonic()
    assert (await waiting)["total"] == 4
    assert time.monotonic() - started < 2 * feed_module.INTERVAL


async def test_a_stream_never_sends_more_than_five_a_second(room: Room) -> None:
    """However fast votes come, and however many viewers arrive, two frames lie a fifth of a second apart."""
    stream = await room.viewer()
    await stream.following()
    stop = asyncio.Event()

    async def storm() -> None:
        while not stop.is_set():
            room.vote()
            await (await room.viewer()).following()
            await asyncio.sleep(0.01)

    storming = asyncio.create_task(storm())
    times = []
    for _ in range(4):
        await stream.following()
        times.append(time.monotonic())
    stop.set()
    await soon(storming)
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert min(gaps) > feed_module.INTERVAL - 0.03, gaps


async def test_whose_turn_comes_late_gets_the_newest_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """Viewers are shown frames in slices: one who waits gets no backlog, and nobody two within a fifth of a second."""
    monkeypatch.setattr(feed_module, "SLICE", 1)
    frames = [a_reading(total) for total in range(4)]
    feed, viewers = Feed(never), [Watching() for _ in range(3)]
    for viewer in viewers:
        feed.join(frames[0], viewer.show)
    now = asyncio.get_running_loop().time() + 1
    shown = []
    turns = [(0.0, 1), (0.1, 2), (0.11, 2), (0.12, 2), (0.19, 3), (0.21, 3), (0.25, 3), (0.29, 3), (0.4, 3)]
    for later, frame in turns:
        feed._publish(frames[frame], now + later)
        shown.append(feed._show(now + later))
    await feed.close()
    assert shown == [1, 1, 1, 0, 0, 1, 0, 0, 1]
    assert [[(await viewer.following())["total"] for _ in range(viewer.shown.qsize())] for viewer in viewers] == [
        [0, 1, 3],
        [0, 2, 3],
        [0, 2],
    ]


async def test_each_of_many_viewers_gets_each_change(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes many slices reaches everybody, a pause after each, and one who has gone is let go without a loss."""
    paused: list[tuple[int, int, float]] = []

    def pause(shown: int, viewers: int, taken: float) -> float:
        paused.append((shown, viewers, taken))
        return 0.001

    monkeypatch.setattr(feed_module, "SLICE", 7)
    monkeypatch.setattr(feed_module, "pause", pause)
    viewers = [await room.viewer() for _ in range(50)]
    for viewer in viewers[::2]:
        viewer.gone = True
    for total in (4, 5):
        room.vote()
        for viewer in viewers[1::2]:
            while (await viewer.following())["total"] < total:
                pass
    assert room.board.viewers() == 25
    assert all(viewer.shown.qsize() == 1 for viewer in viewers[::2])
    assert len(paused) >= 3
    assert all(shown == 7 and viewers >= 25 and taken >= 0 for shown, viewers, taken in paused)


@pytest.mark.parametrize(
    ("viewers", "taken", "seconds"),
    [
        (250, 0.005, 0.0125),  # less than the least that a slice costs is not believed
        (250, 0.010, 0.025),
        (250, 5.0, 0.0625),  # others took that, not the viewers
        (10_000, 0.005, 0.0125),
        (10_000, 0.010, 0.02),  # each viewer has a frame within the second
        (1_000_000, 5.0, 0.0002),
    ],
)
def test_frames_take_a_part_of_a_core(viewers: int, taken: float, seconds: float) -> None:
    """After a slice of 250 there is a pause by what the last one took, short enough for a frame a second."""
    assert feed_module.pause(250, viewers, taken) == pytest.approx(seconds)


async def never() -> Current:
    """Is not asked."""
    raise AssertionError


def a_reading(total: int) -> Current:
    """Standings of so many votes, read in that order."""
    frame = make_frame("gt", count(a_vote(serial) for serial in range(total)).get("gt", {}), NOW)
    return Current(total, frame, msgspec.json.encode(frame), float(total))


async def test_a_late_viewer_is_told_nothing_twice(room: Room) -> None:
    """Who comes just after a change gets it as the first frame, and the next frame is the next change."""
    first = await room.viewer()
    await first.following()
    room.vote()
    await past_the_cache()
    late = await room.viewer()
    assert (await late.following())["total"] == 4
    assert (await first.following())["total"] == 4
    waiting = asyncio.create_task(late.following())
    looks = room.standings.looks
    await until(lambda: room.standings.looks > looks + 3, "the feed has looked again")
    assert not waiting.done()
    room.vote()
    assert (await waiting)["total"] == 5


async def test_a_stream_never_goes_back(room: Room) -> None:
    """Somebody who starts from an older reading takes nobody back to it, and is brought up to date."""
    old = await soon(room.board.current(CONTEST))
    stream = await room.viewer()
    await stream.following()
    room.vote()
    assert (await stream.following())["total"] == 4
    late = Watching()
    room.board.watch(CONTEST, old, late.show)
    assert (await late.following())["total"] == 4
    room.vote()
    assert [(await each.following())["total"] for each in (stream, late)] == [5, 5]


async def test_a_silent_stream_gives_signs_of_life(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """After fifteen seconds without a change a stream says that it is alive."""
    assert feed_module.HEARTBEAT == 15
    monkeypatch.setattr(feed_module, "HEARTBEAT", 0.3)
    stream = await room.viewer()
    await stream.following()
    assert await soon(stream.shown.get()) is None
    assert await soon(stream.shown.get()) is None


async def test_a_store_that_goes_away_only_makes_a_stream_wait(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the store is away viewers keep what they have, signs of life go on, and then the newest frame comes."""
    monkeypatch.setattr(feed_module, "HEARTBEAT", 0.3)
    stream = await room.viewer()
    await stream.following()
    room.standings.away = True
    assert await soon(stream.shown.get()) is None
    with pytest.raises(Unavailable):
        await room.viewer()
    room.standings.away = False
    room.vote()
    assert (await stream.following())["total"] == 4


async def test_nobody_is_read_for_when_nobody_looks(room: Room) -> None:
    """When the last viewer has gone the store is left alone, and the next one starts it again."""
    stream = await room.viewer()
    await stream.following()
    stream.gone = True
    room.vote()
    await until(lambda: room.board.viewers() == 0, "the viewer has gone")
    task = room.board._feeds["gt"]._task
    await until(lambda: task is None or task.done(), "nobody looks at the store")
    room.vote()
    await past_the_cache()
    again = await room.viewer()
    assert (await again.following())["total"] == 5
    room.vote()
    assert (await again.following())["total"] == 6


async def test_closing_ends_all_streams() -> None:
    """`close` lets every viewer go, and one who comes afterwards is not kept: a stream ends when nobody holds it."""
    room = Room()
    watching = [await room.viewer() for _ in range(3)]
    first = await soon(room.board.current(CONTEST))
    feed = room.board._feeds["gt"]
    held = [weakref.ref(viewer) for viewer in watching]
    await soon(room.board.close())
    watching.clear()
    assert [ref() for ref in held] == [None] * 3
    late = Watching()
    feed.join(first, late.show)
    assert late.shown.qsize() == 1
    assert feed.viewers == 0
