"""Systems for the tests: one of a test's own, and one that a module's tests share."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from embedded import Up


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., Up]]:
    """Makes systems that are ended with the test."""
    made: list[Up] = []

    def make(folder: Path | None = None, **options: Any) -> Up:
        made.append(Up(folder or tmp_path, **options))
        return made[-1]

    yield make
    for up in made:
        end(up)


@pytest.fixture
def up(launch: Callable[..., Up]) -> Up:
    """A system of the test's own, over the example contest."""
    return launch().start()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """A system that the tests of a module share: each looks only at its own votes."""
    up = Up(tmp_path_factory.mktemp("shared"), environment={"APLAUSO_ALLOWED_ORIGINS": "https://a.example"}).start()
    yield up
    end(up)


def end(up: Up) -> None:
    """Ends a system, whatever state it is in."""
    if up.process is not None and up.process.poll() is None:
        up.process.kill()
        up.process.wait()
