"""Folding the log's partitions in several processes: Python's lock lets one of them use one processor."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import cache, partial
from multiprocessing.connection import wait as wait_for
from typing import Any, Final, NamedTuple

from aplauso.domain.errors import Unavailable, WrongLog
from aplauso.flow.garbage import rarely_collected
from aplauso.flow.refold import Folded, Stops, Told, fold_here, fold_in_turn
from aplauso.ports.log import LogReader

_WORTH: Final = 50_000
"""Records in all from which on more than one process is faster: each has to find the log first."""
_LOOK_SECONDS: Final = 0.1
"""How often it is told how many records were read."""


def processors() -> int:
    """How many processes can run at once here, on a system where one can be split into several; 1 elsewhere."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1


class Processes:
    """Implements `aplauso.flow.refold.Folds`: a partition is one process' work.

    Make it before anything that has threads: processes are forked, so that their hash of text is the same.

    Args:
        open_log: opens the log, in each process anew.
        number: of processes; 1 folds in this one.
        least: so few records are folded in this one, too.
    """

    def __init__(self, open_log: Callable[[], LogReader], number: int, least: int = _WORTH) -> None:
        self._least = least
        self._executor: ProcessPoolExecutor | None = None
        if number > 1:
            fork = multiprocessing.get_context("fork")
            self._read: Any = fork.Value("Q")
            others = multiprocessing.active_children()
            self._executor = ProcessPoolExecutor(number, fork, _begin, (open_log, self._read))
            self._executor.submit(os.getpid)  # all of them are forked for the first piece of work
            self._forked = [child for child in multiprocessing.active_children() if child not in others]

    def __call__(self, log: LogReader, stops: Mapping[int, Stops], told: Told) -> Iterator[Folded]:
        """As `Folds`. Raises `Unavailable` too, when one of the processes is killed."""
        if self._executor is None or sum(map(max, stops.values())) < self._least:
            yield from fold_here(log, stops, told)
            return
        topic, seen = log.topic(), self._read.value
        # The longest first: nobody is to wait at the end for one that began late.
        longest = sorted(stops, key=lambda partition: max(stops[partition]), reverse=True)
        try:
            idle = len(stops) < len(self._forked)
            waiting = {self._executor.submit(_fold, _Work(topic, each, stops[each], idle)) for each in longest}
            while waiting:
                done, waiting = wait(waiting, _LOOK_SECONDS, FIRST_COMPLETED)
                now = self._read.get_obj().value
                told(now - seen)
                seen = now
                yield from [each.result() for each in done]
        except BrokenProcessPool:
            raise Unavailable("a process of the recount has ended in its midst: was there too little memory?") from None

    def close(self) -> None:
        """Ends the processes, whatever they are at: they only read."""
        if self._executor is not None:
            for child in self._forked:
                child.terminate()
            self._executor.shutdown(cancel_futures=True)


class _Work(NamedTuple):
    """A partition to fold.

    Attributes:
        topic: the id that the log must have.
        partition: its number.
        stops: up to where it is folded.
        idle: whether there is a processor that can read while another one folds.
    """

    topic: str
    partition: int
    stops: Stops
    idle: bool


class _Here(NamedTuple):
    """What a process has."""

    log: Callable[[], LogReader]
    read: Any


_here: _Here | None = None


def _begin(open_log: Callable[[], LogReader], read: Any) -> None:
    """A forked process' beginning."""
    global _here  # noqa: PLW0603 - what the pool's processes have is theirs alone
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one that is asked to stop ends the others
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    _here = _Here(cache(open_log), read)


def _end_with_parent() -> None:
    """A process that waits for work would wait for ever once nobody is there to give it any."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for([parent.sentinel])
    os._exit(1)


def _fold(work: _Work) -> Folded:
    assert _here is not None, "the process has begun"
    log = _here.log()
    if (topic := log.topic()) != work.topic:
        raise WrongLog(f"the log was made anew: its id is {topic}, no longer {work.topic}")
    fold = fold_here if work.idle else fold_in_turn
    with rarely_collected():
        [folded] = fold(log, {work.partition: work.stops}, partial(_add, _here.read))
    return folded


def _add(read: Any, records: int) -> None:
    with read.get_lock():
        read.value += records
