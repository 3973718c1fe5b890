"""The tally's parts."""

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


def tally(settings: Settings, watch: Watch) -> Projecting:
    """The projection into the standings."""
    kafka = kafka_settings(settings)
    source = KafkaSource(kafka, TALLY_GROUP, settings.kafka_protocol, settings.kafka_session_seconds)
    store, sink, worker = RedisStandings(redis_settings(settings)), KafkaRejected(kafka), Worker("tally-store")

    def close() -> None:
        for part in (worker, source, store, sink):
            part.close()

    limit = RejectionLimit(settings.rejected_share)
    return Projecting(Projection(source, store, watch, sink, limit, worker=worker), source, lambda: None, close)
