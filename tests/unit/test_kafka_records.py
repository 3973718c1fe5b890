"""Kafka's messages become the records that they are."""

from confluent_kafka import Message
from hypothesis import given
from hypothesis import strategies as st

from aplauso.adapters.kafka.records import AnyMessage, to_stretch, to_stretches
from aplauso.ports.log import Record

PLACES = st.lists(st.tuples(st.integers(1, 3), st.integers(0, 1)), min_size=1, max_size=12)
"""Of each message how far it lies behind the one before it, and by how much its epoch is later."""


def message(offset: int, epoch: int | None) -> AnyMessage:
    """A message of partition 4; every fifth has no key, every third no value."""
    key, value = b"k" if offset % 5 else None, b"v%d" % offset if offset % 3 else None
    if epoch is None:
        return Message(topic="votes", partition=4, offset=offset, key=key, value=value)
    return Message(topic="votes", partition=4, offset=offset, key=key, value=value, leader_epoch=epoch)


@given(PLACES, st.booleans(), st.integers(0, 3))
def test_messages_with_gaps_and_changing_epochs_are_records(
    places: list[tuple[int, int]], has_epochs: bool, first: int
) -> None:
    """Each message is a record of its own offset, epoch, key and value, wherever gaps lie and epochs change."""
    messages, plain, offset, epoch = [], [], first, 7
    for step, later in places:
        messages.append(each := message(offset, epoch if has_epochs else None))
        plain.append(Record(4, offset, epoch if has_epochs else -1, each.key(), each.value()))
        offset, epoch = offset + step, epoch + later
    assert list(to_stretch(messages)) == plain
    assert [list(stretch) for stretch in to_stretches(messages)] == [plain]
