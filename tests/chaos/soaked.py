"""A soak's result: judged, kept as a line of `chaos/soak.jsonl`, and shown as a table."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from chaos.flat import FAR, GROWTH, ID_BYTES, Lag, Memory, Redis, Series, Times, lag_of, memory_of, redis_of, times_of
from chaos.looks import Look

SOAKS: Final = Path("chaos/soak.jsonl")
PACE_KEPT: Final = 0.99
"""Share of the votes that have to be acknowledged: with fewer, the soak was not at its pace."""
COLUMNS: Final = ("process", "MiB, settled", "MiB, end", "MiB, most", "growth", "")
_MIB: Final = 1 << 20
_SLACK: Final = 1.25
"""What a cache takes of the machine, over what it counts itself: its allocator's share."""
_INNER: Final = 100
"""Bytes that the MongoDB-compatible server may take for a document beside its full cache: 65 were seen."""
_REMEDY: Final = (
    "{grown:.0f} MiB of the growth are Java heap that was touched for the first time, {touched:.0f} of {heap} MiB: "
    "with -Xms as large as -Xmx and -XX:+AlwaysPreTouch it would have them from the start"
)


class Servers(msgspec.Struct, frozen=True):
    """How the servers were started, as far as it bounds their memory.

    Attributes:
        heap: limit of Kafka's Java heap, in MiB.
        cache: limit of the MongoDB-compatible server's cache, in MiB.
        unlike: what differs from `aplauso up --stack`, in words.
    """

    heap: int
    cache: int
    unlike: list[str]


class Load(msgspec.Struct, frozen=True):
    """What became of the votes, and of the people who looked on.

    Attributes:
        total: votes that were to be sent.
        sent, acknowledged, refused, undecided: votes.
        behind: the most votes that were due and not sent yet.
        frames: of all stream viewers.
        reads: of the standings.
        backwards: standings that showed fewer votes than those before.
        failures: of viewers and readers.
        drained: seconds from the last answer until tally and archive had caught up.
    """

    total: int
    sent: int
    acknowledged: int
    refused: int
    undecided: int
    behind: int
    frames: int
    reads: int
    backwards: int
    failures: int
    drained: float


class Found(msgspec.Struct, frozen=True):
    """What the checker found, in votes; see `aplauso.domain.verdict`. `differing` is what a recount found."""

    lost: int
    repeated: int
    invented: int
    differing: int

    @property
    def ok(self) -> bool:
        """Whether all are 0."""
        return not (self.lost or self.repeated or self.invented or self.differing)


class Soak(msgspec.Struct, frozen=True):
    """A line.

    Attributes:
        date: when it began, RFC 3339.
        minutes: how long votes were sent.
        rate: votes a second.
        seed: of the votes' order and their keys.
        servers: how they were started.
        load: what became of the votes.
        found: what the checker found.
        processes: their memory.
        redis: what it has allocated.
        lags: of the projections.
        archive_bytes: what the archive's server grew by for a vote.
        wrong: what is not as it must be, in words.
    """

    date: str
    minutes: float
    rate: float
    seed: int
    servers: Servers
    load: Load
    found: Found
    processes: list[Memory]
    redis: Redis
    lags: list[Lag]
    archive_bytes: float
    wrong: list[str]


def judge(
    date: str, minutes: float, rate: float, seed: int, servers: Servers, load: Load, found: Found, looks: Sequence[Look]
) -> Soak:
    """Makes the line of what was seen."""
    times = times_of(minutes * 60)
    archive_bytes = _archive_bytes(looks, times)
    redis = redis_of(_series(looks, lambda look: look.used), _series(looks, lambda look: look.ids), times)
    lags = [lag_of(name, [(look.at, look.lags[name]) for look in looks], times, rate) for name in looks[0].lags]
    processes = [_process(name, looks, times, redis, servers, archive_bytes) for name in looks[0].memory]
    wrong = [*_wrong(processes, redis, lags), *_wrong_votes(load, found)]
    return Soak(date, minutes, rate, seed, servers, load, found, processes, redis, lags, archive_bytes, wrong)


def _series(looks: Sequence[Look], what: Callable[[Look], float]) -> Series:
    return [(look.at, what(look)) for look in looks]


def _archive_bytes(looks: Sequence[Look], times: Times) -> float:
    first, last = looks[0], looks[-1]
    votes = last.archived - first.archived
    return round((last.memory["mongo"] - first.memory["mongo"]) * _MIB / votes, 1) if votes else 0.0


def _process(
    name: str, looks: Sequence[Look], times: Times, redis: Redis, servers: Servers, archive_bytes: float
) -> Memory:
    series = _series(looks, lambda look: look.memory[name])
    plain = memory_of(name, series, times)
    if name == "redis":
        # Of the most ids that there were: what is freed, the allocator may keep.
        more = ID_BYTES * (redis.ids_most - redis.ids_base) / _MIB
        why = f"{ID_BYTES} bytes a remembered id besides, {more:.1f} MiB"
        allowed = memory_of(name, series, times, more, why)
        if allowed.ok or not redis.ok:
            return allowed
        return memory_of(
            name, series, times, more, why, "what it has allocated is as it may be: this is its allocator's"
        )
    if name == "mongo":
        most = series[0][1] + _SLACK * servers.cache + _INNER * looks[-1].archived / _MIB
        if most > plain.may and not plain.ok:
            why = (
                f"fills its cache, {servers.cache} MiB at most, with what it archives, {archive_bytes:.0f} bytes a "
                f"vote, and {_INNER} bytes a vote at most beside it: held to {most:.0f} MiB instead of {GROWTH:.0%}"
            )
            return memory_of(name, series, times, most - plain.may, why)
    if name == "kafka" and not plain.ok:
        heap = memory_of(name, _series(looks, lambda look: look.heap), times)
        note = _REMEDY.format(grown=heap.last - heap.base, touched=heap.last, heap=servers.heap)
        return memory_of(name, series, times, note=note)
    return plain


def _wrong(processes: Sequence[Memory], redis: Redis, lags: Sequence[Lag]) -> Iterator[str]:
    for process in processes:
        if not process.ok:
            yield f"{process.name} grew from {process.base:,} to {process.last:,} MiB, and may have {process.may:,}"
    if not redis.ok:
        yield f"Redis has allocated {redis.last:,} bytes, and may have {redis.may:,.0f}"
    for lag in lags:
        if lag.rise > lag.noise:
            yield f"the lag of the {lag.name} rises by {lag.rise:,.0f} votes, noise is {lag.noise:,.0f}"
        if lag.last > lag.may:
            yield f"the {lag.name} is {lag.last:,.0f} votes behind at the end, and may be {lag.may:,.0f}"
        if lag.far > FAR:
            yield f"the {lag.name} was more than {lag.may:,.0f} votes behind at {lag.far:.0%} of the looks"


def _wrong_votes(load: Load, found: Found) -> Iterator[str]:
    if load.acknowledged < PACE_KEPT * load.total:
        yield f"only {load.acknowledged:,} of {load.total:,} votes were acknowledged: the pace was not kept"
    if load.backwards:
        yield f"standings showed fewer votes than before, {load.backwards} times"
    if not (load.frames and load.reads):
        yield f"viewers saw {load.frames} frames, and standings were read {load.reads} times"
    for name in ("lost", "repeated", "invented", "differing"):
        if number := getattr(found, name):
            yield f"{name}: {number}"


def rows(soak: Soak) -> list[tuple[str, ...]]:
    """The table of processes."""
    return [
        (p.name, f"{p.base:,.1f}", f"{p.last:,.1f}", f"{p.most:,.1f}", f"{p.growth:+.1%}", _verdict(p))
        for p in soak.processes
    ]


def _verdict(process: Memory) -> str:
    words = "flat" if process.last <= process.base * (1 + GROWTH) else "as it may" if process.ok else "NOT FLAT"
    return "; ".join(text for text in (words, process.why, process.note) if text)


def lines(soak: Soak) -> list[str]:
    """What stands below the table."""
    load, found = soak.load, soak.found
    votes = (
        f"{load.acknowledged:,} votes acknowledged, {load.refused:,} refused, {load.undecided:,} undecided; at most "
        f"{load.behind:,} waited to be sent; tally and archive caught up {load.drained:.1f} s after the last answer"
    )
    audience = (
        f"viewers of the stream saw {load.frames:,} frames, standings were read {load.reads:,} times, "
        f"{load.failures:,} failures"
    )
    checked = (
        f"lost={found.lost} repeated={found.repeated} invented={found.invented}, "
        f"{found.differing} differences in the recount"
    )
    return [_of_redis(soak.redis), *map(_of_lag, soak.lags), votes, audience, checked]


def _of_redis(redis: Redis) -> str:
    return (
        f"Redis had allocated {redis.base / _MIB:,.1f} MiB for {redis.ids_base:,} remembered ids, at the end "
        f"{redis.last / _MIB:,.1f} MiB for {redis.ids_last:,}, {redis.bytes_an_id:.1f} bytes an id; it may have "
        f"{redis.may / _MIB:,.1f} MiB: {'ok' if redis.ok else 'TOO MUCH'}"
    )


def _of_lag(lag: Lag) -> str:
    return (
        f"the {lag.name} was {lag.base:,.0f} votes behind, at the end {lag.last:,.0f}, at most {lag.most:,.0f}; the "
        f"line through its lag rises by {lag.rise:,.0f} votes, and {lag.noise:,.0f} would be noise; more than "
        f"{lag.may:,.0f} at {lag.far:.0%} of the looks: {'ok' if lag.ok else 'NOT AS IT MUST BE'}"
    )


def append(path: Path, soak: Soak) -> None:
    """Adds a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(msgspec.json.encode(soak) + b"\n")


def latest(path: Path) -> Soak | None:
    """The last line; None where there is none. Raises `msgspec.DecodeError`."""
    if not path.exists():
        return None
    written = path.read_bytes().splitlines()
    return msgspec.json.decode(written[-1], type=Soak) if written else None
