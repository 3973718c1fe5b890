"""The rejected records' contract, held against memory, SQLite and Kafka, and against broken ones."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import pytest

from aplauso.adapters.kafka.config import KafkaSettings
from aplauso.adapters.kafka.rejected import KafkaRejected
from aplauso.adapters.kafka.topics import Topics
from aplauso.adapters.sqlite.rejected import SqliteRejected
from aplauso.ports.rejected import Mark, Place, Rejection
from fakes_rejected import MemoryRejected, MemoryShelf
from servers_kafka import fresh_name, kafka

pytest.register_assert_rewrite("contract.rejected_suite")
from contract.rejected_suite import CASES  # noqa: E402 - after the line above, so that failures are explained

__all__ = ["kafka"]
Made = KafkaRejected | SqliteRejected | MemoryRejected


class Harness:
    """Both sides are one class in every adapter."""

    def __init__(self, make: Callable[[], Made]) -> None:
        self._make = make
        self._made: list[Made] = []

    def sink(self) -> Made:
        self._made.append(self._make())
        return self._made[-1]

    log = sink

    def close(self) -> None:
        for made in self._made:
            made.close()


@pytest.fixture(params=["memory", "sqlite", pytest.param("kafka", marks=pytest.mark.servers)])
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Harness]:
    shelf = MemoryShelf()
    make: Callable[[], Made] = lambda: MemoryRejected(shelf)  # noqa: E731
    if request.param == "sqlite":
        make = lambda: SqliteRejected(tmp_path / "rejected.sqlite")  # noqa: E731
    if request.param == "kafka":
        settings = KafkaSettings(request.getfixturevalue("kafka").bootstrap, fresh_name(), 1)
        Topics(settings).create()
        make = lambda: KafkaRejected(settings)  # noqa: E731
    made = Harness(make)
    yield made
    made.close()


@pytest.mark.parametrize("case", CASES)
def test_contract(harness: Harness, case: str) -> None:
    """The rejected records are kept as the case is named."""
    CASES[case](harness)


class LosesAbsence(MemoryRejected):
    def add(self, rejections: Sequence[Rejection]) -> None:
        super().add([r._replace(key=r.key or b"", value=r.value or b"") for r in rejections])


class DropsTheValue(MemoryRejected):
    def add(self, rejections: Sequence[Rejection]) -> None:
        super().add([r._replace(value=None) for r in rejections])


class CutsDetails(MemoryRejected):
    def add(self, rejections: Sequence[Rejection]) -> None:
        super().add([r._replace(detail=r.detail.encode("ascii", "replace").decode()) for r in rejections])


class TheLastWins(MemoryRejected):
    def add(self, rejections: Sequence[Rejection]) -> None:
        self.shelf.rejections.update({r.place: r for r in rejections})


class UnmarksWhenAdded(MemoryRejected):
    def add(self, rejections: Sequence[Rejection]) -> None:
        super().add(rejections)
        for r in rejections:
            self.shelf.marks.pop(r.place, None)


class KeepsThemToItself(MemoryRejected):
    def __init__(self, shelf: MemoryShelf) -> None:
        super().__init__(MemoryShelf())


class WritesLate(MemoryRejected):
    """Keeps the last one back until the next comes."""

    late: Sequence[Rejection] = ()

    def add(self, rejections: Sequence[Rejection]) -> None:
        super().add([*self.late, *rejections[:-1]])
        self.late = rejections[-1:]


class SortsAsText(MemoryRejected):
    def open(self) -> Iterable[Rejection]:
        return sorted(super().open(), key=lambda r: "/".join(map(str, r.place)))


class SortsByArrival(MemoryRejected):
    def open(self) -> Iterable[Rejection]:
        return [r for place, r in self.shelf.rejections.items() if place not in self.shelf.marks]


class IgnoresMarks(MemoryRejected):
    def mark(self, places: Sequence[Place], mark: Mark) -> None:
        pass


class MarksEveryTopic(MemoryRejected):
    def mark(self, places: Sequence[Place], mark: Mark) -> None:
        numbers = {place[1:] for place in places}
        super().mark([place for place in self.shelf.rejections if place[1:] in numbers], mark)


class KeepsAHundred(MemoryRejected):
    def add(self, rejections: Sequence[Rejection]) -> None:
        super().add(rejections[:100])


BROKEN = [
    (LosesAbsence, "test_rejections_are_kept_as_they_were"),
    (DropsTheValue, "test_rejections_are_kept_as_they_were"),
    (CutsDetails, "test_rejections_are_kept_as_they_were"),
    (TheLastWins, "test_one_place_is_one_rejection"),
    (UnmarksWhenAdded, "test_a_mark_outlives_a_rebuild"),
    (KeepsThemToItself, "test_what_was_added_survives_the_sink"),
    (WritesLate, "test_what_was_added_survives_the_sink"),
    (SortsAsText, "test_rejections_are_read_by_place"),
    (SortsByArrival, "test_rejections_are_read_by_place"),
    (IgnoresMarks, "test_a_mark_hides_one_place"),
    (MarksEveryTopic, "test_a_mark_hides_one_place"),
    (KeepsAHundred, "test_thousands_are_kept"),
]


@pytest.mark.parametrize(("broken", "case"), BROKEN, ids=lambda value: getattr(value, "__name__", value))
def test_a_broken_one_is_caught(broken: type[MemoryRejected], case: str) -> None:
    """The suite fails on one that breaks a promise, in the case that is about it."""
    shelf = MemoryShelf()
    with pytest.raises(AssertionError):
        CASES[case](Harness(lambda: broken(shelf)))
