"""The parts of the soak: its judgement, with planted faults; its journal; its pace, against a gateway of our own."""

import asyncio
import contextlib
import math
import os
import random
import signal
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Final

import msgspec
import pytest
import uvloop

from aplauso.domain.journal import Outcome
from aplauso.domain.vote import Ballot, id_from_key
from chaos import report, soaked
from chaos.answers import Answers, Votes
from chaos.audience import Audience
from chaos.flat import EVERY_SECONDS, ID_BYTES, Lag, Series, lag_of, memory_of, redis_of, times_of
from chaos.looks import EndedError, Look, Looker, resident_mib
from chaos.soak import until_stopped
from chaos.soaked import Found, Load, Servers, Soak, judge
from chaos.steady import Pace
from chaos.waiting import until

MINUTES: Final = 30.0
RATE: Final = 2000.0
_TIMES: Final = times_of(MINUTES * 60)
_TOTAL: Final = int(MINUTES * 60 * RATE)
_MIB: Final = 1 << 20


def _over_time(value: Callable[[float], float], scatter: float = 0.0) -> Series:
    """What a value was, with some scatter, at every look of half an hour."""
    rng = random.Random(5)
    moments = [turn * EVERY_SECONDS for turn in range(int(MINUTES * 60 / EVERY_SECONDS) + 1)]
    return [(at, value(at) + rng.uniform(-scatter, scatter)) for at in moments]


def test_the_times_of_half_an_hour_are_those_that_were_asked_for() -> None:
    """After five minutes all is settled; two minutes from then are compared with the last two."""
    assert _TIMES == (300, 420, 1680, 60)
    assert times_of(7200) == (300, 420, 7080, 60)
    short = times_of(120)
    assert short == (20, 35, 105, 15)


def test_memory_that_comes_up_and_stays_is_flat() -> None:
    """Growth of the first minutes counts for nothing, and neither does a peak."""
    found = memory_of("gateway", _over_time(lambda at: 200 if at == 900 else 60 + 20 * min(1, at / 250), 1), _TIMES)
    assert found.ok
    assert abs(found.growth) < 0.02
    assert found.most > 190


def test_a_leak_is_noticed() -> None:
    """A process that grows by a fifth in half an hour is not flat, however even or uneven it does so."""
    for scatter in (0.0, 3.0):
        assert not memory_of("tally", _over_time(lambda at: 80 * (1 + 0.2 * at / 1800), scatter), _TIMES).ok
    late = memory_of("tally", _over_time(lambda at: 80 if at < 1500 else 90), _TIMES)
    assert not late.ok
    assert late.growth == pytest.approx(0.125)


def test_a_twentieth_more_is_flat() -> None:
    """Less than a tenth is allowed."""
    assert memory_of("tally", _over_time(lambda at: 80 * (1 + 0.05 * at / 1800), 1), _TIMES).ok


def _redis(bytes_an_id: float, base: float = 20 * _MIB) -> bool:
    def ids(at: float) -> float:
        return RATE * at

    return redis_of(_over_time(lambda at: base + bytes_an_id * ids(at)), _over_time(ids), _TIMES).ok


def test_redis_may_grow_by_its_ids() -> None:
    """Thirty and forty bytes for each remembered id are as agreed; fifty are not, and neither is growth without ids."""
    assert _redis(30)
    assert _redis(ID_BYTES)
    assert not _redis(50)
    leak = _over_time(lambda at: 20 * _MIB * (1 + 0.2 * at / 1800))
    assert not redis_of(leak, _over_time(lambda at: 1000), _TIMES).ok


def test_ids_that_are_forgotten_owe_nothing() -> None:
    """When Redis remembers fewer ids than before, it has to give nothing back beyond the tenth."""
    found = redis_of(_over_time(lambda at: 50 * _MIB), _over_time(lambda at: 2e6 - 500 * at), _TIMES)
    assert found.ok
    assert found.may == pytest.approx(55 * _MIB)


def _lag(value: Callable[[float], float], scatter: float = 150.0) -> Lag:
    return lag_of("tally", _over_time(value, scatter), _TIMES, RATE)


def test_a_steady_lag_does_not_grow() -> None:
    """Scatter, a sawtooth and a few jumps are noise, wherever they are."""
    assert _lag(lambda at: 200).ok
    assert _lag(lambda at: 400 + 300 * math.sin(at / 40)).ok
    assert _lag(lambda at: 5000 if at in (1500, 1640, 1700) else 200).ok


def test_a_growing_lag_is_noticed() -> None:
    """One vote a second more, out of two thousand, is noticed; and so is a projection that falls behind at last."""
    assert not _lag(lambda at: 200 + at).ok
    late = _lag(lambda at: 200 if at < 1500 else 200 + 100 * (at - 1500))
    assert not late.ok
    assert late.last > late.may
    far = _lag(lambda at: 9000)
    assert far.rise <= far.noise
    assert not far.ok


def test_a_projection_that_stands_still_again_and_again_is_noticed() -> None:
    """Ten seconds of each thirty without progress are no growth, and not as it must be; one such stop is."""
    again = _lag(lambda at: 100 + RATE * max(0.0, at % 30 - 20))
    assert again.rise <= again.noise
    assert not again.ok
    assert again.far > 0.1
    assert _lag(lambda at: 100 + (RATE * (at - 900) if 900 < at < 910 else 0)).ok


def _looks(memory: Callable[[str, float], float] = lambda name, at: 100.0) -> list[Look]:
    """What a faultless soak sees, with another memory."""
    return [
        Look(
            at, {name: memory(name, at) for name in ("kafka", "redis", "mongo", "tally")}, 60 + at / 30,
            int(10 * _MIB + 30 * RATE * at), int(RATE * at), {"tally": 100, "archive": 200}, int(RATE * at),
            int(RATE * at), 0, 0,
        )
        for at, _ in _over_time(lambda at: 0)
    ]  # fmt: skip


_SERVERS: Final = Servers(384, 1024, [])
_LOAD: Final = Load(_TOTAL, _TOTAL, _TOTAL, 0, 0, 3, 18_000, 1800, 0, 0, 0.4)
_FINE: Final = Found(0, 0, 0, 0)


def _judged(
    memory: Callable[[str, float], float] = lambda name, at: 100.0, load: Load = _LOAD, found: Found = _FINE
) -> Soak:
    return judge("2026-11-23T12:00:00+00:00", MINUTES, RATE, 7, _SERVERS, load, found, _looks(memory))


def test_a_faultless_soak_is_as_it_must_be() -> None:
    """Where nothing is planted, nothing is wrong."""
    soak = _judged()
    assert not soak.wrong
    assert {row[-1].partition(";")[0] for row in soaked.rows(soak)} == {"flat"}
    assert soak.redis.bytes_an_id == pytest.approx(30, abs=0.1)


@pytest.mark.parametrize("name", ["kafka", "redis", "tally"])
def test_one_process_that_grows_is_enough(name: str) -> None:
    """A leak of any process is told, and the table says which; Redis may have its ids besides."""
    more = 400 if name == "redis" else 20
    soak = _judged(lambda part, at: 100 + (more * at / 1800 if part == name else 0))
    assert len(soak.wrong) == 1
    assert soak.wrong[0].startswith(f"{name} grew")
    assert [row[0] for row in soaked.rows(soak) if row[-1].startswith("NOT FLAT")] == [name]


def test_kafka_s_untouched_heap_is_told_and_not_excused() -> None:
    """Growth that is heap touched for the first time is named as that, with its remedy, and stays wrong."""
    soak = _judged(lambda part, at: 100 + (at / 30 if part == "kafka" else 0))
    assert soak.wrong
    (said,) = (row[-1] for row in soaked.rows(soak) if row[0] == "kafka")
    assert "46 MiB of the growth are Java heap" in said
    assert "AlwaysPreTouch" in said


def test_redis_resident_memory_may_have_its_ids() -> None:
    """Resident memory that grows by thirty bytes an id is as it may be, and the table says why."""
    soak = _judged(lambda part, at: 100 + (30 * RATE * at / _MIB if part == "redis" else 0))
    assert not soak.wrong
    (said,) = (row[-1] for row in soaked.rows(soak) if row[0] == "redis")
    assert said.startswith("as it may; 40 bytes a remembered id besides")


def test_the_archive_s_server_may_fill_its_cache_and_no_more() -> None:
    """Its cache is its own, and the table says so with the bytes a vote; beyond the cache it is not flat."""
    soak = _judged(lambda part, at: 100 + (0.5 * at if part == "mongo" else 0))
    assert not soak.wrong
    (said,) = (row[-1] for row in soaked.rows(soak) if row[0] == "mongo")
    assert "cache, 1024 MiB at most" in said
    assert "262 bytes a vote" in said
    assert _judged(lambda part, at: 100 + (at if part == "mongo" else 0)).wrong


def test_a_cache_that_is_full_excuses_little() -> None:
    """Where the cache is small, growth beyond a hundred bytes a document is wrong."""
    looks = _looks(lambda part, at: 100 + min(200, at) + (at / 2 if part == "mongo" else 0))
    soak = judge("2026-11-23T12:00:00+00:00", MINUTES, RATE, 7, Servers(384, 160, []), _LOAD, _FINE, looks)
    assert len(soak.wrong) == 1
    assert soak.wrong[0].startswith("mongo grew")


@pytest.mark.parametrize("fault", ["lost", "repeated", "invented", "differing"])
def test_one_vote_is_enough(fault: str) -> None:
    """One lost, repeated or invented vote, or one difference in the recount, is wrong."""
    assert _judged(found=msgspec.structs.replace(_FINE, **{fault: 1})).wrong == [f"{fault}: 1"]


@pytest.mark.parametrize("planted", [{"acknowledged": _TOTAL * 9 // 10}, {"backwards": 1}, {"frames": 0}, {"reads": 0}])
def test_a_soak_that_was_none_is_wrong(planted: dict[str, int]) -> None:
    """Too few acknowledged votes, standings that go back, and an audience that saw nothing are told."""
    assert len(_judged(load=msgspec.structs.replace(_LOAD, **planted)).wrong) == 1


def test_lines_are_kept_and_the_last_one_is_shown(tmp_path: Path) -> None:
    """A soak is read back as it was, and the page of faults shows the last one."""
    path = tmp_path / "chaos" / "soak.jsonl"
    assert soaked.latest(path) is None
    soaked.append(path, _judged())
    soaked.append(path, _judged(lambda part, at: 100 + (0.5 * at if part == "mongo" else 0)))
    soak = soaked.latest(path)
    assert soak is not None
    assert soak.processes[2].why
    text = report.soak_section(soak)
    assert text.startswith("## The soak")
    assert "| mongo | 280.0 | " in text
    assert "30 minutes at 2,000 votes a second" in text
    assert "3,600,000 votes acknowledged" in text


_BALLOTS: Final = [Ballot("Alux Nahual", "Conquista", 1981, 9), Ballot("La Tona", "«Ñ»", "1999", "3")]


def test_answers_come_back_as_attempts(tmp_path: Path) -> None:
    """The compact journal gives each vote's id, key, ballot and outcome, also where no answer came."""
    votes = Votes("bandas-gt", _BALLOTS, 9)
    answers = Answers(tmp_path / "answers", votes)
    anonymous = str(uuid.uuid4())
    for number, status, text in ((0, 201, anonymous), (1, 0, ""), (2, 503, ""), (3, 201, "no id"), (4, 504, anonymous)):
        answers.add(number, status, text.encode())
    answers.close()
    found = list(answers.attempts())
    key = votes.key(1)
    assert key is not None
    assert [attempt.outcome for attempt in found] == [
        Outcome.RECORDED, Outcome.UNDECIDED, Outcome.REFUSED, Outcome.UNDECIDED, Outcome.UNDECIDED
    ]  # fmt: skip
    assert [attempt.id for attempt in found[:3]] == [anonymous, id_from_key("bandas-gt", key), None]
    assert found[4].id == anonymous
    assert [attempt.key for attempt in found[:3]] == [None, key, None]
    assert [attempt.status for attempt in found[:3]] == [201, None, 503]
    assert [attempt.vote for attempt in found[:3]] == [*_BALLOTS, _BALLOTS[0]]
    assert answers.counts == {Outcome.RECORDED: 1, Outcome.REFUSED: 1, Outcome.UNDECIDED: 3}
    assert (tmp_path / "answers").stat().st_size == 5 * 22


class _Gateway:
    """Answers votes as a gateway would; some otherwise."""

    def __init__(self) -> None:
        self.keys: list[bytes | None] = []
        self.bodies: list[bytes] = []
        self.hang_up_at = -1
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, closed at its end."""
        self.connections += 1
        try:
            await self._answer(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            self.connections -= 1

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await _head(reader):
            fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
            self.bodies.append(await reader.readexactly(int(fields[b"Content-Length"])))
            self.keys.append(fields.get(b"Idempotency-Key"))
            if len(self.bodies) == self.hang_up_at:
                break
            body = b'{"id":"%b","contest":"c","status":"recorded"}' % str(uuid.uuid4()).encode()
            answer = b"HTTP/1.1 201 Created\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
            writer.write(answer[:60])
            await writer.drain()
            writer.write(answer[60:])


async def _head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return b""


@contextlib.asynccontextmanager
async def _gateway() -> AsyncIterator[tuple[_Gateway, int]]:
    gateway = _Gateway()
    server = await asyncio.start_server(gateway.serve, "127.0.0.1", 0)
    async with server:
        yield gateway, server.sockets[0].getsockname()[1]
        await until(lambda: not gateway.connections, 10, "connections were not closed")


async def _paced(path: Path, hang_up_at: int) -> tuple[_Gateway, Pace, Answers]:
    votes = Votes("c", _BALLOTS, 1)
    answers = Answers(path / "answers", votes)
    async with _gateway() as (gateway, port):
        gateway.hang_up_at = hang_up_at
        pace = Pace(port, votes, answers, 1000.0, 200)
        await pace.connect()
        await pace.run()
    answers.close()
    return gateway, pace, answers


def test_every_vote_is_sent_once_and_answered(tmp_path: Path) -> None:
    """As many votes as were asked for are sent, half of them with a key of their own, and each answer is noted."""
    gateway, pace, answers = uvloop.run(_paced(tmp_path, -1))
    assert (pace.sent, pace.unanswered, answers.counts[Outcome.RECORDED]) == (200, 0, 200)
    assert len({key for key in gateway.keys if key}) == gateway.keys.count(None) == 100
    assert {msgspec.json.decode(body, type=Ballot) for body in gateway.bodies} == set(_BALLOTS)
    assert sorted(int(attempt.key[-8:]) for attempt in answers.attempts() if attempt.key) == list(range(1, 200, 2))


def test_a_vote_whose_connection_breaks_is_undecided(tmp_path: Path) -> None:
    """The answer that never came is noted, another connection takes the place, and the others go on."""
    _, _, answers = uvloop.run(_paced(tmp_path, 50))
    assert answers.counts == {Outcome.RECORDED: 199, Outcome.REFUSED: 0, Outcome.UNDECIDED: 1}


class _Endless:
    """A run that would go on for ever."""

    def __init__(self) -> None:
        self.stopped = False

    async def run(self) -> Soak:
        """Asks for its own end, and does not come to it by itself."""
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.Event().wait()
        raise AssertionError


def test_a_signal_ends_a_soak() -> None:
    """SIGTERM ends a run at once: what runs beside it on a thread is told, and nothing is judged."""
    run = _Endless()
    assert uvloop.run(until_stopped(run)) is None  # type: ignore[arg-type]
    assert run.stopped


async def test_an_audience_counts_what_it_sees() -> None:
    """Frames are counted over pieces and over streams that end; standings that go back, and failures, are told."""
    totals, streams = iter((5, 7, 6)), iter(range(2))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await _head(reader)
        if b"/stream" in head and next(streams, None) is not None:
            writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nevent: standings\ndata: {}\n\nevent: stan")
            await writer.drain()
            writer.write(b"dings\ndata: {}\n\n")
        elif b"/stream" not in head and (total := next(totals, None)) is not None:
            body = b'{"total":%d}' % total
            writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        else:
            writer.write(b"HTTP/1.1 503 Unavailable\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        audience = Audience([f"{base}/stream"], f"{base}/standings", every=0.01)
        looking = asyncio.create_task(audience.run())
        await until(lambda: audience.failures > 0 and audience.frames[0] == 4, 20, "not every frame was counted")
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
    assert (audience.frames, audience.reads, audience.backwards) == ([4], 3, 1)


class _Stack:
    """A stack of one room, which runs, beside servers that do."""

    def __init__(self) -> None:
        self.kafka = self.mongo = _Part()
        self.redis = SimpleNamespace(process=self.kafka, client=lambda: None)
        self.rooms = {"tally": _Part()}


class _Part:
    """A process that runs."""

    pid, running, log = 7, True, Path("tally.log")

    def tail(self, lines: int) -> str:
        return f"its last {lines} lines"


@pytest.mark.parametrize("change", [{"running": False}, {"pid": 8}], ids=["ended", "started again"])
def test_a_process_that_ends_ends_the_soak(change: dict[str, int]) -> None:
    """A part that has ended between two looks is told, also when it has been started again and runs."""
    stack = _Stack()
    looker = Looker(stack, None)  # type: ignore[arg-type]
    looker._see_them_run()
    looker._see_them_run()
    vars(stack.rooms["tally"]).update(change)
    with pytest.raises(EndedError, match=r"tally has ended; the end of tally\.log:\nits last 8 lines"):
        looker._see_them_run()


def test_the_memory_of_a_process_is_read() -> None:
    """Something of the size of an interpreter is found for ourselves."""
    assert 5 < resident_mib(os.getpid()) < 5000
