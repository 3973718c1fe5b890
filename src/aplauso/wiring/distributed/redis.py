"""The settings' part of the standings."""

from pathlib import Path

from aplauso.adapters.redis.client import RedisSettings
from aplauso.settings import Settings


def redis_settings(settings: Settings) -> RedisSettings:
    """Where the standings are."""
    return RedisSettings(
        settings.redis_url,
        settings.partitions,
        settings.redis_cluster,
        settings.redis_username or "",
        settings.redis_password or "",
        _text(settings.redis_ca),
        _text(settings.redis_certificate),
        _text(settings.redis_key),
    )


def _text(path: Path | None) -> str:
    return "" if path is None else str(path)
