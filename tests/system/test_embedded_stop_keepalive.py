"""A clean stop as clients see it that keep their connections."""

import asyncio
import os
import signal
from collections import Counter

from aplauso.adapters.http.client import GatewayClient
from aplauso.domain.journal import Outcome
from aplauso.domain.vote import Ballot
from chaos.waiting import until
from embedded import Up

_VOTERS = 200


async def test_a_stop_leaves_few_without_an_answer(up: Up) -> None:
    """A stop under load answers what was sent: of 200 voters on kept connections, hardly one is left without."""
    seen: Counter[tuple[Outcome, int | None]] = Counter()
    async with GatewayClient(f"http://127.0.0.1:{up.port}", "bandas-gt", connections=_VOTERS) as client:

        async def vote() -> None:
            while True:
                answer = await client.send(Ballot("Mil", "a", 1990, 5), None)
                seen[answer.outcome, answer.status] += 1
                if answer.outcome is not Outcome.RECORDED:
                    return

        voters = [asyncio.create_task(vote()) for _ in range(_VOTERS)]
        await until(lambda: seen[Outcome.RECORDED, 201] >= 2 * _VOTERS, 30, "no votes came in")
        os.kill(up.pid, signal.SIGTERM)
        await asyncio.wait(voters, timeout=30)
    assert up.code() == 0
    assert seen[Outcome.UNDECIDED, None] <= _VOTERS // 20, seen
