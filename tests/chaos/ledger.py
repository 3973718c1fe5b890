"""The ledger: a line for each round, for ever; totals and the report are made of it."""

import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec

import aplauso
from aplauso.domain.verdict import Verdict
from chaos.rounds import Round

LEDGER: Final = Path("chaos/ledger.jsonl")


class Struck(msgspec.Struct, frozen=True):
    """A fault of a round. Times in seconds; see `scene.Event`."""

    kind: str
    alone: bool
    unanswered: int
    lasted: float
    recovery: float
    silence: float
    recorded_during: int
    answers: dict[str, int]
    refused: int = 0


class Line(msgspec.Struct, frozen=True):
    """A round; see `rounds.Round` and `aplauso.domain.verdict.Verdict`. Old lines lack what has a default."""

    seed: int
    round: int
    faults: list[Struck]
    acknowledged: int
    undecided: int
    refused: int
    undecided_counted: int
    copies: int
    lost: int
    repeated: int
    invented: int
    intake: float
    standings: float
    seconds: float
    wrong: list[str]
    commit: str = ""
    """Of the sources that it ran on, with "-dirty" where these differed from it."""
    caught_up: float | None = None
    """How long the standings took after the last fault. `standings` is another measure: what was left at the end."""


def commit() -> str:
    """The commit of the sources that are imported, short; with "-dirty" when they or the trial's are changed."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*", "--abbrev=12"]
    found = subprocess.run(command, cwd=Path(aplauso.__file__).parent, capture_output=True, text=True, check=False)
    return found.stdout.strip()


def line_of(seed: int, result: Round, commit: str = "") -> Line:
    """A round's line. Votes that count with another body than was sent are invented ones.

    Nobody looked for the votes of a round that broke: it has no acknowledged ones and no fault; `wrong` says why.
    """
    v = result.checked.verdict if result.checked else Verdict()
    faults = [
        Struck(
            e.kind, e.alone, e.unanswered, round(e.back - e.struck, 2), round(e.recovery, 2), round(e.silence, 2),
            e.recorded_during, dict(sorted(e.answers.items())), e.refused,
        )
        for e in (result.events if result.checked else ())
        if e.back  # one that could not be shown to have happened is among what is wrong, and not counted
    ]  # fmt: skip
    return Line(
        seed, result.number, faults, v.acknowledged, v.undecided, v.refused, v.undecided_counted.count, v.copies,
        v.lost.count, v.repeated.count, v.invented.count + v.mismatched.count,
        round(result.intake, 2), round(result.standings, 2), round(result.seconds, 1), result.wrong, commit,
        None if result.caught_up is None else round(result.caught_up, 2),
    )  # fmt: skip


def append(path: Path, line: Line) -> None:
    """Adds a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(msgspec.json.encode(line) + b"\n")


def read(path: Path) -> Iterator[Line]:
    """All lines. Raises `OSError` and `msgspec.DecodeError`."""
    decoder = msgspec.json.Decoder(Line)
    with path.open("rb") as file:
        for line in file:
            yield decoder.decode(line)


class Total(msgspec.Struct):
    """Sums over rounds."""

    rounds: int = 0
    acknowledged: int = 0
    lost: int = 0
    repeated: int = 0
    invented: int = 0

    @property
    def ok(self) -> bool:
        """Whether the last three are 0."""
        return not (self.lost or self.repeated or self.invented)

    def __str__(self) -> str:
        return " ".join(f"{name}={getattr(self, name)}" for name in self.__struct_fields__)


def total(lines: Iterable[Line]) -> Total:
    """Adds up."""
    sums = Total()
    for line in lines:
        sums.rounds += 1
        for name in ("acknowledged", "lost", "repeated", "invented"):
            setattr(sums, name, getattr(sums, name) + getattr(line, name))
    return sums


def kinds(lines: Iterable[Line]) -> Counter[str]:
    """How often each kind of fault struck."""
    return Counter(fault.kind for line in lines for fault in line.faults)
