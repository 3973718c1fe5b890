"""The calls of a room, by method and path, over RSGI."""

import asyncio
import itertools
import secrets
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

import structlog

from aplauso.domain.errors import AplausoError
from aplauso.metrics import Metrics
from aplauso.web import problems
from aplauso.web.http import ClientGone, Deadlines, HTTPError, Request, Response, Scope, Stream, nothing_here

Handler = Callable[..., Awaitable[Response | Stream]]
"""Takes the request and, for a path with a gap, what stood there."""
_QUIET_SECONDS: Final = 0.15
_DRAIN_SECONDS: Final = 1.0
log = structlog.get_logger("aplauso.http")


class Route(NamedTuple):
    """One call.

    Attributes:
        method: in upper case; GET answers HEAD too.
        path: may hold one gap, written `{}`, that stands for a segment.
        handler: answers it.
    """

    method: str
    path: str
    handler: Handler


class App:
    """An RSGI application.

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
        self._exact: dict[str, dict[str, Handler]] = {}
        self._gaps: list[tuple[str, str, dict[str, Handler]]] = []
        for route in routes:
            self._add(route)
        self._metrics = metrics
        self._origins = frozenset(origins)
        self._fallback = fallback
        self._boot = secrets.token_hex(4)
        self._count = itertools.count()
        self._deadlines = Deadlines()
        self._closing = False
        self._heard = 0.0

    def close(self) -> None:
        """From now on each answer is the last on its connection."""
        self._closing = True

    async def quiet(self) -> None:
        """Waits until hardly anybody sends any more, a second at most: whoever does is answered, not cut off."""
        clock = asyncio.get_running_loop().time
        end, self._heard = clock() + _DRAIN_SECONDS, clock()
        while clock() < min(end, self._heard + _QUIET_SECONDS):  # noqa: ASYNC110 - requests are told by a moment, no event
            await asyncio.sleep(_QUIET_SECONDS / 5)

    def _add(self, route: Route) -> None:
        before, gap, after = route.path.partition("{}")
        if not gap:
            self._exact.setdefault(before, {})[route.method] = route.handler
            return
        for known_before, known_after, methods in self._gaps:
            if (known_before, known_after) == (before, after):
                methods[route.method] = route.handler
                return
        self._gaps.append((before, after, {route.method: route.handler}))

    async def __rsgi__(self, scope: Scope, proto: Any) -> None:
        """Answers one request."""
        request = Request(scope, proto, self._new_id, self._deadlines)
        try:
            answer = await self._answer(request)
        except ClientGone as gone:
            log.info("the client hung up", request=request.id, path=request.path, why=str(gone))
            answer = problems.document(400, gone.reason, str(gone), request.id, [("connection", "close")])
        except AplausoError as error:
            await request.discard()
            answer = self._refuse(request, error)
        except Exception:
            log.exception("a request failed", request=request.id, method=request.method, path=request.path)
            answer = problems.document(500, "internal", "something went wrong here; it is in the logs", request.id)
        if self._origins:
            self._allow_origin(request, answer.headers)
        if self._closing:
            self._heard = asyncio.get_running_loop().time()
            answer = answer._replace(headers=[*answer.headers, ("connection", "close")])
        if isinstance(answer, Stream):
            await _send(proto, answer)
        elif request.method == "HEAD":
            proto.response_empty(answer.status, [*answer.headers, ("content-length", str(len(answer.body)))])
        else:
            proto.response_bytes(answer.status, answer.headers, answer.body)

    def _new_id(self) -> str:
        return f"{self._boot}-{next(self._count):x}"

    def _answer(self, request: Request) -> Awaitable[Response | Stream]:
        """What the request's handler will answer. Raises `HTTPError`; the handler may as well, at once or later."""
        methods, gap = self._find(request.path)
        method = "GET" if request.method == "HEAD" else request.method
        handler = methods.get(method)
        if handler is not None:
            return handler(request) if gap is None else handler(request, gap)
        if method == "OPTIONS" and methods:
            return self._preflight(request, methods)
        if methods:
            allowed = ", ".join(sorted({*methods, *({"HEAD"} if "GET" in methods else ())}))
            raise HTTPError(405, f"{request.path} answers {allowed}", "method-not-allowed", [("allow", allowed)])
        if method == "GET" and self._fallback is not None:
            return self._fallback(request)
        raise nothing_here()

    def _find(self, path: str) -> tuple[dict[str, Handler], str | None]:
        exact = self._exact.get(path)
        if exact is not None:
            return exact, None
        for before, after, methods in self._gaps:
            if path.startswith(before) and path.endswith(after):
                gap = path[len(before) : len(path) - len(after)] if after else path[len(before) :]
                if gap and "/" not in gap:
                    return methods, gap
        return {}, None

    def _refuse(self, request: Request, error: AplausoError) -> Response:
        answer = problems.problem(error, request.id)
        if request.method == "POST":
            self._metrics.refused.labels(error.reason).inc()
        if answer.status >= 500:
            log.warning("not done", request=request.id, path=request.path, status=answer.status, why=str(error))
        return answer

    async def _preflight(self, request: Request, methods: dict[str, Handler]) -> Response:
        headers = [
            ("allow", ", ".join(sorted(methods))),
            ("access-control-allow-methods", ", ".join(sorted(methods))),
            ("access-control-allow-headers", "content-type, idempotency-key, authorization, x-request-id"),
            ("access-control-max-age", "600"),
            ("x-request-id", request.id),
        ]
        return Response(204, headers, b"")

    def _allow_origin(self, request: Request, headers: list[tuple[str, str]]) -> None:
        origin = request.header("origin")
        if origin is None or not ("*" in self._origins or origin in self._origins):
            return
        headers.append(("access-control-allow-origin", origin))
        headers.append(("access-control-expose-headers", "retry-after, x-request-id"))
        headers.append(("vary", "Origin"))


async def _send(proto: Any, stream: Stream) -> None:
    """Sends a stream until it ends or its client hangs up; one that is pushed goes on when this has returned."""
    transport = proto.response_stream(200, stream.headers)
    if callable(stream.chunks):
        stream.chunks(partial(_push, transport))
        return
    try:
        async for chunk in stream.chunks:
            await transport.send_bytes(chunk)
    except Exception as error:  # noqa: BLE001 - Granian's own errors: the viewer is gone
        log.debug("a viewer left", why=str(error))
    finally:
        await stream.chunks.aclose()  # type: ignore[attr-defined]


def _push(transport: Any, chunk: bytes) -> bool:
    # Granian hands the bytes to its own thread in the call, and what is awaited only tells whether that worked.
    try:
        for _ in transport.send_bytes(chunk).__await__():
            raise RuntimeError("Granian wants to wait with a stream")
    except Exception as error:  # noqa: BLE001 - Granian's own errors: the viewer is gone
        log.debug("a viewer left", why=str(error))
        return False
    return True
