"""The processes of the tally and of the archive: each reads the log and keeps its store up to date."""

from collections.abc import Callable
from typing import Literal

import structlog

from aplauso.adapters.system.clock import SystemClock
from aplauso.metrics import Metrics
from aplauso.services.http import HTTPServer
from aplauso.services.run import Ending, ProjectionThread, run_until_asked
from aplauso.services.watch import ProjectionWatch
from aplauso.settings import Settings
from aplauso.web.app import App
from aplauso.web.health import Health
from aplauso.wiring import Projecting

log = structlog.get_logger("aplauso.projection")
Name = Literal["tally", "archive"]
Build = Callable[[Settings, ProjectionWatch], Projecting]


async def serve(
    settings: Settings, name: Name, build: Build, health_port: int, announce: Callable[[str], None]
) -> None:
    """Runs one replica of a projection until a signal asks for a stop.

    Args:
        settings: of all rooms.
        name: which projection.
        build: makes its parts.
        health_port: of `/healthz`, `/readyz` and `/metrics`.
        announce: called with their address once they answer.

    Raises:
        Fatal: going on would give wrong numbers, or a setting or the address cannot be used.
    """
    metrics, ending = Metrics(), Ending()

    def parts(watch: ProjectionWatch) -> Projecting:
        return build(settings, watch)

    projection = ProjectionThread(name, parts, metrics, SystemClock(), ending)
    health = Health({name: projection.watch.check}, metrics, projection.refresh)
    server = HTTPServer(App(health.routes(), metrics), settings.host, health_port)

    async def start() -> None:
        projection.start()
        await server.start()
        announce(server.url)
        log.info("running", projection=name, health=server.url)

    async def stop() -> None:
        health.stopping = True
        await projection.stop()
        await server.stop()

    await run_until_asked(start, stop, ending)
