"""How tally and standings grow with bands, partitions and votes: no worse than linearly.

Growth is judged by what a unit of work costs, a vote or a line that is read, at the two largest sizes. At the smallest
one, what does not grow at all weighs most, and a cost that grows with the square would pass unseen beside it.
"""

import statistics
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from threading import Event
from typing import NamedTuple

from bench.harness import Row, Samples, at_most, cpu_seconds, figure
from bench.records import Kind, backlog, entries, producer, put
from bench.world import World, rate_until, said, wait_until, world

SLACK = 1.3
"""What measurement itself scatters by: a growth above it is worse than linear."""
GROWN = 1.5
"""What a unit of work may cost at the largest size, times its cost at the next smaller one."""
SCATTERED = 2
"""The same for a vote over 96 partitions instead of 12. Eight would be linear: a line belongs to one partition, so the
same votes write more lines over more partitions, until each vote writes lines of its own."""
TURNS = 3
"""How often the two largest sizes are counted and read, in turn."""
READS = 5
"""First readings while votes come in, and as many later ones."""
QUIET = 3
"""First readings in a turn while nothing comes in."""
RATE = 1_000
"""Votes a second that come in while standings are read."""


class Drained(NamedTuple):
    """How a backlog was counted: votes a second, and microseconds of processor time a vote, Redis included."""

    rate: float
    cost: float


class Reading(NamedTuple):
    """Milliseconds of reading a contest's standings.

    Attributes:
        first: by a reader that has not read before.
        again: by a reader that has.
        lines: a band's or an album's, read by the former or made of them.
    """

    first: Samples
    again: Samples
    lines: int

    @property
    def line(self) -> float:
        """Microseconds a line of the first reading."""
        return self.first.median * 1000 / self.lines


def bands_rows(votes: int) -> Iterator[Row]:
    """10 to 100,000 bands over 12 partitions; at the two largest, nearly every vote writes lines of its own."""
    costs: dict[int, list[float]] = {}
    lines: dict[int, list[float]] = {}
    reads = {}
    with world() as servers:
        for bands in (10, 1_000, 10_000, 100_000):
            topic = f"bands-{bands}"
            backlog(servers, topic, votes, 12, Kind(bands))
            drained = _drain(servers, topic, votes, 12)
            costs[bands] = [drained.cost]
            lines[bands] = [_read_quietly(servers, topic, 12).line] if bands >= 10_000 else []
            reads[bands] = _read(servers, topic, 12, bands)
            yield from _figures(f"{bands:,} bands", drained, reads[bands])
            servers.recount(topic)
        for bands in (10_000, 100_000) * (TURNS - 1):
            costs[bands].append(_drain(servers, f"bands-{bands}", votes, 12).cost)
            lines[bands].append(_read_quietly(servers, f"bands-{bands}", 12).line)
            servers.recount(f"bands-{bands}")
    note = f"{reads[1_000].lines:,} lines, {RATE:,} votes/s come in"
    yield at_most("standings read, 1,000 bands", reads[1_000].again, "ms", 50, note)
    yield from _grown("100,000 bands", "10,000", (costs[100_000], lines[100_000]), (costs[10_000], lines[10_000]))


def partitions_rows(votes: int) -> Iterator[Row]:
    """1, 12 and 96 partitions, 1,000 bands."""
    costs: dict[int, list[float]] = {}
    lines: dict[int, list[float]] = {}
    worlds: dict[int, World] = {}
    with ExitStack() as open_worlds:
        for partitions in (1, 12, 96):
            servers = worlds[partitions] = open_worlds.enter_context(world(partitions))
            backlog(servers, "votes", votes, partitions, Kind(1_000))
            drained = _drain(servers, "votes", votes, partitions)
            yield from _figures(f"{partitions} partitions", drained, _read(servers, "votes", partitions, 1_000))
            servers.recount()
        # One after the other with nothing between them: the machine's pace changes within a minute.
        for partitions in (12, 96) * TURNS:
            costs.setdefault(partitions, []).append(_drain(worlds[partitions], "votes", votes, partitions).cost)
        for partitions in (12, 96) * TURNS:
            lines.setdefault(partitions, []).append(_read_quietly(worlds[partitions], "votes", partitions).line)
        for partitions in (12, 96):
            worlds[partitions].recount()
    yield from _grown("96 partitions", "12", (costs[96], lines[96]), (costs[12], lines[12]), SCATTERED)


def _figures(size: str, drained: Drained, reading: Reading) -> Iterator[Row]:
    yield figure(f"tally, {size}", drained.rate, "votes/s")
    yield figure(f"tally and Redis, CPU a vote, {size}", drained.cost, "us")
    yield figure(f"standings first read, {size}", reading.first.median, "ms", f"{reading.lines:,} lines")
    yield figure(f"standings read again, {size}", reading.again.median, "ms", f"{RATE:,} votes/s come in")


def _grown(
    size: str,
    base: str,
    costs: tuple[list[float], list[float]],
    costs_base: tuple[list[float], list[float]],
    vote: float = GROWN,
) -> Iterator[Row]:
    """The marks: a vote's and a line's cost at the largest size, as a multiple of that at the next smaller one."""
    marks = (("tally and Redis, a vote", vote), ("standings first read, a line", GROWN))
    for (what, must), many, before in zip(marks, costs, costs_base, strict=True):
        ratios = [one / other for one, other in zip(many, before, strict=True)]
        note = f"{statistics.median(many):.2f} against {statistics.median(before):.2f} us"
        yield at_most(f"{what}, {size}", Samples(ratios), f"x of {base}", must, note)


def votes_rows(most: int) -> Iterator[Row]:
    """10,000 votes and ten times as many, up to `most`; the greatest is for the tally alone."""
    rates, votes = {}, 10_000
    with world() as servers:
        while votes <= most:
            backlog(servers, f"votes-{votes}", votes)
            rates[votes] = _drain(servers, f"votes-{votes}", votes, 12).rate
            yield figure(f"tally, {votes:,} votes", rates[votes], "votes/s")
            servers.recount(f"votes-{votes}")
            votes *= 10
    base = max(rates[count] for count in rates if count <= 100_000)
    yield at_most("tally, cost a vote of the longest log", Samples([base / rates[votes // 10]]), "x linear", SLACK)


def _drain(servers: World, topic: str, votes: int, partitions: int) -> Drained:
    servers.forget()
    counted, redis = servers.counted(topic, partitions), servers.pid("redis")
    with servers.projection("tally", topic, partitions) as tally:
        wait_until(counted, 1, "the first batch", 0.005)
        first, before = counted(), cpu_seconds(tally) + cpu_seconds(redis)
        rate = rate_until(counted, votes, 0.005)
        used = cpu_seconds(tally) + cpu_seconds(redis) - before
    return Drained(rate, used / (votes - first) * 1e6)


def _read(servers: World, topic: str, partitions: int, bands: int) -> Reading:
    """While votes come in."""
    with servers.projection("tally", topic, partitions), _votes_coming(servers, topic, partitions, bands):
        return _reading(servers, topic, partitions, READS, READS)


def _read_quietly(servers: World, topic: str, partitions: int) -> Reading:
    """First readings alone, as nothing comes in that a second one could read."""
    return _reading(servers, topic, partitions, QUIET, 0)


def _reading(servers: World, topic: str, partitions: int, first: int, again: int) -> Reading:
    lines, *times = said("reading", first, again, env=servers.environment(topic, partitions)).split()
    milliseconds = list(map(float, times))
    return Reading(Samples(milliseconds[:first]), Samples(milliseconds[first:]), int(lines))


@contextmanager
def _votes_coming(servers: World, topic: str, partitions: int, bands: int) -> Iterator[None]:
    """Votes put into the log, `RATE` a second, for as long as the block runs; some are counted when it begins."""
    step, stop, counted = RATE // 10, Event(), servers.counted(topic, partitions)
    records = entries(range(100_000), partitions, Kind(bands, seed=7))
    before, through = counted(), producer(servers.stack.kafka.bootstrap)

    def cast() -> None:
        for first in range(0, len(records), step):
            put(through, topic, records[first : first + step])
            if stop.wait(0.1):
                return

    with ThreadPoolExecutor(1) as thread:
        casting = thread.submit(cast)
        try:
            wait_until(counted, before + 1, "a vote that came in")
            yield
        finally:
            stop.set()
            casting.result()
