"""What a mutant is, and the short names of the tests that kill it."""

from typing import Final, NamedTuple

HOLDS: Final = "tests/unit/test_model_projection.py::test_holds_under_every_schedule"


class Mutant(NamedTuple):
    """One guarantee taken out of the code.

    Attributes:
        name: says what is broken.
        file: below src/aplauso.
        before: text that is there exactly once.
        after: what takes its place.
        tests: node ids, of which at least one has to fail; all of them pass over the right code.
    """

    name: str
    file: str
    before: str
    after: str
    tests: tuple[str, ...]


def mutant(name: str, file: str, before: str, after: str, *tests: str) -> Mutant:
    """A mutant, and the tests against it."""
    return Mutant(name, file, before, after, tests)


def standings(kind: str, check: str) -> str:
    """A check of the standings' contract over one kind of server."""
    return f"tests/contract/test_standings.py::test_standings_keep_their_promises[{kind}-{check}]"


def archive(kind: str, check: str) -> str:
    """A check of the archive's own contract."""
    return f"tests/contract/test_archive.py::test_an_archive_keeps_its_promises[{kind}-{check}]"


def projection(kind: str, check: str) -> str:
    """A check of a projection's contract over an archive."""
    return f"tests/contract/test_archive.py::test_an_archive_is_a_projection[{kind}-{check}]"


def log(kind: str, case: str) -> str:
    """A case of the log's contract: kind "sqlite", or a protocol of Kafka's groups."""
    file = "test_log" if kind == "sqlite" else "test_log_kafka"
    return f"tests/contract/{file}.py::test_contract[{kind}-{case}]"


def rejected(kind: str, case: str) -> str:
    """A case of the rejected records' contract."""
    return f"tests/contract/test_rejected.py::test_contract[{kind}-{case}]"


def unit(file: str, test: str) -> str:
    """A unit test."""
    return f"tests/unit/test_{file}.py::{test}"


def system(file: str, test: str) -> str:
    """A test against real servers."""
    return f"tests/system/test_{file}.py::{test}"
