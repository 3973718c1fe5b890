"""Votes that travel together: what many of them have in common is made, judged and encoded once.

Votes of a batch differ in their ids; all else comes again and again, for there are not many bands, albums, years and
ranks in a contest. So a lot is two columns: the ids, and the form of each vote, of which there are few.
"""

from collections.abc import Iterator, Sequence
from typing import Final, overload

import msgspec

from aplauso.domain.record import encode_rest, frame
from aplauso.domain.vote import Vote

TAGS: Final = b"\n$"
"""What stands before the id in a vote's bytes: its tag and its length, 36."""
REST: Final = len(TAGS) + 36
"""Where a vote's bytes go on behind the id."""


class Form(msgspec.Struct, frozen=True, eq=False, gc=False):
    """All of a vote but its id. A form is equal to itself alone.

    Attributes:
        vote: a vote of this form, whatever its id.
        rest: what stands behind the id in the bytes of each, as `aplauso.domain.record.encode` makes them.
    """

    vote: Vote
    rest: bytes


def form_of(vote: Vote) -> Form:
    """The form of a vote, whatever its id."""
    return Form(vote, encode_rest(vote))


class Lot(Sequence[Vote]):
    """Votes in order; each is made when it is asked for.

    Args:
        keys: the ids, in UTF-8.
        forms: of each.
    """

    __slots__ = ("forms", "keys")

    def __init__(self, keys: Sequence[bytes], forms: Sequence[Form]) -> None:
        self.keys, self.forms = keys, forms

    def __len__(self) -> int:
        return len(self.keys)

    @overload
    def __getitem__(self, at: int) -> Vote: ...

    @overload
    def __getitem__(self, at: slice) -> "Lot": ...

    def __getitem__(self, at: int | slice) -> "Vote | Lot":
        if isinstance(at, slice):
            return Lot(self.keys[at], self.forms[at])
        return _vote(self.keys[at], self.forms[at])

    def __iter__(self) -> Iterator[Vote]:
        return map(_vote, self.keys, self.forms)

    def samples(self) -> list[Vote]:
        """One vote of each form: what none of them breaks, no vote of the lot does."""
        return [form.vote for form in {*self.forms}]

    def values(self) -> list[bytes]:
        """The bytes of each vote, as `aplauso.domain.record.encode` makes them."""
        return [b"".join((TAGS, key, form.rest)) for key, form in zip(self.keys, self.forms, strict=True)]

    def encode(self) -> bytes:
        """All of them as `aplauso.v1.VoteBatch`."""
        ends = {form: (frame(REST + len(form.rest)).encode("latin-1") + TAGS, form.rest) for form in {*self.forms}}
        parts: list[bytes] = []
        for key, (before, after) in zip(self.keys, map(ends.__getitem__, self.forms), strict=True):
            parts += before, key, after
        return b"".join(parts)


def _vote(key: bytes, form: Form) -> Vote:
    return form.vote.again(key.decode(), form.vote.cast_at)


def ids_of(votes: Sequence[Vote]) -> Iterator[str]:
    """The ids of votes, in order."""
    return map(bytes.decode, votes.keys) if isinstance(votes, Lot) else (vote.id for vote in votes)


def keys_of(votes: Sequence[Vote]) -> Sequence[bytes]:
    """The same as the keys of their records."""
    return votes.keys if isinstance(votes, Lot) else [vote.id.encode() for vote in votes]


def samples_of(votes: Sequence[Vote]) -> Sequence[Vote]:
    """Votes among these of which each of them differs in its id at most."""
    return votes.samples() if isinstance(votes, Lot) else votes
