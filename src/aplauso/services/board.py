"""The board's process: standings, their stream, records and the pages."""

from collections.abc import Callable

import structlog

from aplauso.metrics import Metrics
from aplauso.services.http import HTTPServer
from aplauso.services.rooms import default_contest, note_standings, result_routes
from aplauso.services.run import Ending, run_until_asked
from aplauso.settings import Settings
from aplauso.web.app import App, Route
from aplauso.web.contests import ContestCalls
from aplauso.web.health import Health
from aplauso.web.pages import Pages
from aplauso.web.results import Results
from aplauso.web.site import Site
from aplauso.wiring import load_contests
from aplauso.wiring.distributed.board import board as build_board

log = structlog.get_logger("aplauso.board")


async def serve(settings: Settings, port: int, announce: Callable[[str], None]) -> None:
    """Runs a board until a signal asks for a stop.

    Args:
        settings: of all rooms.
        port: of HTTP; 0 takes a free one.
        announce: called with its address once it answers.

    Raises:
        Misconfigured: a setting or the address cannot be used.
        InvalidContest: a contest file is wrong.
    """
    contests, metrics, ending = load_contests(settings.contests), Metrics(), Ending()
    default = default_contest(contests, settings)
    board = build_board(settings)

    async def refresh() -> None:
        await note_standings(metrics, board, contests)

    health = Health({"stores": board.ready}, metrics, refresh)
    calls = ContestCalls(contests)
    site = Site(Pages(settings.gateway_url), contests, default, settings.gateway_url)
    routes = [
        *result_routes(Results(board, contests, default)),
        Route("GET", "/v1/contests", calls.list),
        Route("GET", "/v1/contests/{}", calls.one),
        *site.routes(),
        *health.routes(),
    ]
    server = HTTPServer(App(routes, metrics, settings.origins, site.file), settings.host, port)

    async def start() -> None:
        await server.start()
        announce(server.url)
        log.info("ready", url=server.url)

    async def stop() -> None:
        health.stopping = True
        await board.close()
        await server.stop()

    await run_until_asked(start, stop, ending)
