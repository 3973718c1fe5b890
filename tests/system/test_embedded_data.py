"""The data directory: one process at a time, of a known format, rebuilt, recounted; and what lies wrong in the log."""

import contextlib
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aplauso.adapters.sqlite.log import pack
from aplauso.domain.record import encode
from aplauso.domain.vote import Vote, id_from_key
from embedded import VOTE, Up, aplauso, wait_until


def execute(file: Path, statement: str, *values: Any) -> None:
    """Changes a data file behind the system's back."""
    with contextlib.closing(sqlite3.connect(file, timeout=20)) as connection, connection:
        connection.execute(statement, values)


def plant(up: Up, *records: tuple[bytes | None, bytes | None]) -> None:
    """Appends records to the log as they are, while nobody else writes."""
    with contextlib.closing(sqlite3.connect(up.data / "log.db")) as connection, connection:
        (last,) = connection.execute("SELECT coalesce(max(last), -1) FROM segments").fetchone()
        row = (0, last + len(records), last + 1, pack(list(records)))
        connection.execute("INSERT INTO segments (partition, last, first, records) VALUES (?, ?, ?, ?)", row)


def test_a_second_process_is_refused(up: Up, launch: Callable[..., Up], tmp_path: Path) -> None:
    """A second `up` on the same data names the process that has them and exits 1, and the first goes on."""
    (tmp_path / "second").mkdir()
    second = launch(tmp_path / "second", data=up.data)
    second.launch()
    assert second.code() == 1
    (line,) = second.log().splitlines()
    assert line.startswith("aplauso: ")
    assert str(up.pid) in line
    assert str(up.data) in line
    assert up.vote().status == 201


def test_newer_data_are_refused(up: Up) -> None:
    """Data of a newer format are refused by every command, with both versions named, and are left as they are."""
    assert up.stop() == 0
    (up.data / "format.json").write_text('{"format": 99}')
    up.launch()
    assert up.code() == 1
    assert "format 99" in up.log()
    assert len(up.log().splitlines()) == 1
    for command in ("recount", "rejected"):
        ended = aplauso(command, "--data", up.data)
        assert ended.code == 1
        assert "format 99" in ended.err
    assert aplauso("doctor", "--data", up.data).code == 1
    (up.data / "format.json").write_text("nonsense")
    up.launch()
    assert up.code() == 1
    assert "format.json" in up.log()


@pytest.mark.parametrize("lost", [["format.json"], ["standings.db"], ["archive.db"], ["standings.db", "archive.db"]])
def test_projections_are_rebuilt(up: Up, lost: list[str]) -> None:
    """Without its format's version, or without a projection's file, everything is counted again from the log."""
    for at in range(30):
        assert up.vote(name=f"Banda {at % 3}").status == 201
    before = up.wait_total(30)
    assert up.stop() == 0
    for name in lost:
        for path in up.data.glob(name + "*"):
            path.unlink()
    up.start()
    after = up.wait_total(30)
    assert after["standings"] == before["standings"]
    wait_until(lambda: up.recount()["archived"] == 30, "the archive")
    assert len(up.get("/v1/contests/bandas-gt/records?limit=100").json["records"]) == 30


def test_projections_that_are_emptied_under_a_quiet_log_are_rebuilt(up: Up) -> None:
    """Standings and archive that lose everything once the show is over are full again without a vote or a restart."""
    for at in range(30):
        assert up.vote(name=f"Banda {at % 3}").status == 201
    before = up.wait_total(30)
    wait_until(lambda: up.recount()["archived"] == 30, "the archive")
    for name, table in (("standings", "times ids bands albums positions"), ("archive", "votes positions")):
        statements = "; ".join(f"DELETE FROM {each}" for each in table.split())
        with contextlib.closing(sqlite3.connect(up.data / f"{name}.db", timeout=20)) as connection:
            connection.executescript(f"BEGIN IMMEDIATE; {statements}; COMMIT")
    wait_until(lambda: up.standings()["standings"] == before["standings"], "the standings, rebuilt")
    wait_until(lambda: up.recount()["archived"] == 30, "the archive, rebuilt")
    assert len(up.get("/v1/contests/bandas-gt/records?limit=100").json["records"]) == 30


def test_readers_work_beside_a_running_system(up: Up) -> None:
    """recount, doctor and rejected read the data of a system that is running."""
    for _ in range(20):
        assert up.vote().status == 201
    up.wait_total(20)
    assert up.recount()["totals"] == {"bandas-gt": 20}
    text = aplauso("recount", "--data", up.data)
    assert text.code == 0
    assert "bandas-gt: 20 votes" in text.out
    doctor = aplauso("doctor", "--data", up.data)
    assert (doctor.code, doctor.err) == (0, ""), doctor
    assert "WRONG" not in doctor.out
    findings = json.loads(aplauso("doctor", "--json", "--data", up.data).out)
    assert all(finding["ok"] for finding in findings)
    rejected = aplauso("rejected", "list", "--data", up.data)
    assert (rejected.code, rejected.out) == (0, "0 rejected records\n")


@pytest.mark.parametrize("command", ["recount", "doctor", "rejected"])
def test_without_data_commands_say_so(tmp_path: Path, command: str) -> None:
    """Where there are no data, the commands that read them exit 1 and say where they looked."""
    ended = aplauso(command, "--data", tmp_path / "none")
    assert ended.code == 1
    assert str(tmp_path / "none") in ended.err + ended.out
    assert "Traceback" not in ended.err
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("file", "statement", "where"),
    [
        ("standings.db", "UPDATE bands SET votes = votes + 1", "standings"),
        ("standings.db", "UPDATE bands SET rank_sum = rank_sum + 1", "standings"),
        ("standings.db", "UPDATE albums SET votes = votes - 1", "standings"),
        ("standings.db", "UPDATE bands SET shown = 'Otra'", "standings"),
        ("standings.db", "DELETE FROM bands", "standings"),
        ("archive.db", "DELETE FROM votes WHERE rowid = 1", "archive"),
        ("archive.db", "UPDATE votes SET rank = 1 WHERE rowid = 1", "archive"),
        ("archive.db", "UPDATE votes SET id = '01a20836-6dd9-73cb-b94d-e6845e801e7b' WHERE rowid = 1", "archive"),
        ("archive.db", "UPDATE votes SET cast_at = 1 WHERE rowid = 2", "archive"),
    ],
)
def test_recount_finds_what_was_tampered_with(up: Up, file: str, statement: str, where: str) -> None:
    """Standings or an archive that somebody changed are found: exit 1, and the differences are told."""
    for _ in range(5):
        assert up.vote().status == 201
    up.wait_total(5)
    wait_until(lambda: up.recount()["archived"] == 5, "the archive")
    execute(up.data / file, statement)
    ended = aplauso("recount", "--json", "--data", up.data)
    assert ended.code == 1
    report = json.loads(ended.out)
    assert report["ok"] is False
    assert {difference["where"] for difference in report["differences"]} == {where}
    text = aplauso("recount", "--data", up.data)
    assert text.code == 1
    assert f"{where}, partition 0" in text.err
    assert up.vote().status == 201


def test_what_cannot_be_counted_is_rejected(up: Up) -> None:
    """Garbage in the log is rejected with its reason and listed, counting goes on, and the recount agrees."""
    assert up.vote().status == 201
    assert up.stop() == 0
    vote_id = id_from_key("bandas-gt", "0123456789abcdef")
    good = Vote(vote_id, "bandas-gt", "Buena", "Sub", 1990, 5, 1_700_000_000_000, "buena", "sub")
    values = encode(good)
    plant(
        up,
        (vote_id.encode(), b"\xff\xfe\x1b[31mgarbage"),
        (b"another-key", values),
        (None, values),
        (vote_id.encode(), None),
        (vote_id.encode(), b"x" * 9000),
        (vote_id.encode(), values),
        (vote_id.encode(), values),
        (b"x" * 36, encode(Vote("x" * 36, "bandas-gt", "a", "b", 1990, 5, 1, "a", "b"))),
        (vote_id.encode(), encode(Vote(vote_id, "bandas-gt", "a" * 201, "b", 1990, 5, 1, "a", "b"))),
        (vote_id.encode(), encode(Vote(vote_id, "bandas-gt", "a", "b", 1, 5, 1, "a", "b"))),
    )
    up.start()
    assert up.vote().status == 201
    assert {line["name"]: line["votes"] for line in up.wait_total(3)["standings"]} == {VOTE["name"]: 2, "Buena": 1}
    report = up.recount()
    assert (report["votes"], report["rejected"], report["repeated"]) == (3, 8, 1)
    listed = aplauso("rejected", "list", "--json", "--data", up.data)
    reasons = [rejection["reason"] for rejection in json.loads(listed.out)]
    expected = ["unreadable", "wrong-key", "wrong-key", "unreadable", "unreadable", "bad-id", "bad-text", "bad-number"]
    assert reasons == expected
    text = aplauso("rejected", "--data", up.data)
    assert text.out.endswith("8 rejected records\n")
    assert "\x1b" not in text.out
    assert 'aplauso_votes_rejected_total{reason="unreadable"} 3.0' in up.get("/metrics").body.decode()
    places = [f"{rejection['partition']}:{rejection['offset']}" for rejection in json.loads(listed.out)]
    assert aplauso("rejected", "drop", places[0], "--data", up.data).code == 0
    assert aplauso("rejected", "drop", "9:9", "--data", up.data).code == 1
    up.kill()
    (up.data / "format.json").unlink()  # everything is counted, and rejected, again
    up.start()
    up.wait_total(3)
    assert len(json.loads(aplauso("rejected", "list", "--json", "--data", up.data).out)) == 7


def test_a_log_that_is_broken_stops_the_count(up: Up) -> None:
    """A segment of the log that cannot be read stops the system with one clear line, and the recount too."""
    assert up.vote().status == 201
    up.wait_total(1)
    assert up.stop() == 0
    execute(up.data / "log.db", "UPDATE segments SET records = x'c1'")
    for path in up.data.glob("standings.db*"):
        path.unlink()
    up.launch()
    assert up.code() == 1
    assert "Traceback" not in up.log()
    assert str(up.data / "log.db") in up.log().splitlines()[-1]
    ended = aplauso("recount", "--data", up.data)
    assert ended.code == 1
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("version", ["-5", "1e400", "true", "1.9", '"1"'])
def test_a_format_that_is_no_number_is_refused(tmp_path: Path, version: str) -> None:
    """A format file that says nonsense is one clear line, not a guess."""
    data = tmp_path / "odd"
    data.mkdir()
    (data / "format.json").write_text(f'{{"format": {version}}}')
    refused = aplauso("up", "--port", "0", "--data", str(data))
    assert refused.code == 1
    assert "format.json" in refused.err
    assert "Traceback" not in refused.err
