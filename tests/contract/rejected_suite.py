"""What keeping rejected records promises: one suite for the sink and the log that people read."""

import random
from collections.abc import Callable
from typing import Protocol

from aplauso.ports.rejected import Mark, Place, RejectedLog, RejectedSink, Rejection


class RejectedHarness(Protocol):
    """Makes both sides over fresh storage."""

    def sink(self) -> RejectedSink:
        """A writing side."""
        ...

    def log(self) -> RejectedLog:
        """A reading and marking side."""
        ...

    def close(self) -> None:
        """Lets go of everything."""
        ...


def rejection(partition: int, offset: int, detail: str = "why", topic: str = "t1") -> Rejection:
    """A rejection, told apart by its place."""
    return Rejection(Place(topic, partition, offset), "unreadable", detail, b"key", b"value %d" % offset)


def test_rejections_are_kept_as_they_were(harness: RejectedHarness) -> None:
    """Place, reason, detail, key and value come back byte for byte; no key and no value are not empty ones."""
    noise = random.Random(7).randbytes(200_000)
    kept = [
        Rejection(Place("t", 0, 0), "unreadable", "año: <b>\x1b[31m</b> \U0001f3b8", b"\xff\x00k", b"\x00\xfe" * 9),
        Rejection(Place("t", 0, 1), "wrong-key", "", None, b"value"),
        Rejection(Place("t", 0, 2), "unreadable", "no value", b"key", None),
        Rejection(Place("t", 0, 3), "bad-id", "empty", b"", b""),
        Rejection(Place("t", 0, 4), "unreadable", "large", noise[:50_000], noise),
    ]
    harness.sink().add(kept)
    assert list(harness.log().open()) == kept


def test_nothing_is_kept_of_nothing(harness: RejectedHarness) -> None:
    """An empty log reads as empty; adding nothing and marking nothing is no fault."""
    harness.sink().add([])
    harness.log().mark([], Mark.DROPPED)
    assert list(harness.log().open()) == []


def test_rejections_are_read_by_place(harness: RejectedHarness) -> None:
    """Whatever the order of adding, reading goes by topic, partition and offset, as numbers."""
    places = [("b", 0, 1), ("a", 10, 0), ("a", 9, 100), ("a", 9, 20), ("a", 9, 3)]
    harness.sink().add([rejection(partition, offset, topic=topic) for topic, partition, offset in places])
    assert [tuple(found.place) for found in harness.log().open()] == sorted(places)


def test_one_place_is_one_rejection(harness: RejectedHarness) -> None:
    """The same place, added again by whomever, stays one: as it was first added."""
    sink = harness.sink()
    sink.add([rejection(0, 1, "first"), rejection(0, 2)])
    sink.add([rejection(0, 1, "second")])
    harness.sink().add([rejection(0, 1, "third"), rejection(0, 1, "fourth")])
    assert list(harness.log().open()) == [rejection(0, 1, "first"), rejection(0, 2)]


def test_a_mark_hides_one_place(harness: RejectedHarness) -> None:
    """A marked rejection is no longer open, with either mark; those beside it are."""
    harness.sink().add([*(rejection(0, offset) for offset in range(4)), rejection(0, 1, topic="t2")])
    log = harness.log()
    log.mark([Place("t1", 0, 1)], Mark.RETRIED)
    log.mark([Place("t1", 0, 3)], Mark.DROPPED)
    wanted = [rejection(0, 0), rejection(0, 2), rejection(0, 1, topic="t2")]
    assert list(log.open()) == wanted
    assert list(harness.log().open()) == wanted


def test_a_mark_outlives_a_rebuild(harness: RejectedHarness) -> None:
    """A rejection that is added again after it was marked stays marked, and may be marked twice."""
    harness.sink().add([rejection(0, 1), rejection(0, 2)])
    harness.log().mark([Place("t1", 0, 1)], Mark.RETRIED)
    harness.log().mark([Place("t1", 0, 1)], Mark.DROPPED)
    harness.sink().add([rejection(0, 1), rejection(0, 2)])
    assert list(harness.log().open()) == [rejection(0, 2)]


def test_what_was_added_survives_the_sink(harness: RejectedHarness) -> None:
    """`add` returns once the rejections are on disk: whoever reads then finds them, with the sink or without."""
    sink = harness.sink()
    for offset in range(30):
        sink.add([rejection(0, offset)])
        if offset % 10 == 0:
            assert len(list(harness.log().open())) == offset + 1
    sink.close()
    assert list(harness.log().open()) == [rejection(0, offset) for offset in range(30)]


def test_thousands_are_kept(harness: RejectedHarness) -> None:
    """Many rejections of one call are all kept."""
    many = [rejection(partition, offset) for partition in range(3) for offset in range(1000)]
    harness.sink().add(many)
    assert list(harness.log().open()) == many


CASES: dict[str, Callable[[RejectedHarness], None]] = {
    name: case for name, case in list(globals().items()) if name.startswith("test_")
}
"""Every test of the suite by its name."""
