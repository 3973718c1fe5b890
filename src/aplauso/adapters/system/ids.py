"""Ids of anonymous votes: random, yet those of one moment lie in one partition."""

import random
import time
from collections.abc import Callable
from typing import Final

from uuid_utils import uuid7

from aplauso.domain.record import partitions_of

MOMENT: Final = 0.008
"""Seconds for which ids are of one partition: about as long as a batch of single votes is gathered."""
MOST: Final = 256
"""Ids of one partition in a row, at most: of a rush of votes all partitions have a share, and none is made in vain."""
_TOGETHER: Final = 64  # ids that are made at once, at least: each by itself would cost a fifth more
FRESH: Final = 1.0
"""Seconds after which an id that was made and not given is thrown away: its time would be wrong."""


class SteeredIds:
    """Gives UUIDv7s, for a moment all of one partition, then of another one.

    A partition's share of a batch is a request of its own to Kafka's broker, and costs more than the records in it.
    Which partition an id belongs to is its hash, so ids are made until one is of the wanted partition; the others are
    kept for the moment of theirs, so that about one is made for each that is given. See docs/adr/0008.

    Args:
        partitions: the log's.
        clock: seconds, never going back.
    """

    def __init__(self, partitions: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._partitions = partitions
        self._clock = clock
        self._ready: list[list[bytes]] = [[] for _ in range(partitions)]
        self._turns: list[int] = []
        self._wanted = self._ready[0]
        self._until = self._fresh_until = 0.0
        self._left = 0

    def __call__(self) -> str:
        """A new id."""
        if self._partitions == 1:
            return str(uuid7())
        now = self._clock()
        if now >= self._until or not self._left:
            self._turn(now)
        self._left -= 1
        wanted = self._wanted
        while not wanted:
            self._make(max(self._partitions, _TOGETHER))
        return wanted.pop().decode()

    def many(self, count: int) -> list[bytes]:
        """New ids, in UTF-8, for votes that came together: those that so many calls would give."""
        if self._partitions == 1:
            return [str(uuid7()).encode() for _ in range(count)]
        given: list[bytes] = []
        while missing := count - len(given):
            now = self._clock()
            if now >= self._until or not self._left:
                self._turn(now)
            share = min(missing, self._left)
            self._left -= share
            while (short := share - len(self._wanted)) > 0:
                self._make(short * self._partitions)
            given += self._wanted[-share:]
            del self._wanted[-share:]
        return given

    def _turn(self, now: float) -> None:
        """Another partition's moment begins. They are dealt like cards: in no order, and each as often as any other."""
        if now >= self._fresh_until:
            self._fresh_until = now + FRESH
            for kept in self._ready:
                kept.clear()
        if not self._turns:
            self._turns = random.sample(range(self._partitions), self._partitions)
        self._wanted = self._ready[self._turns.pop()]
        self._until, self._left = now + MOMENT, MOST

    def _make(self, count: int) -> None:
        """Makes so many, of any partitions: together they cost half."""
        made = [str(uuid7()).encode() for _ in range(count)]
        for key, partition in zip(made, partitions_of(made, self._partitions), strict=True):
            self._ready[partition].append(key)
