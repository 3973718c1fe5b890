"""Reading ahead gives what the generator gives, in its order, and lets go of it."""

import threading
from collections.abc import Generator

import pytest

from aplauso.flow.ahead import ahead


class Source:
    """A generator that tells how far it has gone, and whether it was closed."""

    def __init__(self, count: int, error: Exception | None = None) -> None:
        self.count, self.error = count, error
        self.given, self.closed = 0, threading.Event()

    def things(self) -> Generator[int, None, None]:
        """Numbers from 0 on, and then the error."""
        try:
            for number in range(self.count):
                self.given = number + 1
                yield number
            if self.error is not None:
                raise self.error
        finally:
            self.closed.set()


@pytest.mark.parametrize("count", [0, 1, 2, 100])
def test_everything_comes_in_order(count: int) -> None:
    """What is read ahead is what the generator gives."""
    with ahead(Source(count).things()) as things:
        assert list(things) == list(range(count))


def test_an_error_comes_at_its_place() -> None:
    """What was read before it is given first."""
    with ahead(Source(3, KeyError("x")).things()) as things:
        assert [next(things) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(KeyError):
            next(things)


def test_no_more_than_two_are_read_ahead() -> None:
    """Memory is bounded: one waits, and the thread holds another."""
    source = Source(100)
    with ahead(source.things()) as things:
        for taken in things:
            assert source.given <= taken + 1 + 2


def test_a_block_that_is_left_early_closes_the_generator() -> None:
    """Whoever gives up, with an error or without, leaves no thread behind."""
    for error in (None, KeyError("x")):
        source = Source(100)
        try:
            with ahead(source.things()) as things:
                next(things)
                if error is not None:
                    raise error
        except KeyError:
            assert error is not None
        assert source.closed.wait(10)
        assert source.given <= 4
    assert "ahead" not in {thread.name for thread in threading.enumerate()}
