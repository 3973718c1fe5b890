"""The pure parts of the trial: the deck, the ledger, the page, the round's view of the log."""

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Final

import msgspec
import pytest

from aplauso.domain.errors import Unavailable
from aplauso.domain.position import Position
from aplauso.domain.verdict import Verdict
from aplauso.flow.traffic import open_traffic
from aplauso.ports.log import LogReader, Record
from chaos import ledger, report
from chaos.__main__ import main
from chaos.check import Checked, Since
from chaos.faults_redis import went_back
from chaos.ledger import Line, Struck
from chaos.rounds import SIZES, Deck, Round, Trial, left_alone, needless, spares_intake
from chaos.scene import FAULTS, Event
from chaos.waiting import NotInTimeError, until
from chaos.words import words_of


def _line(seed: int = 1, faults: Sequence[Struck] = (), **sums: int) -> Line:
    counts = dict.fromkeys(("acknowledged", "undecided", "refused", "undecided_counted", "copies"), 0)
    counts |= {"lost": 0, "repeated": 0, "invented": 0, **sums}
    return Line(seed=seed, round=1, faults=list(faults), intake=0.1, standings=0.5, seconds=8.0, wrong=[], **counts)  # type: ignore[arg-type]


def _struck(kind: str, alone: bool, recovery: float, **answers: int) -> Struck:
    return Struck(kind, alone, 200, 1.0, recovery, 1.5, 10, answers)


_UNEVEN: Final = {kind: at % 7 for at, kind in enumerate(FAULTS)}
"""What a ledger may hold: some kinds often, some never."""


def _least(rounds: Sequence[Sequence[str]]) -> int:
    """How often the rarest of all kinds occurs."""
    times = Counter(kind for kinds in rounds for kind in kinds)
    return min(times[kind] for kind in FAULTS)


@pytest.mark.parametrize("times", [{}, _UNEVEN, {"kill tally": 1}], ids=["fresh", "uneven", "one"])
@pytest.mark.parametrize("seed", range(5))
def test_every_kind_occurs_ten_times_in_any_200_rounds(seed: int, times: Mapping[str, int]) -> None:
    """Any 200 successive rounds hold each kind ten times, none twice in a round, whatever seed and ledger."""
    deck = Deck(list(FAULTS), random.Random(seed), times=times)
    rounds = [deck.deal() for _ in range(500)]
    assert min(_least(rounds[first : first + 200]) for first in range(301)) >= 10
    assert all(len(set(kinds)) == len(kinds) for kinds in rounds)
    assert {len(kinds) for kinds in rounds} == set(SIZES)


def test_the_deck_keeps_what_its_arithmetic_says() -> None:
    """The worst 200 rounds have cards enough for the kinds that there are: another kind more needs larger rounds."""
    sizes = sorted(SIZES)
    ends = min(sum(sizes[:first]) + sum(sizes[: len(sizes) - first]) for first in range(1, len(sizes)))
    fewest = (200 // len(sizes) - 1) * sum(sizes) + ends
    most_without = 9 * len(FAULTS) + 2 * (len(FAULTS) - 1)
    assert fewest > most_without


def test_what_the_ledger_lacks_comes_first() -> None:
    """Kinds that struck less than others come first, the least first; then all are equal, and all come."""
    kinds = ["a", "b", "c", "d", "e"]
    deck = Deck(kinds, random.Random(1), sizes=(1,), times={"a": 3, "b": 2, "c": 3, "d": 1, "e": 3})
    first = [deck.deal()[0] for _ in range(3)]
    assert first[0] == "d"
    assert sorted(first[1:]) == ["b", "d"]
    assert sorted(deck.deal()[0] for _ in range(5)) == kinds


def test_what_did_not_happen_is_dealt_again() -> None:
    """A kind that was dealt and could not happen comes again before the next shuffle."""
    kinds = list(FAULTS)
    deck = Deck(kinds, random.Random(2), sizes=(1,))
    lost = deck.deal()
    deck.take_back(lost)
    rest = [deck.deal()[0] for _ in range(len(kinds))]
    assert rest[-1] == lost[0]
    assert sorted(rest) == sorted(kinds)


def test_fewer_kinds_than_a_round_could_have() -> None:
    """Two kinds make rounds of one and of two, however many a round could have."""
    deck = Deck(["a", "b"], random.Random(3))
    assert {tuple(sorted(deck.deal())) for _ in range(50)} == {("a",), ("b",), ("a", "b")}


def test_only_faults_that_happened_are_in_the_ledger() -> None:
    """A fault whose part was never seen to break and to come back is not counted."""
    happened, skipped = Event("kill tally", False), Event("kill kafka", False, struck=5.0)
    happened.struck, happened.back = 5.0, 7.0
    result = Round(1, [happened, skipped], checked=Checked(Verdict(), [], {}))
    assert ledger.kinds([ledger.line_of(1, result)]) == {"kill tally": 1}


def test_a_round_that_broke_has_a_line(tmp_path: Path) -> None:
    """A round that broke says why in the ledger, counts no vote and no fault, and the page names it."""
    broken = Round(3, [Event("kill tally", True, struck=5.0, back=7.0)], wrong=["the round broke: NotInTimeError('…')"])
    ledger.append(tmp_path / "ledger.jsonl", ledger.line_of(7, broken, "abc-dirty"))
    (line,) = ledger.read(tmp_path / "ledger.jsonl")
    assert (line.acknowledged, line.faults, line.commit) == (0, [], "abc-dirty")
    text = report.page([_line(), line])
    assert "Something else was wrong in 1 of them:\n\n- seed 7, round 3: `the round broke: NotInTimeError" in text
    assert "Nothing else was wrong" in report.page([_line()])


class _Gone:
    """A world that is not there."""

    def refresh(self) -> None:
        raise OSError("gone")


async def test_what_breaks_a_round_stands_in_it() -> None:
    """Whatever ends a round before its end is among what is wrong with it, and is not raised."""
    trial = Trial(_Gone(), open_traffic(Path("load/traffic.json")))  # type: ignore[arg-type]
    result = await trial.round(1, ["kill tally"], random.Random(1))
    assert result.checked is None
    assert result.wrong == ["the round broke (kill tally): OSError('gone')"]


def test_intake_that_needs_what_it_should_not_is_found() -> None:
    """Of a part that intake does not need, one 503, a long silence or too few receipts are wrong; receipts are not."""
    event = Event("kill mongo", True, silence=0.2, answers={"201": 900})
    assert needless(event) == []
    event.answers = {"201": 900, "503": 1}
    assert needless(event) == ["kill mongo: {'503': 1}, although intake does not need that part"]
    event.answers, event.silence = {"201": 900}, 1.3
    assert needless(event) == ["kill mongo: no receipt for 1.3 s, although intake does not need that part"]
    event.silence, event.struck, event.back, event.recorded_during = 0.2, 5.0, 7.0, 200
    assert needless(event) == []
    event.recorded_during = 199
    assert needless(event) == ["kill mongo: only 199 receipts in 2.0 s, although intake does not need that part"]
    event.back = 5.4
    assert needless(event) == []


def test_intake_may_be_away_when_any_fault_of_a_round_stops_it() -> None:
    """One fault that stops intake excuses the others of its round; without one, nothing does."""
    assert spares_intake(["kill mongo", "freeze tally", "reset board-redis"])
    assert not spares_intake(["kill mongo", "kill kafka"])


def test_a_stop_that_leaves_votes_without_an_answer_is_found() -> None:
    """A graceful stop answers the votes that are under way with 201 or 503, but for two in a hundred."""
    event = Event("stop gateway", True, under_way={"201": 200, "503": 115, "no answer": 5})
    assert left_alone(event) == []
    event.under_way = {"201": 200, "504": 2, "no answer": 5}
    (said,) = left_alone(event)
    assert said.startswith("stop gateway: of 207 votes that were under way, ")
    assert said.endswith("{'504': 2, 'no answer': 5}")


def test_positions_that_went_back_are_told_from_those_that_went_on() -> None:
    """Positions went back when one of them is farther back than it was, and none has gone on."""
    before = {0: 50, 1: 60}
    assert went_back(before, {0: 50, 1: 10})
    assert went_back(before, {1: 60})
    assert not went_back(before, before)
    assert not went_back(before, {0: 51, 1: 10})


class _Projections:
    """A log of one partition that ends at 10, and two projections that stand there after so many looks."""

    def __init__(self, looks: int) -> None:
        self.looks = looks
        self.readers = self.standings = self.archive = self

    def partitions(self) -> Mapping[int, Position]:
        self.looks -= 1
        if self.looks == 3:
            raise Unavailable("away")
        return {0: Position("log", 10 if self.looks <= 0 else 9)}


async def test_the_standings_clock_runs_from_the_first_receipt() -> None:
    """Standings are back when stored positions reach what the log held at the last fault's first receipt."""
    events = [Event("kill tally", False, noted=monotonic() - 7.0, ends={0: 10}), Event("kill kafka", False)]
    world = _Projections(8)
    trial = Trial(world, open_traffic(Path("load/traffic.json")))  # type: ignore[arg-type]
    took = await trial._standings_back(events)
    assert took is not None
    assert 7.0 < took < 15.0
    assert world.looks <= 0
    assert await trial._standings_back(events[1:]) is None


def test_the_totals_are_the_last_line_of_a_run_that_broke(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A run that cannot go on prints what broke it, then the totals, and ends with 1."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # such a run keeps its data
    monkeypatch.setattr("chaos.__main__.World", _Gone)
    monkeypatch.setattr("sys.argv", ["chaos", "--no-ledger", "--rounds", "2"])
    assert main() == 1
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == "rounds=0 acknowledged=0 lost=0 repeated=0 invented=0"
    assert "Traceback (most recent call last):" in said


def test_lines_without_a_commit_still_load() -> None:
    """Every line that was ever written can be read."""
    lines = list(ledger.read(ledger.LEDGER))
    assert len(lines) >= 243
    assert not lines[0].commit
    assert lines[0].caught_up is None
    assert ledger.commit().removesuffix("-dirty").isalnum()


def test_a_seed_gives_the_same_rounds() -> None:
    """The same seed deals the same faults, another one others."""
    first, again, other = (Deck(list(FAULTS), random.Random(seed)) for seed in (7, 7, 8))
    rounds = [first.deal() for _ in range(30)]
    assert rounds == [again.deal() for _ in range(30)]
    assert rounds != [other.deal() for _ in range(30)]


def test_every_kind_has_words() -> None:
    """The page says of every kind what a client and an operator see."""
    for kind in FAULTS:
        assert all(words_of(kind))


def test_the_ledger_adds_up(tmp_path: Path) -> None:
    """Lines are kept over runs, and totals are those of all of them."""
    path = tmp_path / "chaos" / "ledger.jsonl"
    ledger.append(path, _line(acknowledged=5000))
    ledger.append(path, _line(2, [_struck("kill tally", True, 0.2)], acknowledged=6000, lost=1))
    sums = ledger.total(ledger.read(path))
    assert str(sums) == "rounds=2 acknowledged=11000 lost=1 repeated=0 invented=0"
    assert not sums.ok
    assert ledger.kinds(ledger.read(path)) == {"kill tally": 1}


@pytest.mark.parametrize("fault", ["lost", "repeated", "invented"])
def test_a_total_with_a_fault_is_not_ok(fault: str) -> None:
    """One lost, repeated or invented vote among all rounds is enough."""
    assert ledger.total([_line(), _line()]).ok
    assert not ledger.total([_line(), msgspec.structs.replace(_line(), **{fault: 1})]).ok


def test_the_page_prefers_faults_that_were_alone() -> None:
    """Figures of a fault come from the rounds in which it was alone, when there are some."""
    lines = [
        _line(1, [_struck("kill tally", True, 0.2, **{"201": 90, "503": 10})], acknowledged=100),
        _line(1, [_struck("kill tally", False, 9.9), _struck("kill kafka", False, 3.3)], acknowledged=100),
    ]
    text = report.page(lines)
    tally, kafka = (
        next(row for row in text.splitlines() if row.startswith(f"| kill {name} ")) for name in ("tally", "kafka")
    )
    assert "| 2 |" in tally
    assert "| 0.2; 0.2 |" in tally
    assert "201 90.0%, 503 10.0%" in tally
    assert "| (3.3; 3.3) |" in kafka
    assert "2 rounds, 200 acknowledged votes: 0 lost" in text
    assert "| – | 0.5; 0.5 |" in tally  # of the two measures of standings, these lines have only the old one
    newer = msgspec.structs.replace(lines[0], caught_up=0.9)
    assert "| 0.9; 0.9 | 0.5; 0.5 |" in report.page([newer, lines[1]])


def test_the_page_prefers_rounds_of_a_known_commit() -> None:
    """Of rounds with one fault alone, those count whose line names the commit; what was let pass before is named."""
    old = _line(1, [_struck("kill tally", True, 0.2, **{"201": 90, "503": 10})])
    new = msgspec.structs.replace(_line(2, [_struck("kill tally", True, 0.4, **{"201": 100})]), commit="abc")
    (row,) = (row for row in report.page([old, new]).splitlines() if row.startswith("| kill tally "))
    assert "| 2 |" in row
    assert "| 0.4; 0.4 |" in row
    assert "201 100.0%" in row
    assert "- seed 1, round 1: `kill tally: {'503': 10}" in report.page([old, new])


class _Log:
    """Remembers what was asked of it."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int, int]] = []

    def read(self, partition: int, start: int, stop: int) -> Iterable[Sequence[Record]]:
        self.asked.append((partition, start, stop))
        return ()


def test_a_round_is_read_from_its_beginning() -> None:
    """The log is read from where the round began, and not at all where nothing came."""
    log = _Log()
    since = Since(_as_reader(log), {0: 100, 1: 50})
    assert list(since.read(0, 0, 150)) == list(since.read(1, 0, 50)) == []
    assert log.asked == [(0, 100, 150)]


def _as_reader(log: _Log) -> LogReader:
    return log  # type: ignore[return-value]


async def test_waiting_ends() -> None:
    """What does not come in time is told."""
    with pytest.raises(NotInTimeError, match="never"):
        await until(lambda: False, 0.05, "never")
