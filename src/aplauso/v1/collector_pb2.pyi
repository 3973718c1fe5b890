from aplauso.v1 import vote_pb2 as _vote_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Status(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STATUS_UNSPECIFIED: _ClassVar[Status]
    STATUS_RECORDED: _ClassVar[Status]
    STATUS_REFUSED: _ClassVar[Status]
    STATUS_NOT_RECORDED: _ClassVar[Status]
    STATUS_UNDECIDED: _ClassVar[Status]
STATUS_UNSPECIFIED: Status
STATUS_RECORDED: Status
STATUS_REFUSED: Status
STATUS_NOT_RECORDED: Status
STATUS_UNDECIDED: Status

class VoteBatch(_message.Message):
    __slots__ = ("votes",)
    VOTES_FIELD_NUMBER: _ClassVar[int]
    votes: _containers.RepeatedCompositeFieldContainer[_vote_pb2.Vote]
    def __init__(self, votes: _Optional[_Iterable[_Union[_vote_pb2.Vote, _Mapping]]] = ...) -> None: ...

class RawVoteBatch(_message.Message):
    __slots__ = ("votes",)
    VOTES_FIELD_NUMBER: _ClassVar[int]
    votes: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, votes: _Optional[_Iterable[bytes]] = ...) -> None: ...

class VoteReceipt(_message.Message):
    __slots__ = ("id", "status", "reason", "cast_at_ms", "field", "detail")
    ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    CAST_AT_MS_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    id: str
    status: Status
    reason: str
    cast_at_ms: int
    field: str
    detail: str
    def __init__(self, id: _Optional[str] = ..., status: _Optional[_Union[Status, str]] = ..., reason: _Optional[str] = ..., cast_at_ms: _Optional[int] = ..., field: _Optional[str] = ..., detail: _Optional[str] = ...) -> None: ...

class BatchReceipt(_message.Message):
    __slots__ = ("receipts",)
    RECEIPTS_FIELD_NUMBER: _ClassVar[int]
    receipts: _containers.RepeatedCompositeFieldContainer[VoteReceipt]
    def __init__(self, receipts: _Optional[_Iterable[_Union[VoteReceipt, _Mapping]]] = ...) -> None: ...
