"""The distributed system: intake over HTTP into Kafka, with more and more of the rooms running; latency; memory."""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache

from aplauso.adapters.redis.standings import RedisStandingsReader
from aplauso.domain.record import partition_of
from aplauso.wiring.distributed.redis import redis_settings
from bench.drain import kafka_bytes
from bench.embedded import BARE, bare_granian
from bench.harness import Row, Samples, at_least, at_most, cpu_seconds, figure, memory_in, memory_mb, share_of
from bench.world import CONTEST, World, limit, wait_until, world
from bench.wrk import Answers, wrk

CONNECTIONS = 512
WARM_UP = 10
"""Seconds of load before votes over HTTP are measured. Kafka's virtual machine compiles what it is asked often, mostly
in these seconds. In the first ones a vote costs it four times as much, and compiling takes a third of a processor."""
LONG_WARM_UP = 30
"""The same before batches, which come by fewer requests: Kafka's share of a vote was 5.4 us in the first seconds of it,
2.7 after ten and 1.5 after thirty."""
ROOMS = ("gateway", "collector", "tally", "archive", "board")
PARTITIONS = 12


def single_rows(repeats: int, seconds: int) -> Iterator[Row]:
    """Single votes: intake alone, then with tally and board beside it."""
    with world(PARTITIONS) as servers, bare_granian():
        servers.begin("collector", "gateway")
        _load(servers, WARM_UP)
        yield from _single(servers, "intake only", ("gateway", "collector", "kafka"), 0.5, repeats, seconds)
        yield from _single(servers, "each of its own bytes, with a key", (), 0.0, 3, 3, script="keyed.lua")
        servers.begin("tally", "board")
        idle = _caught_up(servers, servers.counted())
        yield from _single(servers, "with tally and board", (), 0.35, repeats, seconds, idle)
        servers.recount()


def all_rows(repeats: int, seconds: int) -> Iterator[Row]:
    """Single votes with all rooms, and what memory each of them has then."""
    with world(PARTITIONS) as servers, bare_granian():
        servers.begin("collector", "gateway", "tally", "archive", "board")
        _load(servers, WARM_UP)
        idle = _caught_up(servers, servers.counted(), servers.archived())
        yield from _single(servers, "with the archive too", ("tally", "redis"), 0.2, repeats, seconds, idle)
        for room in ROOMS:
            yield _memory(servers, room, "single votes")
        votes = servers.recorded()
        yield figure("Kafka, bytes a single vote", kafka_bytes(servers, "votes") / votes, "bytes", "in small batches")
        servers.recount()


def _memory(servers: World, room: str, load: str) -> Row:
    """What a room's memory came to at its highest, since it began."""
    used, bare = memory_mb(servers.pid(room), "VmHWM"), _bare_interpreter()
    note = "limit: a bare interpreter"
    return at_most(f"memory at its highest, {room}, {load}", Samples([used]), "MB", 120, note, Samples([bare]))


def _caught_up(servers: World, *passed: Callable[[], int]) -> Callable[[], None]:
    """Waits until projections have passed what is recorded: then the machine is the limit's alone."""

    def wait() -> None:
        for count in passed:
            wait_until(count, servers.recorded(), "the projections", 0.2)

    return wait


def _single(
    servers: World,
    what: str,
    parts: tuple[str, ...],
    share: float,
    repeats: int,
    seconds: int,
    idle: Callable[[], None] = lambda: None,
    script: str = "single.lua",
) -> Iterator[Row]:
    """Ours and the bare handler in turn, that one on an idle machine; then a vote's processor time in some parts."""
    _load(servers, 2, script)
    idle()
    ours, bare, slowest = Samples(), Samples(), Samples()
    before, first, votes = {part: cpu_seconds(servers.pid(part)) for part in parts}, servers.recorded(), 0
    for _ in range(repeats):
        single = _load(servers, seconds, script)
        assert not single.failed, single
        votes += single.answers
        ours.values.append(single.per_second)
        slowest.values.append(single.p99_ms)
        idle()
        bare.values.append(wrk(f"http://127.0.0.1:{BARE}/insert", script, CONNECTIONS, seconds).per_second)
    recorded = servers.recorded() - first
    assert recorded >= votes, f"{votes} acknowledged, {recorded} recorded"
    note = f"p99 {slowest.median:.0f} ms"
    yield share_of(f"single votes, {what}", ours, bare, "votes/s", share, note)
    for part in parts:
        used = cpu_seconds(servers.pid(part)) - before[part]
        yield figure(f"{part}, CPU a single vote", used / recorded * 1e6, "us", what)


def _load(servers: World, seconds: int, script: str = "single.lua") -> Answers:
    return wrk(f"http://127.0.0.1:{servers.stack.ports['gateway']}/insert", script, CONNECTIONS, seconds)


def batch_rows(repeats: int, seconds: int, votes: int) -> Iterator[Row]:
    """NDJSON batches into Kafka; the limit produces as many records as `votes`."""
    with world(PARTITIONS) as servers:
        servers.begin("collector", "gateway")
        url = f"http://127.0.0.1:{servers.stack.ports['gateway']}/v1/contests/{CONTEST}/votes"
        servers.make_topic("limit")
        wrk(url, "batch.lua", 8, LONG_WARM_UP)
        ours, bare, parts = Samples(), Samples(), ("gateway", "collector", "kafka")
        cost: dict[str, Samples] = {part: Samples() for part in parts}
        for _ in range(repeats):
            first, before = servers.recorded(), {part: cpu_seconds(servers.pid(part)) for part in parts}
            batch = wrk(url, "batch.lua", 8, seconds)
            assert not batch.failed, batch
            ours.values.append(batch.per_second * 5_000)
            recorded = servers.recorded() - first
            for part in parts:
                cost[part].values.append((cpu_seconds(servers.pid(part)) - before[part]) / recorded * 1e6)
            bare.values.append(limit("produce", servers.stack.kafka.bootstrap, "limit", votes))
        yield at_least("NDJSON batches into Kafka", ours, "votes/s", 150_000, "limit: librdkafka alone", bare)
        for room in ("gateway", "collector"):
            yield _memory(servers, room, "batches")
        for part, samples in cost.items():
            yield figure(f"{part}, CPU a batched vote", samples.median, "us", "5,000 lines a batch")
        servers.begin("tally")
        wait_until(servers.counted(), servers.recorded(), "the tally")
        servers.recount()


def latency_rows(repeats: int, seconds: int, pace: int = 5_000) -> Iterator[Row]:
    """From an acknowledgement to the standings, at a steady pace."""
    with world(PARTITIONS) as servers:
        servers.begin("collector", "gateway", "tally")
        middle, slow, late = Samples(), Samples(), 0
        _waits(servers, pace, 2)  # the broker and the rooms warm up
        for _ in range(repeats):
            waited = _waits(servers, pace, seconds)
            cuts = statistics.quantiles(waited, n=100)
            middle.values.append(cuts[49] * 1000)
            slow.values.append(cuts[98] * 1000)
            late += len(waited)
        note = f"{late:,} votes at {pace:,}/s"
        yield at_most("acknowledged to counted, p50", middle, "ms", 40, note)
        yield at_most("acknowledged to counted, p99", slow, "ms", 150, note)
        servers.recount()


def _waits(servers: World, pace: int, seconds: int) -> list[float]:
    """Seconds that each vote waited to be counted.

    A partition counts in its order: its n-th acknowledged vote is counted when its position has passed n more records
    than at the start. The position is looked at every two milliseconds, which a vote may seem to have waited longer.
    """
    reader = RedisStandingsReader(redis_settings(servers.settings()))
    wait_until(servers.counted(), servers.recorded(), "the tally")
    start = {partition: position.offset for partition, position in reader.partitions().items()}
    argv = [sys.executable, "-m", "bench.pace", str(servers.stack.ports["gateway"]), str(pace), str(seconds)]
    looks: list[tuple[float, dict[int, int]]] = []
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as client:
        total, ended = sum(start.values()) + pace * seconds, time.monotonic() + seconds + 60
        while (not looks or sum(looks[-1][1].values()) < total) and time.monotonic() < ended:
            offsets = {partition: position.offset for partition, position in reader.partitions().items()}
            looks.append((time.monotonic(), offsets))
            time.sleep(0.002)
        text, _ = client.communicate()
    reader.close()
    acknowledged: dict[int, list[float]] = {}
    for line in text.splitlines():
        at, vote_id = line.split(" ")
        acknowledged.setdefault(partition_of(vote_id.encode(), PARTITIONS), []).append(float(at))
    return [
        wait
        for partition, moments in acknowledged.items()
        for wait in _waits_of(
            moments, [(at, offsets.get(partition, 0)) for at, offsets in looks], start.get(partition, 0)
        )
    ]


def _waits_of(acknowledged: list[float], looks: list[tuple[float, int]], start: int) -> Iterator[float]:
    seen = iter(looks)
    at, offset = next(seen)
    for number, moment in enumerate(sorted(acknowledged), start=1):
        while offset < start + number:
            at, offset = next(seen)
        yield max(0.0, at - moment)


@cache
def _bare_interpreter() -> float:
    """Resident memory of an interpreter that does nothing, in MB."""
    code = "print(open('/proc/self/status').read())"
    status = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    return memory_in(status, "VmHWM")


Rows = Callable[[bool], Iterator[Row]]
GROUPS: dict[str, Rows] = {
    "single": lambda quick: single_rows(*((2, 3) if quick else (5, 3))),
    "all-rooms": lambda quick: all_rows(*((2, 3) if quick else (3, 3))),
    "batch": lambda quick: batch_rows(*((2, 3, 100_000) if quick else (3, 4, 500_000))),
    "latency": lambda quick: latency_rows(*((2, 3) if quick else (3, 10))),
}
