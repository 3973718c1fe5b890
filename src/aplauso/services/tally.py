"""The tally's process: one replica of the projection into the standings."""

from collections.abc import Callable

from aplauso.services import projection
from aplauso.settings import Settings
from aplauso.wiring.distributed.tally import tally


async def serve(settings: Settings, health_port: int, announce: Callable[[str], None]) -> None:
    """Runs it. Arguments and errors as `projection.serve`."""
    await projection.serve(settings, "tally", tally, health_port, announce)
