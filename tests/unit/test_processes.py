"""Partitions folded in several processes: the same answer, clear errors, and no process left behind."""

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from aplauso.domain.errors import Unavailable, WrongLog
from aplauso.flow.recount import recount
from aplauso.flow.refold import Folded, Stops, fold_here
from aplauso.ports.log import Record
from aplauso.wiring.processes import Processes, processors
from embedded import wait_until
from fakes_archive import FakeArchiveReader
from fakes_log import MemoryReader
from unit.test_recount import PARTITIONS, System

pytestmark = pytest.mark.skipif(processors() < 2, reason="one processor alone, or no Linux")


@pytest.fixture
def system() -> System:
    """One that agrees with its log."""
    return System()


def _processes(system: System, reader: type[MemoryReader] = MemoryReader) -> Processes:
    return Processes(lambda: reader(system.log), 2, least=0)


def _stops(system: System) -> dict[int, Stops]:
    return {at: Stops(system.log.end(at), system.log.end(at)) for at in range(PARTITIONS)}


def _by_partition(folded: Iterator[Folded]) -> dict[int, Folded]:
    return {each.partition: each for each in folded}


def test_processes_find_what_one_finds(system: System) -> None:
    """Standings, numbers and digests are those of a fold in this process, and how far it is adds up to all records."""
    told: list[int] = []
    with closing(_processes(system)) as folds:
        ours = _by_partition(folds(MemoryReader(system.log), _stops(system), told.append))
    here: list[int] = []
    assert ours == _by_partition(fold_here(MemoryReader(system.log), _stops(system), here.append))
    assert sum(told) == sum(here) > 0


def test_a_recount_in_processes_is_the_recount(system: System) -> None:
    """With standings and an archive that differ, each difference is found, and said in the same words."""
    system.change(rank=9)
    system.band().votes += 1
    with closing(_processes(system)) as folds:
        report = recount(MemoryReader(system.log), system.standings, FakeArchiveReader(system.world), folds=folds)
    assert report.differing == 2
    assert report == system.recount()


def test_few_records_are_folded_here(system: System) -> None:
    """Below the number from which on processes are worth it none of them gets any work."""

    class Elsewhere(MemoryReader):
        def read(self, partition: int, start: int, stop: int) -> Iterable[Sequence[Record]]:
            raise AssertionError("read in a process")

    with closing(Processes(lambda: Elsewhere(system.log), 2, least=1_000)) as folds:
        assert _by_partition(folds(MemoryReader(system.log), _stops(system), lambda records: None))


def _error(system: System, reader: type[MemoryReader]) -> Callable[[], Mapping[int, Folded]]:
    def fold() -> Mapping[int, Folded]:
        with closing(_processes(system, reader)) as folds:
            return _by_partition(folds(MemoryReader(system.log), _stops(system), lambda records: None))

    return fold


class _Trimmed(MemoryReader):
    def read(self, partition: int, start: int, stop: int) -> Iterable[Sequence[Record]]:
        raise WrongLog(f"partition {partition} was trimmed")


class _Killed(MemoryReader):
    def read(self, partition: int, start: int, stop: int) -> Iterable[Sequence[Record]]:
        os.kill(os.getpid(), signal.SIGKILL)
        return []


class _Another(MemoryReader):
    def topic(self) -> str:
        return "another"


@pytest.mark.parametrize(
    ("reader", "error", "text"),
    [
        (_Trimmed, WrongLog, "was trimmed"),
        (_Killed, Unavailable, "a process of the recount has ended"),
        (_Another, WrongLog, "its id is another"),
    ],
)
def test_what_fails_in_a_process_fails_here(
    system: System, reader: type[MemoryReader], error: type[Exception], text: str
) -> None:
    """An error of one of the processes, its end, or a log that it finds made anew, is an error of the recount's."""
    with pytest.raises(error, match=text):
        _error(system, reader)()


def test_no_process_is_left(system: System) -> None:
    """Once closed, also in the midst of its work, its processes are gone."""

    class Endless(MemoryReader):
        def read(self, partition: int, start: int, stop: int) -> Iterable[Sequence[Record]]:
            while True:
                yield []

    before = set(multiprocessing.active_children())
    folds = _processes(system, Endless)
    assert len(set(multiprocessing.active_children()) - before) == 2

    class Stop(Exception):  # noqa: N818 - no error
        pass

    def told(records: int) -> None:
        raise Stop

    with pytest.raises(Stop), closing(folds):
        _by_partition(folds(MemoryReader(system.log), _stops(system), told))
    assert set(multiprocessing.active_children()) == before


def test_processes_end_with_the_one_that_made_them() -> None:
    """Killed itself, the process that made them leaves none behind that waits for work."""
    script = textwrap.dedent(
        """
        import multiprocessing, os, signal
        from aplauso.wiring.processes import Processes
        Processes(lambda: None, 2)
        print(*(child.pid for child in multiprocessing.active_children()), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    made = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True, timeout=60)
    pids = [int(pid) for pid in made.stdout.split()]
    assert len(pids) == 2
    wait_until(lambda: not any(_runs(pid) for pid in pids), "the processes' end")


def _runs(pid: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
