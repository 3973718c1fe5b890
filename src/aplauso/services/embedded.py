"""All rooms in one process over SQLite: a whole contest on a laptop."""

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Callable
from typing import Final, NamedTuple

import structlog

from aplauso.adapters.sqlite.directory import DataDirectory
from aplauso.domain.errors import Fatal, Unavailable
from aplauso.metrics import Metrics
from aplauso.services.demo import Demo
from aplauso.services.http import HTTPServer
from aplauso.services.rooms import default_contest, note_standings, result_routes
from aplauso.services.watch import ProjectionWatch
from aplauso.settings import Settings
from aplauso.web.app import App, Route
from aplauso.web.contests import ContestCalls
from aplauso.web.health import Check, Health
from aplauso.web.pages import Pages
from aplauso.web.results import Results
from aplauso.web.site import Site
from aplauso.web.votes import Votes
from aplauso.wiring import Embedded, Projecting, load_contests

_JOIN_SECONDS: Final = 8.0
"""How long a projection may take to end what it has in hand."""
log = structlog.get_logger("aplauso.up")


class Running(NamedTuple):
    """A projection on its thread."""

    name: str
    projecting: Projecting
    watch: ProjectionWatch
    thread: threading.Thread


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
        self._stop = threading.Event()
        self._failed: list[Fatal] = []
        self._ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._running = [self._project("tally", self.parts.tally), self._project("archive", self.parts.archive)]
        self.board = self.parts.board()
        self.votes = Votes(self.parts.caster, self.default, self.metrics)
        checks: dict[str, Check] = {"log": self.parts.log.ready, "board": self.board.ready}
        checks |= {running.name: running.watch.check for running in self._running}
        self.health = Health(checks, self.metrics, self._refresh)
        self.server = HTTPServer(self._app(), settings.host, port)

    def _project(self, name: str, build: Callable[[ProjectionWatch], Projecting]) -> Running:
        watch = ProjectionWatch(name, self.metrics, self.parts.clock, counts=name == "tally")
        projecting = build(watch)
        thread = threading.Thread(target=self._run, args=(name, projecting), name=name, daemon=True)
        return Running(name, projecting, watch, thread)

    def _run(self, name: str, projecting: Projecting) -> None:
        """A projection's thread. What it cannot mend ends the whole process: going on would give wrong numbers."""
        try:
            projecting.projection.run(self._stop)
        except Fatal as error:
            self._fail(error)
        except Exception as error:
            log.exception("a projection failed", projection=name)
            self._fail(Fatal(f"{name}: {error}"))
        finally:
            projecting.close()

    def _fail(self, error: Fatal) -> None:
        self._failed.append(error)
        self._loop.call_soon_threadsafe(self._ended.set)

    def _app(self) -> App:
        settings = self._settings
        contests, results = ContestCalls(self.contests), Results(self.board, self.contests, self.default)
        site = Site(Pages(settings.gateway_url), self.contests, self.default, settings.gateway_url)
        routes = [
            Route("POST", "/insert", self.votes.insert),
            Route("POST", "/v1/contests/{}/votes", self.votes.cast),
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
        for running in self._running:
            with contextlib.suppress(Unavailable):
                lags = await asyncio.to_thread(running.projecting.source.lags)
                running.watch.note_lags(running.name, lags)
        await note_standings(self.metrics, self.board, self.contests)

    async def start(self) -> None:
        """Starts everything; returns when votes are taken."""
        for running in self._running:
            running.thread.start()
        await self.server.start()

    async def wait(self) -> None:
        """Returns when a signal asks for a stop. Raises `Fatal` when a projection could not go on."""
        for signum in (signal.SIGINT, signal.SIGTERM):
            self._loop.add_signal_handler(signum, self._ended.set)
        await self._ended.wait()
        if self._failed:
            raise self._failed[0]

    async def stop(self) -> None:
        """Stops accepting, answers what is in flight, lets the projections end their batch."""
        self.health.stopping = True
        await self.parts.caster.close()
        await self.board.close()
        await self.server.stop()
        await self.parts.log.close()
        self._stop.set()
        for running in self._running:
            running.projecting.wake()
        for running in self._running:
            if running.thread.ident is not None:
                await asyncio.to_thread(running.thread.join, _JOIN_SECONDS)


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
        try:
            await system.start()
            announce(system)
            log.info("ready", url=system.server.url, pid=os.getpid(), data=str(settings.data))
            async with contextlib.AsyncExitStack() as stack:
                if with_demo:
                    stack.push_async_callback(Demo(system.parts.caster, system.contests).stop)
                await system.wait()
        finally:
            await system.stop()
    finally:
        directory.close()
