"""The rejected records in memory. `MemoryShelf` is the disk: it outlives the sinks and readers over it."""

from collections.abc import Iterable, Sequence

from aplauso.ports.rejected import Mark, Place, Rejection


class MemoryShelf:
    """What is on disk."""

    def __init__(self) -> None:
        self.rejections: dict[Place, Rejection] = {}
        self.marks: dict[Place, Mark] = {}


class MemoryRejected:
    """`RejectedSink` and `RejectedLog` over a shelf."""

    def __init__(self, shelf: MemoryShelf) -> None:
        self.shelf = shelf

    def add(self, rejections: Sequence[Rejection]) -> None:
        for rejection in rejections:
            self.shelf.rejections.setdefault(rejection.place, rejection)

    def open(self) -> Iterable[Rejection]:
        return [r for place, r in sorted(self.shelf.rejections.items()) if place not in self.shelf.marks]

    def mark(self, places: Sequence[Place], mark: Mark) -> None:
        self.shelf.marks.update(dict.fromkeys(places, mark))

    def close(self) -> None:
        pass
