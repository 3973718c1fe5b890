"""Tells a truncated log from the one that was read, by its leaders' epochs.

A log that loses records in an unclean election goes on at the same offsets with other records, and offsets
alone do not show it. Each record carries the epoch of the leader that took it, and that never changes; no two
records that were ever at one offset have the same. So where reading goes on after a record, that record, the
witness, is read again and must still have its epoch: when a partition is placed, and whenever the epoch of a
partition's records changes. (Kafka's consumers have a check of their own, KIP-320, but do not apply it
where an application begins to read.)
"""

from collections.abc import Iterable
from typing import Final

from aplauso.domain.errors import WrongLog
from aplauso.domain.position import Position
from aplauso.ports.log import Record

UNKNOWN: Final = -1


class EpochGuard:
    """One partition's epochs, from a position on.

    Args:
        partition: for messages.
        position: where reading goes on, None at the beginning.
        low: the partition's first offset.

    Attributes:
        start: the offset at which to begin to read: the witness's, where there is one.
    """

    def __init__(self, partition: int, position: Position | None, low: int) -> None:
        self._partition = partition
        self._offset = 0 if position is None else position.offset
        self._epoch = UNKNOWN if position is None else position.epoch
        self._placed = True  # the next record comes right after the place, whose witness has just been heard
        has_witness = self._epoch != UNKNOWN and self._offset > low
        self.start = self._offset - 1 if has_witness else self._offset

    @property
    def unchanged(self) -> int | None:
        """The epoch whose records need no look at all; None when each has to be looked at."""
        return None if self._placed else self._epoch

    def admit(self, records: Iterable[Record]) -> tuple[list[Record], Position | None]:
        """The records that may be handed out, and where to place the partition anew, None for nowhere.

        The position's topic is left empty.

        Raises:
            WrongLog: a witness is not the record that was read.
        """
        admitted: list[Record] = []
        for record in records:
            if record.offset < self._offset:
                self._hear(record)
                continue
            if record.epoch != self._epoch:
                if not self._placed:
                    return admitted, Position("", record.offset, self._epoch)
                if record.epoch < self._epoch:
                    raise self._truncated(record)
            admitted.append(record)
            self._epoch = record.epoch
            self._placed = False
        return admitted, None

    def _hear(self, witness: Record) -> None:
        if witness.epoch != self._epoch:
            raise self._truncated(witness)

    def _truncated(self, record: Record) -> WrongLog:
        return WrongLog(
            f"partition {self._partition} was truncated: the record at offset {record.offset} is of the leader's "
            f"epoch {record.epoch}, and up to offset {self._offset} epoch {self._epoch} was read"
        )
