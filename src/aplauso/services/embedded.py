"""All rooms in one process over SQLite: a whole contest on a laptop."""

import os
from collections.abc import Callable

import structlog

from aplauso.adapters.sqlite.directory import DataDirectory
from aplauso.metrics import Metrics
from aplauso.services.demo import Demo
from aplauso.services.http import HTTPServer
from aplauso.services.rooms import default_contest, note_standings, result_routes
from aplauso.services.run import Ending, ProjectionThread, run_until_asked
from aplauso.settings import Settings
from aplauso.web.app import App, Route
from aplauso.web.contests import ContestCalls
from aplauso.web.health import Check, Health
from aplauso.web.pages import Pages
from aplauso.web.results import Results
from aplauso.web.site import Site
from aplauso.web.votes import Votes
from aplauso.wiring import load_contests
from aplauso.wiring.embedded import Embedded

log = structlog.get_logger("aplauso.up")


class EmbeddedSystem:
    """The rooms, their threads and their HTTP server.

    Args:
        directory: taken by this process.
        settings: of all rooms.
        port: of HTTP; 0 takes a free one.
    """

    def __init__(self, directory: DataDirectory, settings: Settings, port: int) -> None:
        self._settings = settings
        self.data = directory.path
        self.contests = load_contests(settings.contests)
        self.default = default_contest(self.contests, settings)
        self.metrics = Metrics()
        self.parts = Embedded(directory, self.contests, settings)
        self.ending = Ending()
        clock = self.parts.clock
        self._projections = [
            ProjectionThread("tally", self.parts.tally, self.metrics, clock, self.ending),
            ProjectionThread("archive", self.parts.archive, self.metrics, clock, self.ending),
        ]
        self.board = self.parts.board()
        self.votes = Votes(self.parts.caster, self.default, self.metrics)
        checks: dict[str, Check] = {"log": self.parts.log.ready, "board": self.board.ready}
        checks |= {projection.name: projection.watch.check for projection in self._projections}
        self.health = Health(checks, self.metrics, self._refresh)
        self.app = self._app()
        self.server = HTTPServer(self.app, settings.host, port)

    def _app(self) -> App:
        settings = self._settings
        contests, results = ContestCalls(self.contests), Results(self.board, self.contests, self.default)
        site = Site(Pages(settings.gateway_url), self.contests, self.default, settings.gateway_url)
        routes = [
            Route("POST", "/insert", self.votes.insert, self.votes.head),
            Route("POST", "/v1/contests/{}/votes", self.votes.cast, self.votes.head),
            Route("GET", "/v1/contests", contests.list),
            Route("GET", "/v1/contests/{}", contests.one),
            *result_routes(results),
            *site.routes(),
            *self.health.routes(),
        ]
        return App(routes, self.metrics, settings.origins, site.file)

    async def _refresh(self) -> None:
        """Brings the metrics up to date before they are read."""
        self.votes.flush()
        for projection in self._projections:
            await projection.refresh()
        await note_standings(self.metrics, self.board, self.contests)

    async def start(self) -> None:
        """Starts everything; returns when votes are taken."""
        for projection in self._projections:
            projection.start()
        await self.server.start()

    async def stop(self) -> None:
        """Stops accepting, answers what is in flight, lets the projections end their batch."""
        self.health.stopping = True
        self.app.close()
        self.votes.close()
        await self.parts.caster.close()
        await self.app.quiet()
        await self.board.close()
        await self.server.stop()
        await self.parts.log.close()
        for projection in self._projections:
            await projection.stop()


async def serve(
    settings: Settings, port: int, announce: Callable[["EmbeddedSystem"], None], *, with_demo: bool = False
) -> None:
    """Runs a whole contest until a signal asks for a stop.

    Args:
        settings: of all rooms.
        port: of HTTP; 0 takes a free one.
        announce: called once when votes are taken.
        with_demo: whether to cast a trickle of votes.

    Raises:
        Fatal: the data or the address are in use, or a projection could not go on.
        InvalidContest: a contest file is wrong.
        Unavailable: the data directory cannot be used.
    """
    directory = DataDirectory.open(settings.data)
    try:
        system = EmbeddedSystem(directory, settings, port)
        shows: list[Demo] = []

        async def start() -> None:
            await system.start()
            announce(system)
            log.info("ready", url=system.server.url, pid=os.getpid(), data=str(settings.data))
            if with_demo:
                shows.append(Demo(system.parts.caster, system.contests))

        async def stop() -> None:
            for show in shows:
                await show.stop()
            await system.stop()

        await run_until_asked(start, stop, system.ending)
    finally:
        directory.close()
