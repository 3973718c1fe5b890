"""What a projection tells, as metrics and log lines."""

from collections.abc import Mapping, Sequence

import structlog

from aplauso.domain.errors import Unavailable
from aplauso.domain.position import Position
from aplauso.metrics import Metrics
from aplauso.ports.clock import Clock
from aplauso.ports.projection import Applied, LoggedVote, LoggedVotes
from aplauso.ports.rejected import Rejection


class ProjectionWatch:
    """Implements `aplauso.flow.project.Watch`.

    Args:
        name: the projection's.
        metrics: the process's.
        clock: for the time from receipt to standings.
        counts: whether this projection's votes are those of the metrics: the tally's.
    """

    def __init__(self, name: str, metrics: Metrics, clock: Clock, *, counts: bool) -> None:
        self._log = structlog.get_logger(f"aplauso.{name}")
        self._metrics = metrics
        self._clock = clock
        self._counts = counts
        self.trouble: Unavailable | None = None
        """Why the projection waits, while it does."""

    def applied(self, partition: int, votes: Sequence[LoggedVote], applied: Applied) -> None:
        """Counts votes and the time that they took."""
        if not self._counts:
            return
        for contest, number in applied.counted.items():
            self._metrics.counted.labels(contest).inc(number)
        for contest, number in applied.repeated.items():
            self._metrics.repeated.labels(contest).inc(number)
        stamps = votes.columns.stamps if isinstance(votes, LoggedVotes) else [vote.cast_at for _, vote in votes]
        self._metrics.counted_seconds.observe_since(stamps, self._clock.now_ms())

    def rejected(self, rejections: Sequence[Rejection]) -> None:
        """Says which records were passed over; their bytes stay out of the logs."""
        if not self._counts:
            return
        for rejection in rejections:
            self._metrics.rejected.labels(rejection.reason).inc()
        first = rejections[0]
        self._log.warning(
            "records rejected",
            records=len(rejections),
            partition=first.place.partition,
            first_offset=first.place.offset,
            reason=first.reason,
        )

    def moved(self, partition: int, stored: Position | None) -> None:
        """Says that the store stood elsewhere."""
        self._log.info("position moved", partition=partition, goes_on_at=stored.offset if stored else 0)

    def waiting(self, error: Unavailable, seconds: float) -> None:
        """Says, once for each trouble, that a server is away."""
        if self.trouble is None or str(self.trouble) != str(error):
            self._log.warning("waiting", why=str(error), seconds=seconds)
        self.trouble = error

    def working(self) -> None:
        """Says that a trouble is over."""
        if self.trouble is not None:
            self._log.info("working again")
            self.trouble = None

    async def check(self) -> None:
        """For `/readyz`: raises the `Unavailable` that the projection waits for, if it does."""
        if self.trouble is not None:
            raise self.trouble

    def note_lags(self, projection: str, lags: Mapping[int, int]) -> None:
        """Brings the lags to the metrics."""
        # Partitions that were taken away are another replica's: an old lag would stand there for ever.
        self._metrics.lag.remove_by_labels({"projection": projection})
        for partition, lag in lags.items():
            self._metrics.lag.labels(projection, str(partition)).set(lag)
