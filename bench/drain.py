"""Backlogs: how fast the tally, the archive and the recount go through the log."""

import time
from collections.abc import Iterator

from aplauso.flow.recount import recount
from aplauso.ports.archive import ArchivedVote
from aplauso.wiring.distributed.tools import readers
from aplauso.wiring.processes import processors
from bench.harness import Row, Samples, at_least, at_most, cpu_seconds, figure, memory_mb, share_of
from bench.records import Kind, backlog
from bench.world import World, limit, measured, rate_until, wait_until, world

BATCH = 5_000
"""Documents of an insert_many beside the archive's. The archive sends fewer, for its memory's sake."""
ID_BYTES = 16
COMPARED = 3
"""How often the archive is compared."""


def tally_rows(repeats: int, votes: int) -> Iterator[Row]:
    """The tally and the recount's fold over one backlog, and what remembering ids costs."""
    with world() as servers:
        backlog(servers, "votes", votes)
        limits = servers.stack.kafka.bootstrap, "votes", votes
        yield figure("Kafka, bytes a vote", kafka_bytes(servers, "votes") / votes, "bytes", "in large batches, lz4")
        ours, fold, bare, alone, bare_alone, memory = (Samples() for _ in range(6))
        cost = {"tally": Samples(), "redis": Samples()}
        for _ in range(repeats):
            servers.forget()
            ours.values.append(_drain_tally(servers, "votes", votes, cost, memory))
            bare_alone.values.append(limit("consume", *limits, 1))
            alone.values.append(_fold(servers, votes, 1))
            bare.values.append(limit("consume", *limits, processors()))
            fold.values.append(_fold(servers, votes, processors()))
        servers.recount()
        yield at_least("tally, backlog", ours, "votes/s", 200_000, "limit: consume and decode", bare_alone)
        yield at_most("memory at its highest, tally, backlog", memory, "MB", 120)
        yield share_of("recount's fold", fold, bare_alone, "votes/s", 0.6, f"{processors()} processes; limit: one")
        yield share_of("recount's fold, as many consumers", fold, bare, "votes/s", 0.0, f"{processors()} of each")
        yield share_of("recount's fold, one process", alone, bare_alone, "votes/s", 0.0, "limit: one")
        for name, samples in cost.items():
            yield figure(f"{name}, CPU a vote", samples.median, "us", "from the backlog")
        yield memory_row(servers, max(votes // 8, 50_000))


def _drain_tally(servers: World, topic: str, votes: int, cost: dict[str, Samples], memory: Samples) -> float:
    redis = servers.pid("redis")
    before = cpu_seconds(redis)
    with servers.projection("tally", topic) as pid:
        started = cpu_seconds(pid)
        rate = rate_until(servers.counted(topic), votes)
        cost["tally"].values.append((cpu_seconds(pid) - started) / votes * 1e6)
        memory.values.append(memory_mb(pid, "VmHWM"))
    cost["redis"].values.append((cpu_seconds(redis) - before) / votes * 1e6)
    return rate


def _fold(servers: World, votes: int, processes: int) -> float:
    """The recount without an archive; the standings are there, and are compared."""
    return measured("fold", votes, processes, env=servers.environment("votes"))


def memory_row(servers: World, votes: int) -> Row:
    """Bytes of Redis for each id that is remembered for ever: the standings themselves are the same for any number."""
    costs = Samples()
    for keyed in (votes, 2 * votes, 4 * votes):
        topic = f"keyed-{keyed}"
        backlog(servers, topic, keyed, kind=Kind(keyed=1.0, seed=keyed))
        servers.forget()
        with servers.stack.redis.client() as client, servers.projection("tally", topic):
            empty = client.info("memory")["used_memory"]
            wait_until(servers.counted(topic), keyed, "keyed votes")
            remembered = sum(int(client.hget(f"aplauso:{{p{at}}}:ids", "k") or 0) for at in range(12))
            costs.values.append((client.info("memory")["used_memory"] - empty) / remembered)
        servers.recount(topic)
    return at_most("Redis, bytes a remembered id", costs, "bytes", 40, "limit: the id itself", Samples([ID_BYTES]))


def archive_rows(stretches: int, votes: int) -> Iterator[Row]:
    """The archive over a backlog in some stretches, and the recount's comparison with it.

    The server takes documents more slowly the more it has: the limit goes the same way, in turn, a stretch at a time.
    """
    with world() as servers:
        backlog(servers, "votes", votes)
        uri, mongo, archived = servers.stack.mongo.uri, servers.pid("mongo"), servers.archived()
        ours, bare, compare, read = Samples(), Samples(), Samples(), Samples()
        cost, server, memory, size = Samples(), Samples(), Samples(), votes // stretches
        for number in range(stretches):
            if number % 2:  # neither of the two always finds a fuller server
                bare.values.append(limit("insert", uri, number * size, size, BATCH))
            before, first = cpu_seconds(mongo), archived()
            with servers.projection("archive", "votes") as pid:
                started = cpu_seconds(pid)
                # Asking costs the server, too.
                ours.values.append(rate_until(archived, (number + 1) * size, 0.2, first))
                done = archived() - first
                cost.values.append((cpu_seconds(pid) - started) / done * 1e6)
                server.values.append((cpu_seconds(mongo) - before) / done * 1e6)
                memory.values.append(memory_mb(pid, "VmHWM"))
            if not number % 2:
                bare.values.append(limit("insert", uri, number * size, size, BATCH))
        for _ in range(COMPARED):
            read.values.append(limit("read", uri))
            compare.values.append(_compare(servers))
        yield share_of("archive, backlog", ours, bare, "votes/s", 0.8, "limit: bare insert_many")
        yield share_of("recount, archive compared", compare, read, "votes/s", 0.8, "limit: reading the collection")
        yield at_most("memory at its highest, archive, backlog", memory, "MB", 120)
        yield figure("archive, CPU a vote", cost.median, "us", "from the backlog")
        yield figure("mongo, CPU a vote", server.median, "us", "from the backlog")
        yield figure("MongoDB, bytes a vote", _document_bytes(servers), "bytes", "BSON, before compression and indexes")


def _document_bytes(servers: World) -> float:
    """Mean size of an archived document: what a server makes of it on its disk differs from server to server."""
    from bson import encode
    from pymongo import MongoClient

    with MongoClient[dict[str, object]](servers.stack.mongo.uri) as mongo:
        sizes = [len(encode(document)) for document in mongo["aplauso"]["votes"].find().limit(1_000)]
    return sum(sizes) / len(sizes)


class _Timed:
    """An archive's reader that notes how long its scan, and what is done with what it finds, takes."""

    def __init__(self, archive: object) -> None:
        self._archive = archive
        self.seconds = 0.0

    def __getattr__(self, name: str) -> object:
        return getattr(self._archive, name)

    def scan(self, stops: dict[int, int]) -> Iterator[list[ArchivedVote]]:
        started = time.perf_counter()
        yield from self._archive.scan(stops)  # type: ignore[attr-defined]
        self.seconds = time.perf_counter() - started


def _compare(servers: World) -> float:
    opened = readers(servers.settings())
    timed = _Timed(opened.archive)
    try:
        report = recount(opened.log, opened.standings, timed)  # type: ignore[arg-type]
        assert report.ok, report
        assert report.archived, report
        return report.archived / timed.seconds
    finally:
        opened.close()


def kafka_bytes(servers: World, topic: str) -> int:
    """Bytes of a topic's segments on the broker's disk."""
    logs = servers.stack.data / "kafka" / "log"
    return sum(path.stat().st_size for path in logs.glob(f"{topic}-*/*.log"))
