"""The collector's parts."""

from collections.abc import Mapping

from aplauso.adapters.grpc.server import CollectorServer
from aplauso.adapters.grpc.tls import ServerTls
from aplauso.adapters.kafka.log import KafkaLog
from aplauso.adapters.kafka.topics import Topics
from aplauso.adapters.system.clock import SystemClock
from aplauso.domain.contest import Contest
from aplauso.domain.errors import Misconfigured
from aplauso.flow.collect import Collector
from aplauso.settings import Settings
from aplauso.wiring.distributed.kafka import kafka_settings


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
