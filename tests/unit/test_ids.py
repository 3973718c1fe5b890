"""Ids of anonymous votes."""

import time
import uuid
from collections import Counter

from aplauso.adapters.system.ids import FRESH, MOMENT, MOST, SteeredIds
from aplauso.domain.record import UUID, is_anonymous, partition_of, partitions_of

PARTITIONS = 12


class Hand:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def partition(vote_id: str) -> int:
    return partition_of(vote_id.encode(), PARTITIONS)


def test_ids_are_anonymous_of_this_moment_and_all_different() -> None:
    """Each is another UUIDv7 with the time of its making inside."""
    ids = SteeredIds(PARTITIONS)
    before = time.time_ns() // 1_000_000
    given = [ids() for _ in range(2_000)]
    after = time.time_ns() // 1_000_000
    assert len(set(given)) == len(given)
    assert all(is_anonymous(each) and before <= uuid.UUID(each).int >> 80 <= after for each in given)


def test_ids_of_one_moment_lie_in_one_partition() -> None:
    """As long as the moment lasts, and in another one when it is over."""
    clock = Hand()
    ids = SteeredIds(PARTITIONS, clock)
    [first] = {partition(ids()) for _ in range(MOST // 2)}
    clock.seconds += MOMENT / 2
    assert {partition(ids()) for _ in range(MOST // 2)} == {first}
    clock.seconds += MOMENT
    [second] = {partition(ids()) for _ in range(MOST)}
    assert second != first


def test_a_rush_of_votes_is_shared_by_all_partitions() -> None:
    """However many ids are asked for in one moment, none has more in a row than a batch, and few are made in vain."""
    ids = SteeredIds(PARTITIONS, Hand())
    given = [partition(ids()) for _ in range(MOST * PARTITIONS)]
    assert Counter(given) == Counter(dict.fromkeys(range(PARTITIONS), MOST))
    assert sum(map(len, ids._ready)) < MOST * PARTITIONS


def test_every_partition_gets_as_much_as_the_others() -> None:
    """Within as many moments as there are partitions each has exactly one, in no fixed order."""
    clock = Hand()
    ids = SteeredIds(PARTITIONS, clock)
    rounds = []
    for _ in range(8):
        order = []
        for _ in range(PARTITIONS):
            clock.seconds += MOMENT
            order.append(partition(ids()))
        rounds.append(order)
    assert all(Counter(order) == Counter(range(PARTITIONS)) for order in rounds)
    assert len(set(map(tuple, rounds))) > 1


def test_an_id_that_was_kept_is_not_given_when_it_has_grown_old() -> None:
    """What is kept of other partitions is thrown away after a second, whoever comes then."""
    clock = Hand()
    ids = SteeredIds(PARTITIONS, clock)
    for _ in range(500):
        ids()
    old = {each for kept in ids._ready for each in kept}
    assert old
    clock.seconds += FRESH + MOMENT
    given = set()
    for _ in range(PARTITIONS):
        given |= {ids() for _ in range(MOST)}
        clock.seconds += MOMENT
    assert not given & old


def test_about_one_id_is_made_for_each_that_is_given() -> None:
    """At a steady pace what is made for one partition is given in its own moment."""
    clock = Hand()
    ids = SteeredIds(PARTITIONS, clock)
    made = 0
    make = ids._make

    def counted(count: int) -> None:
        nonlocal made
        made += count
        make(count)

    ids._make = counted  # type: ignore[method-assign]
    for _ in range(20_000):
        ids()
        clock.seconds += MOMENT / 200
    assert made < 20_000 * 1.25


def test_a_log_of_one_partition_takes_any_id() -> None:
    """Nothing is made in vain."""
    ids = SteeredIds(1)
    given = [ids() for _ in range(100)] + [each.decode() for each in ids.many(100)]
    assert len(set(given)) == 200
    assert all(map(UUID.fullmatch, given))
    assert all(map(is_anonymous, given))
    assert ids._ready == [[]]


def test_many_ids_are_those_of_so_many_calls() -> None:
    """They are of one partition, 256 at most, then of another; each partition gets as much as any other."""
    ids = SteeredIds(PARTITIONS, Hand())
    first, rest = ids.many(MOST // 2), ids.many(MOST * PARTITIONS - MOST // 2)
    given = [each.decode() for each in first + rest]
    assert len(set(given)) == len(given) == MOST * PARTITIONS
    assert all(map(is_anonymous, given))
    runs = [{partition(each) for each in given[at : at + MOST]} for at in range(0, len(given), MOST)]
    assert sorted(map(tuple, runs)) == [(at,) for at in range(PARTITIONS)]
    assert sum(map(len, ids._ready)) < MOST * PARTITIONS
    assert ids.many(0) == []


def test_single_ids_and_many_share_a_moment() -> None:
    """A single vote's id lies where the batch's of the same moment do, and none is given twice."""
    ids = SteeredIds(PARTITIONS, Hand())
    given = [ids()] + [each.decode() for each in ids.many(10)] + [ids()]
    assert len({partition(each) for each in given}) == 1
    assert len(set(given)) == 12


def test_partitions_of_many_are_those_of_each() -> None:
    """Keys looked at together lie where each lies alone, in a log of one partition too."""
    keys = SteeredIds(1).many(50)
    for partitions in (1, 2, PARTITIONS):
        assert partitions_of(keys, partitions) == [partition_of(key, partitions) for key in keys]
