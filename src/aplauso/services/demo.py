"""A trickle of votes, so that a board has something to show."""

import asyncio
import contextlib
import random
from collections.abc import Mapping
from typing import Final

from aplauso.domain.contest import Contest
from aplauso.domain.errors import AplausoError
from aplauso.domain.vote import Ballot
from aplauso.flow.cast import Caster

VOTES_PER_SECOND: Final = 5.0
_MADE_UP: Final = (("Los Ensayos", "Primera toma"), ("Marimba de Prueba", "Demo"), ("La Trova del Volcán", "Ceniza"))


class Demo:
    """Casts made-up votes, some bands more loved than others."""

    def __init__(self, caster: Caster, contests: Mapping[str, Contest]) -> None:
        self._caster = caster
        self._contests = list(contests.values())
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Ends it."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(random.expovariate(VOTES_PER_SECOND))
            contest = random.choice(self._contests)  # noqa: S311
            # A contest that is not open, or a log that is away, is no reason to end the show.
            with contextlib.suppress(AplausoError):
                await self._caster.cast(contest, _ballot(contest))


def _ballot(contest: Contest) -> Ballot:
    choices = [(band.name, band.albums or ("—",)) for band in contest.bands] or [(n, (a,)) for n, a in _MADE_UP]
    # Earlier bands get more votes than later ones: a race, not a draw.
    name, albums = random.choices(choices, [1 / (1 + at / 3) for at in range(len(choices))])[0]  # noqa: S311
    rank = random.randint(contest.rank.min, contest.rank.max)  # noqa: S311
    return Ballot(name, random.choice(albums), random.randint(1970, 2026), rank)  # noqa: S311
