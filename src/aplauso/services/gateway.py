"""The gateway's process: takes votes over HTTP, hands them to the collectors over gRPC."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import structlog

from aplauso.metrics import Metrics
from aplauso.services.http import HTTPServer
from aplauso.services.rooms import default_contest
from aplauso.services.run import Ending, run_until_asked
from aplauso.settings import Settings
from aplauso.web.app import App, Route
from aplauso.web.contests import ContestCalls
from aplauso.web.health import Health
from aplauso.web.votes import Votes
from aplauso.wiring import load_contests
from aplauso.wiring.distributed.gateway import GatewayParts

log = structlog.get_logger("aplauso.gateway")


async def serve(settings: Settings, port: int, announce: Callable[[str], None]) -> None:
    """Runs a gateway until a signal asks for a stop.

    Args:
        settings: of all rooms.
        port: of HTTP; 0 takes a free one.
        announce: called with its address once votes are taken.

    Raises:
        Misconfigured: a setting or the address cannot be used.
        InvalidContest: a contest file is wrong.
    """
    contests, metrics, ending = load_contests(settings.contests), Metrics(), Ending()
    parts = GatewayParts(settings, contests)
    votes = Votes(parts.caster, default_contest(contests, settings), metrics)
    calls = ContestCalls(contests)

    async def refresh() -> None:
        votes.flush()

    health = Health({"collectors": parts.intake.ready}, metrics, refresh)
    routes = [
        Route("POST", "/insert", votes.insert, votes.head),
        Route("POST", "/v1/contests/{}/votes", votes.cast, votes.head),
        Route("GET", "/v1/contests", calls.list),
        Route("GET", "/v1/contests/{}", calls.one),
        *health.routes(),
    ]
    front = _front(settings.board_url) if settings.board_url else None
    app = App(routes, metrics, settings.origins, front.get if front else None)
    server = HTTPServer(app, settings.host, port)

    async def start() -> None:
        await server.start()
        announce(server.url)
        log.info("ready", url=server.url, collectors=settings.collectors)

    async def stop() -> None:
        health.stopping = True
        app.close()
        votes.close()
        await parts.caster.close()
        await app.quiet()
        await parts.intake.close()
        if front is not None:
            await front.close()
        await server.stop()

    await run_until_asked(start, stop, ending)


def _front(board_url: str) -> Any:
    """The `Front` of a board. Its HTTP client takes 6 MiB, which a gateway without a board behind it saves."""
    return import_module("aplauso.web.front").Front(board_url)
