"""Every reader's limit: librdkafka's batches, each record parsed. Arguments: bootstrap, topic, records, processes."""

import sys
import time
from multiprocessing import Pool

from confluent_kafka import Consumer, TopicPartition

from aplauso.v1.vote_pb2 import Vote

bootstrap, topic, total, processes = *sys.argv[1:3], *map(int, sys.argv[3:])
eager = {"enable.auto.commit": False, "fetch.wait.max.ms": 10, "fetch.queue.backoff.ms": 5}  # a second by default


def consume(share: int) -> None:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "limit", **eager})
    partitions = sorted(consumer.list_topics(topic).topics[topic].partitions)[share::processes]
    consumer.assign(mine := [TopicPartition(topic, partition, 0) for partition in partitions])
    parse, seen, ends = Vote.FromString, 0, sum(consumer.get_watermark_offsets(each)[1] for each in mine)
    while seen < ends:
        for message in (messages := consumer.consume(10_000, 0.05)):
            parse(message.value() or b"")
        seen += len(messages)


with Pool(processes) as pool:
    started = time.perf_counter()
    pool.map(consume, range(processes), 1)
    print(total / (time.perf_counter() - started))
