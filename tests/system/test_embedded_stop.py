"""A clean stop, and starts that cannot succeed: one clear line and exit code 1."""

import contextlib
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from casting import Casting
from embedded import Up, aplauso, write_contest


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_under_load_is_clean(up: Up, signum: int) -> None:
    """A signal under load ends it with exit code 0 within ten seconds; no receipt is broken, and every one is kept."""
    with Casting(up, voters=16) as casting:
        casting.wait(200)
        started = time.monotonic()
        assert up.stop(signum) == 0
        assert time.monotonic() - started < 10
    assert set(casting.statuses) <= {201, 503}
    assert "Traceback" not in up.log()
    up.start()
    casting.check()


def test_a_stop_answers_what_is_in_flight(up: Up) -> None:
    """A batch that is under way when the signal comes is answered whole."""
    line = b'{"name":"Mil","album":"a","year":1990,"rank":1}\n'
    with up.socket() as connection:
        head = b"POST /v1/contests/bandas-gt/votes HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-ndjson\r\n"
        connection.sendall(head + b"content-length: %d\r\n\r\n" % (len(line) * 10_000) + line * 9_999)
        assert up.vote().status == 201
        connection.sendall(line)
        assert up.stop() == 0
        answer = connection.recv(65536)
    assert b'"recorded":10000' in answer or b" 503 " in answer
    up.start()
    up.wait_total(10_001 if b'"recorded":10000' in answer else 1)


def test_a_stop_does_not_wait_for_the_silent(up: Up) -> None:
    """Idle, trickling and half-sent connections do not hold a stop up."""
    with contextlib.ExitStack() as stack:
        for message in (b"", b"GET / HT", b"POST /insert HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n{") * 5:
            stack.enter_context(up.socket()).sendall(message)
        assert up.vote().status == 201
        started = time.monotonic()
        assert up.stop() == 0
        assert time.monotonic() - started < 10
    up.start()
    up.wait_total(1)


def check_one_line(up: Up, *words: str) -> None:
    """It ended with exit code 1 and one line that says why."""
    assert up.code() == 1
    (line,) = up.log().splitlines()
    assert line.startswith("aplauso: ")
    for word in words:
        assert word in line


def test_a_port_in_use_is_named(launch: Callable[..., Up]) -> None:
    """A port that another process listens on is one clear line, and the data stay free."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        up = launch()
        up.launch(port)
        check_one_line(up, str(port), "--port")
    assert up.start().vote().status == 201


def test_wrong_settings_are_named(launch: Callable[..., Up]) -> None:
    """An unknown setting, one of a wrong kind and a contest that is not there are one clear line each."""
    for name, value, *words in (
        ("APLAUSO_HOTS", "x", "APLAUSO_HOTS", "APLAUSO_HOST"),
        ("APLAUSO_MAX_WAITING", "many", "APLAUSO_MAX_WAITING"),
        ("APLAUSO_LOG_LEVEL", "loud", "APLAUSO_LOG_LEVEL"),
        ("APLAUSO_DEFAULT_CONTEST", "none", "APLAUSO_DEFAULT_CONTEST", "none"),
        ("APLAUSO_HOST", "256.1.1.1", "256.1.1.1"),
    ):
        up = launch(environment={name: value})
        up.launch()
        check_one_line(up, *words)


def test_wrong_contests_are_named(launch: Callable[..., Up], tmp_path: Path) -> None:
    """A directory of contests that is not there or empty, and a wrong file in it, are one clear line each."""
    folder = tmp_path / "contests"
    up = launch(contests=folder)
    up.launch()
    check_one_line(up, str(folder))
    folder.mkdir()
    up.launch()
    check_one_line(up, str(folder))
    write_contest(folder, "good")
    write_contest(folder, "wrong", "opens = 5\nunknown = 1\nrank = { min = 9, max = 1 }")
    up.launch()
    check_one_line(up, "wrong.toml", "opens", "rank")
    (folder / "wrong.toml").write_bytes(b"\xff\x1b[2J")
    up.launch()
    check_one_line(up, "wrong.toml")
    (folder / "wrong.toml").unlink()
    assert up.start().get("/v1/contests").json["contests"][0]["id"] == "good"


def test_a_data_directory_that_cannot_be(launch: Callable[..., Up], tmp_path: Path) -> None:
    """A data directory that is a file is one clear line."""
    (tmp_path / "file").write_text("")
    up = launch(data=tmp_path / "file")
    up.launch()
    check_one_line(up, str(tmp_path / "file"))


def test_contest_files_are_checked(tmp_path: Path) -> None:
    """`contest check` tells what a right file says, and everything that is wrong with another one."""
    write_contest(tmp_path / "c", "good")
    ended = aplauso("contest", "check", tmp_path / "c" / "good.toml")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("good: ")
    write_contest(tmp_path / "c", "bad", "opens = 1\ncloses = 2\nunknown = 3")
    ended = aplauso("contest", "check", tmp_path / "c" / "bad.toml")
    assert ended.code == 1
    for word in ("opens", "closes", "unknown"):
        assert word in ended.err
    assert aplauso("contest", "check", tmp_path / "none.toml").code == 1


def test_settings_are_listed(tmp_path: Path) -> None:
    """`settings` lists every setting with its value, where it came from and what it means."""
    ended = aplauso("settings", APLAUSO_MAX_WAITING="300", APLAUSO_DATA=str(tmp_path))
    assert ended.code == 0, ended
    line = next(line for line in ended.out.splitlines() if "APLAUSO_MAX_WAITING" in line)
    assert "300" in line
    assert "environment" in line
    assert aplauso("settings", APLAUSO_NONE="1").code == 1


def test_every_command_has_help() -> None:
    """Every command explains itself with exit code 0."""
    commands = ["", "up", "vote", "load", "recount", "rejected", "contest check", "settings", "doctor"]
    for command in commands:
        ended = aplauso(*command.split(), "--help")
        assert (ended.code, ended.err) == (0, "")
        assert "Usage" in ended.out
    assert aplauso("nonsense").code != 0
