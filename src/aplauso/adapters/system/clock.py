"""The machine's clock."""

import time


class SystemClock:
    """The time of day as the operating system tells it."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch."""
        return time.time_ns() // 1_000_000
