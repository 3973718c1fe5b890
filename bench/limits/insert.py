"""The limit of the archive: bare insert_many, same indexes and write concern. Arguments: URI, documents, a batch."""

import sys
import time

from bench.records import Kind, votes
from pymongo import MongoClient, WriteConcern

from aplauso.adapters.mongo.archive import LATEST, _document
from aplauso.adapters.mongo.client import Document

uri, total, batch = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
documents = [_document(at % 12, at, vote) for at, vote in enumerate(votes(range(total), Kind(seed=total + 1)))]
client = MongoClient[Document](uri)
client.drop_database("limit")
collection = client["limit"].get_collection("votes", write_concern=WriteConcern("majority", j=True))
collection.create_index(LATEST)
started = time.perf_counter()
for at in range(0, total, batch):
    collection.insert_many(documents[at : at + batch], ordered=False)
print(total / (time.perf_counter() - started))
client.drop_database("limit")
