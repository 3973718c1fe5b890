"""The board's parts."""

from aplauso.adapters.mongo.archive import MongoArchiveReader
from aplauso.adapters.redis.standings import RedisStandingsReader
from aplauso.adapters.system.clock import SystemClock
from aplauso.flow.board import Board
from aplauso.settings import Settings
from aplauso.wiring.distributed.mongo import mongo_settings
from aplauso.wiring.distributed.redis import redis_settings


def board(settings: Settings) -> Board:
    """The board's parts."""
    return Board(
        RedisStandingsReader(redis_settings(settings)), MongoArchiveReader(mongo_settings(settings)), SystemClock()
    )
