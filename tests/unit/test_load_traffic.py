"""Traffic files: both shapes are read, and what is wrong with one is told in a line."""

import json
import os
import threading
from pathlib import Path

import pytest

from aplauso.domain.errors import Refused
from aplauso.domain.vote import Ballot
from aplauso.flow.traffic import open_traffic

VOTES = [
    {"name": 'Estrés; "el" [de, {verdad}]', "album": "Sub\n\u2028", "year": "1999", "rank": "10"},
    {"name": "🎸", "album": "Alto", "year": 1988, "rank": 2, "unknown": [1, {"deep": "er"}]},
    {"name": "🎸", "album": "Alto", "year": 1988, "rank": 2},
]
BALLOTS = [
    Ballot('Estrés; "el" [de, {verdad}]', "Sub\n\u2028", "1999", "10"),
    Ballot("🎸", "Alto", 1988, 2),
    Ballot("🎸", "Alto", 1988, 2),
]
LINES = "\n".join(json.dumps(vote, ensure_ascii=False) for vote in VOTES)


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(VOTES),
        json.dumps(VOTES, indent=4, ensure_ascii=False),
        " \r\n\n" + " " * 5000 + json.dumps(VOTES),
        LINES,
        LINES + "\n",
        "\n\n" + LINES.replace("\n", "\r\n \r\n"),
        "\ufeff" + LINES,
        "\ufeff" + json.dumps(VOTES),
    ],
    ids=["array", "indented", "spaces", "lines", "ended", "gaps", "bom-lines", "bom-array"],
)
def test_both_shapes_are_read(tmp_path: Path, text: str) -> None:
    """An array and one vote a line, however they are spaced, hold the same votes."""
    path = tmp_path / "traffic"
    path.write_bytes(text.encode())
    traffic = open_traffic(path)
    assert traffic.votes == 3
    assert list(traffic.once()) == BALLOTS
    assert list(traffic.once()) == BALLOTS


@pytest.mark.parametrize("votes", [1, 2, 3, 4, 7, 9])
def test_file_is_repeated_as_needed(tmp_path: Path, votes: int) -> None:
    """As many votes are taken as were asked for, from the first again when the file ends."""
    path = tmp_path / "traffic"
    path.write_text(LINES)
    assert list(open_traffic(path).take(votes)) == (BALLOTS * 3)[:votes]


def test_pipe_is_read_as_a_whole(tmp_path: Path) -> None:
    """What can be read only once, such as the output of another command, is a traffic file too."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_text, args=(LINES,))
    writer.start()
    traffic = open_traffic(path)
    writer.join()
    assert list(traffic.take(6)) == BALLOTS * 2


GOOD = '{"name": "a", "album": "b", "year": 1999, "rank": 1}'


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "holds no votes"),
        (b" \n\n", "holds no votes"),
        (b"[]", "holds no votes"),
        (b"name,album\n", "line 1 is not JSON"),
        (b"[" + GOOD.encode(), "is not JSON"),
        (b"[" + GOOD.encode() + b"] trailing", "is not JSON"),
        (f"{GOOD}\n\n{GOOD[:-1]}\n".encode(), "line 3 is not JSON"),
        (f"{GOOD}\n7\n".encode(), "line 2 is not a vote: must be a JSON object"),
        (f'{GOOD}\n{{"name": "a", "album": 7, "year": 1}}\n'.encode(), "line 2 is not a vote: album: must be text; r"),
        (f"[\n{GOOD},\n\n{GOOD}, {GOOD},\n{{}}]".encode(), "line 5 is not a vote: name: is missing"),
        (f"[[{GOOD}]]".encode(), "line 1 is not a vote"),
        (GOOD.encode() + b"\n\xff\xfe\n", "line 2 is not JSON"),
        (b"{" + b" " * (1 << 20) + b"}", "line 1 is longer than"),
        (b"[" * 100_000, "is not JSON"),
        (b'{"name": ' + b"[" * 100_000, "line 1 is not JSON"),
    ],
)  # fmt: skip
def test_wrong_file_is_told(tmp_path: Path, data: bytes, said: str) -> None:
    """A file that is wrong is refused in one line, with its name, the line and the fault, before anything is sent."""
    path = tmp_path / "traffic"
    path.write_bytes(data)
    with pytest.raises(Refused) as caught:
        open_traffic(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: {said}")
    assert "\n" not in message


def test_missing_file_is_told(tmp_path: Path) -> None:
    """A file that is not there, and one that is a directory, are told as such."""
    with pytest.raises(Refused, match="none: No such file or directory"):
        open_traffic(tmp_path / "none")
    with pytest.raises(Refused, match="Is a directory"):
        open_traffic(tmp_path)
