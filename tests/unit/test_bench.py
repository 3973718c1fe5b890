"""The benchmark's own arithmetic: what it says follows from what it measured."""

import pytest
from bench.capacity import NATION, WORLD, cores, cpu, machines, nodes, partitions, rates, storage, text
from bench.distributed import _waits_of
from bench.harness import Samples, share_of
from bench.pace import request
from bench.records import KIND, entries
from bench.report import put, table
from bench.wrk import parse

from aplauso.domain.batch import decode_batch
from aplauso.domain.vote import Vote

REPORT = """
  Latency Distribution
     50%   12.34ms
     99%    1.20s
  6000 requests in 3.00s, 1.00MB read
  Socket errors: connect 0, read 1, write 0, timeout 2
  Non-2xx or 3xx responses: 4
Requests/sec:   2000.00
"""
MEASURED = {
    "gateway, CPU a single vote": 40.0,
    "collector, CPU a single vote": 20.0,
    "kafka, CPU a single vote": 10.0,
    "tally, CPU a single vote": 4.0,
    "redis, CPU a single vote": 5.0,
    "archive, CPU a vote": 10.0,
    "mongo, CPU a vote": 100.0,
    "Kafka, bytes a single vote": 200.0,
    "Redis, bytes a remembered id": 30.0,
    "MongoDB, bytes a vote": 400.0,
}


def test_the_load_generators_report_is_read() -> None:
    """Rates, percentiles in their units, and every kind of failure come out of wrk's report."""
    answers = parse(REPORT)
    assert (answers.per_second, answers.answers, answers.failed) == (2000.0, 6000, 7)
    assert (answers.p50_ms, answers.p99_ms) == (12.34, 1200.0)


def test_a_row_reaches_its_share_or_does_not() -> None:
    """A ratio is that of the medians, and decides alone."""
    ours, limit = Samples([10.0, 50.0, 40.0]), Samples([80.0, 79.0, 900.0])
    assert share_of("row", ours, limit, "votes/s", 0.5).ratio == 0.5
    assert share_of("row", ours, limit, "votes/s", 0.5).ok
    assert not share_of("row", ours, limit, "votes/s", 0.51).ok


def test_a_wait_ends_with_the_look_that_shows_the_vote() -> None:
    """The n-th acknowledged vote of a partition waits until a look shows n records more; counted before its answer
    is no wait at all."""
    looks = [(0.0, 100), (1.0, 101), (2.0, 104)]
    assert list(_waits_of([0.5, 1.25, 2.5], looks, 100)) == [0.5, 0.75, 0.0]


def test_the_backlogs_records_are_valid_and_some_come_twice() -> None:
    """Every record of a backlog decodes in its partition, a tenth has an id from a key, a hundredth is a copy."""
    chunk = entries(range(2_000), 12, KIND)
    votes = []
    for partition in range(12):
        mine = [record for record in chunk if record[2] == partition]
        votes += decode_batch([key for key, *_ in mine], [value for _, value, _ in mine], partition, 12)
    assert all(isinstance(vote, Vote) for vote in votes)
    assert len(votes) == 2_000
    ids = [vote.id for vote in votes if isinstance(vote, Vote)]
    assert len(ids) - len(set(ids)) == 20
    assert 100 < sum(vote_id[14] == "8" for vote_id in ids) < 300


def test_the_paced_clients_requests_are_complete() -> None:
    """A request announces the length that its body has."""
    head, body = request(7).split(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head


def test_capacity_follows_from_the_measured_cost() -> None:
    """Cores are votes times cost over the planned share; copies multiply servers and bytes."""
    assert cpu(MEASURED)["kafka"] == 10.0
    assert rates(MEASURED)["gateway"] == 25_000
    assert cores(MEASURED, NATION)["gateway"] == 7  # 100,000 x 40 us = 4 cores, at 60 %
    assert cores(MEASURED, NATION)["mongo"] == 1  # 100,000,000 in six hours: 4,630 a second
    assert nodes(MEASURED, NATION)["kafka"] == 3
    assert nodes(MEASURED, NATION)["redis"] == 2
    assert storage(MEASURED, NATION)["kafka"] == pytest.approx(200 * 3 * 100_000_000 / 2**30)
    for contest in (NATION, WORLD):
        assert partitions(MEASURED, contest) >= 2 * cores(MEASURED, contest)["tally"]
        assert partitions(MEASURED, contest) % 12 == 0
    assert machines(MEASURED, WORLD) == 13  # 202 cores, copies included
    assert machines(MEASURED, NATION) == 3  # as many as there are copies


def test_a_missing_figure_is_an_error() -> None:
    """The model is not made of figures that were not measured."""
    with pytest.raises(KeyError, match="redis, CPU"):
        text({name: value for name, value in MEASURED.items() if name != "redis, CPU a single vote"})


def test_sections_of_the_page_are_replaced_between_their_markers() -> None:
    """What stands around a section stays; writing it twice gives the same page; a page without it is refused."""
    page = "a\n<!-- x: written by python -m bench.report -->\nold\n<!-- end of x -->\nb\n"
    once = put(page, "x", "new")
    assert "old" not in once
    assert once.startswith("a\n")
    assert once.endswith("b\n")
    assert put(once, "x", "new") == once
    with pytest.raises(ValueError, match="no section y"):
        put(page, "y", "new")


def test_the_table_tells_which_rows_fail_and_how_busy_the_machine_was() -> None:
    """A row that does not reach its mark says so, and so does a busy machine."""
    row = {"row": "r", "value": 5.0, "unit": "votes/s", "must": ">= 0.5 x limit", "limit": 20.0, "ratio": 0.25,
           "ok": False, "spread": [4.0, 6.0], "note": "p99 3 ms"}  # fmt: skip
    run = {"at": "2026-11-01T00:00:00", "cpus": 2, "python": "3.12", "quick": False, "busy": 0.5, "rows": [row]}
    assert "50% of the machine" in table(run)
    assert "| r (p99 3 ms) | 5.00 votes/s | 4.00 … 6.00 | >= 0.5 x limit | 20.00 | 0.25 | **no** |" in table(run)
