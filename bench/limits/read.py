"""The limit of the comparison with the archive: reading the same fields of the same collection. Argument: URI."""

import sys
import time

from pymongo import MongoClient

from aplauso.adapters.mongo.client import _CODEC, Document

database = MongoClient[Document](sys.argv[1])["aplauso"]
collection = database.get_collection("votes", codec_options=_CODEC)
started, seen = time.perf_counter(), 0
with collection.find({}, batch_size=5_000) as cursor:
    while chunk := cursor.to_list(5_000):
        seen += len(chunk)
print(seen / (time.perf_counter() - started))
