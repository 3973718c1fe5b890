"""The contests, as everybody may read them."""

from collections.abc import Mapping
from typing import Any

from aplauso.domain.contest import Contest, instant
from aplauso.domain.errors import UnknownContest
from aplauso.web.http import Request, Response, json_response


def describe(contest: Contest) -> dict[str, Any]:
    """A contest as the API shows it."""
    return {
        "id": contest.id,
        "title": dict(contest.title),
        "opens": None if contest.opens is None else instant(contest.opens),
        "closes": None if contest.closes is None else instant(contest.closes),
        "rank": {"min": contest.rank.min, "max": contest.rank.max},
        "nominations": contest.nominations,
        "bands": [{"name": band.name, "albums": list(band.albums)} for band in contest.bands],
    }


class ContestCalls:
    """`GET /v1/contests` and one of them."""

    def __init__(self, contests: Mapping[str, Contest]) -> None:
        self._contests = contests

    async def list(self, request: Request) -> Response:
        """All contests."""
        return json_response(request, {"contests": [describe(contest) for contest in self._contests.values()]})

    async def one(self, request: Request, contest_id: str) -> Response:
        """One contest. Raises `UnknownContest`."""
        contest = self._contests.get(contest_id)
        if contest is None:
            raise UnknownContest(contest_id)
        return json_response(request, describe(contest))
