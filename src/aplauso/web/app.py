"""The calls of a room, by method and path."""

import asyncio
import itertools
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple

import structlog

from aplauso.domain.errors import AplausoError
from aplauso.metrics import Metrics
from aplauso.web import problems
from aplauso.web.http import IGNORED, Answer, Body, HTTPError, Request, Response, Stream, nothing_here

Handler = Callable[..., Answer | Awaitable[Answer] | None]
"""Takes a request whose body is there and, for a path with a gap, what stood in it. None: it will answer later, by
`Request.reply` or `Request.fail`."""
Head = Callable[..., Body]
"""Takes the same before the body has come: says what the body may be, or raises what the request is refused with. It
judges by the head alone, and is not asked again about one that came before."""
_LOOK_SECONDS: Final = 0.03
_QUIET_LOOKS: Final = 5
_DRAIN_SECONDS: Final = 2.0
log = structlog.get_logger("aplauso.http")


class Route(NamedTuple):
    """One call.

    Attributes:
        method: in upper case; GET answers HEAD too.
        path: may hold one gap, written `{}`, that stands for a segment.
        handler: answers it.
        head: judges requests by their heads; without it every body is read and ignored.
    """

    method: str
    path: str
    handler: Handler
    head: Head | None = None


class App:
    """Finds the call of each request, and turns whatever goes wrong with it into an answer.

    Args:
        routes: its calls.
        metrics: is told what is refused.
        origins: origins whose pages may call it; "*" for all.
        fallback: answers GET for paths that no route has, such as those of pages' files.
    """

    def __init__(
        self,
        routes: Sequence[Route],
        metrics: Metrics,
        origins: Sequence[str] = (),
        fallback: Handler | None = None,
    ) -> None:
        self._exact: dict[str, dict[str, Route]] = {}
        self._gaps: list[tuple[str, str, dict[str, Route]]] = []
        for route in routes:
            self._add(route)
        self._metrics = metrics
        self._origins = frozenset(origins)
        self._fallback = Route("GET", "", fallback) if fallback is not None else None
        self._boot = secrets.token_hex(4)
        self._count = itertools.count()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False
        self._heard = 0  # answers since it closes

    def close(self) -> None:
        """From now on each answer is the last on its connection."""
        self._closing = True

    async def quiet(self) -> None:
        """Waits until hardly anybody sends any more, two seconds at most: whoever does is answered, not cut off."""
        loop = asyncio.get_running_loop()
        end, looks = loop.time() + _DRAIN_SECONDS, 0
        # Looks, not moments: where others have the processor, what came meanwhile is still to be read.
        while looks < _QUIET_LOOKS and loop.time() < end:
            before = self._heard
            await asyncio.sleep(_LOOK_SECONDS)
            looks = looks + 1 if self._heard == before else 0

    def new_id(self) -> str:
        """An id for a request that brings none."""
        return f"{self._boot}-{next(self._count):x}"

    def begin(self, request: Request) -> Body:
        """Finds the call of a request whose head is there, and says what its body may be. Raises `AplausoError`."""
        methods, gap = self._find(request.path)
        method = "GET" if request.method == "HEAD" else request.method
        route = methods.get(method)
        if route is None:
            route = self._otherwise(request, method, methods)
        request.call, request.gap = route.handler, gap
        if route.head is None:
            return IGNORED
        return route.head(request) if gap is None else route.head(request, gap)

    def answer(self, request: Request) -> None:
        """Answers a request that `begin` took and whose body is there; now or later."""
        try:
            call, gap = request.call, request.gap
            answer = call(request) if gap is None else call(request, gap)
        except Exception as error:  # noqa: BLE001 - `fail` tells those that were expected from others
            self.fail(request, error)
            return
        if answer is None:
            return
        if isinstance(answer, Response | Stream):
            self.reply(request, answer)
            return
        task = asyncio.ensure_future(self._wait(request, answer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _wait(self, request: Request, answer: Awaitable[Answer]) -> None:
        try:
            found = await answer
        except Exception as error:  # noqa: BLE001 - likewise
            self.fail(request, error)
        else:
            self.reply(request, found)

    def reply(self, request: Request, answer: Answer) -> None:
        """As `Replies`."""
        if self._origins:
            self._allow_origin(request, answer.headers)
        if self._closing:
            self._heard += 1
            answer.headers.append(("connection", "close"))
        request.send(request, answer)

    def fail(self, request: Request, error: Exception) -> None:
        """As `Replies`."""
        self.reply(request, self.refusal(request, error))

    def refusal(self, request: Request, error: Exception) -> Response:
        """What a request is answered that something is wrong with."""
        if not isinstance(error, AplausoError):
            log.error("a request failed", request=request.id, method=request.method, path=request.path, exc_info=error)
            return problems.document(500, "internal", "something went wrong here; it is in the logs", request.id)
        answer = problems.problem(error, request.id)
        if request.method == "POST":
            self._metrics.refused.labels(error.reason).inc()
        if answer.status >= 500:
            log.warning("not done", request=request.id, path=request.path, status=answer.status, why=str(error))
        return answer

    def _add(self, route: Route) -> None:
        before, gap, after = route.path.partition("{}")
        if not gap:
            self._exact.setdefault(before, {})[route.method] = route
            return
        for known_before, known_after, methods in self._gaps:
            if (known_before, known_after) == (before, after):
                methods[route.method] = route
                return
        self._gaps.append((before, after, {route.method: route}))

    def _find(self, path: str) -> tuple[dict[str, Route], str | None]:
        exact = self._exact.get(path)
        if exact is not None:
            return exact, None
        for before, after, methods in self._gaps:
            if path.startswith(before) and path.endswith(after):
                gap = path[len(before) : len(path) - len(after)] if after else path[len(before) :]
                if gap and "/" not in gap:
                    return methods, gap
        return {}, None

    def _otherwise(self, request: Request, method: str, methods: dict[str, Route]) -> Route:
        """What answers a request that no route is for. Raises `HTTPError`."""
        if method == "OPTIONS" and methods:
            return Route(method, "", lambda asked, *_: _preflight(asked, methods))
        if methods:
            allowed = ", ".join(sorted({*methods, *({"HEAD"} if "GET" in methods else ())}))
            raise HTTPError(405, f"{request.path} answers {allowed}", "method-not-allowed", [("allow", allowed)])
        if method == "GET" and self._fallback is not None:
            return self._fallback
        raise nothing_here()

    def _allow_origin(self, request: Request, headers: list[tuple[str, str]]) -> None:
        origin = request.header("origin")
        if origin is None or not ("*" in self._origins or origin in self._origins):
            return
        headers.append(("access-control-allow-origin", origin))
        headers.append(("access-control-expose-headers", "retry-after, x-request-id"))
        headers.append(("vary", "Origin"))


def _preflight(request: Request, methods: dict[str, Any]) -> Response:
    headers = [
        ("allow", ", ".join(sorted(methods))),
        ("access-control-allow-methods", ", ".join(sorted(methods))),
        ("access-control-allow-headers", "content-type, idempotency-key, authorization, x-request-id"),
        ("access-control-max-age", "600"),
        ("x-request-id", request.id),
    ]
    return Response(204, headers, b"")
