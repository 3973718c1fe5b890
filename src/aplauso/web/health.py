"""The calls that every room has: alive, able to do its job, and its metrics."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from aplauso.domain.errors import AplausoError
from aplauso.metrics import Metrics
from aplauso.web.app import Route
from aplauso.web.http import Request, Response, json_response

METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
Check = Callable[[], Awaitable[None]]
"""Raises an `AplausoError` when a part cannot do its job now."""


class Health:
    """Answers `/healthz`, `/readyz` and `/metrics`.

    Args:
        checks: what `/readyz` asks, by name.
        metrics: the room's.
        refresh: called before the metrics are read.
    """

    def __init__(
        self, checks: Mapping[str, Check], metrics: Metrics, refresh: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self._checks = checks
        self._metrics = metrics
        self._refresh = refresh
        self.stopping = False

    def routes(self) -> list[Route]:
        """Its calls."""
        return [
            Route("GET", "/healthz", self.alive),
            Route("GET", "/readyz", self.ready),
            Route("GET", "/metrics", self.metrics),
        ]

    async def alive(self, request: Request) -> Response:
        """The process answers."""
        return json_response(request, {"status": "alive"})

    async def ready(self, request: Request) -> Response:
        """The room can do its job now; 503 and what is wrong when it cannot."""
        wrong = {"process": "stopping"} if self.stopping else await self._failures()
        if wrong:
            return json_response(request, {"status": "not-ready", "wrong": wrong}, 503)
        return json_response(request, {"status": "ready"})

    async def _failures(self) -> dict[str, str]:
        wrong = {}
        for name, check in self._checks.items():
            try:
                await check()
            except AplausoError as error:
                wrong[name] = str(error)
        return wrong

    async def metrics(self, request: Request) -> Response:
        """All metrics in Prometheus' text format."""
        if self._refresh is not None:
            await self._refresh()
        return Response(200, [("content-type", METRICS_TYPE), ("x-request-id", request.id)], self._metrics.expose())
