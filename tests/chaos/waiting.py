"""Waiting for a condition, never for a time."""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Final

_LOOK_S: Final = 0.02


class NotInTimeError(AssertionError):
    """What was waited for did not come."""


async def until(condition: Callable[[], bool], within: float, otherwise: str) -> None:
    """Returns once the condition holds. Raises `NotInTimeError` with `otherwise` after so many seconds."""
    end = monotonic() + within
    while not condition():
        if monotonic() > end:
            raise NotInTimeError(otherwise)
        await asyncio.sleep(_LOOK_S)


async def until_async(condition: Callable[[], Awaitable[bool]], within: float, otherwise: str) -> None:
    """The same with a condition that takes time, and is looked at less often."""
    end = monotonic() + within
    while not await condition():
        if monotonic() > end:
            raise NotInTimeError(otherwise)
        await asyncio.sleep(5 * _LOOK_S)
