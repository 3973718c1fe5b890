"""`python -m chaos`: rounds of faults under load, each checked to the last vote."""

import argparse
import asyncio
import random
import secrets
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Final

import uvloop

from aplauso.flow.recount import recount
from aplauso.flow.traffic import open_traffic
from aplauso.flow.verify import verify
from chaos import ledger, report, soaked
from chaos.rounds import SIZES, VOTES, Deck, Round, Trial
from chaos.scene import FAULTS
from chaos.waiting import until_async
from chaos.world import World

_ROUNDS_OF_A_SYSTEM: Final = 12
"""Then a new one is started on new data, so that a rebuild from the beginning of the log stays a matter of seconds."""
_AT_REST_SECONDS: Final = 60.0


def say(text: str) -> None:
    """To a person."""
    print(text, flush=True)


async def run(
    seed: int, rounds: int, deck: Deck, rng: random.Random, path: Path | None, votes: int, home: Path,
    lines: list[ledger.Line],
) -> None:  # fmt: skip
    """Runs rounds and adds a line for each to `lines`, and to the ledger at `path` as well."""
    while len(lines) < rounds:
        first = len(lines) + 1
        last = min(first + _ROUNDS_OF_A_SYSTEM - 1, rounds)
        await _one_system(home / f"from-{first}", range(first, last + 1), seed, deck, rng, path, votes, lines)


async def _one_system(
    home: Path, numbers: range, seed: int, deck: Deck, rng: random.Random, path: Path | None, votes: int,
    lines: list[ledger.Line],
) -> None:  # fmt: skip
    """Rounds on one system, to the first that breaks: nobody knows what state that one leaves it in."""
    world, commit = World(home, len(numbers), time.time(), lambda text: None), ledger.commit()
    try:
        await world.start()
        trial = Trial(world, open_traffic(Path("load/traffic.json")), votes)
        for number in numbers:
            kinds = deck.deal()
            result = await trial.round(number, kinds, random.Random(rng.random()))
            if number == numbers[-1] and result.checked is not None:
                result.wrong += [*await _recount(world), *await _verify(world, trial)]
            lines.append(ledger.line_of(seed, result, commit))
            deck.take_back(sorted(set(kinds) - ledger.kinds(lines[-1:]).keys()))
            if path is not None:
                ledger.append(path, lines[-1])
            _tell(lines[-1], result)
            if result.checked is None:
                break
    finally:
        await world.stop()


async def _recount(world: World) -> list[str]:
    """The whole log folded again, after a system's last round; what differs, in words."""
    try:
        found = await asyncio.to_thread(recount, *world.readers)
    except Exception as error:  # noqa: BLE001 - whatever it is, the round's line must say it
        return [f"the recount broke: {error!r}"]
    say(f"recount: {found.votes} votes, {found.repeated} copies, {found.archived} archived; {found.differing} wrong")
    return [] if found.ok else [f"the recount differs: {found.differences}"]


async def _verify(world: World, trial: Trial) -> list[str]:
    """All rounds' journals held together against the whole log: what came late of a former round, too."""
    try:
        while True:
            before = await asyncio.to_thread(world.readers.log.ends)
            await until_async(trial.caught_up, _AT_REST_SECONDS, "tally and archive did not catch up")
            found = await asyncio.to_thread(verify, trial.journal, *world.readers)
            # As after a round: an undecided vote may still come while it is looked for.
            if await asyncio.to_thread(world.readers.log.ends) == before:
                break
    except Exception as error:  # noqa: BLE001 - as above
        return [f"the whole log could not be verified: {error!r}"]
    say(f"verified: {found.acknowledged} acknowledged, {found.counted} counted, {found.undecided} undecided")
    faults = [(name, each) for name, finding in found.faults.items() for each in finding.examples]
    return [f"{name} in the whole log: {each.subject}: {each.what}" for name, each in faults]


def _tell(line: ledger.Line, result: Round) -> None:
    kinds = ", ".join(f"{f.kind} ({f.unanswered}; {f.lasted:.1f} s)" for f in line.faults)
    say(
        f"round {line.round}: acknowledged={line.acknowledged} undecided={line.undecided} lost={line.lost} "
        f"repeated={line.repeated} invented={line.invented} intake={line.intake}s standings={line.caught_up}s "
        f"rest={line.standings}s "
        f"{line.seconds}s: {kinds}"
    )
    for text in line.wrong:
        say(f"  WRONG: {text}")
    for name, finding in result.checked.verdict.faults.items() if result.checked else ():
        for example in finding.examples:
            say(f"  {name}: {example.subject}: {example.what}")


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--votes", type=int, default=VOTES, help="acknowledged votes of a round, at least")
    parser.add_argument("--only", action="append", default=[], help="a kind of fault; may be given several times")
    parser.add_argument("--alone", action="store_true", help="one fault a round, for figures that are its own")
    parser.add_argument("--ledger", type=Path, default=ledger.LEDGER)
    parser.add_argument("--no-ledger", action="store_true")
    parser.add_argument("--keep", action="store_true", help="keeps the data and the logs")
    parser.add_argument("--report", action="store_true", help="writes docs/faults.md, and runs nothing")
    chosen = parser.parse_args()
    if unknown := set(chosen.only) - set(FAULTS):
        parser.error(f"there is no such kind of fault: {', '.join(sorted(unknown))}; docs/faults.md has a list")
    if chosen.report:
        report.write(ledger.LEDGER, soaked.SOAKS, Path("docs/faults.md"))
        return 0
    seed = secrets.randbits(32) if chosen.seed is None else chosen.seed
    home = Path(tempfile.mkdtemp(prefix="aplauso-chaos-"))
    path = None if chosen.no_ledger else chosen.ledger
    rng = random.Random(seed)
    before = list(ledger.read(path)) if path is not None and path.exists() else []
    # The kinds that the ledger has least of come first: the same seed beside another ledger gives other rounds.
    times = ledger.kinds(before) if before else None
    say(f"seed={seed} data={home}; {len(before)} rounds in the ledger before")
    deck = Deck(chosen.only or list(FAULTS), rng, (1,) if chosen.alone else SIZES, times)
    lines: list[ledger.Line] = []
    try:
        uvloop.run(run(seed, chosen.rounds, deck, rng, path, chosen.votes, home, lines))
    except (Exception, KeyboardInterrupt):  # noqa: BLE001 - whatever ended the run, the totals are its last line
        traceback.print_exc(file=sys.stdout)
    sums = ledger.total(lines)
    wrong = sum(len(line.wrong) for line in lines)
    ok = sums.ok and not wrong and len(lines) == chosen.rounds
    if ok and not chosen.keep:
        shutil.rmtree(home, ignore_errors=True)
    if wrong:
        say(f"{wrong} other things were wrong")
    say(str(sums))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
