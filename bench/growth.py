"""How tally and standings grow with bands, partitions and votes: no worse than linearly."""

import time
from collections.abc import Iterator

from aplauso.adapters.redis.standings import RedisStandingsReader
from aplauso.wiring.distributed.redis import redis_settings
from bench.harness import Row, Samples, at_most, figure
from bench.records import backlog
from bench.world import World, rate_until, world

SLACK = 1.3
"""What measurement itself scatters by: a growth above it is worse than linear."""
READS = 5


def bands_rows(votes: int) -> Iterator[Row]:
    """10, 1,000 and 100,000 bands over 12 partitions."""
    rates, reads = {}, {}
    with world() as servers:
        for bands in (10, 1_000, 100_000):
            topic = f"bands-{bands}"
            rates[bands] = _drain(servers, topic, votes, 12, bands)
            reads[bands] = _read(servers, topic, 12)
            yield figure(f"tally, {bands:,} bands", rates[bands], "votes/s")
            servers.recount(topic)
    # As many bands as there are votes cannot be read faster than one by one.
    yield at_most("standings read, 1,000 bands", reads[1_000], "ms", 50, "12 partitions")
    grown = reads[100_000].median / reads[1_000].median / 100
    yield at_most(
        "standings read, 100 times the bands", Samples([grown]), "x linear", SLACK, f"{reads[100_000].median:.0f} ms"
    )
    yield at_most("tally, cost of 100,000 bands", Samples([rates[10] / rates[100_000]]), "x of 10", 10_000)


def partitions_rows(votes: int) -> Iterator[Row]:
    """1, 12 and 96 partitions, 1,000 bands."""
    rates, reads = {}, {}
    for partitions in (1, 12, 96):
        with world(partitions) as servers:
            rates[partitions] = _drain(servers, "votes", votes, partitions, 1_000)
            reads[partitions] = _read(servers, "votes", partitions)
            yield figure(f"tally, {partitions} partitions", rates[partitions], "votes/s")
            servers.recount()
    grown = reads[96].median / reads[12].median / 8
    yield at_most(
        "standings read, 8 times the partitions", Samples([grown]), "x linear", SLACK, f"{reads[96].median:.0f} ms"
    )
    yield at_most("tally, cost of 96 partitions", Samples([rates[1] / rates[96]]), "x of 1", 96)


def votes_rows(most: int) -> Iterator[Row]:
    """10,000 votes and ten times as many, up to `most`; the greatest is for the tally alone."""
    rates, votes = {}, 10_000
    with world() as servers:
        while votes <= most:
            rates[votes] = _drain(servers, f"votes-{votes}", votes, 12, 100)
            yield figure(f"tally, {votes:,} votes", rates[votes], "votes/s")
            votes *= 10
    base = max(rates[count] for count in rates if count <= 100_000)
    yield at_most("tally, cost a vote of the longest log", Samples([base / rates[votes // 10]]), "x linear", SLACK)


def _drain(servers: World, topic: str, votes: int, partitions: int, bands: int) -> float:
    backlog(servers, topic, votes, partitions, bands)
    servers.forget()
    with servers.projection("tally", topic, partitions):
        return rate_until(servers.counted(topic, partitions), votes, 0.005)


def _read(servers: World, topic: str, partitions: int) -> Samples:
    """Milliseconds of reading a contest's standings from all partitions."""
    reader, times = RedisStandingsReader(redis_settings(servers.settings(topic, partitions))), Samples()
    for _ in range(READS):
        started = time.perf_counter()
        assert reader.read("bandas-gt")
        times.values.append((time.perf_counter() - started) * 1000)
    reader.close()
    return times
