"""The interpreter's garbage collector, while records are read in millions."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_ALLOCATIONS: Final = 100_000
_ROUNDS: Final = 20


@contextmanager
def rarely_collected() -> Iterator[None]:
    """Has the collector look less often for as long as the block runs.

    Each new object counts towards its next look, and every vote is a few of them; but none refers back to itself, so
    that all of them are gone without it. By default it took a third of a recount. It is not switched off: whatever
    else is cyclic, in drivers say, still goes.
    """
    before = gc.get_threshold()
    gc.set_threshold(_ALLOCATIONS, _ROUNDS, _ROUNDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)
