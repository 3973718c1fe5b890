"""The archive's limit: bare insert_many, same indexes and write concern. Arguments: URI, first, documents, a batch."""

import sys
import time

from bench.records import Kind, votes
from pymongo import MongoClient, WriteConcern

from aplauso.adapters.mongo.archive import LATEST, _document
from aplauso.adapters.mongo.client import Document

uri, first, total, batch = sys.argv[1], *map(int, sys.argv[2:])
numbers = range(first, first + total)
documents = [_document(at % 12, at, vote) for at, vote in zip(numbers, votes(numbers, Kind(seed=1)), strict=True)]
database = MongoClient[Document](uri)["limit"]
collection = database.get_collection("votes", write_concern=WriteConcern("majority", j=True))
collection.create_index(LATEST)
started = time.perf_counter()
for at in range(0, total, batch):
    collection.insert_many(documents[at : at + batch], ordered=False)
print(total / (time.perf_counter() - started))
