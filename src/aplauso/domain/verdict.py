"""The verdict on a run: what clients were told, held against what was counted, by ids and bodies.

    acknowledged ⊆ counted ∪ rejected-with-a-reason,   counted = archived ⊆ acknowledged ∪ undecided

Pure: the journal comes as a `Journal` of attempts, the system as a `ReadBack`. Only the contests that the journal
names are looked at. Four kinds of fault:

- lost: acknowledged, but neither counted nor rejected; or counted, but not in the archive or not in the standings.
- repeated: one id, or one key, counted more than once; or standings higher than the log.
- invented: counted or archived, although nobody sent it or every attempt was refused.
- mismatched: counted or archived with another body than the one that was sent; or a band whose votes are right in the
  standings, but not their albums or ranks.

An undecided vote may be counted or not: both are right. One that was sent without a key and whose answer was
lost has no id: it explains one counted anonymous vote with its body that nothing else explains.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final

import msgspec

from aplauso.domain.journal import Attempt, Outcome
from aplauso.domain.readback import BandTotals, Body, ReadBack, body_of
from aplauso.domain.record import is_anonymous
from aplauso.domain.vote import KEY, Ballot, id_from_key

MAX_EXAMPLES: Final = 10


class Example(msgspec.Struct, frozen=True):
    """One case.

    Attributes:
        subject: the vote's id; for standings, the contest's.
        what: what is wrong with it.
    """

    subject: str
    what: str


class Finding(msgspec.Struct):
    """Cases of one kind: how many, and the first few of them."""

    count: int = 0
    examples: list[Example] = msgspec.field(default_factory=list)

    def add(self, subject: str, what: str, count: int = 1) -> None:
        """Adds cases; the example is kept while there is room."""
        self.count += count
        if len(self.examples) < MAX_EXAMPLES:
            self.examples.append(Example(subject, what))


class Verdict(msgspec.Struct):
    """What was found.

    Attributes:
        attempts: lines of the journal.
        acknowledged: votes with a receipt, by id.
        undecided: votes whose fate their sender does not know; those without an id included.
        refused: votes of which every attempt was refused.
        counted: votes in the log that count, in the journal's contests.
        archived: votes in the archive, likewise.
        copies: records that repeat an id and are rightly not counted.
        lost, repeated, invented, mismatched: the faults.
        undecided_counted: undecided votes that are counted; no fault.
        rejected: acknowledged votes that are not counted but rejected, with a reason; no fault.
    """

    attempts: int = 0
    acknowledged: int = 0
    undecided: int = 0
    refused: int = 0
    counted: int = 0
    archived: int = 0
    copies: int = 0
    lost: Finding = msgspec.field(default_factory=Finding)
    repeated: Finding = msgspec.field(default_factory=Finding)
    invented: Finding = msgspec.field(default_factory=Finding)
    mismatched: Finding = msgspec.field(default_factory=Finding)
    undecided_counted: Finding = msgspec.field(default_factory=Finding)
    rejected: Finding = msgspec.field(default_factory=Finding)

    @property
    def faults(self) -> Mapping[str, Finding]:
        """The findings that must be empty, by name."""
        return {name: getattr(self, name) for name in ("lost", "repeated", "invented", "mismatched")}

    @property
    def ok(self) -> bool:
        """Whether there is no fault."""
        return not any(finding.count for finding in self.faults.values())


_STRENGTH: Final = {Outcome.REFUSED: 0, Outcome.UNDECIDED: 1, Outcome.RECORDED: 2}


class Journal:
    """The attempts, gathered by vote.

    Args:
        attempts: the whole journal; of several, one after the other in any order.

    Attributes:
        contests: those that it names.
    """

    def __init__(self, attempts: Iterable[Attempt]) -> None:
        self.attempts = 0
        self.fates: dict[str, Outcome] = {}
        self.sent: dict[str, Body | set[Body]] = {}
        self.keys: dict[str, set[str]] = defaultdict(set)
        self.contests: set[str] = set()
        self.lost: Counter[Body] = Counter()
        """Votes sent without a key whose answers were lost."""
        self.nameless_refused = 0
        self._bodies: dict[tuple[str | None, Ballot], Body] = {}
        unplaced: list[Attempt] = []
        for attempt in attempts:
            self._add(attempt, unplaced)
        for attempt in unplaced:
            self._place(attempt)

    def _add(self, attempt: Attempt, unplaced: list[Attempt]) -> None:
        self.attempts += 1
        if attempt.contest is not None:
            self.contests.add(attempt.contest)
        if attempt.id is not None:
            self._file(attempt.id, attempt)
        elif attempt.key is not None:
            unplaced.append(attempt)
        elif attempt.outcome is Outcome.UNDECIDED:
            self.lost[self._body(attempt)] += 1
        else:
            self.nameless_refused += 1

    def _place(self, attempt: Attempt) -> None:
        """Files an attempt of which only the key is known, under the id that it has in each of the contests."""
        assert attempt.key is not None
        contests = self.contests if attempt.contest is None else (attempt.contest,)
        if not contests or not KEY.fullmatch(attempt.key):
            self._file(f"key {attempt.key}", attempt)
            return
        for contest in contests:
            self._file(id_from_key(contest, attempt.key), attempt)

    def _file(self, vote_id: str, attempt: Attempt) -> None:
        known = self.fates.get(vote_id)
        if known is None or _STRENGTH[attempt.outcome] > _STRENGTH[known]:
            self.fates[vote_id] = attempt.outcome
        if attempt.key is not None:
            self.keys[attempt.key].add(vote_id)
        body, there = self._body(attempt), self.sent.get(vote_id)
        if there is None:
            self.sent[vote_id] = body
        elif isinstance(there, set):
            there.add(body)
        elif there != body:
            self.sent[vote_id] = {there, body}

    def _body(self, attempt: Attempt) -> Body:
        ballot = attempt.vote
        body = self._bodies.get((attempt.contest, ballot))
        if body is None:
            body = body_of(attempt.contest, ballot.name, ballot.album, ballot.year, ballot.rank)
            self._bodies[attempt.contest, ballot] = body
        return body

    def is_sent(self, vote_id: str, body: Body) -> bool:
        """Whether an attempt with this id sent this body."""
        sent = self.sent[vote_id]
        bodies = sent if isinstance(sent, set) else (sent,)
        return body in bodies or body._replace(contest=None) in bodies

    def explain(self, vote_id: str, body: Body) -> bool:
        """Whether an anonymous vote whose answer was lost explains a counted one; it explains no other then."""
        if not is_anonymous(vote_id):
            return False
        for candidate in (body, body._replace(contest=None)):
            if self.lost[candidate] > 0:
                self.lost[candidate] -= 1
                return True
        return False


def judge(journal: Journal, read_back: ReadBack) -> Verdict:
    """Holds a journal against what was read back after its last attempt, at rest."""
    verdict = Verdict(attempts=journal.attempts, copies=read_back.copies)
    fates = Counter(journal.fates.values())
    verdict.acknowledged, verdict.refused = fates[Outcome.RECORDED], fates[Outcome.REFUSED] + journal.nameless_refused
    verdict.undecided = fates[Outcome.UNDECIDED] + journal.lost.total()
    counted = dict(_within(read_back.counted, journal))
    archived = dict(_within(read_back.archived, journal))
    verdict.counted, verdict.archived = len(counted), len(archived)
    _find_lost(verdict, journal, read_back)
    _find_invented(verdict, journal, counted)
    _find_repeated(verdict, journal, counted, read_back.repeats)
    _compare_archive(verdict, journal, read_back, counted, archived)
    _compare_standings(verdict, journal.contests, read_back)
    return verdict


def _within(votes: Mapping[str, Body], journal: Journal) -> Iterator[tuple[str, Body]]:
    """The votes of the journal's contests, and those that it knows, whatever contest they ended up in."""
    return (item for item in votes.items() if item[1].contest in journal.contests or item[0] in journal.fates)


def _find_lost(verdict: Verdict, journal: Journal, read_back: ReadBack) -> None:
    for vote_id, fate in journal.fates.items():
        if fate is not Outcome.RECORDED or vote_id in read_back.counted:
            continue
        if vote_id in read_back.rejected:
            verdict.rejected.add(vote_id, f"acknowledged, and rejected: {read_back.rejected[vote_id]}")
        else:
            verdict.lost.add(vote_id, "acknowledged, but not counted")


def _find_invented(verdict: Verdict, journal: Journal, counted: Mapping[str, Body]) -> None:
    for vote_id, body in counted.items():
        fate = journal.fates.get(vote_id)
        if fate is None:
            if journal.explain(vote_id, body):
                verdict.undecided_counted.add(vote_id, "counted; sent without a key, and its answer was lost")
            else:
                verdict.invented.add(vote_id, "counted, but nobody sent it")
            continue
        if fate is Outcome.REFUSED:
            verdict.invented.add(vote_id, "counted, but every attempt was refused")
            continue
        if fate is Outcome.UNDECIDED:
            verdict.undecided_counted.add(vote_id, "counted; its sender does not know")
        if not journal.is_sent(vote_id, body):
            verdict.mismatched.add(vote_id, f"counted as {body}, but never sent so")


def _find_repeated(
    verdict: Verdict, journal: Journal, counted: Mapping[str, Body], repeats: Mapping[str, Collection[Body]]
) -> None:
    for vote_id, extra in repeats.items():
        if vote_id in counted:
            verdict.repeated.add(vote_id, f"counted {len(extra) + 1} times", len(extra))
    for key, ids in journal.keys.items():
        # One key is one vote in each contest.
        for contest, number in Counter(counted[i].contest for i in ids if i in counted).items():
            if number > 1:
                verdict.repeated.add(
                    min(ids & counted.keys()), f"key {key} counts {number} votes in {contest}", number - 1
                )


def _compare_archive(
    verdict: Verdict, journal: Journal, read_back: ReadBack, counted: Mapping[str, Body], archived: Mapping[str, Body]
) -> None:
    for vote_id in counted:
        if vote_id not in read_back.archived:
            verdict.lost.add(vote_id, "counted, but not archived")
        elif read_back.archived[vote_id] != counted[vote_id]:
            verdict.mismatched.add(vote_id, "archived with another body than the one that counts")
    for vote_id in archived:
        # An acknowledged one that is not counted is lost, and told already.
        if vote_id not in read_back.counted and journal.fates.get(vote_id) is not Outcome.RECORDED:
            verdict.invented.add(vote_id, "archived, but not counted")


def _compare_standings(verdict: Verdict, contests: set[str], read_back: ReadBack) -> None:
    """Holds the standings against the log, band by band, as it was counted: what it counts twice is told already."""
    log, nothing = read_back.totals(contests), BandTotals()
    for contest in sorted(contests):
        right, shown = log.get(contest, {}), read_back.standings.get(contest, {})
        for band in sorted(right.keys() | shown.keys()):
            _compare_band(verdict, contest, band, shown.get(band, nothing), right.get(band, nothing))


def _compare_band(verdict: Verdict, contest: str, band: str, shown: BandTotals, right: BandTotals) -> None:
    what = f"the standings show {shown.votes} votes for {band!r}, the log has {right.votes}"
    if shown.votes > right.votes:
        verdict.repeated.add(contest, what, shown.votes - right.votes)
    elif shown.votes < right.votes:
        verdict.lost.add(contest, what, right.votes - shown.votes)
    elif differences := list(_differences(band, shown, right)):
        verdict.mismatched.add(contest, "; ".join(differences))


def _differences(band: str, shown: BandTotals, right: BandTotals) -> Iterator[str]:
    """What differs in a band whose votes are right: the albums that they are for, or their ranks."""
    for album in sorted(shown.albums.keys() | right.albums.keys()):
        theirs, ours = shown.albums.get(album, 0), right.albums.get(album, 0)
        if theirs != ours:
            yield f"the standings show {theirs} votes for {album!r} of {band!r}, the log has {ours}"
    if shown.rank_sum != right.rank_sum:
        yield f"the standings show ranks of {shown.rank_sum} in all for {band!r}, the log has {right.rank_sum}"
