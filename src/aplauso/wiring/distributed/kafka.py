"""The settings' part of the log."""

from aplauso.adapters.kafka.config import KafkaSettings
from aplauso.domain.errors import Misconfigured
from aplauso.settings import Settings


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
