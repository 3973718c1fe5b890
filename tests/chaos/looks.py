"""Looks at a running stack: memory of each process, Redis' own figures, how far tally and archive are behind."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from aplauso.stack.process import Process
from aplauso.stack.system import Stack
from aplauso.wiring import Readers

_HEAP_END: Final = 1 << 32
"""The JVM puts a small heap into the first 4 GiB, so that its pointers fit into 32 bits; nothing else is there."""


class Look(msgspec.Struct, frozen=True):
    """What was seen at a moment.

    Attributes:
        at: seconds since the first vote was due.
        memory: resident MiB by process.
        heap: resident MiB of Kafka's Java heap.
        used: bytes that Redis has allocated (`used_memory`).
        ids: that Redis remembers.
        lags: records of the log that tally and archive have not applied.
        archived: votes that the archive has passed.
        recorded: votes acknowledged so far.
        refused: likewise.
        undecided: likewise.
    """

    at: float
    memory: dict[str, float]
    heap: float
    used: int
    ids: int
    lags: dict[str, int]
    archived: int
    recorded: int
    refused: int
    undecided: int


class EndedError(AssertionError):
    """A process has ended, whether or not it was started again."""


class Looker:
    """Looks at a stack. Used by one thread at a time.

    Args:
        stack: running.
        readers: of its log, standings and archive.
    """

    def __init__(self, stack: Stack, readers: Readers) -> None:
        self.parts: dict[str, Process] = {
            "kafka": stack.kafka, "redis": stack.redis.process, "mongo": stack.mongo, **stack.rooms
        }  # fmt: skip
        self._pids: dict[str, int] = {}
        self._readers = readers
        self._redis = stack.redis.client()

    def look(self, at: float, recorded: int, refused: int, undecided: int) -> Look:
        """Looks once. Raises `EndedError` when a process has ended, and `Unavailable`."""
        self._see_them_run()
        positions = self._positions()
        ends = sum(self._readers.log.ends().values())  # read after the positions: none can lie beyond it
        return Look(
            at, {name: resident_mib(part.pid) for name, part in self.parts.items()}, heap_mib(self.parts["kafka"].pid),
            int(self._redis.info("memory")["used_memory"]), self._ids(),
            {name: ends - position for name, position in positions.items()}, positions["archive"],
            recorded, refused, undecided,
        )  # fmt: skip

    def _see_them_run(self) -> None:
        """Every part is the process that it was: one that a supervisor has started again would look flat."""
        for name, part in self.parts.items():
            if not part.running or self._pids.setdefault(name, part.pid) != part.pid:
                raise EndedError(f"{name} has ended; the end of {part.log}:\n{part.tail(8)}")

    def behind(self) -> Mapping[str, int]:
        """Records that tally and archive have not applied. Raises `Unavailable`."""
        positions = self._positions()
        ends = sum(self._readers.log.ends().values())
        return {name: ends - position for name, position in positions.items()}

    def _positions(self) -> dict[str, int]:
        found = {"tally": self._readers.standings.partitions(), "archive": self._readers.archive.partitions()}
        return {name: sum(position.offset for position in places.values()) for name, places in found.items()}

    def _ids(self) -> int:
        with self._redis.pipeline(transaction=False) as pipeline:
            for partition in range(self._readers.log.partitions):
                pipeline.hvals(f"aplauso:{{p{partition}}}:ids")
            return sum(int(number) for numbers in pipeline.execute() for number in numbers)

    def close(self) -> None:
        """Lets go of Redis."""
        self._redis.close()


def resident_mib(pid: int) -> float:
    """Resident memory of a process (VmRSS) in MiB. Raises `OSError` when it is gone."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return round(int(line.split()[1]) / 1024, 2)
    return 0.0


def heap_mib(pid: int) -> float:
    """How much of its Java heap a process has ever touched, in MiB."""
    kib, inside = 0, False
    with Path(f"/proc/{pid}/smaps").open() as file:
        for line in file:
            first, _, rest = line.partition(" ")
            if not first.endswith(":"):
                inside = int(first.partition("-")[2], 16) <= _HEAP_END
            elif inside and first == "Rss:":
                kib += int(rest.split()[0])
    return round(kib / 1024, 2)
