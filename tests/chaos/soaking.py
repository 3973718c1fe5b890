"""A soak as it goes: votes at a steady pace, people who look on, a look at all parts every few seconds, the checker."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from resource import RUSAGE_SELF, getrusage
from time import monotonic, process_time
from typing import Final, NamedTuple

import msgspec

from aplauso.domain.journal import Attempt, Outcome
from aplauso.flow.recount import recount
from aplauso.flow.traffic import open_traffic
from aplauso.flow.verify import verify
from aplauso.settings import load
from aplauso.stack.system import Stack
from aplauso.wiring.distributed.tools import readers
from chaos import soaked
from chaos.answers import Answers, Votes
from chaos.audience import Audience
from chaos.flat import EVERY_SECONDS
from chaos.looks import Look, Looker
from chaos.soaked import Found, Load, Servers, Soak
from chaos.steady import Pace
from chaos.waiting import until_async

CONTEST: Final = "bandas-gt"
"""The example contest, which `up --stack` opens."""
_DRAIN_SECONDS: Final = 300.0
_MINUTE: Final = 60.0


def say(text: str) -> None:
    """To a person."""
    print(text, flush=True)


class Plan(NamedTuple):
    """What is to be done: for so many minutes, so many votes a second."""

    minutes: float
    rate: float
    seed: int

    @property
    def total(self) -> int:
        """Votes in all."""
        return int(self.minutes * 60 * self.rate)


class Stopped(Exception):  # noqa: N818 - no error
    """Somebody asked for the end."""


class Run:
    """A soak of a stack that runs.

    Args:
        stack: with nothing in it.
        plan: what to do.
        servers: how the stack's servers were started.
        home: a directory for the journal and for what was seen.
    """

    def __init__(self, stack: Stack, plan: Plan, servers: Servers, home: Path) -> None:
        ballots = list(open_traffic(Path("load/traffic.json")).once())
        Random(plan.seed).shuffle(ballots)
        self.stopped = False
        self._plan, self._servers = plan, servers
        self._readers = readers(load(stack.environment, None).settings)
        self._looker = Looker(stack, self._readers)
        votes = Votes(CONTEST, ballots, plan.seed)
        self._answers = Answers(home / "answers.bin", votes)
        self._pace = Pace(stack.ports["gateway"], votes, self._answers, plan.rate, plan.total)
        path = f"/v1/contests/{CONTEST}/standings"
        board = f"http://127.0.0.1:{stack.ports['board']}"
        # One viewer as people come, through the gateway, and one at the board itself.
        self._audience = Audience([f"{stack.url}{path}/stream", f"{board}{path}/stream"], stack.url + path)
        self._looks: list[Look] = []
        self._seen = (home / "looks.ndjson").open("wb")

    async def run(self) -> Soak:
        """Sends, looks, waits for the rest and checks.

        Raises:
            EndedError: a process has ended.
            NotInTimeError: tally and archive did not catch up.
            Unavailable: a server does not answer.
        """
        date, began = datetime.now(UTC).isoformat(timespec="seconds"), process_time()
        await self._send()
        ended, spent = monotonic(), process_time() - began
        say(f"all is answered; sending and looking took {spent:.0f} s of processor time; waiting for the rest…")
        await until_async(self._is_at_rest, _DRAIN_SECONDS, "tally and archive did not catch up")
        drained = monotonic() - ended
        self._answers.close()
        say("caught up; every vote is looked for…")
        found = await asyncio.to_thread(self._check)
        most = getrusage(RUSAGE_SELF).ru_maxrss / 1024
        say(f"checked in {monotonic() - ended - drained:.0f} s, with {most:,.0f} MiB")
        return soaked.judge(
            date, self._plan.minutes, self._plan.rate, self._plan.seed, self._servers, self._load(drained), found,
            self._looks,
        )  # fmt: skip

    async def _send(self) -> None:
        """Everything at once, until all votes are answered or something fails."""
        await self._pace.connect()
        await self._look(0.0)
        began: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        tasks = [
            asyncio.create_task(self._pace.run(lambda: began.set_result(monotonic()))),
            asyncio.create_task(self._look_on(began)),
            asyncio.create_task(self._audience.run()),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _look_on(self, began: "asyncio.Future[float]") -> None:
        start, turn = await began, 1
        while True:
            await asyncio.sleep(max(0.0, start + turn * EVERY_SECONDS - monotonic()))
            await self._look(monotonic() - start)
            if turn % round(_MINUTE / EVERY_SECONDS) == 0:
                self._tell(self._looks[-1])
            turn += 1

    async def _look(self, at: float) -> None:
        counts = self._answers.counts
        look = await asyncio.to_thread(
            self._looker.look, round(at, 2), counts[Outcome.RECORDED], counts[Outcome.REFUSED],
            counts[Outcome.UNDECIDED],
        )  # fmt: skip
        self._looks.append(look)
        self._seen.write(msgspec.json.encode(look) + b"\n")
        self._seen.flush()

    def _tell(self, look: Look) -> None:
        memory = " ".join(f"{name}={mib:.0f}" for name, mib in look.memory.items())
        lags = " ".join(f"{name}={lag}" for name, lag in look.lags.items())
        say(
            f"minute {round(look.at / _MINUTE)}: acknowledged={look.recorded} refused={look.refused} "
            f"undecided={look.undecided} behind: {lags}; MiB: {memory} heap={look.heap:.0f}; "
            f"redis {look.used / (1 << 20):.1f} MiB, {look.ids} ids"
        )

    async def _is_at_rest(self) -> bool:
        return not any((await asyncio.to_thread(self._looker.behind)).values())

    def _check(self) -> Found:
        """Looks for every vote by its id, which takes some 1.2 KB a vote, and recounts. Raises `Stopped`."""
        verdict = verify(self._attempts(), *self._readers, self._go_on)
        for name, finding in verdict.faults.items():
            for example in finding.examples:
                say(f"  {name}: {example.subject}: {example.what}")
        report = recount(*self._readers, self._go_on)
        for difference in report.differences:
            say(f"  {difference.where}, partition {difference.partition}: {difference.what}")
        return Found(
            verdict.lost.count, verdict.repeated.count, verdict.invented.count + verdict.mismatched.count,
            report.differing,
        )  # fmt: skip

    def _attempts(self) -> Iterator[Attempt]:
        for at, attempt in enumerate(self._answers.attempts()):
            if at % 10_000 == 0:
                self._go_on(0, 0)
            yield attempt

    def _go_on(self, done: int, total: int) -> None:
        if self.stopped:
            raise Stopped

    def _load(self, drained: float) -> Load:
        counts, seen = self._answers.counts, self._audience
        return Load(
            self._plan.total, self._pace.sent, counts[Outcome.RECORDED], counts[Outcome.REFUSED],
            counts[Outcome.UNDECIDED], self._pace.behind, sum(seen.frames), seen.reads, seen.backwards, seen.failures,
            round(drained, 1),
        )  # fmt: skip

    def close(self) -> None:
        """Lets go of files and servers."""
        self._answers.close()
        self._seen.close()
        self._looker.close()
        self._readers.close()
