"""A traffic file: votes to send, a JSON array or one vote a line (NDJSON)."""

from collections.abc import Callable, Iterator
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

import msgspec

from aplauso.domain.errors import InvalidVote, MalformedBody, Refused
from aplauso.domain.vote import Ballot, parse_ballot

_MAX_LINE: Final = 1 << 20
_BOM: Final = b"\xef\xbb\xbf"


class Traffic(NamedTuple):
    """The votes of a file.

    Attributes:
        votes: how many it holds, at least one.
        once: reads them once, from the first; may raise `Refused` when the file has changed meanwhile.
    """

    votes: int
    once: Callable[[], Iterator[Ballot]]

    def take(self, votes: int) -> Iterator[Ballot]:
        """So many votes, from the first again when the file holds fewer."""
        while votes > 0:
            yield from islice(self.once(), votes)
            votes -= self.votes


def open_traffic(path: Path) -> Traffic:
    """Checks a traffic file from end to end, so that nothing is sent from a file that is wrong.

    One vote a line is read line by line, however long the file; an array, or what is not a plain file, as a whole.

    Raises:
        Refused: it is not there, not JSON, holds no votes, or what stands in a line is not a vote.
    """
    try:
        whole = None if path.is_file() else path.read_bytes()
        with _open(path, whole) as file:
            first = _first_byte(file)
        if first == b"[":
            ballots = list(_array(path.read_bytes() if whole is None else whole, str(path)))
            return _filled(Traffic(len(ballots), lambda: iter(ballots)), path)

        def once() -> Iterator[Ballot]:
            with _open(path, whole) as file:
                yield from _lines(file, str(path))

        return _filled(Traffic(sum(1 for _ in once()), once), path)
    except OSError as error:
        raise Refused(f"{path}: {error.strerror or error}") from None


def _open(path: Path, whole: bytes | None) -> BinaryIO:
    return path.open("rb") if whole is None else BytesIO(whole)


def _filled(traffic: Traffic, path: Path) -> Traffic:
    if not traffic.votes:
        raise Refused(f"{path}: holds no votes")
    return traffic


def _first_byte(file: BinaryIO) -> bytes:
    """The first byte that is not space, b"" at the end."""
    while chunk := file.read(4096):
        if text := chunk.removeprefix(_BOM).lstrip():
            return text[:1]
    return b""


def _lines(file: BinaryIO, source: str) -> Iterator[Ballot]:
    number = 0
    while line := file.readline(_MAX_LINE):
        number += 1
        if number == 1:
            line = line.removeprefix(_BOM)
        if len(line) == _MAX_LINE and not line.endswith(b"\n"):
            raise Refused(f"{source}: line {number} is longer than {_MAX_LINE} bytes: not one vote a line")
        if not line.isspace() and line:
            yield _ballot(line, source, number)


def _array(data: bytes, source: str) -> Iterator[Ballot]:
    data = data.removeprefix(_BOM)
    try:
        items = msgspec.json.decode(data, type=list[msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(f"{source}: is not JSON: {error}") from None
    end = 0
    number = 1
    for item in items:
        body = bytes(item)
        start = data.index(body, end)
        number += data.count(b"\n", end, start)
        yield _ballot(body, source, number)
        number += body.count(b"\n")
        end = start + len(body)


def _ballot(body: bytes, source: str, number: int) -> Ballot:
    try:
        return parse_ballot(body)
    except MalformedBody as error:
        raise Refused(f"{source}: line {number} {str(error).removeprefix('the body ')}") from None
    except InvalidVote as error:
        raise Refused(f"{source}: line {number} is not a vote: {error}") from None
