"""Which parts a command works on: the real servers when the settings name Kafka, the embedded data otherwise.

The distributed parts are imported only when they are asked for: an installation may have no drivers.
"""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from types import ModuleType

from aplauso.domain.errors import Misconfigured
from aplauso.ports.rejected import RejectedLog
from aplauso.settings import Settings
from aplauso.wiring import embedded
from aplauso.wiring.parts import Appending, Readers
from aplauso.wiring.processes import Processes


def distributed() -> ModuleType:
    """The module `aplauso.wiring.distributed.tools`. Raises `Misconfigured` when its drivers are not installed."""
    try:
        return import_module("aplauso.wiring.distributed.tools")
    except ModuleNotFoundError as error:
        raise Misconfigured(f"{error.name} is not installed: pip install 'aplauso[distributed]'") from None


def readers(settings: Settings) -> Readers:
    """What a recount reads. Raises `Unavailable`, `NewerData` and `Misconfigured`."""
    if settings.kafka_bootstrap is None:
        return embedded.readers(settings.data)
    found: Readers = distributed().readers(settings)
    return found


def folding(settings: Settings, processes: int) -> Processes:
    """Folds the log in so many processes, at most as many as it has partitions; to be made before any readers.

    Raises `Misconfigured`.
    """
    if settings.kafka_bootstrap is None:  # the embedded log has one partition
        return Processes(lambda: readers(settings).log, 1)
    return Processes(partial(distributed().log_reader, settings), min(processes, settings.partitions))


def rejected(settings: Settings) -> RejectedLog:
    """The rejected records. Raises as `readers`."""
    if settings.kafka_bootstrap is None:
        return embedded.rejected(settings.data)
    found: RejectedLog = distributed().rejected(settings)
    return found


def appending(settings: Settings) -> Appending:
    """The log, to append to. Raises as `readers`, and `DataInUse` while `up` runs on embedded data."""
    if settings.kafka_bootstrap is None:
        return embedded.appending(settings)
    found: Appending = distributed().appending(settings)
    return found


def checks(settings: Settings) -> dict[str, Callable[[], str]]:
    """What `doctor` asks."""
    if settings.kafka_bootstrap is None:
        return embedded.checks(settings)
    found: dict[str, Callable[[], str]] = distributed().checks(settings)
    return found
