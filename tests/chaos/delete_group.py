"""Deletes a consumer group: `python delete_group.py BOOTSTRAP GROUP`; exit code 0 once it is gone."""

import sys

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from aplauso.adapters.kafka.config import KafkaSettings


def main(bootstrap: str, group: str) -> bool:
    """Whether it was deleted."""
    admin = AdminClient(KafkaSettings(bootstrap).admin())
    try:
        admin.delete_consumer_groups([group], request_timeout=5)[group].result()
        listed = admin.list_consumer_groups(request_timeout=5).result()
    except KafkaException:
        return False
    return group not in {found.group_id for found in listed.valid}


if __name__ == "__main__":
    sys.exit(0 if main(*sys.argv[1:]) else 1)
