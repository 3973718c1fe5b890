"""What both kinds of parts have in common."""

from collections.abc import Awaitable, Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from aplauso.domain.contest import Contest, parse
from aplauso.domain.errors import AplausoError, FieldError, InvalidContest, Misconfigured, WrongLog
from aplauso.flow.cast import Limits
from aplauso.flow.project import Projection
from aplauso.ports.archive import ArchiveReader
from aplauso.ports.log import LogReader, VoteLog, VoteSource
from aplauso.ports.rejected import RejectedLog
from aplauso.ports.standings import StandingsReader
from aplauso.settings import Settings


class Readers(NamedTuple):
    """What a recount reads."""

    log: LogReader
    standings: StandingsReader
    archive: ArchiveReader

    def close(self) -> None:
        """Lets go of all of them."""
        for reader in self:
            reader.close()

    def lag_state(self) -> str:
        """How far the projections are, in words. Raises `WrongLog` when one of them stands in another log."""
        ends, topic, texts = self.log.ends(), self.log.topic(), []
        for name, positions in (("tally", self.standings.partitions()), ("archive", self.archive.partitions())):
            if any(position.topic != topic for position in positions.values()):
                raise WrongLog(f"the {name}'s position names another log")
            behind = sum(end - (positions[p].offset if p in positions else 0) for p, end in ends.items())
            texts.append(f"{name} {behind:,} records behind")
        return ", ".join(texts)


class Appending(NamedTuple):
    """What puts votes of rejected records into the log again."""

    log: VoteLog
    rejected: RejectedLog
    close: Callable[[], Awaitable[None]]


class Projecting(NamedTuple):
    """A projection and what it reads from, which tells its lag."""

    projection: Projection
    source: VoteSource
    wake: Callable[[], None]
    close: Callable[[], None]


def limits(settings: Settings) -> Limits:
    """How the gateway gathers votes."""
    return Limits(settings.batch_wait_ms / 1000, settings.batch_flights, settings.max_waiting)


def load_contests(directory: Path | None) -> dict[str, Contest]:
    """The contests of a directory (`*.toml`), or the example contest that ships with the package.

    Raises:
        Misconfigured: the directory is not there, or holds no contest.
        InvalidContest: a file is wrong, or two have the same id.
    """
    if directory is None:
        files = list(resources.files("aplauso").joinpath("contests").iterdir())
        texts = {entry.name: entry.read_text(encoding="utf-8") for entry in files if entry.name.endswith(".toml")}
    else:
        if not directory.is_dir():
            raise Misconfigured(f"{directory}, the directory of contests, is not there")
        texts = {str(path): read_contest_file(path) for path in sorted(directory.glob("*.toml"))}
    contests: dict[str, Contest] = {}
    for source, text in texts.items():
        contest = parse(text, source)
        if contest.id in contests:
            raise InvalidContest(source, [FieldError("id", f"{contest.id} is another file's id, too")])
        contests[contest.id] = contest
    if not contests:
        raise Misconfigured(f"there is no contest (*.toml) in {directory}")
    return contests


def read_contest_file(path: Path) -> str:
    """A contest file's text. Raises `InvalidContest` when it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidContest(str(path), [FieldError("", f"cannot be read: {error}")]) from None


class Finding(NamedTuple):
    """What `doctor` says of a part."""

    part: str
    ok: bool
    text: str


def examine(checks: Mapping[str, Callable[[], str]]) -> list[Finding]:
    """Asks every check how its part is; what it raises is what is wrong."""
    return [_finding(part, check) for part, check in checks.items()]


def _finding(part: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(part, True, check())
    except AplausoError as error:
        return Finding(part, False, str(error))
