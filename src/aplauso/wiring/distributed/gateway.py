"""The gateway's parts."""

from collections.abc import Mapping

from aplauso.adapters.grpc.intake import GrpcIntake
from aplauso.adapters.system.clock import SystemClock
from aplauso.adapters.system.ids import SteeredIds
from aplauso.domain.contest import Contest
from aplauso.flow.cast import Batcher, Caster
from aplauso.settings import Settings
from aplauso.wiring.distributed.collectors import client_tls, collectors
from aplauso.wiring.parts import limits


class GatewayParts:
    """The gateway's parts. Made on the event loop that uses them."""

    def __init__(self, settings: Settings, contests: Mapping[str, Contest]) -> None:
        self.intake = GrpcIntake(
            collectors(settings),
            token=settings.gateway_token,
            tls=client_tls(settings),
            deadline=settings.call_seconds,
        )
        ids = SteeredIds(settings.partitions)
        self.caster = Caster(contests, Batcher(self.intake, limits(settings)), SystemClock(), ids, ids.many)
