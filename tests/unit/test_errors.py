"""The tree of errors: what each one tells a person and a program."""

import pickle

import pytest

from aplauso.domain import errors
from aplauso.domain.errors import AplausoError, BadRecord, FieldError, InvalidVote, PositionMoved, Undecided
from aplauso.domain.position import Position


def tree(root: type[AplausoError] = AplausoError) -> list[type[AplausoError]]:
    """A class and all that derive from it in the module of errors."""
    ours = [each for each in root.__subclasses__() if each.__module__ == errors.__name__]
    return [root, *(below for each in ours for below in tree(each))]


def test_every_error_has_a_word_of_its_own() -> None:
    """Programs tell errors apart by a word that is no other's; only a bad record's depends on the case."""
    reasons = [each.reason for each in tree() if each is not BadRecord]
    assert len(reasons) == len(set(reasons))
    assert all(reason == reason.lower() and " " not in reason for reason in reasons)


def test_the_drivers_names_stay_out_of_the_tree() -> None:
    """Nothing in the tree derives from anything but `Exception`."""
    assert {each.__mro__[-3] for each in tree()} == {Exception}
    assert all(issubclass(each, AplausoError) for each in tree())


def test_an_invalid_vote_tells_all_of_its_fields() -> None:
    """The text names each field at fault; a fault of the whole stands without a name."""
    error = InvalidVote([FieldError("year", "is missing"), FieldError("", "a number is too large")])
    assert str(error) == "year: is missing; a number is too large"
    assert [fault.field for fault in error.errors] == ["year", ""]


def test_an_undecided_vote_tells_its_id() -> None:
    """Whoever gets no answer learns the id under which the vote would be found."""
    assert Undecided("an-id").id == "an-id"
    assert str(Undecided("an-id")) == "the answer of the log did not come"
    assert str(Undecided("an-id", "the disk")) == "the disk"


@pytest.mark.parametrize("stored", [None, Position("log", 5, 2)])
def test_a_moved_position_tells_the_stored_one(stored: Position | None) -> None:
    """The refusal says where the store stands, so that reading can go on there."""
    assert PositionMoved(stored).stored == stored
    assert str(stored) in str(PositionMoved(stored))


def test_an_unknown_contest_is_named_as_text() -> None:
    """A name from an address is quoted, so that control characters in it do nothing."""
    assert str(errors.UnknownContest("a\x1b[31m")) == "there is no contest 'a\\x1b[31m'"


def test_a_bad_record_keeps_its_reason_to_itself() -> None:
    """The reason of one rejection is not the reason of the next."""
    BadRecord("wrong-key", "x")
    assert BadRecord("bad-id", "y").reason == "bad-id"
    assert BadRecord.reason == AplausoError.reason
    assert pickle.loads(pickle.dumps(errors.NotOpen("closed"))).args == ("closed",)
