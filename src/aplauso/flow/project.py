"""Step 3: read from the projection's own position, apply with compare-and-set.

The tally and the archive are the same loop over different stores. Whatever goes wrong, the answer is
one: ask the store where it stands, go back there, and read again.
"""

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from aplauso.domain.errors import BadRecord, Fatal, PositionMoved, Unavailable
from aplauso.domain.position import Position
from aplauso.domain.record import decode
from aplauso.ports.log import Record, VoteSource
from aplauso.ports.projection import Applied, LoggedVote, ProjectionStore
from aplauso.ports.rejected import Place, RejectedSink, Rejection

POLL: Final = 0.5
"""Seconds that a poll waits for a record: how long a stop takes at most when nothing comes."""
BATCH: Final = 5_000
"""Records applied together, at most: a store's step stays a matter of milliseconds."""
BACKOFF: Final = (0.05, 2.0)
"""Seconds between tries while a server is away: the first, doubled up to the last."""


class Watch(Protocol):
    """Is told what a projection does: for metrics and logs."""

    def applied(self, partition: int, votes: Sequence[LoggedVote], applied: Applied) -> None:
        """A batch was applied."""
        ...

    def rejected(self, rejections: Sequence[Rejection]) -> None:
        """Records were passed over."""
        ...

    def moved(self, partition: int, stored: Position | None) -> None:
        """A batch was refused: the store stands elsewhere, and reading goes on there."""
        ...

    def waiting(self, error: Unavailable, seconds: float) -> None:
        """A server is away; the next try comes after so many seconds."""
        ...

    def working(self) -> None:
        """A round went through: the log answers, and so does the store when there was something to apply."""
        ...


class RejectionLimit(NamedTuple):
    """When rejections mean that something is wrong with the log itself.

    Attributes:
        share: of the last `window` records; above it the projection stops.
        window: how many records are looked back on.
    """

    share: float = 0.5
    window: int = 1_000


class Projection:
    """One replica of a projection.

    Args:
        source: the log.
        store: effects and positions.
        watch: is told what happens.
        sink: keeps rejected records; None for projections other than the tally, which only pass them over.
        limit: stops the projection when too many records are rejected.
        batch: records that are applied together, at most.
    """

    def __init__(
        self,
        source: VoteSource,
        store: ProjectionStore,
        watch: Watch,
        sink: RejectedSink | None = None,
        limit: RejectionLimit | None = None,
        batch: int = BATCH,
    ) -> None:
        self._source = source
        self._store = store
        self._watch = watch
        self._sink = sink
        self._limit = limit or RejectionLimit()
        self._batch = batch
        self._at: dict[int, Position | None] = {}
        self._recent: deque[bool] = deque(maxlen=self._limit.window)
        self._lost = False

    def run(self, stop: threading.Event) -> None:
        """Projects until `stop` is set.

        Raises:
            Fatal: going on would give wrong numbers.
        """
        wait, started = BACKOFF[0], False
        while not stop.is_set():
            try:
                if not started:
                    self._source.start(self._positions)
                    started = True
                self.step(POLL)
                self._watch.working()
                wait = BACKOFF[0]
            except Unavailable as error:
                self._lost = True
                self._watch.waiting(error, wait)
                stop.wait(wait)
                wait = min(wait * 2, BACKOFF[1])

    def step(self, timeout: float) -> int:
        """One round: reads what there is, applies it, and returns the number of records read.

        Raises:
            Unavailable: a server is away; the next round starts where the store then stands.
            Fatal: as `run`.
        """
        if self._lost:
            self._go_back()
        records = self._source.poll(timeout, self._batch)
        parts: dict[int, list[Record]] = {}
        for record in records:
            parts.setdefault(record.partition, []).append(record)
        self._lost = bool(parts)  # until all are applied: an error leaves every position in doubt
        for partition, part in parts.items():
            self._project(partition, part)
        self._lost = False
        return len(records)

    def _positions(self, partitions: Sequence[int]) -> Mapping[int, Position | None]:
        stored = self._store.positions(partitions)
        self._at.update(stored)
        return stored

    def _go_back(self) -> None:
        """After a failure nobody knows which batches were applied: the store does."""
        for partition, stored in self._store.positions(list(self._at)).items():
            self._resume(partition, stored)
        self._lost = False

    def _resume(self, partition: int, stored: Position | None) -> None:
        self._at[partition] = stored
        self._source.seek(partition, stored)

    def _project(self, partition: int, records: Sequence[Record]) -> None:
        topic = self._source.topic()
        votes, rejections = self._read(records, topic)
        if rejections:
            self._reject(rejections)
        following = Position(topic, records[-1].offset + 1, records[-1].epoch)
        try:
            applied = self._store.apply(partition, self._at.get(partition), following, votes)
        except PositionMoved as refused:
            self._watch.moved(partition, refused.stored)
            self._resume(partition, refused.stored)
            return
        self._at[partition] = following
        self._source.note_progress({partition: following})
        self._watch.applied(partition, votes, applied)

    def _read(self, records: Sequence[Record], topic: str) -> tuple[list[LoggedVote], list[Rejection]]:
        votes, rejections, partitions = [], [], self._source.partitions
        for record in records:
            try:
                vote = decode(record.key, record.value, record.partition, partitions)
            except BadRecord as bad:
                place = Place(topic, record.partition, record.offset)
                rejections.append(Rejection(place, bad.reason, str(bad), record.key, record.value))
            else:
                votes.append(LoggedVote(record.offset, vote))
        self._judge(records, rejections)
        return votes, rejections

    def _judge(self, records: Sequence[Record], rejections: Sequence[Rejection]) -> None:
        """Stops loudly when rejections are the rule and not the exception."""
        if not rejections:
            self._recent.extend([False] * min(len(records), self._limit.window))
            return
        bad = {rejection.place.offset for rejection in rejections}
        self._recent.extend(record.offset in bad for record in records)
        rejected = sum(self._recent)
        if len(self._recent) == self._limit.window and rejected > self._limit.share * self._limit.window:
            raise Fatal(
                f"{rejected} of the last {self._limit.window} records cannot be counted: "
                "something other than Aplauso writes to the log, or a newer version does"
            )

    def _reject(self, rejections: Sequence[Rejection]) -> None:
        if self._sink is not None:
            self._sink.add(rejections)
        self._watch.rejected(rejections)
