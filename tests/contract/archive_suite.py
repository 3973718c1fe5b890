"""What every archive promises, whatever it is made of.

Each check is given a `Place`, empty at the beginning, and fails with `AssertionError`. `CHECKS` has all of them.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Final, Protocol
from uuid import UUID

import pytest

from aplauso.domain.errors import PositionMoved, Unavailable
from aplauso.domain.position import Position
from aplauso.domain.vote import Vote
from aplauso.ports.archive import ArchivedVote, ArchiveReader, ArchiveStore
from aplauso.ports.projection import Applied, LoggedVote


class Place(Protocol):
    """Somewhere to keep an archive; makes as many writers and readers over it as are asked for."""

    def store(self) -> ArchiveStore:
        """One more writer over the same data."""
        ...

    def reader(self) -> ArchiveReader:
        """One more reader over the same data; a writer has been made before."""
        ...

    def dying_stores(self) -> Iterator[ArchiveStore]:
        """Writers each of which dies, with `Unavailable`, at another point of its first application.

        The first dies before it has done anything, the last when everything has been done.
        """
        ...


Check = Callable[[Place], None]
CHECKS: Final[list[Check]] = []

GT, SV = "bandas-gt", "bandas-sv"
START: Final = 1_790_000_000_000
HOSTILE: Final = (
    "a\x00b", "\x00", "🎸🤘🏽👨‍👩‍👧", "\u202eevom\u202c \u200fאלה", "$where", "$gt", "a.b.$c", "{'$ne': 1}", "=1+1",
    "<script>alert(1)</script>", "\x1b[31mred\x1b[0m", "'; DROP TABLE votes; --", "é vs é", "\ufeffBOM",
    "\ud7ff\ue000\uffff", "x" * 200, "𝕬" * 200, "null", "undefined", "0", "%s %d %%", "\\u0000", "a\r\n\tb",
    "\u2028\u2029",
)  # fmt: skip


def check(function: Check) -> Check:
    """Puts a check into `CHECKS`."""
    CHECKS.append(function)
    return function


def id_of(number: int) -> str:
    """The id of the numbered vote: a UUID of version 8, growing with the number."""
    return str(UUID(int=(number << 80) | (8 << 76) | (2 << 62)))


def vote(number: int, *, cast_at: int | None = None, contest: str = GT, name: str = "Alux Nahual") -> Vote:
    """The numbered vote."""
    at = START + number if cast_at is None else cast_at
    return Vote(id_of(number), contest, name, f"Álbum {number}", 1981, number % 10 + 1, at, name, "r")


def at(offset: int, topic: str = "log", epoch: int = 3) -> Position:
    """A position at an offset."""
    return Position(topic, offset, epoch)


def logged(votes: Iterable[Vote], start: int = 0) -> list[LoggedVote]:
    """Votes at growing offsets."""
    return [LoggedVote(offset, one) for offset, one in enumerate(votes, start)]


def documents(partition: int, votes: Iterable[LoggedVote], stop: int | None = None) -> dict[str, ArchivedVote]:
    """What the archive of a partition must hold: the first of each id."""
    kept: dict[str, ArchivedVote] = {}
    for offset, v in votes:
        if stop is None or offset < stop:
            doc = ArchivedVote(v.id, v.contest, v.name, v.album, v.year, v.rank, v.cast_at, partition, offset)
            kept.setdefault(v.id, doc)
    return kept


def scanned(reader: ArchiveReader, partition: int, stop: int) -> dict[str, ArchivedVote]:
    """What a scan gives, by id; fails when it gives something twice."""
    found = [doc for chunk in reader.scan({partition: stop}) for doc in chunk]
    by_id = {doc.id: doc for doc in found}
    assert len(by_id) == len(found), "a scan gives a vote twice"
    return by_id


@check
def an_application_keeps_each_vote_as_it_is(place: Place) -> None:
    """Every field of a vote, its partition and its offset come back as they went in, over the whole of their ranges."""
    store = place.store()
    votes = [
        LoggedVote(0, vote(0, cast_at=0)),
        LoggedVote(5, Vote(id_of(1), GT, "n", "a", 1900, 0, 253_402_300_799_999, "n", "a")),
        LoggedVote(2**31, Vote(id_of(2), GT, "n", "a", 2100, 1_000_000, 2**31, "n", "a")),
        LoggedVote(2**53 + 1, vote(3)),
    ]
    store.apply(1000, None, at(2**53 + 2), votes)
    reader = place.reader()
    wanted = documents(1000, votes)
    assert scanned(reader, 1000, 2**53 + 2) == wanted
    assert {v: reader.find(v) for v in wanted} == wanted
    assert all(type(doc.offset) is int for doc in scanned(reader, 1000, 2**53 + 2).values())


@check
def hostile_texts_are_text(place: Place) -> None:
    """Texts with NULs, operators, markup or any characters come back to the last code point."""
    votes = logged(vote(n, name=text) for n, text in enumerate(HOSTILE))
    place.store().apply(0, None, at(len(votes)), votes)
    reader = place.reader()
    assert scanned(reader, 0, len(votes)) == documents(0, votes)
    assert [v.name for v in reader.latest(GT, 100)] == [*reversed(HOSTILE)]


@check
def hostile_questions_find_nothing(place: Place) -> None:
    """An id or a contest that is a query, a path or nonsense finds nothing and harms nothing."""
    ours = vote(0xABCDEF)
    place.store().apply(0, None, at(1), logged([ours]))
    reader = place.reader()
    near = (ours.id.upper(), ours.id + " ", ours.id + "\x00", ours.id[:-1] + "_", ours.id[:-1] + "%", ours.id[:-1])
    for text in (*HOSTILE, *near, "", '{"$gt": ""}'):
        assert reader.find(text) is None
        assert list(reader.latest(text, 5)) == []
    assert reader.find(ours.id) is not None


@check
def the_first_of_an_id_in_a_batch_is_the_vote(place: Place) -> None:
    """Of two votes with one id in one batch the first stays, the others count as repeats."""
    votes = logged([vote(1, name="first"), vote(2), vote(1, name="second"), vote(1, name="third")])
    applied = place.store().apply(0, None, at(4), votes)
    assert scanned(place.reader(), 0, 4) == documents(0, votes)
    assert applied == Applied({GT: 2}, {GT: 2})


@check
def the_first_of_an_id_stays_for_ever(place: Place) -> None:
    """A vote whose id was archived by an earlier batch changes nothing and counts as a repeat, beside new ones."""
    store = place.store()
    first = logged([vote(1, name="first"), vote(2)])
    later = logged([vote(3), vote(1, name="second"), vote(4, contest=SV), vote(2, name="other")], 2)
    assert store.apply(0, None, at(2), first) == Applied({GT: 2}, {})
    assert store.apply(0, at(2), at(6), later) == Applied({GT: 1, SV: 1}, {GT: 2})
    assert scanned(place.reader(), 0, 6) == documents(0, [*first, *later])


@check
def the_position_moves_with_its_batch(place: Place) -> None:
    """After an application the position is the one that was given, in all its parts, for that partition alone."""
    store = place.store()
    assert store.positions([0, 1]) == {0: None, 1: None}
    store.apply(0, None, at(7, epoch=-1), logged([vote(1)]))
    assert store.positions([0, 1]) == {0: at(7, epoch=-1), 1: None}
    store.apply(1, None, Position("other-log", 3, 9), [])
    assert store.positions([0, 1]) == {0: at(7, epoch=-1), 1: Position("other-log", 3, 9)}
    store.apply(0, at(7, epoch=-1), at(9, epoch=12), [])
    wanted = {0: at(9, epoch=12), 1: Position("other-log", 3, 9)}
    assert store.positions([0, 1, 2]) == {**wanted, 2: None}
    assert store.positions([1]) == {1: wanted[1]}
    assert dict(place.reader().partitions()) == wanted


@check
def an_empty_batch_moves_the_position(place: Place) -> None:
    """A stretch of the log without votes is passed over."""
    store = place.store()
    assert store.apply(0, None, at(5), []) == Applied({}, {})
    assert store.apply(0, at(5), at(8), []) == Applied({}, {})
    assert store.positions([0]) == {0: at(8)}


@check
def another_position_is_refused(place: Place) -> None:
    """An expected position that differs in any part is refused with the stored one, and the batch leaves nothing."""
    store, zombie = place.store(), place.store()
    store.apply(0, None, at(3), logged([vote(1)]))
    for wrong in (None, at(2), at(4), at(3, topic="another"), at(3, epoch=2)):
        with pytest.raises(PositionMoved) as refusal:
            zombie.apply(0, wrong, at(9), logged([vote(2), vote(3)], 3))
        assert refusal.value.stored == at(3)
    with pytest.raises(PositionMoved) as refusal:
        zombie.apply(1, at(3), at(9), logged([vote(4)]))
    assert refusal.value.stored is None
    assert scanned(place.reader(), 0, 9).keys() == {id_of(1)}
    assert scanned(place.reader(), 1, 9) == {}
    assert store.positions([0, 1]) == {0: at(3), 1: None}


@check
def of_many_writers_one_wins(place: Place) -> None:
    """Of writers that move one position at once one does, at the beginning as later; the others are refused."""
    for expected, following in ((None, at(2)), (at(2), at(4))):
        stores = [place.store() for _ in range(4)]
        votes = logged([vote(following.offset), vote(following.offset + 1)], following.offset - 2)
        outcomes = _at_once([partial(store.apply, 0, expected, following, votes) for store in stores])
        won = [one for one in outcomes if isinstance(one, Applied)]
        assert won == [Applied({GT: 2}, {})]
        assert [one.stored for one in outcomes if isinstance(one, PositionMoved)] == [following] * 3
        for store in stores:
            store.close()
    assert len(scanned(place.reader(), 0, 4)) == 4


def _at_once(calls: Sequence[Callable[[], object]]) -> list[object]:
    barrier, outcomes = threading.Barrier(len(calls)), []

    def run(call: Callable[[], object]) -> None:
        barrier.wait(10)
        try:
            outcomes.append(call())
        except Exception as error:  # noqa: BLE001 - the caller looks at it
            outcomes.append(error)

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


@check
def the_latest_are_the_newest_first(place: Place) -> None:
    """The latest votes come by stamp and then id, newest first, of one contest, and no more than asked for."""
    stamps = [5, 9, 1, 9, 7, 9, 3, 7]
    votes = [vote(n, cast_at=START + stamp) for n, stamp in enumerate(stamps)]
    place.store().apply(0, None, at(9), logged([*votes, vote(99, contest=SV)]))
    reader = place.reader()
    order = [id_of(n) for n in (5, 3, 1, 7, 4, 0, 6, 2)]
    for limit in (1, 2, 5, 8, 100):
        assert [v.id for v in reader.latest(GT, limit)] == order[:limit]
    assert list(reader.latest(GT, 0)) == []
    assert [v.id for v in reader.latest(SV, 3)] == [id_of(99)]


@check
def the_latest_follow_the_archive(place: Place) -> None:
    """A reader that has answered before sees newer votes in their place, also with equal stamps or late ones."""
    store, reader = place.store(), place.reader()
    batches = [
        [vote(10, cast_at=START + 5), vote(11, cast_at=START + 5)],
        [vote(9, cast_at=START + 5), vote(12, cast_at=START + 5)],  # equal stamps, ids on both sides
        [vote(30, cast_at=START + 1), vote(31, cast_at=START + 4)],  # late ones
        [vote(2, cast_at=START + 9)],
    ]
    seen: list[Vote] = []
    for offset, batch in enumerate(batches):
        store.apply(0, at(offset) if offset else None, at(offset + 1), logged(batch, offset * 10))
        seen += batch
        order = [v.id for v in sorted(seen, key=lambda v: (v.cast_at, v.id), reverse=True)]
        for limit in (1, 2, 3, 50):
            assert [v.id for v in reader.latest(GT, limit)] == order[:limit]


@check
def a_scan_gives_a_partition_below_an_offset(place: Place) -> None:
    """A scan gives every vote of its partition below the stop, once, and none of another or beyond."""
    store = place.store()
    ours, others = logged(vote(n) for n in range(20)), logged(vote(n) for n in range(50, 70))
    store.apply(0, None, at(20), ours)
    store.apply(1, None, at(20), others)
    reader = place.reader()
    for stop in (0, 1, 19, 20, 21):
        assert scanned(reader, 0, stop) == documents(0, ours, stop)
    assert scanned(reader, 1, 10) == documents(1, others, 10)
    assert scanned(reader, 2, 10) == {}


@check
def one_scan_gives_several_partitions(place: Place) -> None:
    """A scan gives every partition that is asked for up to its own stop, and nothing of the others."""
    store, reader = place.store(), place.reader()
    for partition in range(4):
        store.apply(partition, None, at(20), logged(vote(n + 100 * partition) for n in range(20)))
    found = [doc for chunk in reader.scan({0: 20, 1: 7, 3: 0}) for doc in chunk]
    assert sorted((doc.partition, doc.offset) for doc in found) == [
        *((0, offset) for offset in range(20)),
        *((1, offset) for offset in range(7)),
    ]


@check
def a_scan_holds_while_the_archive_grows(place: Place) -> None:
    """A long scan beside a writer still gives every vote below its stop, once, and none beyond."""
    store, reader = place.store(), place.reader()
    many = logged(vote(n) for n in range(0, 11_000, 2))
    store.apply(0, None, at(5_500), many)
    chunks = iter(reader.scan({0: 5_500}))
    found = [doc.id for doc in next(chunks)]
    store.apply(0, at(5_500), at(5_600), logged((vote(n) for n in range(1, 201, 2)), 5_500))
    found += [doc.id for chunk in chunks for doc in chunk]
    assert sorted(found) == sorted(v.id for _, v in many)


@check
def the_archive_outlives_its_writers(place: Place) -> None:
    """What was applied is there for the writers and readers that come after, and applying goes on from there."""
    store = place.store()
    first, later = logged([vote(1), vote(2)]), logged([vote(3)], 2)
    store.apply(0, None, at(2), first)
    store.close()
    store = place.store()
    assert store.positions([0]) == {0: at(2)}
    store.apply(0, at(2), at(3), later)
    store.close()
    assert scanned(place.reader(), 0, 3) == documents(0, [*first, *later])


@check
def a_crash_anywhere_changes_nothing_in_the_end(place: Place) -> None:
    """Wherever a writer dies, resuming at the stored position gives what there would have been without."""
    first = logged([vote(0), vote(1)])
    second = logged([vote(2), vote(0, name="late"), vote(3), vote(2, name="late"), vote(4)], 2)
    stored = []
    for partition, dying in enumerate(place.dying_stores()):
        ours = [_own(partition, batch) for batch in (first, second)]
        healthy = place.store()
        healthy.apply(partition, None, at(2), ours[0])
        with pytest.raises(Unavailable):
            dying.apply(partition, at(2), at(7), ours[1])
        dying.close()
        stored.append(_resume(place, healthy, partition, [*ours[0], *ours[1]]))
        healthy.close()
    assert stored[0] == at(2)
    assert stored[-1] == at(7)


def _own(partition: int, batch: Sequence[LoggedVote]) -> list[LoggedVote]:
    """The same batch with ids of the partition's own."""
    shift = 100 * partition
    return [LoggedVote(o, vote(int(v.rank) - 1 + shift, name=v.name)) for o, v in batch]


def _resume(place: Place, store: ArchiveStore, partition: int, votes: Sequence[LoggedVote]) -> Position | None:
    """Goes on where the position says and holds the outcome against the votes; returns where that was."""
    stored = store.positions([partition])[partition]
    assert stored in (at(2), at(7))
    reader = place.reader()
    assert scanned(reader, partition, stored.offset) == documents(partition, votes, stored.offset)
    if stored != at(7):
        applied = store.apply(partition, stored, at(7), votes[stored.offset :])
        assert sum(applied.counted.values()) + sum(applied.repeated.values()) == 5
        assert applied.repeated[GT] >= 2
    assert store.positions([partition]) == {partition: at(7)}
    assert scanned(reader, partition, 7) == documents(partition, votes)
    reader.close()
    return stored
