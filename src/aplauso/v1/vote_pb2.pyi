from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class Vote(_message.Message):
    __slots__ = ("id", "contest", "name", "album", "year", "rank", "cast_at_ms", "band", "record")
    ID_FIELD_NUMBER: _ClassVar[int]
    CONTEST_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    ALBUM_FIELD_NUMBER: _ClassVar[int]
    YEAR_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    CAST_AT_MS_FIELD_NUMBER: _ClassVar[int]
    BAND_FIELD_NUMBER: _ClassVar[int]
    RECORD_FIELD_NUMBER: _ClassVar[int]
    id: str
    contest: str
    name: str
    album: str
    year: int
    rank: int
    cast_at_ms: int
    band: str
    record: str
    def __init__(self, id: _Optional[str] = ..., contest: _Optional[str] = ..., name: _Optional[str] = ..., album: _Optional[str] = ..., year: _Optional[int] = ..., rank: _Optional[int] = ..., cast_at_ms: _Optional[int] = ..., band: _Optional[str] = ..., record: _Optional[str] = ...) -> None: ...
