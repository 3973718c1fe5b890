"""Step 5: each difference between the log, the standings and the archive is found, and nothing else is."""

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from threading import Event

import pytest
from msgspec import structs

from aplauso.domain.errors import WrongLog
from aplauso.domain.position import Position
from aplauso.domain.record import decode
from aplauso.domain.tally import BandTally, Spelling
from aplauso.domain.vote import Vote
from aplauso.flow.recount import EXAMPLES, Report, recount
from aplauso.flow.refold import ByStretch, Chunk
from aplauso.ports.archive import ArchivedVote
from aplauso.ports.log import Record
from aplauso.ports.projection import LoggedVote
from fakes_archive import FakeArchive, FakeArchiveReader, World, archived
from fakes_log import MemoryReader, MemoryStore
from unit.fakes import NOW, FakeStandings, a_vote, keyed_id, put

PARTITIONS = 2


class System:
    """A log, standings and an archive that agree; with repeats, rejected records and two contests."""

    def __init__(self) -> None:
        self.log = MemoryStore(PARTITIONS)
        self.standings, self.world = FakeStandings(), World()
        self.cast([a_vote(serial, "Alux Nahual", album, rank=serial % 10) for serial, album in enumerate("ABCAB" * 6)])
        self.cast([a_vote(serial, "Estrés", vote_id=keyed_id(serial)) for serial in range(9)])
        self.cast([a_vote(serial, "ESTRÉS", vote_id=keyed_id(serial), at=NOW + 5) for serial in range(4)])
        self.cast([a_vote(serial, contest="mx") for serial in range(100, 107)])
        for partition in range(PARTITIONS):
            self.log.put(partition, b"k", b"garbage")
        self.tally()
        self.archive()

    def cast(self, votes: Sequence[Vote]) -> None:
        """Votes enter the log."""
        for vote in votes:
            put(self.log, vote)

    def logged(self, partition: int, start: int, stop: int) -> list[LoggedVote]:
        """The votes of a stretch of the log."""
        records = self.log.cut(partition, start, stop)
        return [
            LoggedVote(r.offset, decode(r.key, r.value, partition, PARTITIONS))
            for r in records
            if r.value != b"garbage"
        ]

    def tally(self, behind: int = 0) -> None:
        """The tally counts, up to so many records before each partition's end."""
        for partition in range(PARTITIONS):
            self._apply(self.standings, self.standings.stored.get(partition), partition, behind)

    def archive(self, behind: int = 0) -> None:
        """The archive keeps, likewise."""
        for partition in range(PARTITIONS):
            self._apply(FakeArchive(self.world), self.world.positions.get(partition), partition, behind)

    def _apply(
        self, store: FakeStandings | FakeArchive, expected: Position | None, partition: int, behind: int
    ) -> None:
        start, stop = expected.offset if expected else 0, self.log.end(partition) - behind
        following = Position(self.log.topic, stop, 0)
        store.apply(partition, expected, following, self.logged(partition, start, stop))

    def recount(self) -> Report:
        """The log folded again."""
        return recount(MemoryReader(self.log), self.standings, FakeArchiveReader(self.world))

    def band(self) -> BandTally:
        """A band of the live standings."""
        return self.standings.tallies[0].contests["gt"]["alux nahual"]

    def document(self) -> ArchivedVote:
        """A document of the archive."""
        return next(vote for vote in self.world.votes.values() if vote.partition == 0)

    def change(self, **fields: object) -> None:
        """Changes a document of the archive."""
        found = self.document()
        self.world.votes[found.id] = structs.replace(found, **fields)


def test_a_right_system_is_found_right() -> None:
    """A system that agrees with its log has no differences, and the numbers are those of the log."""
    system = System()
    told: list[tuple[int, int]] = []
    report = recount(
        MemoryReader(system.log), system.standings, FakeArchiveReader(system.world), lambda *at: told.append(at)
    )
    assert (report.ok, report.differing, report.differences) == (True, 0, [])
    assert report.topic == system.log.topic
    assert (report.records, report.votes, report.repeated, report.rejected) == (52, 46, 4, 2)
    assert (report.archived, report.behind) == (46, 0)
    assert report.totals == {"gt": 39, "mx": 7}
    assert told[-1] == (52, 52)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_an_empty_system_is_right() -> None:
    """Nothing counted of nothing cast is no difference."""
    report = recount(MemoryReader(MemoryStore(3)), FakeStandings(), FakeArchiveReader(World()))
    assert report.ok
    assert report.records == 0


def _votes(system: System) -> None:
    system.band().votes += 1


def _ranks(system: System) -> None:
    system.band().rank_sum -= 1


def _spelling(system: System) -> None:
    shown = system.band().shown
    system.band().shown = Spelling(shown.cast_at, shown.id, "Alux nahual")


def _album(system: System) -> None:
    system.band().albums["a"].votes += 1


def _album_spelling(system: System) -> None:
    system.band().albums["a"].shown = Spelling(0, "", "a")


def _extra_album(system: System) -> None:
    system.band().albums["zzz"] = system.band().albums["a"]


def _extra_band(system: System) -> None:
    system.standings.tallies[0].contests["gt"]["nobody"] = BandTally(1, 1, Spelling(0, "", "x"), {})


def _missing_band(system: System) -> None:
    del system.standings.tallies[0].contests["gt"]["alux nahual"]


def _extra_contest(system: System) -> None:
    system.standings.tallies[0].contests["sv"] = {"x": BandTally(1, 1, Spelling(0, "", "x"), {})}


def _missing_contest(system: System) -> None:
    del system.standings.tallies[0].contests["mx"]


def _other_log(system: System) -> None:
    system.standings.stored[0] = system.standings.stored[0]._replace(topic="another log")


def _beyond(system: System) -> None:
    system.standings.stored[0] = system.standings.stored[0]._replace(offset=10_000)


def _too_early(system: System) -> None:
    system.standings.stored[0] = system.standings.stored[0]._replace(offset=1)


def _no_position(system: System) -> None:
    del system.standings.stored[0]


def _extra_partition(system: System) -> None:
    system.standings.tallies[7] = system.standings.tallies[0]
    system.standings.stored[7] = system.standings.stored[0]


STANDINGS = {
    _votes: "alux nahual", _ranks: "ranks, albums or spelling", _spelling: "ranks, albums or spelling",
    _album: "ranks, albums or spelling", _album_spelling: "ranks, albums or spelling",
    _extra_album: "ranks, albums or spelling", _extra_band: "'nobody': 1 votes, the log has 0",
    _missing_band: "0 votes, the log has", _extra_contest: "sv: 'x'", _missing_contest: "mx: 'alux nahual'",
    _other_log: "names the log another log", _beyond: "lies beyond the log's end", _too_early: "votes, the log has",
    _no_position: "votes, the log has 0", _extra_partition: "the log has no such partition",
}  # fmt: skip


@pytest.mark.parametrize(("plant", "says"), STANDINGS.items(), ids=lambda each: getattr(each, "__name__", ""))
def test_each_fault_of_the_standings_is_found(plant: Callable[[System], None], says: str) -> None:
    """Whatever in the standings is not what the log says is told, with its partition, and the archive is not blamed."""
    system = System()
    plant(system)
    report = system.recount()
    assert not report.ok
    assert {difference.where for difference in report.differences} == {"standings"}
    assert {difference.partition for difference in report.differences} == {7 if plant is _extra_partition else 0}
    assert says in report.differences[0].what


def _missing(system: System) -> None:
    del system.world.votes[system.document().id]


def _invented(system: System) -> None:
    extra = archived(0, 0, a_vote(999))
    system.world.votes[extra.id] = extra


def _archive_of_another_log(system: System) -> None:
    system.world.positions[0] = system.world.positions[0]._replace(topic="another log")


def _archive_beyond(system: System) -> None:
    system.world.positions[0] = system.world.positions[0]._replace(offset=10_000)


def _archive_of_another_partition(system: System) -> None:
    system.world.positions[7] = system.world.positions[0]


def _changed(**fields: object) -> Callable[[System], None]:
    def plant(system: System) -> None:
        system.change(**fields)

    plant.__name__ = f"_changed_{'_'.join(fields)}"
    return plant


NOT_AS_LOGGED = "is not as the log has it"
ARCHIVE = {
    _missing: "is missing", _invented: "is not in the log, or is there twice",
    _changed(name="Other"): NOT_AS_LOGGED, _changed(album="Other"): NOT_AS_LOGGED,
    _changed(year=1901): NOT_AS_LOGGED, _changed(rank=10): NOT_AS_LOGGED, _changed(cast_at=1): NOT_AS_LOGGED,
    _changed(contest="mx"): NOT_AS_LOGGED, _archive_of_another_log: "names the log another log",
    _archive_beyond: "lies beyond the log's end", _archive_of_another_partition: "the log has no such partition",
}  # fmt: skip


@pytest.mark.parametrize(("plant", "says"), ARCHIVE.items(), ids=lambda each: getattr(each, "__name__", ""))
def test_each_fault_of_the_archive_is_found(plant: Callable[[System], None], says: str) -> None:
    """A document that is missing, invented or changed is told by its id, and the standings are not blamed."""
    system = System()
    plant(system)
    report = system.recount()
    assert not report.ok
    assert {difference.where for difference in report.differences} == {"archive"}
    assert says in report.differences[0].what


def test_a_document_told_twice_is_found() -> None:
    """An archive that shows one vote twice has a vote too many."""

    class Twice(FakeArchiveReader):
        def scan(self, stops: Mapping[int, int]) -> Iterator[Sequence[ArchivedVote]]:
            yield from super().scan(stops)
            yield next(super().scan(stops))[:1]

    system = System()
    report = recount(MemoryReader(system.log), system.standings, Twice(system.world))
    assert [difference.what[36:] for difference in report.differences] == [" is not in the log, or is there twice"]


@pytest.mark.parametrize(("tally", "archive"), [(0, 5), (5, 0), (3, 3), (0, 12), (12, 1)])
def test_each_projection_is_compared_at_its_own_position(tally: int, archive: int) -> None:
    """A tally ahead of the archive, or behind it, is right as far as it has gone, beside a running system."""
    system = System()
    system.cast([a_vote(serial, f"Band {serial % 3}") for serial in range(200, 260)])
    system.cast([a_vote(serial, "Estrés", vote_id=keyed_id(serial)) for serial in range(5, 15)])
    system.tally(tally)
    system.archive(archive)
    report = system.recount()
    assert report.differences == []
    assert report.behind == tally * PARTITIONS
    assert report.votes == sum(part.counted for part in system.standings.tallies.values())


@pytest.mark.parametrize(("tally", "archive"), [(0, 9), (9, 0)])
def test_faults_are_found_when_one_is_ahead_of_the_other(tally: int, archive: int) -> None:
    """A wrong number is found although the other projection stands elsewhere."""
    system = System()
    system.cast([a_vote(serial) for serial in range(200, 260)])
    system.tally(tally)
    system.archive(archive)
    _votes(system)
    _missing(system)
    assert {difference.where for difference in system.recount().differences} == {"standings", "archive"}


def test_documents_beyond_the_position_are_not_archived_yet() -> None:
    """An archive that died between its documents and its position has nothing wrong with it."""
    system = System()
    before = dict(system.world.positions)
    system.cast([a_vote(serial) for serial in range(200, 230)])
    system.archive()
    system.world.positions = before
    report = system.recount()
    assert report.ok
    assert (report.archived, report.behind) == (46, 30)


def test_an_archive_that_has_not_begun_is_no_difference() -> None:
    """Without a position the archive stands at the beginning."""
    system = System()
    system.world.votes.clear()
    system.world.positions.clear()
    assert system.recount().ok


def test_only_the_first_differences_are_told_and_all_are_counted() -> None:
    """An archive that lost everything but its positions gives a number and a few examples."""
    system = System()
    system.world.votes.clear()
    report = system.recount()
    assert report.differing == 46
    assert len(report.differences) == EXAMPLES


def test_the_garbage_collector_looks_less_often_while_a_recount_runs_and_no_longer() -> None:
    """It is told to while records are read; afterwards it is as it was, after a failure too."""
    before, system, seen = gc.get_threshold(), System(), []
    reader = FakeArchiveReader(system.world)
    recount(MemoryReader(system.log), system.standings, reader, lambda *_: seen.append(gc.get_threshold()))
    assert all(during[0] > before[0] for during in seen)
    assert seen
    assert gc.get_threshold() == before
    system.log.trim(0, 3)
    with pytest.raises(WrongLog):
        system.recount()
    assert gc.get_threshold() == before


def test_a_log_that_lost_its_beginning_cannot_be_recounted() -> None:
    """A trimmed log ends the recount with a clear error and no numbers."""
    system = System()
    system.log.trim(0, 3)
    with pytest.raises(WrongLog):
        system.recount()


def test_each_stretch_gets_its_own_chunks() -> None:
    """Stretches that are asked for in their order get their chunks, those without any none, to the end and beyond."""
    records = [Record(0, at, 0, None, None) for at in range(4)]
    chunks: list[Chunk] = [((0, False), records[:1]), ((0, False), records[1:2]), ((1, True), records[2:])]
    taken = ByStretch(iter(chunks))
    found = {(at, is_second): list(taken((at, is_second))) for at in range(3) for is_second in (False, True)}
    assert found.pop((0, False)) == [records[:1], records[1:2]]
    assert found.pop((1, True)) == [records[2:]]
    assert not any(found.values())


def test_the_next_partition_is_read_while_this_one_is_counted() -> None:
    """The ends of stretches take no room in front of what is read ahead: the chunk after the next is under way."""
    system = System()
    asked = Event()

    class Watched(MemoryReader):
        def read(self, partition: int, start: int, stop: int) -> Iterable[Sequence[Record]]:
            if partition == 1:
                asked.set()
            return [list(chain.from_iterable(super().read(partition, start, stop)))]

    def counting(done: int, total: int) -> None:
        assert asked.wait(10), "nobody has asked for the next partition"

    assert recount(Watched(system.log), system.standings, FakeArchiveReader(system.world), counting).ok
