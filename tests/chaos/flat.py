"""Whether a soak was flat: pure, from what was seen every few seconds.

The first minutes are for everything to come up to its working size. Then medians of two minutes are compared: those
after the first five, and the last two. In a run of less than half an hour all of these times are shorter in
proportion. A median is not moved by a garbage collection or a checkpoint that happens to be looked at.
"""

import math
from collections.abc import Sequence
from statistics import linear_regression, median
from typing import Final, NamedTuple

import msgspec

EVERY_SECONDS: Final = 5.0
"""Between two looks."""
GROWTH: Final = 0.10
"""Memory may grow by this share."""
ID_BYTES: Final = 40
"""Redis may grow by so many bytes a remembered id, besides."""
_WHOLE_SECONDS: Final = 1800.0
_SETTLED_SECONDS: Final = 300.0
_WINDOW_SECONDS: Final = 120.0
_BLOCK_SECONDS: Final = 60.0
_LEAST_LOOKS: Final = 3
_STEP_SECONDS: Final = 0.25
_BEHIND_SECONDS: Final = 3.0
FAR: Final = 0.05
"""A projection may be far behind at this share of the looks: a checkpoint or a garbage collection holds it up."""
_ERRORS: Final = 3.0

Series = Sequence[tuple[float, float]]
"""Moments in seconds since the beginning, and what was seen then."""


class Times(NamedTuple):
    """Of a run, in seconds since its beginning: what is compared with what."""

    settled: float
    base: float
    """The end of the first stretch, which begins when all is settled."""
    last: float
    """The beginning of the second stretch, which ends with the run."""
    block: float
    """How much of the time is one point of the line through the lag."""


def times_of(seconds: float) -> Times:
    """The times of a run of so many seconds."""
    share = min(1.0, seconds / _WHOLE_SECONDS)
    least = _LEAST_LOOKS * EVERY_SECONDS
    window = max(least, _WINDOW_SECONDS * share)
    settled = _SETTLED_SECONDS * share
    return Times(settled, settled + window, seconds - window, max(least, _BLOCK_SECONDS * share))


class Memory(msgspec.Struct, frozen=True):
    """A process. Memory in MiB.

    Attributes:
        name: its name.
        base: resident once all was settled.
        last: at the end.
        most: at any time.
        may: what it may have at the end.
        why: what it may have beyond the tenth, and why; empty when nothing.
        note: what is worth knowing; why it is not flat, as far as that is known.
    """

    name: str
    base: float
    last: float
    most: float
    may: float
    why: str = ""
    note: str = ""

    @property
    def growth(self) -> float:
        """As a share of `base`."""
        return self.last / self.base - 1

    @property
    def ok(self) -> bool:
        """Whether it is not more than it may be."""
        return self.last <= self.may


class Redis(msgspec.Struct, frozen=True):
    """What Redis has allocated (`used_memory`), in bytes, and the ids that it remembers, at the same moments."""

    empty: int
    base: int
    last: int
    most: int
    ids_base: int
    ids_last: int
    ids_most: int

    @property
    def may(self) -> float:
        """What it may have at the end."""
        return self.base * (1 + GROWTH) + ID_BYTES * max(0, self.ids_last - self.ids_base)

    @property
    def bytes_an_id(self) -> float:
        """All that it has beyond what it had without votes, for each id."""
        return (self.last - self.empty) / self.ids_last if self.ids_last else 0.0

    @property
    def ok(self) -> bool:
        """Whether it is not more than it may be."""
        return self.last <= self.may


class Lag(msgspec.Struct, frozen=True):
    """How far a projection was behind the log, in votes.

    Attributes:
        name: of the projection.
        base: once all was settled.
        last: at the end, the median of three looks.
        most: at any time since all was settled.
        rise: of the line through the lag, from then to the end.
        noise: what that rise may be by chance: three standard errors, or a quarter of a second's votes.
        may: what it may be behind at the end, and at nearly all times: three seconds' votes.
        far: share of the looks since all was settled at which it was further behind than that.
    """

    name: str
    base: float
    last: float
    most: float
    rise: float
    noise: float
    may: float
    far: float

    @property
    def ok(self) -> bool:
        """Whether it does not grow, and is small at the end and at nearly all times."""
        return self.rise <= self.noise and self.last <= self.may and self.far <= FAR


def memory_of(name: str, series: Series, times: Times, more: float = 0.0, why: str = "", note: str = "") -> Memory:
    """Compares a process' memory; `more` MiB, for a reason, are allowed besides the tenth."""
    base, last = _base(series, times), _last(series, times)
    most = max(value for _, value in series)
    return Memory(name, round(base, 1), round(last, 1), round(most, 1), round(base * (1 + GROWTH) + more, 1), why, note)


def redis_of(used: Series, ids: Series, times: Times) -> Redis:
    """Compares what Redis has allocated. The first look of both was before the first vote."""
    values = (
        used[0][1], _base(used, times), _last(used, times), max(value for _, value in used),
        _base(ids, times), _last(ids, times), max(value for _, value in ids),
    )  # fmt: skip
    return Redis(*map(round, values))


def lag_of(name: str, series: Series, times: Times, rate: float) -> Lag:
    """Lays a line through the lag since all was settled.

    A lag is a sawtooth, and a checkpoint or a garbage collection makes it jump for a moment. So the line goes through
    the medians of minutes (least squares), which hardly depend on one another. Its rise is noise while it is less than
    three of its standard errors, or less than a quarter of a second's votes.

    Args:
        name: of the projection.
        series: its lag.
        times: of the run.
        rate: votes a second.
    """
    after = [point for point in series if point[0] >= times.settled]
    blocks = _blocks(after, times)
    span = after[-1][0] - after[0][0]
    slope, error = _line(blocks)
    noise = max(_ERRORS * error * span, _STEP_SECONDS * rate)
    may = _BEHIND_SECONDS * rate
    return Lag(
        name,
        base=_base(series, times),
        last=median(value for _, value in after[-_LEAST_LOOKS:]),
        most=max(value for _, value in after),
        rise=round(slope * span, 1),
        noise=round(noise, 1),
        may=may,
        far=round(sum(value > may for _, value in after) / len(after), 3),
    )


def _base(series: Series, times: Times) -> float:
    return median(value for at, value in series if times.settled <= at <= times.base)


def _last(series: Series, times: Times) -> float:
    return median(value for at, value in series if at >= times.last)


def _blocks(series: Series, times: Times) -> list[tuple[float, float]]:
    blocks: dict[int, list[tuple[float, float]]] = {}
    for at, value in series:
        blocks.setdefault(int((at - times.settled) // times.block), []).append((at, value))
    return [(median(at for at, _ in block), median(value for _, value in block)) for block in blocks.values()]


def _line(points: Series) -> tuple[float, float]:
    """Slope of the least-squares line, and its standard error: infinite where there are too few points for one."""
    if len(points) < 3:
        return 0.0, math.inf
    xs, ys = zip(*points, strict=True)
    slope, start = linear_regression(xs, ys)
    middle = sum(xs) / len(xs)
    rest = sum((y - start - slope * x) ** 2 for x, y in points)
    return slope, math.sqrt(rest / (len(points) - 2) / sum((x - middle) ** 2 for x in xs))
