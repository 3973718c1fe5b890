"""`docs/faults.md`, made from the ledger, from words and from the last soak."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

from chaos import ledger, soaked
from chaos.flat import GROWTH, ID_BYTES
from chaos.ledger import Line, Struck
from chaos.rounds import needless, spares_intake
from chaos.scene import FAULTS, UNANSWERED
from chaos.soaked import Soak
from chaos.words import SOAK, words_of

_HEAD: Final = """\
# Faults, one by one

What happens to votes when a part breaks, as it was seen by breaking it under load. `make chaos` does that: real
servers, several hundred voters at once, half of them anonymous, and after every round each vote that anybody was
told about is looked for, by its id, in the log, the standings and the archive. This page is made from the results,
[chaos/ledger.jsonl](../chaos/ledger.jsonl), by `PYTHONPATH=tests .venv/bin/python -m chaos --report`.

**{total.rounds} rounds, {total.acknowledged:,} acknowledged votes: {total.lost} lost, {total.repeated} repeated,
{total.invented} invented.** {undecided:,} votes were undecided for their senders; {found:,} of these are in the
log, the others are not, and both is right. {wrong}

{judged}

There are {kinds} kinds of fault; the rarest struck {rarest} times. In each round one to six of them overlap; each
struck while at least {least} votes were unanswered, and what could not be shown to have happened is not counted.
One machine with two cores ran everything, with one broker, a call's deadline of 4 s and sessions of 2 s (by default
10 s and 6 s), two replicas of tally and archive, one of each other room.

- *lasted*: from the strike until the part was back or the link was mended, its start included.
- *intake back*: from then to the first receipt of a vote that was sent afterwards.
- *no receipt*: the longest time without any receipt.
- *standings*: from the receipt that ended *intake back* until tally and archive had passed all that the log held at
  that moment, while votes went on coming. Measured in {measured} rounds, the later ones; a dash: in none of these.
- *rest*: from the last answer of a round, up to a minute later, until they had passed all of the log.

Medians and worst cases in seconds, over rounds with this fault alone: the later ones, which name their commit in the
ledger, or all, where there is no later one; where it was never alone, over all, in parentheses. Under *answers*,
what clients were told from the strike to the recovery: 201 is a receipt, 503
certainly not recorded, 504 and *no answer* undecided, *no connection* certainly not recorded.
"""
_STRICTER: Final = """\
{rounds} earlier rounds would be wrong by rules that came later: while only parts are away that intake can spare, nobody
is told anything but 201, no 1.2 s pass without a receipt, and a hundred come each second. What they have in common is
`full disk mongo`: there the trial itself held up the proxies of all links for a second (it closed a connection to the
server that it had just killed, in the loop that moves the bytes), and has not since; rounds with a commit show the
fault as it is:"""
_COLUMNS: Final = (
    "fault", "times", "a client sees", "an operator sees", "lasted", "intake back", "no receipt", "standings", "rest",
    "answers",
)  # fmt: skip
_WORDS: Final = 240
"""Characters that are shown of what was wrong; the ledger has all of them."""


class Case(NamedTuple):
    """A fault and the seconds that standings took after it, and after its round; new ones name their commit."""

    fault: Struck
    caught_up: float | None
    rest: float
    is_new: bool


def write(path: Path, soaks: Path, target: Path) -> None:
    """Writes the page. Raises `OSError`, and `KeyError` for a kind of fault without words."""
    lines, soak = list(ledger.read(path)), soaked.latest(soaks)
    target.write_text(page(lines) + (f"\n{soak_section(soak)}" if soak else ""), encoding="utf-8")


def page(lines: Sequence[Line]) -> str:
    """The page's text."""
    cases: dict[str, list[Case]] = defaultdict(list)
    for line in lines:
        for fault in line.faults:
            cases[fault.kind].append(Case(fault, line.caught_up, line.standings, bool(line.commit)))
    times = ledger.kinds(lines)
    head = _HEAD.format(
        total=ledger.total(lines), least=UNANSWERED,
        undecided=sum(line.undecided for line in lines), found=sum(line.undecided_counted for line in lines),
        kinds=len(FAULTS), rarest=min(times[kind] for kind in FAULTS), wrong=_wrong(lines),
        measured=sum(line.caught_up is not None for line in lines), judged=_judged_today(lines),
    )  # fmt: skip
    rows = [_COLUMNS, ("---",) * len(_COLUMNS), *(_row(kind, cases[kind]) for kind in sorted(cases))]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"{head}\n{table}\n"


def _wrong(lines: Sequence[Line]) -> str:
    """Names the rounds in which anything else was not as it must be, with what it was."""
    wrong = [line for line in lines if line.wrong]
    if not wrong:
        return "Nothing else was wrong in any of them."
    named = (f"- seed {line.seed}, round {line.round}: {'; '.join(map(_short, line.wrong))}" for line in wrong)
    return f"Something else was wrong in {len(wrong)} of them:\n\n" + "\n".join(named)


def _judged_today(lines: Sequence[Line]) -> str:
    """What was let pass when it happened, and would be wrong by the rules of today for parts that intake can spare."""
    found: list[str] = []
    for line in lines:
        if spares_intake(fault.kind for fault in line.faults):
            said = [text for fault in line.faults for text in needless(fault)]
            if said and not line.wrong:
                found.append(f"- seed {line.seed}, round {line.round}: {'; '.join(map(_short, said))}")
    if not found:
        return "By the rules of today, which are stricter than the first ones, no round looks different."
    return _STRICTER.format(rounds=len(found)) + "\n\n" + "\n".join(found)


def _short(text: str) -> str:
    """One line of a message, as code: what a process wrote may be anything."""
    flat = " ".join(text.replace("\\n", " ").replace("`", "'").split())
    return f"`{flat if len(flat) <= _WORDS else flat[:_WORDS] + ' …'}`"


def soak_section(soak: Soak) -> str:
    """What the page says of a soak."""
    head = SOAK.format(
        minutes=f"{soak.minutes:g}", rate=f"{soak.rate:,.0f}", growth=f"{GROWTH:.0%}", bytes=ID_BYTES,
        date=soak.date.partition("T")[0],
        servers="; ".join(soak.servers.unlike) or "every part as `aplauso up --stack` starts it",
        result="**All was as it must be.**" if not soak.wrong else f"**Wrong: {'; '.join(soak.wrong)}.**",
    )  # fmt: skip
    rows = [soaked.COLUMNS, ("---",) * len(soaked.COLUMNS), *soaked.rows(soak)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    below = "\n".join(f"- {line[0].upper()}{line[1:]}." for line in soaked.lines(soak))
    return f"{head}\n{table}\n\n{below}\n"


def _row(kind: str, cases: Sequence[Case]) -> tuple[str, ...]:
    alone = [case for case in cases if case.fault.alone]
    chosen, form = ([case for case in alone if case.is_new] or alone, "{}") if alone else (cases, "({})")
    faults = [case.fault for case in chosen]
    figures = (
        (fault.lasted for fault in faults), (fault.recovery for fault in faults),
        (fault.silence for fault in faults), (case.caught_up for case in chosen if case.caught_up is not None),
        (case.rest for case in chosen),
    )  # fmt: skip
    shown = (form.format(_spread(found)) if (found := list(values)) else "–" for values in figures)
    return (kind, str(len(cases)), *words_of(kind), *shown, _answers(faults))


def _spread(values: Sequence[float]) -> str:
    return f"{median(values):.1f}; {max(values):.1f}"


def _answers(faults: Iterable[Struck]) -> str:
    sums: dict[str, int] = defaultdict(int)
    for fault in faults:
        for answer, number in fault.answers.items():
            sums[answer] += number
    whole = sum(sums.values())
    shares = sorted(((number / whole, answer) for answer, number in sums.items()), reverse=True)
    return ", ".join(f"{answer} {share:.1%}" for share, answer in shares if share >= 0.0005)
