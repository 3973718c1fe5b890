"""The SQLite log where the contract suite cannot reach: a file that somebody changed."""

import sqlite3
from pathlib import Path

import pytest

from aplauso.adapters.sqlite.log import SqliteLog
from aplauso.adapters.sqlite.source import SqliteReader, SqliteSource
from aplauso.domain.errors import WrongLog
from aplauso.ports.log import Appended, Entry


async def test_a_log_whose_beginning_is_gone_is_the_wrong_log(tmp_path: Path) -> None:
    """Records that were taken out of the file are missed, never passed over."""
    path = tmp_path / "log.db"
    log = SqliteLog(path)
    for number in range(3):
        assert await log.append([Entry(b"k%d" % number, b"v", 0)]) == [Appended.RECORDED]
    await log.close()
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM segments WHERE first = 0")
    connection.close()
    reader, source = SqliteReader(path), SqliteSource(path)
    with pytest.raises(WrongLog, match="from offset 0 on any more"):
        list(reader.read(0, 0, 3))
    source.start(dict.fromkeys)
    with pytest.raises(WrongLog, match="from offset 0 on any more"):
        source.poll(0, 10)
    reader.close()
    source.close()


async def test_data_on_read_only_media_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that a stopped system left is readable where nothing can be written, and nothing is."""
    path = tmp_path / "log.db"
    log = SqliteLog(path)
    assert await log.append([Entry(b"k", b"v", 0)]) == [Appended.RECORDED]
    await log.close()
    before = sorted(entry.name for entry in tmp_path.iterdir())
    monkeypatch.setattr("os.access", lambda *_: False)
    reader = SqliteReader(path)
    assert [record.key for records in reader.read(0, 0, 1) for record in records] == [b"k"]
    reader.close()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == before == ["log.db"]
