"""The parts of the commands that look at all rooms' stores: recount, verify, rejected, doctor."""

from collections.abc import Callable

from aplauso.adapters.grpc import doctor as grpc_doctor
from aplauso.adapters.kafka.log import KafkaLog
from aplauso.adapters.kafka.reader import KafkaReader
from aplauso.adapters.kafka.rejected import KafkaRejected
from aplauso.adapters.kafka.topics import Topics
from aplauso.adapters.mongo.archive import MongoArchiveReader
from aplauso.adapters.redis import doctor as redis_doctor
from aplauso.adapters.redis.standings import RedisStandingsReader
from aplauso.domain.errors import Unavailable
from aplauso.ports.log import LogReader
from aplauso.ports.rejected import RejectedLog
from aplauso.settings import Settings
from aplauso.wiring.distributed.collectors import client_tls, collectors
from aplauso.wiring.distributed.kafka import kafka_settings
from aplauso.wiring.distributed.mongo import mongo_settings
from aplauso.wiring.distributed.redis import redis_settings
from aplauso.wiring.parts import Appending, Readers, load_contests


def readers(settings: Settings) -> Readers:
    """What a recount reads."""
    return Readers(
        log_reader(settings),
        RedisStandingsReader(redis_settings(settings)),
        MongoArchiveReader(mongo_settings(settings)),
    )


def log_reader(settings: Settings) -> LogReader:
    """A reader of the log alone."""
    return KafkaReader(kafka_settings(settings))


def rejected(settings: Settings) -> RejectedLog:
    """The rejected records."""
    return KafkaRejected(kafka_settings(settings))


def appending(settings: Settings) -> Appending:
    """The log, to append to, and its rejected records."""
    kafka = kafka_settings(settings)
    log, rejected = KafkaLog(kafka, deadline=settings.call_seconds), KafkaRejected(kafka)

    async def close() -> None:
        await log.close()
        rejected.close()

    return Appending(log, rejected, close)


def checks(settings: Settings) -> dict[str, Callable[[], str]]:
    """What `doctor` asks of the distributed parts."""
    return {
        "contests": lambda: ", ".join(load_contests(settings.contests)),
        "kafka": lambda: _kafka_state(settings),
        "collectors": lambda: _collectors_state(settings),
        "redis": lambda: _state(redis_doctor.problems(redis_settings(settings)), "reached, nothing wrong"),
        "mongo": lambda: _mongo_state(settings),
        "projections": lambda: _lag_state(settings),
    }


def _state(problems: list[str], fine: str) -> str:
    if problems:
        raise Unavailable("; ".join(problems))
    return fine


def _kafka_state(settings: Settings) -> str:
    topics = Topics(kafka_settings(settings))
    topic = topics.check()
    findings = topics.examine()
    remarks = "".join(f"; note: {remark}" for remark in findings.remarks)
    return _state(findings.problems, f"topic {settings.kafka_topic} {topic.id}, {topic.partitions} partitions{remarks}")


def _collectors_state(settings: Settings) -> str:
    addresses = collectors(settings)
    found = grpc_doctor.problems(addresses, settings.gateway_token, client_tls(settings))
    return _state(found, f"{', '.join(addresses)} reached")


def _mongo_state(settings: Settings) -> str:
    reader = MongoArchiveReader(mongo_settings(settings))
    try:
        return _state(reader.problems(), "reached, nothing wrong")
    finally:
        reader.close()


def _lag_state(settings: Settings) -> str:
    opened = readers(settings)
    try:
        return opened.lag_state()
    finally:
        opened.close()
