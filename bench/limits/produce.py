"""The limit of intake into Kafka: librdkafka's produce rate from Python. Arguments: bootstrap, topic, records."""

import sys
import time

from bench.records import Kind, entries
from confluent_kafka import Producer

bootstrap, topic, total = sys.argv[1], sys.argv[2], int(sys.argv[3])
records = entries(range(total), 12, Kind(bands=16))
settings = {"acks": "all", "enable.idempotence": True, "compression.type": "lz4", "linger.ms": 20}
producer = Producer({"bootstrap.servers": bootstrap, "queue.buffering.max.messages": 2 * total, **settings})
producer.list_topics(topic)
started = time.perf_counter()
for key, value, partition in records:
    producer.produce(topic, value, key, partition)
assert not producer.flush(120)
print(total / (time.perf_counter() - started))
