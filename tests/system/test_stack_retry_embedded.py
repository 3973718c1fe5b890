"""`aplauso rejected retry` over embedded data."""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from aplauso.adapters.sqlite.log import SqliteLog
from aplauso.domain.record import encode
from aplauso.domain.vote import Vote, id_from_key, id_from_place
from aplauso.ports.log import Appended, Entry
from embedded import Up, aplauso


async def plant(path: Path, *records: tuple[bytes, bytes]) -> None:
    """Writes records that a collector would not write."""
    log = SqliteLog(path)
    assert set(await log.append([Entry(key, value, 0) for key, value in records])) == {Appended.RECORDED}
    await log.close()


@pytest.mark.slow
def test_retry(launch: Callable[..., Up]) -> None:
    """A retried record counts once, even if its mark is lost and it is retried again, which needs `up` stopped."""
    up = launch().start()
    assert up.vote().status == 201
    up.stop()
    vote = Vote(
        id_from_key("bandas-gt", "k" * 20),
        "bandas-gt",
        "Marimba",
        "Sub",
        1999,
        7,
        int(time.time() * 1000),
        "marimba",
        "sub",
    )
    asyncio.run(plant(up.data / "log.db", (b"wrong", encode(vote)), (b"wrong", b"\xff\xff")))
    up.start()
    up.wait_total(1)
    busy = aplauso("rejected", "retry", "--all", "--data", up.data)
    assert busy.code == 1
    assert f"in use by process {up.pid}" in busy.err
    assert "stop it first" in busy.err
    up.stop()
    for _ in range(2):
        ended = aplauso("rejected", "retry", "0:1", "--data", up.data)
        assert ended.code == 0, ended
        with sqlite3.connect(up.data / "rejected.db") as database:
            (topic,) = database.execute("SELECT DISTINCT topic FROM rejections").fetchone()
            database.execute("DELETE FROM marks")
        database.close()
        assert id_from_place(topic, 0, 1) in ended.out
    stays = aplauso("rejected", "retry", "--all", "--data", up.data)
    assert stays.code == 1
    assert "0:2  stays rejected: unreadable" in stays.out
    up.start()
    up.wait_total(2)
    assert up.find(id_from_place(topic, 0, 1))["offset"] == 3
    assert up.recount()["repeated"] == 2
    listed = aplauso("rejected", "list", "--data", up.data)
    assert "0:2  unreadable" in listed.out
    assert listed.out.endswith("1 rejected records\n")
