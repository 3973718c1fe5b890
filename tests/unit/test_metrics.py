"""Metrics as Prometheus reads them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.parser import text_string_to_metric_families

from aplauso.metrics import BUCKETS, BatchHistogram, Metrics


def samples(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """What a scrape gives, by name and labels."""
    families = text_string_to_metric_families(metrics.expose().decode())
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def test_what_is_counted_is_exposed() -> None:
    """Counters, gauges and histograms appear in a scrape with their labels, whatever a band is called."""
    metrics = Metrics()
    metrics.recorded.labels("gt").inc(3)
    metrics.standing.labels("gt", 'a "quoted"\nname \\').set(7)
    metrics.recorded_seconds.observe([0.002, 0.2])
    found = samples(metrics)
    assert found["aplauso_votes_recorded_total", frozenset({("contest", "gt")})] == 3
    assert found["aplauso_standing_votes", frozenset({("contest", "gt"), ("name", 'a "quoted"\nname \\')})] == 7
    assert found["aplauso_vote_recorded_seconds_count", frozenset()] == 2
    assert found["aplauso_vote_recorded_seconds_sum", frozenset()] == 0.202


def test_two_processes_parts_do_not_share_metrics() -> None:
    """Each `Metrics` has a registry of its own."""
    one, other = Metrics(), Metrics()
    one.counted.labels("gt").inc()
    assert b'contest="gt"' in one.expose()
    assert b'contest="gt"' not in other.expose()


def test_every_metric_is_ours_and_explained() -> None:
    """All names begin with aplauso_, and each has a sentence of help."""
    for family in Metrics().registry.collect():
        assert family.name.startswith("aplauso_")
        assert family.documentation.endswith(".")


@given(st.lists(st.lists(st.sampled_from([0.0, *BUCKETS, 0.0011, 61.0, 1e9]) | st.floats(0, 100), max_size=8)))
def test_a_batch_of_observations_is_so_many_single_ones(batches: list[list[float]]) -> None:
    """A histogram that takes batches exposes what the library's own does for single observations."""
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    batch = BatchHistogram("seconds", "Help.", ours)
    single = Histogram("seconds", "Help.", registry=theirs, buckets=BUCKETS)
    for seconds in batches:
        batch.observe(seconds)
        for value in seconds:
            single.observe(value)
    assert buckets(ours) == pytest.approx(buckets(theirs))


@given(st.lists(st.sampled_from([0, 1, 2, 3, 5, 2_500, 60_000, 60_001, -1]) | st.integers(-9, 90_000), max_size=20))
def test_moments_are_so_many_times_until_now(ages: list[int]) -> None:
    """Moments in milliseconds are observed as the seconds since them; one that is still to come as none."""
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    now = 1_795_000_000_000
    BatchHistogram("seconds", "Help.", ours).observe_since([now - age for age in ages], now)
    BatchHistogram("seconds", "Help.", theirs).observe([max(0, age) / 1000 for age in ages])
    assert buckets(ours) == pytest.approx(buckets(theirs))


def buckets(registry: CollectorRegistry) -> dict[str, float]:
    """Counts by bucket, the number of observations, and their sum."""
    (family,) = registry.collect()
    return {
        sample.name + sample.labels.get("le", ""): sample.value
        for sample in family.samples
        if not sample.name.endswith("_created")
    }
