"""Step 1 for a batch: its lines are read, stamped and named together."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from aplauso.domain.contest import Contest
from aplauso.domain.errors import AplausoError
from aplauso.domain.lot import Form, Lot, form_of
from aplauso.domain.vote import Ballot, make_vote, parse_ballot

NameLines = Callable[[Sequence[int]], Sequence[bytes]]
"""Gives the votes of lines, by number, their ids, in UTF-8."""


class Fault(NamedTuple):
    """Why a line is no vote, or was not recorded. An error would hold the frames that it came through: the batch."""

    reason: str
    text: str


def fault_of(error: AplausoError) -> Fault:
    """What an error tells."""
    return Fault(error.reason, str(error))


class Lines:
    """The lines of one batch on their way to be votes: the same line is read once, the same ballot judged once.

    Args:
        contest: the contest that they are cast in, which is open at `at`.
        at: the stamp of all of them, in milliseconds since the epoch.
        name: gives ids.

    Attributes:
        numbers: of the lines that are votes, from 1.
        faults: the lines that are none, by number, and why; empty ones are passed over.
    """

    def __init__(self, contest: Contest, at: int, name: NameLines) -> None:
        self.numbers: list[int] = []
        self.faults: dict[int, Fault] = {}
        self._contest, self._at, self._name = contest, at, name
        self._taken = 0
        self._known: dict[bytes | Ballot, Form] = {}
        self._keys: list[bytes] = []
        self._forms: list[Form] = []

    def take(self, lines: Sequence[bytes]) -> None:
        """Takes the lines that come next."""
        numbers: Sequence[int] = range(self._taken + 1, self._taken + len(lines) + 1)
        self._taken += len(lines)
        forms = list(map(self._known.get, lines))
        if not all(forms):
            forms = [self._form(number, line) for number, line in zip(numbers, lines, strict=True)]
            numbers = [number for number, form in zip(numbers, forms, strict=True) if form]
        self.numbers += numbers
        self._keys += self._name(numbers)
        self._forms += filter(None, forms)

    def lot(self) -> Lot:
        """The votes of the lines that were taken."""
        return Lot(self._keys, self._forms)

    def _form(self, number: int, line: bytes) -> Form | None:
        form = self._known.get(line)
        if form is None and line and not line.isspace():
            try:
                ballot = parse_ballot(line)
                form = self._known.get(ballot) or form_of(make_vote(ballot, self._contest, "", self._at))
            except AplausoError as error:
                self.faults[number] = fault_of(error)
            else:
                self._known[line] = self._known[ballot] = form
        return form


def cut(lines: Sequence[bytes], size: int) -> Iterable[Sequence[bytes]]:
    """The lines in parts of so many at most, so that others get their turn in between."""
    return (lines[at : at + size] for at in range(0, len(lines), size))
