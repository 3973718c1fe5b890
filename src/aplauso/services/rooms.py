"""What several rooms have in common."""

import re
from collections.abc import Mapping
from typing import Final

from aplauso.domain.contest import Contest
from aplauso.domain.errors import Misconfigured, Unavailable
from aplauso.flow.board import Board
from aplauso.flow.cast import choose_default
from aplauso.metrics import Metrics
from aplauso.settings import Settings
from aplauso.web.app import Route
from aplauso.web.results import Results

_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
SHOWN_BANDS: Final = 100
"""Bands of a contest in the metrics, at most: names that voters make up must not grow them without bound."""


def default_contest(contests: Mapping[str, Contest], settings: Settings) -> Contest | None:
    """The default contest, if there is one. Raises `Misconfigured` when the named one is not there."""
    contest = choose_default(contests, settings.default_contest)
    if contest is None and settings.default_contest is not None:
        raise Misconfigured(
            f"APLAUSO_DEFAULT_CONTEST names {settings.default_contest!r}; there are: {', '.join(contests)}"
        )
    return contest


def result_routes(results: Results) -> list[Route]:
    """The board's calls."""
    return [
        Route("GET", "/v1/contests/{}/standings", results.standings),
        Route("GET", "/v1/contests/{}/standings/stream", results.stream),
        Route("GET", "/v1/contests/{}/records", results.records),
        Route("GET", "/latest-records", results.latest),
        Route("GET", "/v1/votes/{}", results.vote),
    ]


async def note_standings(metrics: Metrics, board: Board, contests: Mapping[str, Contest]) -> None:
    """Brings the standings to the metrics; leaves them as they are while the store is away."""
    for contest in contests.values():
        try:
            frame = await board.frame(contest)
        except Unavailable:
            continue
        metrics.standing.remove_by_labels({"contest": contest.id})
        for line in frame.standings[:SHOWN_BANDS]:
            metrics.standing.labels(contest.id, label(line.name)).set(line.votes)


def label(name: str) -> str:
    """A name as the value of a label: control characters as escapes, for Prometheus refuses a scrape with a NUL."""
    return _CONTROLS.sub(lambda match: f"\\x{ord(match[0]):02x}", name)
