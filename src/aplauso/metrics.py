"""Every metric's name and help, in one place (all begin with `aplauso_`).

A registry of our own, so that tests and several rooms in one process do not share the library's global one.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
"""Upper bounds in seconds: from an fsync of a fast disk to the longest outage that a call waits for."""

_BUCKETS_MS: Final = [bound * 1000 for bound in BUCKETS]


class BatchHistogram(Collector):
    """A histogram that takes many observations at once: the library's own costs more a vote than its recording."""

    def __init__(self, name: str, help: str, registry: CollectorRegistry) -> None:  # noqa: A002
        self._name, self._help = name, help
        self._counts = [0] * (len(BUCKETS) + 1)
        self._sum = 0.0
        registry.register(self)

    def observe(self, seconds: Sequence[float]) -> None:
        """Adds observations, each in seconds."""
        for value in seconds:
            self._counts[bisect_left(BUCKETS, value)] += 1
        self._sum += sum(seconds)

    def observe_since(self, moments: Sequence[int], now: int) -> None:
        """Adds the times from moments to now, each in milliseconds since the epoch; from one to come, no time."""
        ordered = sorted(moments)
        past, later = bisect_right(ordered, now), len(ordered)
        for bucket, bound in enumerate(_BUCKETS_MS):
            first = bisect_left(ordered, now - bound)
            self._counts[bucket] += later - first
            later = first
        self._counts[-1] += later
        self._sum += (past * now - sum(ordered[:past])) / 1000

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """The family as the library exposes it: cumulative buckets."""
        total, buckets = 0, []
        for bound, count in zip([*map(str, BUCKETS), "+Inf"], self._counts, strict=True):
            total += count
            buckets.append((bound, float(total)))
        family = HistogramMetricFamily(self._name, self._help)
        family.add_metric([], buckets=buckets, sum_value=self._sum)
        yield family

    def describe(self) -> Iterable[HistogramMetricFamily]:
        """The family without samples, for the registry's check of names."""
        return [HistogramMetricFamily(self._name, self._help)]


class Metrics:
    """The rooms' metrics."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        r = self.registry
        self.recorded = Counter(
            "aplauso_votes_recorded", "Votes that the log has acknowledged.", ["contest"], registry=r
        )
        self.refused = Counter(
            "aplauso_votes_refused", "Votes that were not recorded, by reason.", ["reason"], registry=r
        )
        self.counted = Counter("aplauso_votes_counted", "New votes in the standings.", ["contest"], registry=r)
        self.repeated = Counter(
            "aplauso_votes_repeated", "Copies of votes that had been counted before.", ["contest"], registry=r
        )
        self.rejected = Counter(
            "aplauso_votes_rejected",
            "Records of the log that cannot be counted, by reason.",
            ["reason"],
            registry=r,
        )
        self.standing = Gauge(
            "aplauso_standing_votes", "Votes of a band in the standings.", ["contest", "name"], registry=r
        )
        self.lag = Gauge(
            "aplauso_projection_lag_votes",
            "Records between a projection's position and the log's end.",
            ["projection", "partition"],
            registry=r,
        )
        self.recorded_seconds = BatchHistogram(
            "aplauso_vote_recorded_seconds", "From a vote's receipt to its acknowledgement.", r
        )
        self.counted_seconds = BatchHistogram(
            "aplauso_vote_counted_seconds", "From a vote's receipt to its place in the standings.", r
        )

    def expose(self) -> bytes:
        """All of them in Prometheus' text format."""
        return generate_latest(self.registry)
