"""The directory of the embedded data: one process's at a time, and of a known format."""

import json
import os
import shutil
from pathlib import Path
from typing import Final, Self

from aplauso.adapters.system.lock import take
from aplauso.domain.errors import NewerData, Unavailable

FORMAT: Final = 1
"""Version of the files' format; older ones are brought up to date by `_UPGRADES`."""

_LOW_BYTES: Final = 256 * 2**20
"""Free space below which `doctor` warns: about a million votes in log, standings and archive."""


class DataDirectory:
    """Paths of the embedded data's files.

    Use `open` to write and `existing` to read beside a writer.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log = path / "log.db"
        self.standings = path / "standings.db"
        self.archive = path / "archive.db"
        self.rejected = path / "rejected.db"
        self._lock: int | None = None

    @classmethod
    def open(cls, path: Path) -> Self:
        """Takes the directory for this process, and makes it when it is not there.

        Raises:
            DataInUse: another process has it.
            NewerData: a newer version wrote it.
            Unavailable: it cannot be made or written.
        """
        directory = cls(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            directory._lock = take(path)
            directory._upgrade()
        except OSError as error:
            directory.close()
            raise Unavailable(f"the data directory {path} cannot be used: {error}") from None
        except BaseException:
            directory.close()
            raise
        return directory

    @classmethod
    def existing(cls, path: Path) -> Self:
        """A directory that a writer has made.

        Raises:
            Unavailable: it is not there.
            NewerData: a newer version wrote it.
        """
        directory = cls(path)
        if not directory.log.exists():
            raise Unavailable(f"there are no embedded data in {path}: `aplauso up --data {path}` makes them")
        directory._version()
        return directory

    def close(self) -> None:
        """Lets the directory go."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _version(self) -> int | None:
        """The format's version, or None in a new directory. Raises `NewerData`."""
        file = self.path / "format.json"
        if not file.exists():
            return None
        try:
            version = json.loads(file.read_text(encoding="utf-8"))["format"]
        except (ValueError, KeyError, TypeError) as error:
            raise Unavailable(f"{file} cannot be read: {error}") from None
        if type(version) is not int or version < 0:
            raise Unavailable(f"{file} says the format {version!r}: a whole number was expected")
        if version > FORMAT:
            raise NewerData(
                f"the data in {self.path} are of format {version}; this version knows up to {FORMAT}: "
                "use the version that wrote them, or a newer one"
            )
        return version

    def _upgrade(self) -> None:
        version = self._version()
        if version == FORMAT:
            return
        for step in range(version or 0, FORMAT):
            _UPGRADES[step](self)
        temporary = self.path / "format.json.new"
        temporary.write_text(json.dumps({"format": FORMAT}) + "\n", encoding="utf-8")
        temporary.replace(self.path / "format.json")


def _from_nothing(directory: DataDirectory) -> None:
    """Format 0 is a directory without a version: a new one, or one whose projections nobody can vouch for."""
    if directory.standings.exists():
        # The log is the truth: the projections are thrown away and rebuilt from it.
        for name in ("standings.db", "archive.db"):
            for suffix in ("", "-wal", "-shm"):
                (directory.path / (name + suffix)).unlink(missing_ok=True)


_UPGRADES: Final = (_from_nothing,)
"""What brings format n to n + 1, by n."""


def check_directory(path: Path) -> str:
    """For `doctor`: how the directory is, in words.

    Raises:
        Unavailable: it is not there, cannot be written, or its disk is nearly full.
        NewerData: a newer version wrote it.
    """
    DataDirectory.existing(path)
    if not os.access(path, os.W_OK):
        raise Unavailable(f"{path} cannot be written by this user")
    free = shutil.disk_usage(path).free
    if free < _LOW_BYTES:
        raise Unavailable(f"the disk of {path} has only {free // 2**20} MiB left")
    return f"{path}, format {FORMAT}, {free // 2**20:,} MiB free"
