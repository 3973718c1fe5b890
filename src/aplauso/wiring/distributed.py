"""The parts of the distributed system: Kafka, Redis, MongoDB, gRPC."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from aplauso.adapters.grpc import doctor as grpc_doctor
from aplauso.adapters.grpc.intake import GrpcIntake
from aplauso.adapters.grpc.server import CollectorServer
from aplauso.adapters.grpc.tls import ClientTls, ServerTls
from aplauso.adapters.kafka.config import KafkaSettings
from aplauso.adapters.kafka.log import KafkaLog
from aplauso.adapters.kafka.reader import KafkaReader
from aplauso.adapters.kafka.rejected import KafkaRejected
from aplauso.adapters.kafka.source import KafkaSource
from aplauso.adapters.kafka.topics import Topics
from aplauso.adapters.mongo.archive import MongoArchive, MongoArchiveReader
from aplauso.adapters.mongo.client import MongoSettings
from aplauso.adapters.redis import doctor as redis_doctor
from aplauso.adapters.redis.client import RedisSettings
from aplauso.adapters.redis.standings import RedisStandings, RedisStandingsReader
from aplauso.adapters.system.clock import SystemClock
from aplauso.adapters.system.ids import SteeredIds
from aplauso.domain.contest import Contest
from aplauso.domain.errors import Misconfigured, Unavailable
from aplauso.flow.board import Board
from aplauso.flow.cast import Batcher, Caster
from aplauso.flow.collect import Collector
from aplauso.flow.project import Projection, RejectionLimit, Watch
from aplauso.flow.worker import Worker
from aplauso.ports.rejected import RejectedLog
from aplauso.settings import Settings
from aplauso.wiring.parts import Appending, Projecting, Readers, limits, load_contests

TALLY_GROUP: Final = "aplauso.tally"
ARCHIVE_GROUP: Final = "aplauso.archive"


def kafka_settings(settings: Settings) -> KafkaSettings:
    """Where the log is. Raises `Misconfigured` when nothing says so."""
    if settings.kafka_bootstrap is None:
        raise Misconfigured("APLAUSO_KAFKA_BOOTSTRAP is not set: the addresses of Kafka's brokers, host:port,…")
    files = {
        "ssl.ca.location": settings.kafka_ca,
        "ssl.certificate.location": settings.kafka_certificate,
        "ssl.key.location": settings.kafka_key,
    }
    security: dict[str, str] = {"security.protocol": settings.kafka_security}
    security |= {name: str(path) for name, path in files.items() if path is not None}
    if settings.kafka_username is not None and settings.kafka_password is not None:
        security |= {
            "sasl.mechanism": settings.kafka_mechanism,
            "sasl.username": settings.kafka_username,
            "sasl.password": settings.kafka_password,
        }
    return KafkaSettings(settings.kafka_bootstrap, settings.kafka_topic, settings.partitions, security)


def redis_settings(settings: Settings) -> RedisSettings:
    """Where the standings are."""
    return RedisSettings(
        settings.redis_url,
        settings.partitions,
        settings.redis_cluster,
        settings.redis_username or "",
        settings.redis_password or "",
        _text(settings.redis_ca),
        _text(settings.redis_certificate),
        _text(settings.redis_key),
    )


def mongo_settings(settings: Settings) -> MongoSettings:
    """Where the archive is."""
    return MongoSettings(settings.mongo_uri, settings.mongo_database)


def _text(path: Path | None) -> str:
    return "" if path is None else str(path)


def _collectors(settings: Settings) -> list[str]:
    return [address.strip() for address in settings.collectors.split(",") if address.strip()]


def _client_tls(settings: Settings) -> ClientTls | None:
    """The gateway's side of gRPC's TLS; None for plain connections."""
    if not (settings.grpc_ca or settings.grpc_certificate):
        return None
    return ClientTls(settings.grpc_ca, settings.grpc_certificate, settings.grpc_key, settings.grpc_server_name)


class GatewayParts:
    """The gateway's parts. Made on the event loop that uses them."""

    def __init__(self, settings: Settings, contests: Mapping[str, Contest]) -> None:
        self.intake = GrpcIntake(
            _collectors(settings),
            token=settings.gateway_token,
            tls=_client_tls(settings),
            deadline=settings.call_seconds,
        )
        ids = SteeredIds(settings.partitions)
        self.caster = Caster(contests, Batcher(self.intake, limits(settings)), SystemClock(), ids)


class CollectorParts:
    """The collector's parts. Made on the event loop that uses them."""

    def __init__(self, settings: Settings, contests: Mapping[str, Contest], default: str | None, port: int) -> None:
        self.kafka = kafka_settings(settings)
        self.log = KafkaLog(self.kafka, deadline=settings.call_seconds)
        self.collector = Collector(contests, self.log)
        tls = None
        if settings.grpc_certificate is not None and settings.grpc_key is not None:
            tls = ServerTls(settings.grpc_certificate, settings.grpc_key, settings.grpc_client_ca)
        elif settings.grpc_client_ca is not None:
            raise Misconfigured("APLAUSO_GRPC_CLIENT_CA needs APLAUSO_GRPC_CERTIFICATE and APLAUSO_GRPC_KEY")
        host = f"[{settings.collector_host}]" if ":" in settings.collector_host else settings.collector_host
        self.server = CollectorServer(
            self.collector,
            f"{host}:{port}",
            contests=contests,
            clock=SystemClock(),
            default_contest=default,
            gateway_tokens=[settings.gateway_token] if settings.gateway_token else [],
            tls=tls,
            reflection=settings.grpc_reflection,
        )

    def prepare(self, *, create: bool) -> list[str]:
        """Makes the topics when they are not there, and says what is remarkable about them.

        Raises:
            Unavailable: Kafka does not answer.
            WrongLog: the topic has another number of partitions.
        """
        topics = Topics(self.kafka)
        if create:
            topics.create()
        topics.check()
        findings = topics.examine()
        return [*findings.problems, *findings.remarks]


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


def archive(settings: Settings, watch: Watch) -> Projecting:
    """The projection into the archive."""
    kafka = kafka_settings(settings)
    source = KafkaSource(kafka, ARCHIVE_GROUP, settings.kafka_protocol, settings.kafka_session_seconds)
    store, worker = MongoArchive(mongo_settings(settings)), Worker("archive-store")

    def close() -> None:
        for part in (worker, source, store):
            part.close()

    return Projecting(Projection(source, store, watch, worker=worker), source, lambda: None, close)


def board(settings: Settings) -> Board:
    """The board's parts."""
    return Board(
        RedisStandingsReader(redis_settings(settings)), MongoArchiveReader(mongo_settings(settings)), SystemClock()
    )


def readers(settings: Settings) -> Readers:
    """What a recount reads."""
    return Readers(
        KafkaReader(kafka_settings(settings)),
        RedisStandingsReader(redis_settings(settings)),
        MongoArchiveReader(mongo_settings(settings)),
    )


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
    addresses = _collectors(settings)
    found = grpc_doctor.problems(addresses, settings.gateway_token, _client_tls(settings))
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
