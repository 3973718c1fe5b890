"""Time, as the rooms see it."""

from typing import Protocol


class Clock(Protocol):
    """Tells the time of day. Correctness never depends on it: only stamps and windows do."""

    def now_ms(self) -> int:
        """Milliseconds since 1970-01-01T00:00Z."""
        ...
