"""The pages and their files as calls."""

from collections.abc import Mapping

import msgspec

from aplauso import __version__
from aplauso.domain.contest import Contest
from aplauso.domain.errors import UnknownContest
from aplauso.web.app import Handler, Route
from aplauso.web.http import Request, Response, nothing_here
from aplauso.web.openapi import document
from aplauso.web.pages import Name, Page, Pages


class Site:
    """Answers the pages' calls.

    Args:
        pages: renders them.
        contests: by id.
        default: the contest that a page shows when none is named; the first one without it.
        gateway_url: as in the settings.
    """

    def __init__(
        self, pages: Pages, contests: Mapping[str, Contest], default: Contest | None, gateway_url: str = ""
    ) -> None:
        self._pages = pages
        self._contests = contests
        self._default = default or next(iter(contests.values()))
        self._openapi = msgspec.json.encode(document(__version__, gateway_url))

    def routes(self) -> list[Route]:
        """Its calls; files are found by `file`."""
        return [
            Route("GET", "/", self._page("board")),
            Route("GET", "/vote", self._page("ballot")),
            Route("GET", "/records", self._page("records")),
            Route("GET", "/docs", self._page("docs")),
            Route("GET", "/openapi.json", self._document),
        ]

    def _page(self, name: Name) -> Handler:
        async def handler(request: Request) -> Response:
            language = self._pages.language(request.header("accept-language"), request.query("lang"))
            page = self._pages.render(
                name, contests=list(self._contests.values()), contest=self._contest(request), language=language
            )
            return _response(page, request)

        return handler

    def _contest(self, request: Request) -> Contest:
        named = request.query("contest")
        if not named:
            return self._default
        if named not in self._contests:
            raise UnknownContest(named)
        return self._contests[named]

    async def _document(self, request: Request) -> Response:
        headers = [("content-type", "application/json"), ("x-request-id", request.id)]
        return Response(200, headers, self._openapi)

    async def file(self, request: Request) -> Response:
        """A static file. Raises `HTTPError` 404 when there is none at the request's path."""
        page = self._pages.static(request.path) if request.path.startswith("/static/") else None
        if page is None:
            raise nothing_here()
        etag = dict(page.headers).get("etag")
        if etag is not None and request.header("if-none-match") == etag:
            return Response(304, [*page.headers, ("x-request-id", request.id)], b"")
        return _response(page, request)


def _response(page: Page, request: Request) -> Response:
    return Response(200, [("content-type", page.content_type), *page.headers, ("x-request-id", request.id)], page.body)
