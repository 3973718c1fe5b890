"""Step 3: read from the projection's own position, apply with compare-and-set.

The tally and the archive are the same loop over different stores. Whatever goes wrong, the answer is
one: ask the store where it stands, go back there, and read again.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from functools import partial
from typing import Final, NamedTuple, Protocol

from aplauso.domain.batch import read_batch
from aplauso.domain.columns import Columns
from aplauso.domain.errors import BadRecord, Fatal, PositionMoved, Unavailable
from aplauso.domain.position import Position
from aplauso.domain.vote import Vote
from aplauso.flow.worker import Inline
from aplauso.ports.log import Record, VoteSource
from aplauso.ports.projection import Applied, LoggedVote, LoggedVotes, Prepares, ProjectionStore, logged
from aplauso.ports.rejected import Place, RejectedSink, Rejection
from aplauso.ports.stretch import Stretch, stretches

POLL: Final = 0.5
"""Seconds that a poll waits for a record: how long a stop takes at most when nothing comes."""
BATCH: Final = 5_000
"""Records read and applied together, at most: a store's step stays a matter of milliseconds."""
BACKOFF: Final = (0.05, 2.0)
"""Seconds between tries while a server is away: the first, doubled up to the last."""
LOOK: Final = 2.0
"""Seconds between two looks at where the store stands: a wiped one refuses nothing while no batch comes to it."""


class Watch(Protocol):
    """Is told what a projection does: for metrics and logs."""

    def applied(self, partition: int, votes: Sequence[LoggedVote], applied: Applied) -> None:
        """A batch was applied."""
        ...

    def rejected(self, rejections: Sequence[Rejection]) -> None:
        """Records were passed over."""
        ...

    def moved(self, partition: int, stored: Position | None) -> None:
        """The store refused a batch, or went back by itself: it stands elsewhere, and reading goes on there."""
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


class _Flight(NamedTuple):
    """A batch that the store is at work on."""

    partition: int
    following: Position
    votes: Sequence[LoggedVote]
    result: "Future[Applied]"


class Projection:
    """One replica of a projection.

    One batch at a time is with the store; where the store has a thread of its own (`worker`), the next one is read
    and decoded meanwhile. A batch follows one of its partition only once that one's fate is known.

    Args:
        source: the log.
        store: effects and positions.
        watch: is told what happens.
        sink: keeps rejected records; None for projections other than the tally, which only pass them over.
        limit: stops the projection when too many records are rejected.
        batch: records that are read and applied together, at most.
        worker: runs the store's calls, one after the other.
        clock: seconds, growing, from any beginning: tells when it is time to look at the store again.
    """

    def __init__(
        self,
        source: VoteSource,
        store: ProjectionStore,
        watch: Watch,
        sink: RejectedSink | None = None,
        limit: RejectionLimit | None = None,
        batch: int = BATCH,
        worker: Inline | None = None,
        clock: Callable[[], float] = time.monotonic,
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
        self._worker = worker or Inline()
        self._beside = worker is not None
        self._flight: _Flight | None = None
        self._clock = clock
        self._looked_at = clock()

    def run(self, stop: threading.Event) -> None:
        """Projects until `stop` is set.

        Raises:
            Fatal: going on would give wrong numbers.
        """
        pause, started = BACKOFF[0], False
        while not stop.is_set():
            try:
                if not started:
                    self._source.start(self._positions)
                    started = True
                self.step(POLL)
                self._watch.working()
                pause = BACKOFF[0]
            except Unavailable as error:
                self._lost = True
                self._watch.waiting(error, pause)
                stop.wait(pause)
                pause = min(pause * 2, BACKOFF[1])

    def step(self, timeout: float) -> int:
        """One round: reads what there is, applies it, and returns the number of records read.

        Raises:
            Unavailable: a server is away; the next round starts where the store then stands.
            Fatal: as `run`.
        """
        try:
            return self._round(timeout)
        except BaseException:
            self._abandon()
            raise

    def _round(self, timeout: float) -> int:
        if self._lost:
            self._go_back()
        elif self._clock() - self._looked_at >= LOOK:
            self._look()
        # While a batch is with the store, what has come is read, and nothing is waited for.
        records = self._source.poll(0.0 if self._flight else timeout, self._batch)
        moved: set[int] = set()  # what of these partitions is in hand was read from the wrong place
        for part in stretches(records):
            self._project(part, moved)
        if not records or not self._beside:
            self._settle(moved)
        return len(records)

    def _positions(self, partitions: Sequence[int]) -> Mapping[int, Position | None]:
        stored = self._worker.submit(lambda: self._store.positions(partitions)).result()
        self._at.update(stored)
        return stored

    def _go_back(self) -> None:
        """After a failure nobody knows which batches were applied: the store does."""
        for partition, stored in self._positions(list(self._at)).items():
            self._resume(partition, stored)
        self._lost = False

    def _look(self) -> None:
        """A store that was wiped or put back is read into again, also where nothing comes that it could refuse."""
        self._settle(set())
        self._looked_at, known = self._clock(), self._at.copy()
        for partition, stored in self._positions(list(known)).items():
            before = known[partition]
            if stored == before:
                continue
            # A partition that was taken away is still known, and another replica moves it on: nothing to tell.
            if stored is None or (before is not None and stored.offset < before.offset):
                self._watch.moved(partition, stored)
            self._resume(partition, stored)

    def _resume(self, partition: int, stored: Position | None) -> None:
        self._at[partition] = stored
        self._source.seek(partition, stored)

    def _project(self, records: Stretch, moved: set[int]) -> None:
        partition, topic = records.partition, self._source.topic()
        votes, rejections = self._read(records, topic)
        self._settle(moved)
        if partition in moved:
            return
        if rejections:
            self._reject(rejections)
        following = Position(topic, records.offsets[-1] + 1, records.epochs[-1])
        apply = partial(self._store.apply, partition, self._at.get(partition), following, votes)
        self._flight = _Flight(partition, following, votes, self._worker.submit(apply))

    def _settle(self, moved: set[int]) -> None:
        """Waits for the batch that is with the store; adds its partition to `moved` when the store refused it."""
        flight, self._flight = self._flight, None
        if flight is None:
            return
        try:
            applied = flight.result.result()
        except PositionMoved as refused:
            moved.add(flight.partition)
            self._watch.moved(flight.partition, refused.stored)
            self._resume(flight.partition, refused.stored)
            return
        self._at[flight.partition] = flight.following
        self._source.note_progress({flight.partition: flight.following})
        self._watch.applied(flight.partition, flight.votes, applied)

    def _abandon(self) -> None:
        """After an error every position is in doubt: the store tells, once it has ended what it is at work on."""
        self._lost = True
        flight, self._flight = self._flight, None
        if flight is not None:
            wait([flight.result])

    def _read(self, records: Stretch, topic: str) -> tuple[Sequence[LoggedVote], list[Rejection]]:
        found = read_batch(records.keys, records.values, records.partition, self._source.partitions)
        offsets, rejections = records.offsets, list[Rejection]()
        votes: Sequence[LoggedVote]
        if isinstance(found, Columns):
            votes = batch = LoggedVotes(offsets, found)
            if isinstance(self._store, Prepares):
                self._store.prepare(records.partition, batch)
        else:
            rejections = [
                _rejection(topic, record, error)
                for record, error in zip(records, found, strict=True)
                if isinstance(error, BadRecord)
            ]
            bad = {rejection.place.offset for rejection in rejections}
            offsets = [offset for offset in offsets if offset not in bad]
            votes = logged(offsets, [vote for vote in found if isinstance(vote, Vote)])
        self._judge(records, rejections)
        return votes, rejections

    def _judge(self, records: Stretch, rejections: Sequence[Rejection]) -> None:
        """Stops loudly when rejections are the rule and not the exception."""
        if not rejections:
            self._recent.extend([False] * min(len(records), self._limit.window))
            return
        bad = {rejection.place.offset for rejection in rejections}
        self._recent.extend(offset in bad for offset in records.offsets)
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


def _rejection(topic: str, record: Record, error: BadRecord) -> Rejection:
    place = Place(topic, record.partition, record.offset)
    return Rejection(place, error.reason, str(error), record.key, record.value)
