"""The limit of single votes: a Granian handler that decodes the same body and answers as long."""

import msgspec


class Ballot(msgspec.Struct, gc=False):
    name: str
    album: str
    year: int | str
    rank: int | str


decode = msgspec.json.Decoder(Ballot).decode
HEADERS = [("content-type", "application/json"), ("x-request-id", "00000000-1")]
ANSWER = b'{"id":"00000000-0000-7000-8000-000000000000","contest":"bandas-gt","status":"recorded"}'


async def app(_scope, proto):  # type: ignore[no-untyped-def]
    decode(await proto())
    proto.response_bytes(201, HEADERS, ANSWER)
