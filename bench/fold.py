"""The recount's fold over a backlog, the archive empty, in a process of its own. Arguments: records, processes."""

import os
import sys
import time
from contextlib import closing

from aplauso.flow.recount import recount
from aplauso.settings import load
from aplauso.wiring import choice


def main(records: int, processes: int) -> float:
    """Votes a second. The processes are there when it begins; the log has still to be found by each."""
    settings = load(os.environ).settings
    with closing(choice.folding(settings, processes)) as folds, closing(choice.readers(settings)) as readers:
        started = time.perf_counter()
        report = recount(*readers, folds=folds)
        seconds = time.perf_counter() - started
    assert report.ok, report
    assert report.records == records, report
    return records / seconds


if __name__ == "__main__":
    print(main(int(sys.argv[1]), int(sys.argv[2])))
