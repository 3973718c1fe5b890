"""Lines of several partitions added up: what a reader makes of the bytes that Redis holds."""

from collections.abc import Sequence
from itertools import product

from aplauso.adapters.redis.lines import Lines, changes_and_lines
from aplauso.domain.tally import Contests, count, merge
from aplauso.domain.vote import Vote
from contract.projection_suite import START, keyed_id, vote


def lines_of(votes: Sequence[Vote]) -> tuple[list[bytes], list[bytes]]:
    """The lines of bands and of albums that votes with ids of their own add, each vote a spelling of its own."""
    spellings = [(each.contest, each.band, each.record, each.name, each.album) for each in votes]
    sums = [(1, each.rank, (each.cast_at, each.id)) for each in votes]
    [(_, _, _, of_bands, _, of_albums)], joined = changes_and_lines(["uno"], spellings, sums)
    at, lines = 0, []
    for length in of_bands + of_albums:
        lines.append(joined[at : at + length])
        at += length
    return lines[: len(of_bands)], lines[len(of_bands) :]


def voted(number: int, name: str, album: str, cast_at: int) -> Vote:
    keys = {"band": name.casefold(), "record": album.casefold()}
    rank = number % 10 + 1
    return vote(number, id=keyed_id(number), contest="uno", rank=rank, cast_at=cast_at, name=name, album=album, **keys)


def added(parts: Sequence[Sequence[Vote]]) -> Contests:
    lines = Lines()
    for part in parts:
        lines.add(*lines_of(part))
    return {"uno": lines.tallies()}


def test_spellings_of_several_partitions_are_one_line() -> None:
    """Whatever a partition shows, its votes are one band's and one album's, and whoever came first is shown."""
    parts = [
        [voted(1, "Los Ángeles", "Uno", START), voted(2, "Otra", "Uno", START)],
        [voted(3, "LOS ÁNGELES", "UNO", START - 1)],
        [voted(4, "los ángeles", "uno", START - 1), voted(5, "Los Ángeles", "Dos", START + 1)],
        [voted(6, "Los Ángeles", "Uno", START - 2), voted(7, "Los Ángeles", "UNO", START + 5)],
    ]
    assert added(parts) == merge(map(count, parts))
    assert added(parts[::-1]) == added(parts)


def test_made_up_spellings_are_not_remembered_for_ever() -> None:
    """Thousands of spellings of one band are counted as one, and a reader does not keep an end of a line for each."""
    names = map("".join, product(*zip("abcdefghijkl", "ABCDEFGHIJKL", strict=True)))
    parts = [[voted(n, name, "Uno", START + n % 7)] for n, name in enumerate(names)]
    assert len(parts) == 4_096
    lines = Lines()
    for part in parts:
        lines.add(*lines_of(part))
        assert len(lines._ends) <= 1_010
    assert {"uno": lines.tallies()} == merge(map(count, parts))


def test_no_lines_are_nothing() -> None:
    """A partition without votes adds nothing."""
    lines = Lines()
    lines.add([], [])
    assert lines.tallies() == {}
