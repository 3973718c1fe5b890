"""The vote log in Kafka: the appending side."""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import Final

from aplauso.adapters.kafka.config import KafkaSettings
from aplauso.adapters.kafka.producer import Handover, PollingProducer
from aplauso.adapters.kafka.watch import Watch
from aplauso.domain.errors import Unavailable
from aplauso.ports.log import Appended, Entry

_LOG: Final = logging.getLogger(__name__)
DEADLINE: Final = 10.0
"""Seconds after which a record that was handed over is called undecided."""


class KafkaLog:
    """Implements `aplauso.ports.log.VoteLog`.

    While no broker answers, or the topic is not the configured one, it hands nothing over: every record is
    `NOT_RECORDED`. A topic that is deleted and made again is noticed within two seconds.

    Args:
        settings: where the topic is.
        deadline: seconds after which a record that was handed over is `UNDECIDED`.
    """

    def __init__(self, settings: KafkaSettings, deadline: float = DEADLINE) -> None:
        self._settings = settings
        self._deadline = deadline
        self._closed = False
        self._waiting: dict[Handover, asyncio.Future[None]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watch = Watch(settings, self._on_wrong_log)
        self._producer = PollingProducer(settings, self._on_settled, self._watch.suspect)
        self._watch.start()

    @property
    def partitions(self) -> int:
        """As `VoteLog`."""
        return self._settings.partitions

    async def append(self, entries: Sequence[Entry]) -> Sequence[Appended]:
        """As `VoteLog`: what is still on its way at the deadline is `UNDECIDED`."""
        self._loop = asyncio.get_running_loop()
        if not self._watch.known:
            await asyncio.to_thread(self._watch.wait_known)
        if self._closed or self._watch.fault is not None:
            return [Appended.NOT_RECORDED] * len(entries)
        call = self._producer.hand_over(entries)
        if not call.complete:
            await self._settlement(call)
        results, error = call.results, call.error
        self._producer.release(call)
        if Appended.UNDECIDED in results:
            undecided = results.count(Appended.UNDECIDED)
            _LOG.warning("%d of %d records are undecided: %s", undecided, len(results), error or "no answer")
        return results

    async def ready(self) -> None:
        """As `VoteLog`."""
        if self._closed:
            raise Unavailable("the log is closed")
        if not self._watch.known:
            await asyncio.to_thread(self._watch.wait_known)
        if self._watch.fault is not None:
            raise self._watch.fault

    async def close(self) -> None:
        """As `VoteLog`."""
        if not self._closed:
            self._closed = True
            await asyncio.to_thread(self._producer.close, DEADLINE)
            await asyncio.to_thread(self._watch.close)

    async def _settlement(self, call: Handover) -> None:
        """Waits until a call is complete, or its deadline has passed."""
        loop = asyncio.get_running_loop()
        future = self._waiting[call] = loop.create_future()
        timer = loop.call_later(self._deadline, _wake, future)
        if call.complete:  # it may have become so before the polling thread could find it among the waiting
            _wake(future)
        try:
            await future
        finally:
            timer.cancel()
            del self._waiting[call]

    def _on_settled(self) -> None:
        """Wakes the event loop once for all calls of a poll round; on the polling thread."""
        if self._loop is not None:
            # A loop that has been closed raises: nobody waits for these answers any more.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._wake_complete)

    def _wake_complete(self) -> None:
        for call, future in self._waiting.items():
            if call.complete:
                _wake(future)

    def _on_wrong_log(self) -> None:
        self._producer.purge()


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
