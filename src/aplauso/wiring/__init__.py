"""The only package that builds adapters: `embedded` those of one process, `distributed` those of the real servers.

The two are apart because an installation without the extra `distributed` has no drivers for the servers.
"""

from aplauso.wiring.parts import (
    Finding,
    Projecting,
    Readers,
    examine,
    limits,
    load_contests,
    read_contest_file,
)

__all__ = ["Finding", "Projecting", "Readers", "examine", "limits", "load_contests", "read_contest_file"]
