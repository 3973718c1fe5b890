"""What every standings' store and reader promise: the pure fold, and each look at it in one step.

Each check is given a maker of places, as in `projection_suite`, and fails with `AssertionError`.
"""

import copy
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Final, Protocol

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from aplauso.domain.tally import SLOT_MS, PartitionTally, merge
from aplauso.domain.vote import Vote
from aplauso.ports.standings import StandingsReader, StandingsStore
from contract import projection_suite as projection
from contract.projection_suite import START, anonymous_id, apply, at, follow, keyed_id, log, log_of, vote


class Place(projection.Place, Protocol):
    """Somewhere to keep standings. It is read as having four partitions."""

    def store(self) -> StandingsStore:
        """One more store over the same data."""
        ...

    def reader(self) -> StandingsReader:
        """One more reader over the same data; a store has been made before."""
        ...


Places = Callable[[], Place]
Check = Callable[[Places], None]
CHECKS: Final[list[Check]] = []
EXAMPLES: Final = settings(
    max_examples=25,
    deadline=None,
    database=None,
    derandomize=True,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
GT: Final = "bandas-gt"
HOSTILE: Final = (
    "a", "a\x00b", "a\x00c", "\x00", "1:a", "2:1:a", ":", "🎸🤘🏽", "\u202eevom\u202c", "$x.{y}", "<b>", "=1+1",
    "\x1b[31mred", "'; DROP", "\ufeffBOM", "\ud7ff\ue000\uffff", "x" * 600, "𝕬" * 600, "a\r\n\tb", "\u2028", "%s", "",
)  # fmt: skip


def check(function: Check) -> Check:
    """Puts a check into `CHECKS`."""
    CHECKS.append(function)
    return function


def folded(votes: Sequence[Vote]) -> PartitionTally:
    """The measure: the votes folded from the beginning."""
    tally = PartitionTally()
    tally.fold(votes)
    return tally


def equals_the_fold(places: Places, votes: Sequence[Vote], sizes: Sequence[int]) -> None:
    """Applies the votes in batches of these sizes, then of one; holds each step against the pure fold."""
    place, tally, records, start = places(), PartitionTally(), log_of(votes), 0
    store = place.store()
    sizes = [*sizes, *[1] * len(votes)]
    while start < len(records):
        stop = min(start + sizes.pop(0), len(records))
        new = Counter(entry.contest for entry in tally.fold(votes[start:stop]))
        applied = apply(store, records, start, stop)
        repeated = Counter(entry.contest for entry in votes[start:stop]) - new
        assert (applied.counted, applied.repeated) == (dict(new), dict(repeated))
        start = stop
    reader = place.reader()
    assert reader.partition(0) == (at(len(votes)) if votes else None, tally.contests)
    for contest, bands in tally.contests.items():
        assert reader.read(contest) == bands
    place.close()


# Stamps and the times inside anonymous ids crowd around the edges of ten-minute slots.
_edges = st.builds(
    lambda slot, off: START + slot * SLOT_MS + off, st.integers(0, 4), st.sampled_from([-2, -1, 0, 1, 2, 300_000])
)
_ids = st.one_of(
    st.builds(keyed_id, st.integers(0, 12)), st.builds(anonymous_id, _edges, st.integers(0, 3))
)  # fmt: skip
_votes = st.builds(
    lambda vote_id, contest, stamp, name, album, rank: vote(
        0, id=vote_id, contest=contest, cast_at=stamp, name=name, album=album, rank=rank,
        band=name.casefold(), record=album.casefold(),
    ),
    _ids, st.sampled_from(["bandas-gt", "bandas-sv"]), _edges, st.sampled_from(["Uno", "UNO", "uno", "Dos"]),
    st.sampled_from(["A", "a", "B"]), st.integers(1, 10),
)  # fmt: skip


@check
def any_votes_give_the_fold(places: Places) -> None:
    """Whatever the votes, the batches and the repeats, the standings equal the pure fold."""

    @EXAMPLES
    @given(st.lists(_votes, max_size=40), st.lists(st.integers(0, 12), max_size=8))
    def holds(votes: list[Vote], sizes: list[int]) -> None:
        equals_the_fold(places, votes, [size for size in sizes if size])

    holds()


@check
def many_votes_give_the_fold(places: Places) -> None:
    """The standings equal the fold for thousands of votes, a tenth of them repeated, in large batches too."""
    votes = [vote(number - 333 if number > 333 and number % 10 == 3 else number) for number in range(4_000)]
    equals_the_fold(places, votes, [1, 900, 100, 1_499, 1_480])


@check
def keys_are_remembered_for_ever(places: Places) -> None:
    """The id of a key is known however much later it comes again."""
    first = vote(1, id=keyed_id(1))
    late = vote(2, id=keyed_id(2), cast_at=START + 500 * SLOT_MS)
    again = vote(3, id=keyed_id(1), cast_at=START + 501 * SLOT_MS)
    equals_the_fold(places, [first, late, again], [1, 1, 1])
    equals_the_fold(places, [first, late, again], [3])


@check
def anonymous_ids_are_remembered_by_slot(places: Places) -> None:
    """An anonymous id is known until the partition's time is two slots further, to the millisecond, then never."""
    id_at_edge = anonymous_id(START + SLOT_MS - 1, 7)
    for beyond, counted in ((2 * SLOT_MS - 1, 2), (2 * SLOT_MS, 3)):
        passing = vote(1, id=keyed_id(1), cast_at=START + beyond)
        votes = [vote(0, id=id_at_edge), passing, vote(2, id=id_at_edge, cast_at=START)]
        assert folded(votes).counted == counted
        equals_the_fold(places, votes, [3])
        equals_the_fold(places, votes, [1, 1, 1])
        equals_the_fold(places, [*votes, votes[2], votes[0]], [1, 2, 2])


@check
def forgetting_follows_the_order_of_the_log(places: Places) -> None:
    """A later stamp in a batch forgets nothing for the records before it."""
    old = anonymous_id(START, 7)
    later = vote(1, id=keyed_id(1), cast_at=START + 3 * SLOT_MS)
    votes = [vote(0, id=old), vote(0, id=old, cast_at=START + 1), later, vote(2, id=old), vote(2, id=old)]
    assert folded(votes).counted == 4
    for sizes in ([5], [1, 4], [2, 3], [3, 2]):
        equals_the_fold(places, votes, sizes)


@check
def a_slot_may_come_back(places: Places) -> None:
    """Ids with times far apart, before or after the stamps, are told apart slot by slot."""
    times = [START + slot * SLOT_MS for slot in (0, 900, 1, 901, 0, 900, -50, 902, 5_000, 900)]
    votes = [vote(number, id=anonymous_id(moment, 1), cast_at=START) for number, moment in enumerate(times)]
    equals_the_fold(places, [*votes, vote(50, cast_at=START + 901 * SLOT_MS), *votes], [4, 8])


@check
def ids_that_overlap_are_apart(places: Places) -> None:
    """An id made of the end of one and the beginning of the next is neither of them."""
    one, two = "11111111-2222-8333-8444-555555558666", "87777777-8888-8999-8aaa-bbbbbbbbbbbb"
    between = "84445555-5555-8666-8777-777788888999"
    assert between.replace("-", "") in (one + two).replace("-", "")
    equals_the_fold(places, [vote(n, id=name) for n, name in enumerate([one, two, between, between])], [2, 1, 1])


@check
def the_least_stamp_and_id_give_the_spelling(places: Places) -> None:
    """A band and an album are shown as the vote of the least (stamp, id) spells them, in whatever order they come."""
    spelt = [
        vote(0, id=keyed_id(number), contest=GT, cast_at=stamp, name=text, band="b", album=text, record="r")
        for number, stamp, text in ((5, START, "B5"), (9, START - 1, "B9"), (2, START, "B2"), (7, START - 1, "b7"),
                                    (8, START - 1, "B8"), (1, START + 5, "B1"))
    ]  # fmt: skip
    for votes in (spelt, spelt[::-1], spelt[3:] + spelt[:3]):
        assert folded(votes).contests[GT]["b"].shown.text == "b7"
        equals_the_fold(places, votes, [6])
        equals_the_fold(places, votes, [1, 1, 1, 1, 1, 1])
        equals_the_fold(places, [*votes, vote(0, id=votes[0].id, contest=GT, cast_at=0, band="b")], [2, 5])


@check
def repeats_are_told_by_contest(places: Places) -> None:
    """An application says of each contest how many votes were new and how many repeated."""
    store = places().store()
    votes = [vote(n, contest=contest) for n, contest in enumerate(["uno", "dos", "uno", "tres"])]
    applied = store.apply(0, None, at(8), log_of([*votes, *votes[:3], votes[0]]))
    assert applied == ({"uno": 2, "dos": 1, "tres": 1}, {"uno": 3, "dos": 1})


@check
def hostile_texts_are_text(places: Places) -> None:
    """Names and albums of any characters stay apart, and come back as they were."""
    pairs = [(band, album) for band in HOSTILE for album in HOSTILE[::3]]
    votes = [
        vote(n, contest=GT, name=band or "-", album=album or "-", band=band, record=album)
        for n, (band, album) in enumerate(pairs)
    ]
    equals_the_fold(places, votes, [50])


@check
def a_contest_is_read_over_all_partitions(places: Places) -> None:
    """A contest's tallies are the sum over partitions; of one that nobody voted in there are none."""
    place = places()
    store, logs = place.store(), {p: [vote(100 * p + n) for n in range(30)] for p in (0, 1, 3)}
    for partition, votes in logs.items():
        apply(store, log_of(votes), 0, 30, partition)
    reader = place.reader()
    whole = merge([copy.deepcopy(folded(votes).contests) for votes in logs.values()])
    for contest in ("bandas-gt", "bandas-sv"):
        assert reader.read(contest) == whole[contest]
    assert reader.read("nobody-voted-here") == {}
    assert reader.partition(3) == (at(30), folded(logs[3]).contests)
    assert reader.partition(2) == (None, {})


@check
def a_reader_keeps_up(places: Places) -> None:
    """A reader that has read before reads what there is now, whatever has been counted, or put back, in between."""
    place = places()
    store, reader = place.store(), place.reader()
    logs: dict[int, list[Vote]] = {0: [], 2: []}

    def count(votes: Sequence[Vote], size: int, partition: int = 0) -> None:
        logs[partition] += votes
        follow(store, log_of(logs[partition]), size, partition)

    def look() -> None:
        whole = merge([copy.deepcopy(folded(votes).contests) for votes in logs.values()])
        for contest in (GT, "bandas-sv"):
            assert reader.read(contest) == whole.get(contest, {})

    look()
    votes = [vote(number) for number in range(400)]
    for size in (30, 1):
        count(votes[:30], size)
        look()
        count(votes[30:60], size, 2)
        votes = votes[60:]
        look()
    early = reader.read(GT)
    kept = copy.deepcopy(early)
    count(votes[:150], 2)  # many batches that nobody has looked at
    look()
    count([*votes[:20], vote(401, cast_at=START - 5, contest=GT), *votes[100:180]], 60)  # repeats, an earlier spelling
    look()
    named = [vote(1_000 + number, contest=GT, name=f"Banda {number}", band=f"b{number}") for number in range(400)]
    for some in (votes[180:183], named, votes[183:186]):  # a large batch between small ones
        count(some, 400)
    look()
    later = START + 3 * SLOT_MS
    count([vote(2_000, cast_at=later), *votes[:4], vote(2_001, cast_at=later, contest="bandas-hn")], 10)  # slots end
    look()
    put_back, before = place.snapshot(), len(logs[0])
    count([vote(number) for number in range(3_000, 3_050)], 9)
    look()
    put_back()
    store, logs[0] = place.store(), logs[0][:before]
    look()
    count([vote(number) for number in range(3_000, 3_050)], 5)
    look()
    assert early == kept


@check
def positions_can_be_read(places: Places) -> None:
    """A reader gives the position of each partition that has one, and of no other."""
    place = places()
    store, reader = place.store(), place.reader()
    assert dict(reader.partitions()) == {}
    store.apply(1, None, at(3, 2), [])
    store.apply(3, None, at(7, -1, "other"), log_of([vote(1)]))
    assert dict(reader.partitions()) == {1: at(3, 2), 3: at(7, -1, "other")}


@check
def the_version_tells_of_changes(places: Places) -> None:
    """The version changes with every application of votes, and stays while there is none."""
    place = places()
    store, reader, records = place.store(), place.reader(), log(40)
    versions = [reader.version()]
    for start in range(0, 40, 10):
        apply(store, records, start, start + 10)
        versions.append(reader.version())
        assert reader.version() == versions[-1]
        reader.read(GT)
        assert reader.version() == versions[-1]
    assert all(before != after for before, after in pairwise(versions))


@check
def a_partition_is_read_in_one_step(places: Places) -> None:
    """Position and counts that are read together belong together, while a writer goes on."""
    place = places()
    writer, reader, records = place.store(), place.reader(), log_of([vote(n) for n in range(1_200)])
    stop, errors = threading.Event(), list[BaseException]()

    def write() -> None:
        try:
            for start in range(0, 1_200, 4):
                apply(writer, records, start, start + 4)
        except BaseException as error:  # noqa: BLE001 - handed to the test's own thread
            errors.append(error)
        finally:
            stop.set()

    thread = threading.Thread(target=write)
    thread.start()
    deadline, looks = time.monotonic() + 60, 0
    while time.monotonic() < deadline and (not stop.is_set() or looks < 3):
        seen: Any = reader.partition(0)
        total = sum(band.votes for bands in seen.contests.values() for band in bands.values())
        albums = sum(
            album.votes for bands in seen.contests.values() for band in bands.values() for album in band.albums.values()
        )  # fmt: skip
        if not (seen.position.offset if seen.position else 0) == total == albums:
            break
        looks += 1
    thread.join()
    assert not errors, errors
    assert looks >= 3
    assert (seen.position.offset if seen.position else 0) == total == albums
    assert reader.partition(0) == (at(1_200), folded([entry.vote for entry in records]).contests)
