"""The tally's parts."""

import sys
from typing import Final

from aplauso.adapters.kafka.rejected import KafkaRejected
from aplauso.adapters.kafka.source import KafkaSource
from aplauso.adapters.redis.standings import RedisStandings
from aplauso.flow.project import Projection, RejectionLimit, Watch
from aplauso.flow.worker import Worker
from aplauso.settings import Settings
from aplauso.wiring.distributed.kafka import kafka_settings
from aplauso.wiring.distributed.redis import redis_settings
from aplauso.wiring.parts import Projecting

TALLY_GROUP: Final = "aplauso.tally"
_BATCH: Final = 10_000
"""A batch writes the lines of all its bands: with half as many votes, each costs Redis 2.0 us instead of 1.2."""
_SWITCH_SECONDS: Final = 0.0005
"""How long a thread that decodes keeps one waiting that has to send or read a batch. With the interpreter's own 5 ms,
Redis had nothing to do for a fifth of the time."""


def tally(settings: Settings, watch: Watch) -> Projecting:
    """The projection into the standings."""
    sys.setswitchinterval(_SWITCH_SECONDS)
    kafka = kafka_settings(settings)
    source = KafkaSource(kafka, TALLY_GROUP, settings.kafka_protocol, settings.kafka_session_seconds)
    store, sink, worker = RedisStandings(redis_settings(settings)), KafkaRejected(kafka), Worker("tally-store")

    def close() -> None:
        for part in (worker, source, store, sink):
            part.close()

    limit = RejectionLimit(settings.rejected_share)
    projection = Projection(source, store, watch, sink, limit, _BATCH, worker)
    return Projecting(projection, source, lambda: None, close)
