"""The collector's process: takes batches over gRPC, judges them, appends them to the log."""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from aplauso.domain.errors import Fatal, Unavailable
from aplauso.metrics import Metrics
from aplauso.services.http import HTTPServer
from aplauso.services.rooms import default_contest
from aplauso.services.run import Ending, run_until_asked
from aplauso.settings import Settings
from aplauso.web.app import App
from aplauso.web.health import Health
from aplauso.wiring import load_contests
from aplauso.wiring.distributed.collector import CollectorParts

LOOK_SECONDS: Final = 1.0
"""How often the collector asks whether its log takes votes, and tells gateways when it does not."""
log = structlog.get_logger("aplauso.collector")


async def serve(settings: Settings, port: int, health_port: int, announce: Callable[[str], None]) -> None:
    """Runs a collector until a signal asks for a stop. It starts while Kafka is away, and refuses votes until then.

    Args:
        settings: of all rooms.
        port: of gRPC; 0 takes a free one.
        health_port: of `/healthz`, `/readyz` and `/metrics`.
        announce: called with its address once it listens.

    Raises:
        Misconfigured: a setting or an address cannot be used.
        WrongLog: the topic is not the configured one.
    """
    contests, metrics, ending = load_contests(settings.contests), Metrics(), Ending()
    default = default_contest(contests, settings)
    parts = CollectorParts(settings, contests, default.id if default else None, port)
    health = Health({"log": parts.log.ready}, metrics)
    server = HTTPServer(App(health.routes(), metrics), settings.host, health_port)
    tasks: list[asyncio.Task[None]] = []

    async def start() -> None:
        await server.start()
        await parts.server.start()
        tasks.append(asyncio.create_task(_prepare(parts, settings, ending)))
        tasks.append(asyncio.create_task(_tell_gateways(parts)))
        address = f"{settings.collector_host}:{parts.server.port}"
        announce(address)
        log.info("listening", address=address, health=server.url)

    async def stop() -> None:
        health.stopping = True
        for task in tasks:
            task.cancel()
        await parts.server.stop()
        await parts.log.close()
        await server.stop()

    await run_until_asked(start, stop, ending)


async def _prepare(parts: CollectorParts, settings: Settings, ending: Ending) -> None:
    """Makes and checks the topics as soon as Kafka answers."""
    try:
        while True:
            try:
                findings = await asyncio.to_thread(parts.prepare, create=settings.kafka_create)
            except Unavailable as error:
                log.warning("waiting", why=str(error))
                await asyncio.sleep(LOOK_SECONDS)
            else:
                break
        for finding in findings:
            log.warning("the log", finding=finding)
    except Fatal as error:
        ending.fail(error)


async def _tell_gateways(parts: CollectorParts) -> None:
    """Says that the collector does not serve while its log takes no votes: gateways turn to another one by then."""
    serving = True
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        try:
            await parts.log.ready()
        except (Unavailable, Fatal) as error:
            ready, why = False, str(error)
        else:
            ready, why = True, ""
        if ready != serving:
            serving = ready
            await parts.server.set_serving(ready)
            log.warning("serving again" if ready else "not serving", **({} if ready else {"why": why}))
