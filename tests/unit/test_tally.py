"""The fold: the same in every order of merging, in batches of every size, and each id once."""

import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aplauso.domain.tally import (
    SLOT_MS,
    AlbumTally,
    BandTally,
    Contests,
    Memory,
    PartitionTally,
    Spelling,
    count,
    is_forgotten,
    merge,
    slot_of,
    standings,
)
from aplauso.domain.vote import Vote
from unit.fakes import NOW, a_vote, anonymous_id, keyed_id, votes_strategy

VOTES = st.lists(votes_strategy(), max_size=40)
SLOT = NOW // SLOT_MS
START = SLOT * SLOT_MS
"""The first moment of a slot."""


def by_hand(votes: list[Vote]) -> Contests:
    """Standings counted in the plainest way: group, add up, take the least."""
    contests: Contests = {}
    for contest, band in {(vote.contest, vote.band) for vote in votes}:
        ours = [vote for vote in votes if (vote.contest, vote.band) == (contest, band)]
        albums = {
            record: AlbumTally(
                sum(vote.record == record for vote in ours),
                min(Spelling(vote.cast_at, vote.id, vote.album) for vote in ours if vote.record == record),
            )
            for record in {vote.record for vote in ours}
        }
        shown = min(Spelling(vote.cast_at, vote.id, vote.name) for vote in ours)
        tally = BandTally(len(ours), sum(vote.rank for vote in ours), shown, albums)
        contests.setdefault(contest, {})[band] = tally
    return contests


@given(VOTES)
def test_counting_is_grouping_and_adding_up(votes: list[Vote]) -> None:
    """The standings are what a plain grouping gives: votes, sums of ranks, least spellings, albums."""
    assert count(votes) == by_hand(votes)


@given(VOTES, st.randoms(use_true_random=False))
def test_the_order_of_votes_changes_nothing(votes: list[Vote], random: object) -> None:
    """New votes give the same standings in every order, shown spellings included."""
    shuffled = votes.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert count(shuffled) == count(votes)


@given(VOTES, st.lists(st.integers(0, 3), min_size=40, max_size=40), st.permutations(range(4)))
def test_merging_is_the_same_in_every_order(votes: list[Vote], places: list[int], order: list[int]) -> None:
    """Votes spread over partitions in any way, and merged in any order, give the standings of all of them."""
    parts = [count(vote for vote, place in zip(votes, places, strict=False) if place == part) for part in range(4)]
    before = [count([], part) for part in map(_copy, parts)]
    assert merge(parts[part] for part in order) == count(votes)
    assert merge([merge(parts[:2]), merge(parts[2:])]) == count(votes)
    assert parts == before, "merging changes none of its parts"


def _copy(contests: Contests) -> Contests:
    return merge([contests])


@given(VOTES, st.lists(st.integers(0, 40), max_size=6))
def test_batch_boundaries_never_change_the_fold(votes: list[Vote], cuts: list[int]) -> None:
    """A partition folded in batches of any size gives the same standings, memory and numbers."""
    whole, parts = PartitionTally(), PartitionTally()
    together = whole.fold(votes)
    borders = [0, *sorted(min(cut, len(votes)) for cut in cuts), len(votes)]
    apart = [vote for a, b in itertools.pairwise(borders) for vote in parts.fold(votes[a:b])]
    assert together == apart
    assert (whole.contests, whole.counted, whole.repeated) == (parts.contests, parts.counted, parts.repeated)
    assert (whole.memory.keyed, whole.memory.slots, whole.memory.time) == (
        parts.memory.keyed, parts.memory.slots, parts.memory.time,
    )  # fmt: skip


@given(VOTES)
def test_of_two_votes_with_one_keyed_id_the_first_counts(votes: list[Vote]) -> None:
    """A keyed id counts once, with the body of its first record, however far apart its copies are."""
    keyed = [vote for vote in votes if vote.id[14] == "8"]
    tally = PartitionTally()
    new = tally.fold(keyed)
    firsts = {vote.id: vote for vote in reversed(keyed)}
    assert Counter(new) == Counter(firsts.values())
    assert (tally.counted, tally.repeated) == (len(firsts), len(keyed) - len(firsts))
    assert tally.contests == count(new)


def test_a_repeated_vote_moves_nothing() -> None:
    """A copy, or another body under the same id, changes neither ranks nor albums nor spelling."""
    tally = PartitionTally()
    first = a_vote(1, "Estrés", vote_id=keyed_id(1))
    tally.fold([first])
    tally.fold([first, a_vote(1, "ESTRÉS", "Other", rank=1, at=NOW - 5, vote_id=keyed_id(1))])
    assert tally.contests == count([first])
    assert (tally.counted, tally.repeated) == (1, 2)


@pytest.mark.parametrize(
    ("later", "forgotten"),
    [
        (START, False),
        (START + SLOT_MS - 1, False),
        (START + SLOT_MS, False),
        (START + 2 * SLOT_MS - 1, False),
        (START + 2 * SLOT_MS, True),
        (START + 100 * SLOT_MS, True),
    ],
)
def test_an_anonymous_id_is_remembered_until_two_slots_further(later: int, forgotten: bool) -> None:
    """An anonymous id is remembered through its slot and the next one, to the last millisecond."""
    memory = Memory()
    vote = a_vote(1, at=START)
    assert memory.is_new(vote)
    assert memory.is_new(a_vote(2, at=later, vote_id=keyed_id(2)))
    assert memory.is_new(vote) is forgotten
    assert (SLOT in memory.slots) is not forgotten, "a slot that is forgotten takes no memory"


def test_the_last_id_of_a_slot_is_remembered_as_long_as_the_first() -> None:
    """What counts is the slot, not the age: an id of a slot's last millisecond goes with the slot."""
    memory = Memory()
    last = a_vote(1, at=START + SLOT_MS - 1)
    assert memory.is_new(last)
    memory.is_new(a_vote(2, at=START + 2 * SLOT_MS - 1))
    assert not memory.is_new(last)
    memory.is_new(a_vote(3, at=START + 2 * SLOT_MS))
    assert memory.is_new(last)


def test_the_partitions_time_never_goes_back() -> None:
    """A late vote with an early stamp brings no forgotten slot back."""
    memory = Memory()
    memory.is_new(a_vote(1, at=START + 5 * SLOT_MS))
    early = a_vote(2, at=START)
    assert memory.is_new(early)
    assert memory.is_new(early), "its slot is gone already, so it is not kept"
    assert memory.time == START + 5 * SLOT_MS
    assert list(memory.slots) == [SLOT + 5]


def test_a_keyed_id_is_remembered_for_ever() -> None:
    """A keyed id is told apart however much time has passed in between."""
    memory = Memory()
    vote = a_vote(1, vote_id=keyed_id(1))
    assert memory.is_new(vote)
    memory.is_new(a_vote(2, at=NOW + 1000 * SLOT_MS))
    assert not memory.is_new(vote)


def test_the_slot_comes_from_the_id_and_not_from_the_stamp() -> None:
    """A vote's slot is that of the time inside its id, so that a copy with another stamp meets it."""
    assert slot_of(anonymous_id(1, START)) == SLOT
    assert slot_of(anonymous_id(1, START - 1)) == SLOT - 1
    memory = Memory()
    vote_id = anonymous_id(1, START)
    assert memory.is_new(a_vote(1, at=START, vote_id=vote_id))
    assert not memory.is_new(a_vote(1, at=START + SLOT_MS + 5, vote_id=vote_id))
    assert [is_forgotten(SLOT, START + slots * SLOT_MS) for slots in (-1, 0, 1, 2)] == [False, False, False, True]


def bands(**votes: int) -> dict[str, BandTally]:
    """Bands with so many votes each, all of rank 3 but the first of rank 4."""
    return {
        name: BandTally(number, 3 * number + 1, Spelling(NOW, "id", name.upper()), {}) for name, number in votes.items()
    }


def test_equal_votes_share_a_place_and_the_next_counts_them() -> None:
    """Places go 1, 2, 2, 4; equal votes are in the order of their folded names."""
    lines = standings(bands(d=1, c=5, b=5, a=9))
    assert [(line.place, line.name, line.votes) for line in lines] == [
        (1, "A", 9),
        (2, "B", 5),
        (2, "C", 5),
        (4, "D", 1),
    ]
    assert [line.place for line in standings(bands(a=2, b=2, c=2))] == [1, 1, 1]
    assert standings({}) == ()


def test_means_have_four_decimals() -> None:
    """The mean of the ranks is rounded to four decimals."""
    assert [line.rank_mean for line in standings(bands(a=3, b=7))] == [3.1429, 3.3333]


def test_albums_stand_by_votes_and_then_by_folded_title() -> None:
    """A band's albums are shown most votes first, equal ones by folded title, in their own spelling."""
    votes = [a_vote(n, album=album, at=NOW + n) for n, album in enumerate(["b", "A", "C", "c", "a ", "B", "C"])]
    (line,) = standings(count(votes)["gt"])
    assert [(album.album, album.votes) for album in line.albums] == [("C", 3), ("A", 2), ("b", 2)]


def test_the_shown_spelling_is_that_of_the_earliest_vote() -> None:
    """Of several spellings the one with the least stamp is shown, and of equal stamps the one with the least id."""
    one, two, three = a_vote(3, "ESTRÉS"), a_vote(1, "Estrés"), a_vote(2, "estrés", at=NOW + 1)
    (line,) = standings(count([three, one, two])["gt"])
    assert line.name == "Estrés"
