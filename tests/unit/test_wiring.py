"""Building the parts: contests from files, ids, limits, and what `doctor` says of them."""

import subprocess
import sys
from pathlib import Path

import pytest

from aplauso.domain.errors import InvalidContest, Misconfigured, Unavailable, WrongLog
from aplauso.domain.position import Position
from aplauso.settings import Settings
from aplauso.wiring import Finding, Readers, choice, examine, limits, load_contests, read_contest_file
from fakes_archive import FakeArchiveReader, World
from fakes_log import MemoryReader, MemoryStore
from unit.fakes import FakeStandings, a_vote, put

SMALL = 'id = "{}"\ntitle = {{ es = "B", en = "B" }}\n'


def test_without_a_directory_the_example_contest_opens() -> None:
    """The contest that ships with the package is there, and never closes."""
    contests = load_contests(None)
    assert list(contests) == ["bandas-gt"]
    assert contests["bandas-gt"].closes is None


def test_every_file_of_a_directory_is_a_contest(tmp_path: Path) -> None:
    """All `*.toml` are read, by id; other files are not looked at."""
    for name in ("mx", "gt"):
        (tmp_path / f"{name}.toml").write_text(SMALL.format(name), "utf-8")
    (tmp_path / "notes.txt").write_text("x", "utf-8")
    assert set(load_contests(tmp_path)) == {"gt", "mx"}


def test_two_files_with_one_id_contradict_each_other(tmp_path: Path) -> None:
    """The second file is named, so that nobody wonders which one counts."""
    for name in ("a", "b"):
        (tmp_path / f"{name}.toml").write_text(SMALL.format("gt"), "utf-8")
    with pytest.raises(InvalidContest, match=r"b\.toml: id: gt is another file's id, too"):
        load_contests(tmp_path)


def test_a_directory_without_contests_is_refused(tmp_path: Path) -> None:
    """A missing directory and an empty one are told apart, both with their names."""
    with pytest.raises(Misconfigured, match="is not there"):
        load_contests(tmp_path / "missing")
    with pytest.raises(Misconfigured, match="there is no contest"):
        load_contests(tmp_path)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Bytes that are not UTF-8, and a file that is not there, are an invalid contest, not a traceback."""
    (tmp_path / "x.toml").write_bytes(b"\xff")
    for name in ("x.toml", "missing.toml"):
        with pytest.raises(InvalidContest, match=rf"{name}: cannot be read"):
            read_contest_file(tmp_path / name)


def test_the_gateways_limits_come_from_the_settings() -> None:
    """Milliseconds become seconds; the others are taken as they are."""
    assert limits(Settings(batch_wait_ms=1.5, batch_flights=3, max_waiting=300)) == (0.0015, 3, 300)


def test_doctor_tells_of_every_part() -> None:
    """A check that raises is a finding with its reason, and the others are made all the same."""

    def fails() -> str:
        raise Unavailable("nobody answers")

    found = examine({"log": fails, "archive": lambda: "well"})
    assert found == [Finding("log", False, "nobody answers"), Finding("archive", True, "well")]


def readers() -> Readers:
    """A log of ten votes, a tally that counted four of them, and an archive that has not begun."""
    log, standings = MemoryStore(1), FakeStandings()
    for serial in range(10):
        put(log, a_vote(serial))
    standings.stored[0] = Position(log.topic, 4)
    return Readers(MemoryReader(log), standings, FakeArchiveReader(World()))


def test_the_lag_is_told_in_words() -> None:
    """How far each projection is behind the log's end; a position of another log is told as such."""
    found = readers()
    assert found.lag_state() == "tally 6 records behind, archive 10 records behind"
    assert isinstance(found.standings, FakeStandings)
    found.standings.stored[0] = Position("another", 4)
    with pytest.raises(WrongLog, match="tally"):
        found.lag_state()
    found.close()


def test_commands_work_on_embedded_data_unless_kafka_is_named(tmp_path: Path) -> None:
    """Without Kafka's address, doctor looks at the data directory; nothing there is said to be so."""
    checks = choice.checks(Settings(data=tmp_path / "data"))
    assert {"contests", "data", "log"} <= set(checks)
    findings = {finding.part: finding for finding in examine(checks)}
    assert findings["contests"].ok
    assert not findings["log"].ok
    with pytest.raises(Unavailable):
        choice.readers(Settings(data=tmp_path / "data"))


def test_embedded_commands_need_no_driver() -> None:
    """The command line is imported, and its parts are wired, without any of the servers' drivers."""
    script = """
import sys
for name in ("confluent_kafka", "redis", "pymongo", "grpc"):
    sys.modules[name] = None
import aplauso.cli
from aplauso.domain.errors import Misconfigured
from aplauso.settings import Settings
from aplauso.wiring import choice
try:
    choice.readers(Settings(kafka_bootstrap="127.0.0.1:1"))
except Misconfigured as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "is not installed: pip install 'aplauso[distributed]'" in done.stdout


DRIVERS = {"aiohttp", "confluent_kafka", "grpc", "jinja2", "pymongo", "redis", "sqlite3"}
LOADED = {
    "gateway": {"grpc"},
    "collector": {"confluent_kafka", "grpc"},
    "tally": {"confluent_kafka", "redis"},
    "archive": {"confluent_kafka", "pymongo"},
    "board": {"jinja2", "pymongo", "redis"},
}
"""What each room needs of the drivers, and of what else is large."""


@pytest.mark.parametrize("room", LOADED)
def test_a_room_loads_its_own_drivers_and_no_others(room: str) -> None:
    """The command of a room, up to where the room would run, imports what that room needs: the rest is memory."""
    script = f"""
import sys
import uvloop
def run(coroutine):
    coroutine.close()
    print(*sys.modules)
uvloop.run = run
sys.argv = ["aplauso", {room!r}]
from aplauso.cli import main
main()
"""
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert DRIVERS & set(done.stdout.split()) == LOADED[room]
