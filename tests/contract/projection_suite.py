"""What every projection's store promises, whatever it keeps: standings and archive alike.

Each check is given a maker of places and fails with `AssertionError`; `CHECKS` has all of them. A place that is
made is empty, and is the only one: it may empty those that were made before.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Protocol

import pytest

from aplauso.domain.batch import read_batch
from aplauso.domain.columns import Columns
from aplauso.domain.errors import PositionMoved, Unavailable
from aplauso.domain.position import Position
from aplauso.domain.record import encode
from aplauso.domain.vote import Vote
from aplauso.ports.projection import LoggedVote, LoggedVotes, Prepares, ProjectionStore


class Place(Protocol):
    """Somewhere to keep a projection; makes as many stores over it as are asked for."""

    def store(self) -> ProjectionStore:
        """One more store over the same data."""
        ...

    def dying_stores(self) -> Iterator[ProjectionStore]:
        """Stores each of which dies, with `Unavailable`, at another point of its first application.

        The first dies before it has done anything, the last when everything has been done. What they did
        before they died stays.
        """
        ...

    def state(self, partition: int) -> Any:
        """What readers see of a partition up to its position, without the position; compared by `==`."""
        ...

    def snapshot(self) -> Callable[[], None]:
        """Remembers all data as they are; calling the result puts them back, as from a backup."""
        ...

    def close(self) -> None:
        """Lets go of it all."""
        ...


Places = Callable[[], Place]
Check = Callable[[Places], None]
CHECKS: Final[list[Check]] = []
TOPIC: Final = "hSQvG5NbQ_exampleTopic"
START: Final = 1_790_000_400_000
"""The beginning of a ten-minute slot."""


def check(function: Check) -> Check:
    """Puts a check into `CHECKS`."""
    CHECKS.append(function)
    return function


def at(offset: int, epoch: int = 0, topic: str = TOPIC) -> Position:
    """A position."""
    return Position(topic, offset, epoch)


def keyed_id(number: int) -> str:
    """A numbered id as a key gives it: UUIDv8, growing with the number."""
    return f"{number:08x}-0000-8000-8000-{number * 2_654_435_761 % 2**48:012x}"


def anonymous_id(stamp: int, number: int) -> str:
    """A numbered id as the gateway gives it: UUIDv7 of a stamp in milliseconds."""
    return f"{stamp >> 16:08x}-{stamp & 0xFFFF:04x}-7000-8000-{number:012x}"


def vote(number: int, **fields: Any) -> Vote:
    """A numbered vote: of three bands with two albums each, in two contests, half of them anonymous."""
    stamp = START + number
    band, album = f"banda {number % 3}", f"disco {number % 2}"
    values: dict[str, Any] = {
        "id": keyed_id(number) if number % 2 else anonymous_id(stamp, number),
        "contest": "bandas-gt" if number % 5 else "bandas-sv",
        "name": band.title(), "album": album.upper(), "year": 1990 + number % 30, "rank": 1 + number % 10,
        "cast_at": stamp, "band": band, "record": album,
    }  # fmt: skip
    return Vote(**(values | fields))


def log_of(votes: Sequence[Vote]) -> list[LoggedVote]:
    """The votes as they lie in a partition, from offset 0."""
    return [LoggedVote(offset, entry) for offset, entry in enumerate(votes)]


def log(size: int) -> list[LoggedVote]:
    """A partition's log; every seventh record repeats the one five before it."""
    return log_of([vote(number - 5 if number % 7 == 6 else number) for number in range(size)])


def in_columns(records: Sequence[LoggedVote]) -> LoggedVotes:
    """The votes of a stretch of a log as a projection hands them on."""
    votes = [entry.vote for entry in records]
    columns = read_batch([each.id.encode() for each in votes], [encode(each) for each in votes], 0, 1)
    assert isinstance(columns, Columns)
    return LoggedVotes([entry.offset for entry in records], columns)


def apply(store: ProjectionStore, records: Sequence[LoggedVote], start: int, stop: int, partition: int = 0) -> Any:
    """Applies a stretch of a log that begins at offset 0."""
    return store.apply(partition, at(start) if start else None, at(stop), records[start:stop])


def follow(store: ProjectionStore, records: Sequence[LoggedVote], size: int = 7, partition: int = 0) -> None:
    """Brings a partition from wherever it stands to its log's end, as a projection does."""
    here = store.positions([partition])[partition]
    while (start := here.offset if here else 0) < len(records):
        there = at(min(start + size, len(records)))
        store.apply(partition, here, there, records[start : there.offset])
        here = there


def undisturbed(places: Places, records: Sequence[LoggedVote]) -> Any:
    """A partition's state when nothing went wrong."""
    place = places()
    follow(place.store(), records)
    state = place.state(0)
    place.close()
    return state


@check
def the_position_moves_with_its_batch(places: Places) -> None:
    """Each application leaves the position that it was given, all three parts of it."""
    store = places().store()
    records = log(9)
    assert store.positions([0]) == {0: None}
    for before, after in ((None, at(3, 5)), (at(3, 5), at(6, 7)), (at(6, 7), at(9, -1))):
        store.apply(0, before, after, records[before.offset if before else 0 : after.offset])
        assert store.positions([0]) == {0: after}


@check
def another_position_is_refused(places: Places) -> None:
    """Anything but the stored position is refused, with the stored one, and changes nothing."""
    place = places()
    store, records = place.store(), log(10)
    with pytest.raises(PositionMoved) as refused:
        store.apply(0, at(4), at(6), records[4:6])
    assert refused.value.stored is None
    assert store.positions([0]) == {0: None}
    assert place.state(0) == place.state(1)
    apply(store, records, 0, 5)
    state = place.state(0)
    for wrong in (None, at(4), at(6), at(5, 1), at(5, -1), at(5, 0, "another")):
        with pytest.raises(PositionMoved) as refused:
            store.apply(0, wrong, at(10), records[5:])
        assert refused.value.stored == at(5)
        assert store.positions([0]) == {0: at(5)}
        assert place.state(0) == state


@check
def columns_are_applied_as_the_votes_that_they_hold(places: Places) -> None:
    """Votes in columns, made ready before their turn or not, leave what a list of them leaves; making ready nothing."""
    records = log(120)
    expected = undisturbed(places, records)
    place = places()
    store, batches = place.store(), [in_columns(records[first : first + 40]) for first in (0, 40, 80)]
    apply(store, records, 0, 0)
    empty = place.state(0)
    if isinstance(store, Prepares):
        for batch in batches[:2]:
            store.prepare(0, batch)
    assert place.state(0) == empty
    for batch in batches:
        first = batch.offsets[0]
        applied = store.apply(0, at(first), at(first + 40), batch)
        assert sum([*applied.counted.values(), *applied.repeated.values()]) == 40
    assert place.state(0) == expected


@check
def an_empty_batch_moves_the_position(places: Places) -> None:
    """A stretch of the log without a vote in it is gone through as any other."""
    place = places()
    store, records = place.store(), log(6)
    store.apply(0, None, at(2), [])
    assert store.positions([0]) == {0: at(2)}
    store.apply(0, at(2), at(6), records[2:])
    state = place.state(0)
    applied = store.apply(0, at(6), at(9, 3), [])
    assert (applied.counted, applied.repeated) == ({}, {})
    assert store.positions([0]) == {0: at(9, 3)}
    assert place.state(0) == state


@check
def the_first_of_an_id_is_the_vote(places: Places) -> None:
    """A record of an id that was there before changes nothing: in its batch, in a later one, after a reopening."""
    plain = [vote(number) for number in range(6)]
    others = [vote(9, id=first.id, contest=first.contest, cast_at=START - 9) for first in plain]
    records = log_of([*plain, *others[:3], *others[3:], *others])
    place = places()
    store = place.store()
    assert sum(apply(store, records, 0, 9).counted.values()) == 6
    state = place.state(0)
    assert apply(store, records, 9, 12).counted == {}
    store.close()
    assert apply(place.store(), records, 12, 18).counted == {}
    assert place.state(0) == state == undisturbed(places, records[:6])


@check
def stores_come_and_go(places: Places) -> None:
    """A store that is opened anew goes on where another one ended."""
    place, records = places(), log(40)
    for start in range(0, 40, 8):
        store = place.store()
        assert store.positions([0]) == {0: at(start) if start else None}
        apply(store, records, start, start + 8)
        store.close()
    assert place.state(0) == undisturbed(places, records)


@check
def a_crash_anywhere_changes_nothing_in_the_end(places: Places) -> None:
    """Whatever a store had done when it died, going on at the stored position gives what there would have been."""
    place, records, crashes = places(), log(24), 0
    for dying in place.dying_stores():
        store, crashes = place.store(), crashes + 1
        here = store.positions([0])[0]
        start = here.offset if here else 0
        more = log(start + 8)
        with pytest.raises(Unavailable):
            dying.apply(0, here, at(start + 6), more[start : start + 6])
        follow(store, more, size=5)
        records = more
    assert crashes >= 2
    state = place.state(0)
    assert state == undisturbed(places, records)


@check
def a_crash_of_the_first_batch_changes_nothing(places: Places) -> None:
    """The same holds for a partition that had no position yet."""
    records = log(12)
    expected = undisturbed(places, records)
    place = places()
    for partition, dying in enumerate(place.dying_stores()):
        with pytest.raises(Unavailable):
            dying.apply(partition, None, at(6), records[:6])
        follow(place.store(), records, partition=partition)
        assert place.state(partition) == expected


@check
def a_zombie_is_refused(places: Places) -> None:
    """A store that lost its partition cannot apply the batch that it had in hand, once another has gone on."""
    place, records = places(), log(30)
    zombie, heir = place.store(), place.store()
    apply(zombie, records, 0, 10)
    apply(heir, records, 10, 30)
    state = place.state(0)
    with pytest.raises(PositionMoved) as refused:
        apply(zombie, records, 10, 20)
    assert refused.value.stored == at(30)
    assert place.state(0) == state == undisturbed(places, records)


@check
def partitions_stand_alone(places: Places) -> None:
    """What happens in one partition is not seen in another."""
    place = places()
    store = place.store()
    one, other = log(12), log_of([vote(100 + number) for number in range(5)])
    nothing = place.state(1)
    follow(store, one, partition=0)
    follow(store, other, partition=3)
    assert store.positions([0, 1, 3]) == {0: at(12), 1: None, 3: at(5)}
    assert place.state(1) == nothing
    states = place.state(0), place.state(3)
    assert states[0] == undisturbed(places, one)
    assert states[1] == undisturbed(places, other)


@check
def an_older_snapshot_catches_up(places: Places) -> None:
    """Data put back from a backup are brought to the log's end by going on at their own position."""
    place, records = places(), log(40)
    apply(place.store(), records, 0, 13)
    put_back = place.snapshot()
    apply(place.store(), records, 13, 40)
    state = place.state(0)
    put_back()
    store = place.store()
    assert store.positions([0]) == {0: at(13)}
    assert place.state(0) != state
    follow(store, records, size=9)
    assert place.state(0) == state
