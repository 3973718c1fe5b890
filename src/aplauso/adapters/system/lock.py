"""One process at a time in a directory."""

import fcntl
import os
from pathlib import Path

from aplauso.domain.errors import DataInUse


def take(directory: Path) -> int:
    """Takes a directory for this process; the lock goes with the process, however it ends.

    Returns:
        An open file descriptor: closing it lets the directory go.

    Raises:
        DataInUse: another process has it; its id, which stands in the lock's file, is named.
        OSError: the directory cannot be written.
    """
    lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(lock, 32, 0).decode(errors="replace").strip()
        os.close(lock)
        raise DataInUse(f"the data in {directory} are in use by process {holder or '?'}") from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock
