"""Reading a contest's standings while votes come in, in a process of its own as the board is one.

Arguments: how often by a reader that has not read before, and how often then by one that has.

The first line is how many lines there are, a band's or an album's, read or made of them. The others are milliseconds:
those of readers that read for the first time, then of one that has read before, twice a second as the board does.
"""

import os
import sys
import time
from contextlib import closing

from aplauso.adapters.redis.standings import RedisStandingsReader
from aplauso.domain.tally import Bands
from aplauso.services.run import settle_memory
from aplauso.settings import load
from aplauso.wiring.distributed.redis import redis_settings
from bench.world import CONTEST

PAUSE = 0.5


def main(first: int, again: int) -> None:
    """Measures, and prints."""
    settings = load(os.environ).settings
    redis = redis_settings(settings)
    with closing(RedisStandingsReader(redis)) as reader:
        parts = [reader.partition(partition).contests.get(CONTEST, {}) for partition in range(settings.partitions)]
        print(sum(map(_lines_of, parts)) + _lines_of(reader.read(CONTEST)))
        del parts
    settle_memory()  # as the board does
    for _ in range(first):
        with closing(RedisStandingsReader(redis)) as reader:
            reader.version()  # connects
            started = time.perf_counter()
            reader.read(CONTEST)
            print((time.perf_counter() - started) * 1000)
    with closing(RedisStandingsReader(redis)) as reader:
        votes = sum(band.votes for band in reader.read(CONTEST).values())
        for _ in range(again):
            time.sleep(PAUSE)
            started = time.perf_counter()
            bands = reader.read(CONTEST)
            print((time.perf_counter() - started) * 1000)
            before, votes = votes, sum(band.votes for band in bands.values())
            assert votes > before, "no votes came in"


def _lines_of(bands: Bands) -> int:
    return len(bands) + sum(len(band.albums) for band in bands.values())


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
