"""Records of one partition in columns: where a million are read, an object for each costs as much as reading them."""

from collections.abc import Iterator, Sequence
from typing import overload

from aplauso.ports.log import Record


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

    def __iter__(self) -> Iterator[Record]:
        rows = zip(self.offsets, self.epochs, self.keys, self.values, strict=True)
        return (Record(self.partition, *row) for row in rows)


def columns(records: Sequence[Record]) -> tuple[Sequence[bytes | None], Sequence[bytes | None]]:
    """The keys and the values of records."""
    if isinstance(records, Stretch):
        return records.keys, records.values
    return [record.key for record in records], [record.value for record in records]


def offsets_of(records: Sequence[Record]) -> Sequence[int]:
    """The offsets of records."""
    return records.offsets if isinstance(records, Stretch) else [record.offset for record in records]
