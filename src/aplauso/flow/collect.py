"""Step 2: judge, append to the log, answer once it is durable."""

from collections.abc import Mapping, Sequence

from aplauso.domain.contest import Contest
from aplauso.domain.errors import InvalidVote, NotOpen, UnknownContest
from aplauso.domain.lot import Lot, keys_of, samples_of
from aplauso.domain.record import encode, partitions_of
from aplauso.domain.vote import Vote
from aplauso.ports.intake import Receipt, Recorded, Status
from aplauso.ports.log import Appended, VoteLog
from aplauso.ports.stretch import Entries

_STATUS = {
    Appended.RECORDED: (Status.RECORDED, ""),
    Appended.NOT_RECORDED: (Status.NOT_RECORDED, "not-recorded"),
    Appended.UNDECIDED: (Status.UNDECIDED, "undecided"),
}


class Collector:
    """The authority on what enters the log.

    Args:
        contests: by id; may be replaced while votes come in.
        log: where votes go.
    """

    def __init__(self, contests: Mapping[str, Contest], log: VoteLog) -> None:
        self.contests = contests
        self._log = log

    async def collect(self, votes: Sequence[Vote], values: Sequence[bytes]) -> Sequence[Receipt]:
        """Records those of the votes that their contests allow.

        Args:
            votes: normalised, with their ids and stamps.
            values: the bytes of each, as `aplauso.domain.record.encode` makes them.

        Returns:
            One receipt a vote, in order.
        """
        if all_allowed(votes, self.contests):  # as nearly always
            return await self._record(votes, values)
        verdicts = [judge(vote, self.contests) for vote in votes]
        allowed = [place for place, refused in enumerate(verdicts) if refused is None]
        recorded = await self._record([votes[place] for place in allowed], [values[place] for place in allowed])
        receipts = iter(recorded)
        return [refused or next(receipts) for refused in verdicts]

    async def _record(self, votes: Sequence[Vote], values: Sequence[bytes]) -> Sequence[Receipt]:
        if not votes:
            return []
        keys = keys_of(votes)
        outcomes = await self._log.append(Entries(keys, values, partitions_of(keys, self._log.partitions)))
        if outcomes.count(Appended.RECORDED) == len(votes):
            return Recorded(votes)
        return [Receipt(vote.id, *_STATUS[outcome]) for vote, outcome in zip(votes, outcomes, strict=True)]

    async def ready(self) -> None:
        """Checks that a vote could be recorded now. Raises as `VoteLog.ready`."""
        await self._log.ready()


def all_allowed(votes: Sequence[Vote], contests: Mapping[str, Contest]) -> bool:
    """Whether `judge` certainly refuses none of the votes: what many have in common is looked at once."""
    votes = samples_of(votes)
    stamps = [vote.cast_at for vote in votes]
    for contest_id in {vote.contest for vote in votes}:
        contest = contests.get(contest_id)
        if contest is None or not (contest.is_open(min(stamps)) and contest.is_open(max(stamps))):
            return False
    return not any(
        contests[contest_id].check_rank(rank) or contests[contest_id].check_listed(band, record)
        for contest_id, rank, band, record in {(vote.contest, vote.rank, vote.band, vote.record) for vote in votes}
    )


def judge(vote: Vote, contests: Mapping[str, Contest]) -> Receipt | None:
    """Holds a vote against the rules of its contest; None when it may enter the log."""
    contest = contests.get(vote.contest)
    if contest is None:
        return Receipt(vote.id, Status.REFUSED, UnknownContest.reason, "contest", f"there is no contest {vote.contest}")
    try:
        contest.check_window(vote.cast_at)
    except NotOpen as error:
        return Receipt(vote.id, Status.REFUSED, NotOpen.reason, "", str(error))
    wrong = contest.check_rank(vote.rank) or contest.check_listed(vote.band, vote.record)
    return wrong and Receipt(vote.id, Status.REFUSED, InvalidVote.reason, wrong.field, wrong.message)


class NearIntake:
    """The intake of a collector in the same process."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector
        self._closed = False

    async def submit(self, votes: Sequence[Vote]) -> Sequence[Receipt]:
        """As `aplauso.ports.intake.Intake`."""
        if self._closed:
            return [Receipt(vote.id, Status.NOT_RECORDED, "not-recorded", "", "stopping") for vote in votes]
        values = votes.values() if isinstance(votes, Lot) else [encode(vote) for vote in votes]
        return await self._collector.collect(votes, values)

    async def close(self) -> None:
        """As `aplauso.ports.intake.Intake`."""
        self._closed = True
