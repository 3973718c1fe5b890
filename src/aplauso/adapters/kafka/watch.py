"""Watches whether the votes' topic can be appended to, so that votes are refused while it cannot."""

import threading
from collections.abc import Callable
from typing import Final

from aplauso.adapters.kafka.config import KafkaSettings
from aplauso.adapters.kafka.topics import Topics
from aplauso.domain.errors import Unavailable, WrongLog

INTERVAL: Final = 0.4
"""Seconds between two questions to the brokers."""
TIMEOUT: Final = 1.2
"""Seconds that an answer may take. With `INTERVAL` it stays below the two seconds in which a loss has to be seen."""


class Watch:
    """Asks the brokers about the topic again and again, on a thread of its own.

    A refused connection is seen at once through `suspect`; a broker that hangs, only by asking.

    Args:
        settings: where the topic is.
        wrong: called on the watch's thread when the topic is first seen to be the wrong one.
    """

    def __init__(self, settings: KafkaSettings, wrong: Callable[[], None]) -> None:
        self._topics = Topics(settings, TIMEOUT)
        self._wrong = wrong
        self._wake = threading.Event()
        self._known = threading.Event()
        self._closed = False
        self._id: str | None = None
        self._fault: Unavailable | WrongLog | None = Unavailable("Kafka has not been asked yet")
        self._thread = threading.Thread(target=self._run, name="kafka-watch", daemon=True)

    def start(self) -> None:
        """Begins to ask."""
        self._thread.start()

    @property
    def fault(self) -> Unavailable | WrongLog | None:
        """Why nothing can be appended now; None when it can."""
        return self._fault

    @property
    def known(self) -> bool:
        """Whether the first answer, or its failure, is there."""
        return self._known.is_set()

    def wait_known(self) -> None:
        """Waits for the first answer, as long as one may take."""
        self._known.wait(2 * TIMEOUT)

    def suspect(self, why: str) -> None:
        """Takes the brokers for lost until one answers, and asks at once."""
        if self._fault is None:
            self._fault = Unavailable(why)
        self._wake.set()

    def close(self) -> None:
        """Stops asking."""
        self._closed = True
        self._wake.set()
        self._thread.join(2 * TIMEOUT)

    def _run(self) -> None:
        while not self._closed:
            self._wake.clear()
            was_wrong = isinstance(self._fault, WrongLog)
            self._fault = self._ask()
            self._known.set()
            if isinstance(self._fault, WrongLog) and not was_wrong:
                self._wrong()
            self._wake.wait(INTERVAL)

    def _ask(self) -> Unavailable | WrongLog | None:
        try:
            self._id = self._topics.check(self._id).id
        except (Unavailable, WrongLog) as fault:
            return fault
        return None
