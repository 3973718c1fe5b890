"""What a contest of some size needs, from the figures that `make bench` measured. `python -m bench.capacity [FILE]`."""

import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path

from bench.report import RESULTS

ROOMS = ("gateway", "collector", "kafka", "tally", "redis", "archive", "mongo")
HEADROOM = 0.6
"""Share of a core that is planned with: the rest is for peaks within the second, failover and the system."""
REPLICAS = {"kafka": 3, "mongo": 3, "redis": 2}
"""Copies of what is stored: each one writes too. Redis has a primary and a replica."""
CORES = 16
"""Of a machine."""
SPINDLE_CORES = 8
"""A node of Kafka or MongoDB is planned with so many cores at most: its disk and network end there."""
REDIS_SHARE = 1
"""Cores of a Redis node: its scripts run on one."""


@dataclass(frozen=True)
class Contest:
    """What is to be carried.

    Attributes:
        name: of the contest.
        votes: in all.
        peak: votes a second that are to be acknowledged.
        hours: that it lasts.
        archive_hours: in which the archive may have caught up; it lags behind a peak and drains.
    """

    name: str
    votes: int
    peak: int
    hours: float
    archive_hours: float


NATION = Contest("nation-wide final", 100_000_000, 100_000, 4, 6)
WORLD = Contest("world-wide final", 2_000_000_000, 1_000_000, 4, 12)


def read(path: Path) -> dict[str, float]:
    """The values of a run, by row."""
    return {row["row"]: float(row["value"]) for row in json.loads(path.read_text())["rows"]}


def cpu(values: dict[str, float]) -> dict[str, float]:
    """Microseconds of a core that a single vote takes in each room; in the archive, which may lag behind, of a backlog.

    Raises `KeyError` when a row is missing.
    """
    single = {
        room: values[f"{room}, CPU a single vote"] for room in ("gateway", "collector", "kafka", "tally", "redis")
    }
    return single | {room: values[f"{room}, CPU a vote"] for room in ("archive", "mongo")}


def rates(values: dict[str, float]) -> dict[str, float]:
    """Votes a second that one fully used core does in each room."""
    return {room: 1e6 / micros for room, micros in cpu(values).items()}


def cores(values: dict[str, float], contest: Contest) -> dict[str, int]:
    """Cores of each room, with headroom; those of copies are in `nodes`."""
    mean = contest.votes / (contest.archive_hours * 3600)
    pace = {room: mean if room in ("archive", "mongo") else contest.peak for room in ROOMS}
    return {room: math.ceil(pace[room] / (rate * HEADROOM)) for room, rate in rates(values).items()}


def nodes(values: dict[str, float], contest: Contest) -> dict[str, int]:
    """Processes (a room, a Redis primary with its replica) or servers (Kafka, MongoDB, copies included)."""
    needed = cores(values, contest)
    servers = {room: REPLICAS[room] * math.ceil(needed[room] / SPINDLE_CORES) for room in ("kafka", "mongo")}
    return needed | servers | {"redis": REPLICAS["redis"] * math.ceil(needed["redis"] / REDIS_SHARE)}


def partitions(values: dict[str, float], contest: Contest) -> int:
    """Enough for each replica of a projection to have two, in steps of twelve, which many numbers divide."""
    needed = cores(values, contest)
    return 12 * math.ceil(2 * max(needed["tally"], needed["archive"], needed["redis"]) / 12)


def storage(values: dict[str, float], contest: Contest) -> dict[str, float]:
    """GiB in Kafka (all copies), Redis (all copies, every id from a key) and MongoDB (all copies)."""
    a_vote = {
        "kafka": values["Kafka, bytes a single vote"],
        "redis": values["Redis, bytes a remembered id"],
        "mongo": values["MongoDB, bytes a vote"],
    }
    return {room: size * REPLICAS[room] * contest.votes / 2**30 for room, size in a_vote.items()}


def machines(values: dict[str, float], contest: Contest) -> int:
    """Machines of `CORES` cores: the rooms' and Redis' cores, and those of every copy of Kafka and MongoDB."""
    needed = cores(values, contest)
    total = sum(needed[room] * REPLICAS.get(room, 1) for room in ROOMS)
    return max(3, math.ceil(total / CORES))


def text(values: dict[str, float]) -> str:
    """The model in Markdown."""
    micros, pace = cpu(values), rates(values)
    lines = ["| room | CPU a vote | votes a second a core |", "|---|---|---|"]
    lines += [f"| {room} | {micros[room]:.1f} µs | {pace[room]:,.0f} |" for room in ROOMS]
    lines += ["", "| | " + " | ".join(contest.name for contest in (NATION, WORLD)) + " |", "|---|---|---|"]
    both = (NATION, WORLD)

    def line(what: str, *cells: str) -> None:
        lines.append(f"| {what} | {' | '.join(cells)} |")

    line("votes", *(f"{contest.votes:,}" for contest in both))
    line("peak, votes a second", *(f"{contest.peak:,}" for contest in both))
    line("archived within", *(f"{contest.archive_hours:g} hours" for contest in both))
    line("partitions", *(f"{partitions(values, contest):,}" for contest in both))
    for room in ROOMS:
        what = "servers, copies included" if room in REPLICAS else "replicas"
        line(f"{room}: {what}", *(f"{nodes(values, contest)[room]:,}" for contest in both))
    for room in ("kafka", "redis", "mongo"):
        line(f"{room}: GiB, copies included", *(f"{storage(values, contest)[room]:,.0f}" for contest in both))
    line(f"machines of {CORES} cores", *(f"{machines(values, contest):,}" for contest in both))
    return "\n".join(lines)


def main() -> None:
    """Prints the model."""
    print(text(read(Path(sys.argv[1]) if len(sys.argv) > 1 else RESULTS)))


if __name__ == "__main__":
    main()
