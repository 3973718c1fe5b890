"""Records in columns are the same sequence as records one by one."""

from aplauso.ports.log import Entry, Record
from aplauso.ports.stretch import Entries, Stretch, Stretches, columns, entry_columns, stretch_of, stretches

PLAIN = [Record(3, offset, 7, b"k%d" % offset, None if offset == 5 else b"v") for offset in (1, 2, 5, 9)]
STRETCH = Stretch(3, [1, 2, 5, 9], [7] * 4, [b"k1", b"k2", b"k5", b"k9"], [b"v", b"v", None, b"v"])


def test_a_stretch_is_the_sequence_of_its_records() -> None:
    """Length, order, places, slices and membership are those of a list of the records."""
    assert list(STRETCH) == PLAIN
    assert [STRETCH[at] for at in range(-4, 4)] == [PLAIN[at] for at in range(-4, 4)]
    assert [list(STRETCH[part]) for part in (slice(1, 3), slice(-1, None), slice(9, 9))] == [PLAIN[1:3], PLAIN[3:], []]
    assert (len(STRETCH), PLAIN[2] in STRETCH, list(reversed(STRETCH))) == (4, True, PLAIN[::-1])


def test_keys_and_values_are_the_same_of_both() -> None:
    """The columns of a stretch are those of its records."""
    assert tuple(map(list, columns(STRETCH))) == columns(PLAIN)


def test_a_stretch_is_lengthened_and_made_of_records() -> None:
    """What comes after is added; records of one partition become the stretch that they are."""
    assert list(STRETCH[:1] + STRETCH[1:]) == PLAIN
    assert list(stretch_of(PLAIN)) == PLAIN


def test_records_of_several_partitions_are_told_apart() -> None:
    """Interleaved or as stretches, each partition's records are one stretch, in their order."""
    others = [Record(4, offset, 0, b"k", b"v") for offset in range(4)]
    mixed = [record for pair in zip(PLAIN, others, strict=True) for record in pair]
    both = Stretches([STRETCH, stretch_of(others)])
    for records in (mixed, both):
        assert [(part.partition, list(part)) for part in stretches(records)] == [(3, PLAIN), (4, others)]
    assert (len(both), list(both), both[4], both[3:5]) == (8, PLAIN + others, others[0], [PLAIN[3], others[0]])
    assert list(stretches([])) == list(stretches(Stretches([]))) == []


def test_entries_in_columns_are_the_sequence_of_the_entries() -> None:
    """Length, order, places and slices are those of a list, and so are the columns."""
    plain = [Entry(b"k%d" % at, b"v%d" % at, at % 3) for at in range(4)]
    entries = Entries([b"k0", b"k1", b"k2", b"k3"], [b"v0", b"v1", b"v2", b"v3"], [0, 1, 2, 0])
    assert (len(entries), list(entries), [entries[at] for at in range(4)]) == (4, plain, plain)
    assert list(entries[1:3]) == plain[1:3]
    assert entry_columns(plain) == entry_columns(entries)
    assert entry_columns([]) == ([], [], [])
