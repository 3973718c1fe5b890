"""Reading a contest's standings, in a process of its own as the board is one. Argument: how often.

The first line is how many lines there are, a band's or an album's, read or made of them; the others are milliseconds.
"""

import os
import sys
import time

from aplauso.adapters.redis.standings import RedisStandingsReader
from aplauso.domain.tally import Bands
from aplauso.services.run import settle_memory
from aplauso.settings import load
from aplauso.wiring.distributed.redis import redis_settings
from bench.world import CONTEST


def main(times: int) -> None:
    """Measures, and prints."""
    settings = load(os.environ).settings
    reader = RedisStandingsReader(redis_settings(settings))
    parts = [reader.partition(partition).contests.get(CONTEST, {}) for partition in range(settings.partitions)]
    print(sum(map(_lines_of, parts)) + _lines_of(reader.read(CONTEST)))
    del parts
    settle_memory()  # as the board does
    for _ in range(times):
        started = time.perf_counter()
        assert reader.read(CONTEST)
        print((time.perf_counter() - started) * 1000)
    reader.close()


def _lines_of(bands: Bands) -> int:
    return len(bands) + sum(len(band.albums) for band in bands.values())


if __name__ == "__main__":
    main(int(sys.argv[1]))
