"""Reading ahead: what comes next is fetched while what is there is worked on."""

import contextlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from queue import Empty, Queue
from threading import Event, Thread
from typing import Final, TypeVar

T = TypeVar("T")

_PARTING_SECONDS: Final = 2.0


class _End:
    """What stands last: how reading ended."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


@contextmanager
def ahead(things: Generator[T, None, None]) -> Iterator[Iterator[T]]:
    """Goes through a generator in a thread of its own, for as long as the block runs: two of its things ahead at most.

    What it raises is raised here, at its place. A block that is left early does not wait for long: the generator is
    closed when what it waits for has come, and the process can end before.
    """
    ready, left = Queue[T | _End](1), Event()
    reading = Thread(target=_go, args=(things, ready, left), name="ahead", daemon=True)
    reading.start()
    try:
        yield _taken(ready)
    finally:
        left.set()
        with contextlib.suppress(Empty):
            ready.get_nowait()  # there has to be room for what the thread wants to hand over
        reading.join(_PARTING_SECONDS)


def _go(things: Generator[T, None, None], ready: "Queue[T | _End]", left: Event) -> None:
    end = _End(None)
    try:
        for thing in things:
            ready.put(thing)
            if left.is_set():
                break
    except BaseException as error:  # noqa: BLE001 - it is raised where the things are taken
        end = _End(error)
    things.close()
    if not left.is_set():
        ready.put(end)


def _taken(ready: "Queue[T | _End]") -> Iterator[T]:
    while not isinstance(thing := ready.get(), _End):
        yield thing
    if thing.error is not None:
        raise thing.error
