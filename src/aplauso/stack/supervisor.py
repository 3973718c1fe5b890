"""Keeps the parts of a stack alive: one that dies is named and started again, with backoff."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from aplauso.domain.errors import Unavailable
from aplauso.stack.process import Process

LOOK_SECONDS: Final = 0.2
BACKOFF: Final = (0.5, 15.0)
"""Seconds before a part is started again: the first time, doubled up to the last."""
_STEADY_SECONDS: Final = 30.0
"""A part that lived so long is started again without delay."""
Say = Callable[[str], None]


class Watched:
    """A part that is being watched."""

    def __init__(self, part: Process) -> None:
        self.part = part
        self.started = time.monotonic()
        self.delay = BACKOFF[0]
        self.due: float | None = None

    def look(self, say: Say) -> None:
        """Names the part when it has died, and starts it again when its time has come."""
        now = time.monotonic()
        if self.due is None:
            if not self.part.running:
                if now - self.started > _STEADY_SECONDS:
                    self.delay = BACKOFF[0]
                say(f"{self.part.name} has ended; it is started again in {self.delay:g} s (log: {self.part.log})")
                say(f"  its last words: {self.part.tail(1)}")
                self.due = now + self.delay
                self.delay = min(self.delay * 2, BACKOFF[1])
        elif now >= self.due:
            self._start(say)

    def _start(self, say: Say) -> None:
        try:
            self.part.spawn()
        except (OSError, Unavailable) as error:
            say(f"{self.part.name} could not be started: {error}")
            self.due = time.monotonic() + self.delay
            return
        say(f"{self.part.name} is started again")
        self.started, self.due = time.monotonic(), None


class Supervisor:
    """Starts parts in groups, each group once the one before is ready; watches them; stops them in reverse.

    Args:
        groups: parts that may start at the same time, in order of need.
        say: tells a person what happens.
    """

    def __init__(self, groups: Sequence[Sequence[Process]], say: Say) -> None:
        self._groups = groups
        self._say = say
        self._parts: list[Watched] = []

    def start(self, timeout: float) -> None:
        """Starts everything; returns when all parts are ready.

        Raises:
            Unavailable: a part did not come up in `timeout` seconds; the others are stopped.
        """
        try:
            for group in self._groups:
                for part in group:
                    self._parts.append(Watched(part))  # before it is there: whoever breaks in here stops it
                    part.spawn()
                for part in group:
                    part.wait_ready(timeout)
        except BaseException:
            self.stop()
            raise

    def watch(self, ending: threading.Event) -> None:
        """Keeps the parts alive until `ending` is set. Parts die with the thread that calls this."""
        while not ending.wait(LOOK_SECONDS):
            for watched in self._parts:
                watched.look(self._say)

    def stop(self) -> None:
        """Stops all parts cleanly, those that need others before those."""
        for group in reversed(self._groups):
            started = [part for part in group if any(watched.part is part for watched in self._parts)]
            # All are asked before any is waited for: an answer that is owed may need another room of its group.
            stoppers = [threading.Thread(target=part.stop) for part in started]
            for stopper in stoppers:
                stopper.start()
            for stopper in stoppers:
                stopper.join()
        self._parts.clear()
