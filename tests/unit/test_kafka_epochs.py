"""Leaders' epochs tell a truncated partition from the one that was read."""

import pytest

from aplauso.adapters.kafka.epochs import EpochGuard
from aplauso.domain.errors import WrongLog
from aplauso.domain.position import Position
from aplauso.ports.log import Record


def records(*places: tuple[int, int]) -> list[Record]:
    """Records at offsets, of epochs."""
    return [Record(0, offset, epoch, b"k", b"v") for offset, epoch in places]


def test_the_record_before_the_position_is_heard_and_not_handed_out() -> None:
    """Reading begins one record early; that one must have the position's epoch, and stays inside."""
    guard = EpochGuard(0, Position("t", 5, 2), 0)
    assert guard.start == 4
    assert guard.admit(records((4, 2), (5, 2), (6, 2))) == (records((5, 2), (6, 2)), None)
    assert guard.unchanged == 2


def test_another_record_before_the_position_is_refused() -> None:
    """Where another record lies than was read, the log was truncated."""
    with pytest.raises(WrongLog, match="truncated"):
        EpochGuard(0, Position("t", 5, 2), 0).admit(records((4, 3), (5, 3)))


def test_a_new_epoch_right_after_the_position_is_right() -> None:
    """A new leader's first record may follow the witness; a former leader's may not."""
    assert EpochGuard(0, Position("t", 5, 2), 0).admit(records((4, 2), (5, 7))) == (records((5, 7)), None)
    with pytest.raises(WrongLog, match="truncated"):
        EpochGuard(0, Position("t", 5, 2), 0).admit(records((5, 1)))


def test_a_new_epoch_later_on_is_proved_first() -> None:
    """Where the epoch changes while reading, the partition is placed anew, with the last record as witness."""
    guard = EpochGuard(0, None, 0)
    assert guard.start == 0
    assert guard.admit(records((0, 0), (1, 0), (3, 1), (4, 1))) == (records((0, 0), (1, 0)), Position("", 3, 0))


@pytest.mark.parametrize(
    ("position", "low"), [(Position("t", 5, -1), 0), (Position("t", 5, 2), 5), (Position("t", 0, -1), 0)]
)
def test_where_there_is_no_witness_reading_begins_at_the_position(position: Position, low: int) -> None:
    """Without an epoch, or with the record before trimmed away, nothing is read early."""
    assert EpochGuard(0, position, low).start == position.offset
