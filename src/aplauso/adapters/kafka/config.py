"""How Kafka's clients are set up: what every one of them shares."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

CLIENT_LOG: Final = logging.getLogger("aplauso.kafka")
_SILENCE_MS: Final = 5_000


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """Where the vote log is.

    Attributes:
        bootstrap: addresses of brokers, `host:port`, parted by commas.
        topic: the votes' topic; the rejected ones' is named after it.
        partitions: the number that the topic must have.
        security: librdkafka's properties for TLS and login (`security.protocol`, `sasl.username`, …).
        max_bytes: size of a batch of records that the votes' topic takes at most, in bytes.
    """

    bootstrap: str
    topic: str = "votes"
    partitions: int = 12
    security: Mapping[str, str] = field(default_factory=dict, repr=False)
    max_bytes: int = 1_048_588

    @property
    def rejected_topic(self) -> str:
        """The rejected records' topic."""
        return f"{self.topic}.rejected"

    @property
    def rejected_max_bytes(self) -> int:
        """Size of a batch that the rejected records' topic takes: what the votes' does, and 64 KiB for the reason."""
        return self.max_bytes + 65_536

    def client(self, **properties: Any) -> dict[str, Any]:
        """The properties of a client that polls; underscores in names stand for dots."""
        return {
            "bootstrap.servers": self.bootstrap,
            "client.id": "aplauso",
            "socket.keepalive.enable": True,
            "reconnect.backoff.ms": 50,
            "reconnect.backoff.max.ms": 500,
            # A connection whose other end is gone without a word is given up after so long, not after a minute.
            "socket.timeout.ms": _SILENCE_MS,
            "api.version.request.timeout.ms": _SILENCE_MS,
            "socket.connection.setup.timeout.ms": _SILENCE_MS,
            "logger": CLIENT_LOG,
            **self.security,
            **{name.replace("_", "."): value for name, value in properties.items()},
        }

    def admin(self) -> dict[str, Any]:
        """The properties of an administrative client, whose failures its calls tell: it logs nothing."""
        return {name: value for name, value in self.client().items() if name != "logger"} | {"log_level": 0}
