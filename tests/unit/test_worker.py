"""The thread beside a projection, and the projection that uses it."""

import random
import threading

import pytest

from aplauso.domain.errors import Unavailable
from aplauso.flow.project import Projection
from aplauso.flow.worker import Inline, Worker
from unit.fakes import a_vote, keyed_id
from unit.test_project import Room, exhaust


def test_calls_run_one_after_the_other_on_one_thread_of_their_own() -> None:
    """All calls run in order on a single thread that is not the caller's; `close` waits for them."""
    worker, seen = Worker("test"), []
    for number in range(50):
        worker.submit(lambda number=number: seen.append((number, threading.get_ident())))  # type: ignore[misc]
    worker.close()
    assert [number for number, _ in seen] == list(range(50))
    threads = {thread for _, thread in seen}
    assert len(threads) == 1
    assert threading.get_ident() not in threads


@pytest.mark.parametrize("kind", [Inline, lambda: Worker("test")])
def test_what_a_call_raises_comes_out_of_its_result(kind: type[Inline]) -> None:
    """An error is raised where the result is asked for, and the next call runs all the same."""
    worker = kind()

    def fail() -> None:
        raise Unavailable("away")

    failed, done = worker.submit(fail), worker.submit(lambda: 7)
    with pytest.raises(Unavailable, match="away"):
        failed.result(10)
    assert done.result(10) == 7
    worker.close()


class BesideRoom(Room):
    """A room whose store works on a thread of its own."""

    def start(self) -> None:
        """A new process takes over."""
        super().start()
        self.worker = Worker("test-store")
        self.projection = Projection(
            self.source, self.store, self.watch, self.sink, self.limit, self.batch, worker=self.worker
        )
        self.source.start(self.projection._positions)


@pytest.mark.parametrize("seed", range(25))
def test_a_store_beside_the_projection_leaves_no_trace_of_its_failures(seed: int) -> None:
    """Whatever fails before or after applying, while the next batch is being read, nothing is lost or repeated."""
    chance = random.Random(seed)
    room = BesideRoom(batch=chance.randrange(1, 6))
    room.cast([a_vote(serial, vote_id=keyed_id(serial % 50) if serial % 2 else None) for serial in range(120)])
    room.store.fails = [chance.choice(["", "", "", "before", "after"]) for _ in range(40)]
    for _ in range(chance.randrange(4)):
        try:
            room.projection.step(0)
        except Unavailable:
            room.worker.close()
            room.start()
    room.drain()
    assert room.is_complete()
    room.worker.close()


def test_a_batch_that_is_refused_takes_those_behind_it_along() -> None:
    """While the store stands elsewhere, what was read behind a refused batch is dropped, and read again from there."""
    room = BesideRoom(batch=2)
    room.cast([a_vote(serial) for serial in range(60)])
    room.projection.step(0)
    snapshot = room.store.snapshot()
    exhaust(room.projection)
    room.store.restore(snapshot)
    room.cast([a_vote(serial) for serial in range(60, 160)])
    room.drain()
    assert room.is_complete()
    assert room.watch.moves
    room.worker.close()
