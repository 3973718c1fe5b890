"""The settings' part of the archive."""

from aplauso.adapters.mongo.client import MongoSettings
from aplauso.settings import Settings


def mongo_settings(settings: Settings) -> MongoSettings:
    """Where the archive is."""
    return MongoSettings(settings.mongo_uri, settings.mongo_database)
