"""The limit of every reader: batches from librdkafka, each record parsed. Arguments: bootstrap, topic, records."""

import sys
import time

from confluent_kafka import Consumer, TopicPartition

from aplauso.v1.vote_pb2 import Vote

bootstrap, topic, total = sys.argv[1], sys.argv[2], int(sys.argv[3])
consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "limit", "enable.auto.commit": False})
partitions = consumer.list_topics(topic).topics[topic].partitions
consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
parse = Vote.FromString
seen = first = len(consumer.consume(1, 30.0))
started = time.perf_counter()
while seen < total:
    for message in (messages := consumer.consume(10_000, 0.05)):
        parse(message.value() or b"")
    seen += len(messages)
print((seen - first) / (time.perf_counter() - started))
consumer.close()
