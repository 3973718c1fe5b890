"""The archive's parts."""

from typing import Final

from aplauso.adapters.kafka.source import KafkaSource
from aplauso.adapters.mongo.archive import MongoArchive
from aplauso.flow.project import Projection, Watch
from aplauso.flow.worker import Worker
from aplauso.settings import Settings
from aplauso.wiring.distributed.kafka import kafka_settings
from aplauso.wiring.distributed.mongo import mongo_settings
from aplauso.wiring.parts import Projecting

ARCHIVE_GROUP: Final = "aplauso.archive"
_GATHER_SECONDS: Final = 0.2
"""Nobody watches the archive fill, and a batch costs its server as much as eight votes, for each partition."""

_BATCH: Final = 2_000
"""Documents that are made and sent together: with as many as a tally's votes, a backlog took a fifth more memory."""


def archive(settings: Settings, watch: Watch) -> Projecting:
    """The projection into the archive."""
    kafka = kafka_settings(settings)
    source = KafkaSource(
        kafka, ARCHIVE_GROUP, settings.kafka_protocol, settings.kafka_session_seconds, gather=_GATHER_SECONDS
    )
    store, worker = MongoArchive(mongo_settings(settings)), Worker("archive-store")

    def close() -> None:
        for part in (worker, source, store):
            part.close()

    projection = Projection(source, store, watch, batch=_BATCH, worker=worker)
    return Projecting(projection, source, lambda: None, close)
