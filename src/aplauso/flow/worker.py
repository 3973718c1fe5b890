"""A thread beside the projection's, so that the next batch is read while a store is at work on this one."""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


class Inline:
    """Runs calls at once, on the caller's thread: for stores that share their processor with it anyway."""

    def submit(self, call: Callable[[], T]) -> "Future[T]":
        """Runs the call; its result, or what it raised, is there when this returns."""
        future: Future[T] = Future()
        _settle(future, call)
        return future

    def close(self) -> None:
        """Nothing to let go of."""


class Worker(Inline):
    """Runs calls one after the other on a thread of its own.

    The thread is a daemon: a store that hangs does not hold up the end of the process.
    """

    def __init__(self, name: str) -> None:
        self._calls: queue.SimpleQueue[tuple[Future[object], Callable[[], object]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, call: Callable[[], T]) -> "Future[T]":
        """Has the call run after those that were submitted before."""
        future: Future[T] = Future()
        self._calls.put((future, call))  # type: ignore[arg-type]
        return future

    def close(self) -> None:
        """Waits for what was submitted, and ends the thread."""
        self._calls.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (item := self._calls.get()) is not None:
            _settle(*item)


def _settle(future: "Future[T]", call: Callable[[], T]) -> None:
    try:
        future.set_result(call())
    except BaseException as error:  # noqa: BLE001 - whoever waits for the result gets it
        future.set_exception(error)
