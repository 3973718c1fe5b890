"""The archive's process: one replica of the projection into the archive."""

from collections.abc import Callable

from aplauso.services import projection
from aplauso.settings import Settings
from aplauso.wiring.distributed.archive import archive


async def serve(settings: Settings, health_port: int, announce: Callable[[str], None]) -> None:
    """Runs it. Arguments and errors as `projection.serve`."""
    await projection.serve(settings, "archive", archive, health_port, announce)
