"""A replica in a process of its own, to be killed: it reads, and keeps nothing."""

import json
import sys

from aplauso.adapters.kafka.config import KafkaSettings
from aplauso.adapters.kafka.source import KafkaSource


def main() -> None:
    bootstrap, topic, group, protocol, partitions = json.loads(sys.argv[1])
    source = KafkaSource(KafkaSettings(bootstrap, topic, partitions), group, protocol)
    source.start(dict.fromkeys)
    told = False
    while True:
        source.poll(0.1, 100)
        if source.assigned and not told:
            told = True
            print("has partitions", flush=True)


if __name__ == "__main__":
    main()
