"""Records in columns: where a million are appended or read, an object for each costs as much as moving them."""

from collections.abc import Iterator, Sequence
from itertools import chain, groupby
from operator import attrgetter
from typing import Final, overload

from aplauso.ports.log import Entry, Record


class Stretch(Sequence[Record]):
    """Records of one partition, in order; each is made when it is asked for.

    Args:
        partition: where they lie.
        offsets: of each, growing.
        epochs: of each.
        keys: of each.
        values: of each.
    """

    __slots__ = ("epochs", "keys", "offsets", "partition", "values")

    def __init__(
        self,
        partition: int,
        offsets: Sequence[int],
        epochs: Sequence[int],
        keys: Sequence[bytes | None],
        values: Sequence[bytes | None],
    ) -> None:
        self.partition, self.offsets, self.epochs, self.keys, self.values = partition, offsets, epochs, keys, values

    def __len__(self) -> int:
        return len(self.offsets)

    @overload
    def __getitem__(self, at: int) -> Record: ...

    @overload
    def __getitem__(self, at: slice) -> "Stretch": ...

    def __getitem__(self, at: int | slice) -> "Record | Stretch":
        if isinstance(at, slice):
            return Stretch(self.partition, self.offsets[at], self.epochs[at], self.keys[at], self.values[at])
        return Record(self.partition, self.offsets[at], self.epochs[at], self.keys[at], self.values[at])

    def __add__(self, after: "Stretch") -> "Stretch":
        """The same partition's records with those that come after them."""
        return Stretch(
            self.partition,
            [*self.offsets, *after.offsets],
            [*self.epochs, *after.epochs],
            [*self.keys, *after.keys],
            [*self.values, *after.values],
        )

    def __iter__(self) -> Iterator[Record]:
        rows = zip(self.offsets, self.epochs, self.keys, self.values, strict=True)
        return (Record(self.partition, *row) for row in rows)


class Stretches(Sequence[Record]):
    """Records of several partitions, one stretch after the other.

    Attributes:
        parts: the stretches, none of them empty, one a partition.
    """

    __slots__ = ("parts",)

    def __init__(self, parts: Sequence[Stretch]) -> None:
        self.parts = parts

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    @overload
    def __getitem__(self, at: int) -> Record: ...

    @overload
    def __getitem__(self, at: slice) -> list[Record]: ...

    def __getitem__(self, at: int | slice) -> Record | list[Record]:
        return list(self)[at]

    def __iter__(self) -> Iterator[Record]:
        return chain.from_iterable(self.parts)


_partition: Final = attrgetter("partition")


def stretches(records: Sequence[Record]) -> Sequence[Stretch]:
    """Records by partition, one stretch of each."""
    if isinstance(records, Stretches):
        return records.parts
    parts: dict[int, list[Record]] = {}
    for partition, run in groupby(records, _partition):
        parts.setdefault(partition, []).extend(run)
    return [stretch_of(part) for part in parts.values()]


def stretch_of(records: Sequence[Record]) -> Stretch:
    """Records of one partition as a stretch; there is at least one."""
    _, offsets, epochs, keys, values = zip(*records, strict=True)
    return Stretch(records[0].partition, offsets, epochs, keys, values)


def columns(records: Sequence[Record]) -> tuple[Sequence[bytes | None], Sequence[bytes | None]]:
    """The keys and the values of records."""
    if isinstance(records, Stretch):
        return records.keys, records.values
    return [record.key for record in records], [record.value for record in records]


class Entries(Sequence[Entry]):
    """Records to append, in order; each is made when it is asked for.

    Args:
        keys: of each.
        values: of each.
        partitions: where each belongs.
    """

    __slots__ = ("keys", "partitions", "values")

    def __init__(self, keys: Sequence[bytes], values: Sequence[bytes], partitions: Sequence[int]) -> None:
        self.keys, self.values, self.partitions = keys, values, partitions

    def __len__(self) -> int:
        return len(self.keys)

    @overload
    def __getitem__(self, at: int) -> Entry: ...

    @overload
    def __getitem__(self, at: slice) -> "Entries": ...

    def __getitem__(self, at: int | slice) -> "Entry | Entries":
        if isinstance(at, slice):
            return Entries(self.keys[at], self.values[at], self.partitions[at])
        return Entry(self.keys[at], self.values[at], self.partitions[at])

    def __iter__(self) -> Iterator[Entry]:
        return map(Entry, self.keys, self.values, self.partitions)


def entry_columns(entries: Sequence[Entry]) -> tuple[Sequence[bytes], Sequence[bytes], Sequence[int]]:
    """The keys, the values and the partitions of records to append."""
    if isinstance(entries, Entries):
        return entries.keys, entries.values, entries.partitions
    return (
        [entry.key for entry in entries], [entry.value for entry in entries], [entry.partition for entry in entries]
    )  # fmt: skip
