"""The limit of every reader: batches from librdkafka, each record parsed. Arguments: bootstrap, topic, records."""

import sys
import time

from confluent_kafka import Consumer, TopicPartition

from aplauso.v1.vote_pb2 import Vote

bootstrap, topic, total = sys.argv[1], sys.argv[2], int(sys.argv[3])
eager = {"fetch.wait.max.ms": 10, "fetch.queue.backoff.ms": 5}  # by default a full queue is left alone for a second
consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "limit", "enable.auto.commit": False, **eager})
partitions = consumer.list_topics(topic).topics[topic].partitions
parse, seen, started = Vote.FromString, 0, time.perf_counter()  # what is fetched ahead takes time too
consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
while seen < total:
    for message in (messages := consumer.consume(10_000, 0.05)):
        parse(message.value() or b"")
    seen += len(messages)
print(seen / (time.perf_counter() - started))
consumer.close()
