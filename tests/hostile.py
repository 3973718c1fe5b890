"""Requests that nobody in their right mind sends, made from a seed."""

import json
import random
from collections.abc import Callable, Iterator
from typing import NamedTuple

from embedded import VOTE

GOOD = json.dumps(VOTE).encode()
_HEAD = b"POST %s HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"


class Message(NamedTuple):
    """Bytes to send, and whether the sender ends its side of the connection after them."""

    data: bytes
    half_close: bool = False


def messages(seed: int, number: int) -> Iterator[Message]:
    """So many messages; the same for the same seed."""
    choose = random.Random(seed)
    for at in range(number):
        if at % 10 < 7:
            yield _whole(choose)
        else:
            yield choose.choice(_BROKEN)(choose)


def _whole(choose: random.Random) -> Message:
    """A well-formed request with a hostile body."""
    if choose.random() < 0.2:
        lines = b"\n".join(body(choose)[:2000] for _ in range(choose.randrange(6)))
        return Message(_request(b"/v1/contests/bandas-gt/votes", b"application/x-ndjson", lines))
    content = body(choose)
    if choose.random() < 0.2:
        head = _HEAD % b"/insert" + b"content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
        cut = choose.randrange(len(content) + 1)
        return Message(head + _chunk(content[:cut]) + _chunk(content[cut:]) + b"0\r\n\r\n")
    kind = choose.choice([b"application/json", b"application/json;charset=latin1", b"text/json", b"\xff", b", ,"])
    return Message(_request(b"/insert", kind, content))


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data) if data else b""


def _request(path: bytes, kind: bytes, content: bytes, more: bytes = b"") -> bytes:
    head = _HEAD % path + b"content-type: " + kind + b"\r\n" + more
    return head + b"content-length: %d\r\n\r\n" % len(content) + content


def body(choose: random.Random) -> bytes:
    """A body that is wrong in one way or another, and now and then is not."""
    return choose.choice(_BODIES)(choose)[:16_300]


def _wrong_types(choose: random.Random) -> bytes:
    fields = {name: _value(choose, 3) if choose.random() < 0.5 else good for name, good in VOTE.items()}
    return json.dumps(fields).encode()


def _value(choose: random.Random, depth: int) -> object:
    kinds: list[Callable[[], object]] = [
        lambda: None, lambda: choose.choice([True, False]),
        lambda: choose.choice([-1, 0, 1, 2**31, 2**63, 2**64, -(2**63)]),
        lambda: choose.choice([0.1, -0.0, 1e308, float("nan"), float("inf"), -float("inf")]),
        lambda: "".join(choose.choices("\0\n\x1b\u202e\uffff\U0001f3b8\ud800A", k=choose.randrange(9))),
        lambda: "x" * choose.choice([0, 1, 200, 201, 5000]),
    ]  # fmt: skip
    if depth:
        kinds.append(lambda: [_value(choose, depth - 1) for _ in range(choose.randrange(4))])
        kinds.append(lambda: {str(at): _value(choose, depth - 1) for at in range(choose.randrange(4))})
    return choose.choice(kinds)()


def _huge_numbers(choose: random.Random) -> bytes:
    number = choose.choice(
        [b"9" * choose.randrange(1, 8000), b"1e999", b"-1e-999", b"0.%d" % 10**300, b"-0", b"1e5", b"00", b"+1"]
    )
    field = choose.choice([b"year", b"rank"])
    return GOOD.replace(b'"%s": %d' % (field, VOTE[field.decode()]), b'"%s": %s' % (field, number))


def _not_numbers(choose: random.Random) -> bytes:
    return GOOD.replace(
        b"1988", choose.choice([b"NaN", b"Infinity", b"-Infinity", b"nan", b"undefined", b"0x7c4", b"1_9"])
    )


def _deep(choose: random.Random) -> bytes:
    depth = choose.choice([10, 900, 1100, 7000])
    opening, closing = choose.choice([(b"[", b"]"), (b'{"a":', b"}")])
    depth = min(depth, 15_000 // (len(opening) + 1))
    nested = opening * depth + b"1" + closing * depth
    return choose.choice(
        [nested, GOOD.replace(b"1988", nested), GOOD[:-1] + b', "more": ' + nested + b"}", opening * depth]
    )


def _repeated_keys(choose: random.Random) -> bytes:
    return GOOD[:-1] + b', "rank": %d, "rank": %d}' % (choose.randrange(12), choose.randrange(12))


def _surrogates(choose: random.Random) -> bytes:
    text = choose.choice(
        [rb"\ud800", rb"\udfff", rb"\ud83d", rb"\ude00\ud83d", rb"\u0000", rb"\ud83c\udfb8", rb"\u12", rb"\x41"]
    )
    return GOOD.replace(b"Alux", text)


def _not_utf8(choose: random.Random) -> bytes:
    at = choose.randrange(len(GOOD))
    return (
        GOOD[:at]
        + choose.choice([b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80", b"\x00", b"\xc0\xaf"])
        + GOOD[at:]
    )


def _cut(choose: random.Random) -> bytes:
    return GOOD[: choose.randrange(len(GOOD))]


def _flipped(choose: random.Random) -> bytes:
    content = bytearray(GOOD)
    for _ in range(choose.randrange(1, 4)):
        content[choose.randrange(len(content))] = choose.randrange(256)
    return bytes(content)


def _noise(choose: random.Random) -> bytes:
    return choose.randbytes(choose.randrange(3000))


_BODIES = (
    _wrong_types, _huge_numbers, _not_numbers, _deep, _repeated_keys, _surrogates, _not_utf8, _cut, _flipped, _noise,
)  # fmt: skip


def _longer_announced(choose: random.Random) -> Message:
    more = choose.choice([1, 100, 10_000, 10**9, 10**30])
    return Message(_HEAD % b"/insert" + b"content-length: %d\r\n\r\n" % (len(GOOD) + more) + GOOD, half_close=True)


def _shorter_announced(choose: random.Random) -> Message:
    less = choose.randrange(1, len(GOOD))
    head = b"POST /insert HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    return Message(head + b"content-length: %d\r\n\r\n" % (len(GOOD) - less) + GOOD, half_close=True)


def _wrong_length(choose: random.Random) -> Message:
    length = choose.choice([b"x", b"-1", b"", b"1e2", b"0x10", b"+5", b"5 5", b"18446744073709551616", b"\xb2"])
    return Message(_HEAD % b"/insert" + b"content-length: " + length + b"\r\n\r\n" + GOOD, half_close=True)


def _two_lengths(choose: random.Random) -> Message:
    first, second = choose.sample([len(GOOD), len(GOOD) - 1, 0, 5], 2)
    return Message(
        _HEAD % b"/insert" + b"content-length: %d\r\ncontent-length: %d\r\n\r\n" % (first, second) + GOOD, True
    )


def _bad_chunks(choose: random.Random) -> Message:
    head = _HEAD % b"/insert" + b"content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    tail = choose.choice(
        [b"", b"zz\r\n", b"-1\r\n", b"fffffffffffffffffff\r\n", b"5\r\nab", b"0", b"\r\n\r\n", b"1;" + b"x" * 20_000]
    )
    return Message(head + _chunk(GOOD) + tail, half_close=True)


def _odd_encoding(choose: random.Random) -> Message:
    coding = choose.choice([b"gzip", b"chunked, gzip", b"identity", b"chunked, chunked", b"xchunked", b"\x0bchunked"])
    return Message(_HEAD % b"/insert" + b"transfer-encoding: " + coding + b"\r\n\r\n" + GOOD, half_close=True)


def _garbage_first(choose: random.Random) -> Message:
    garbage = choose.choice(
        [choose.randbytes(50), b"\x16\x03\x01\x02\x00\x01\x00", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b" ", b"\x00" * 99]
    )
    return Message(garbage + _request(b"/insert", b"text/plain", GOOD), half_close=True)


def _odd_head(choose: random.Random) -> Message:
    line = choose.choice(
        [
            b"POST  /insert HTTP/1.1", b"POST /insert HTTP/9.9", b"POST /insert", b"/insert",
            b"POST http://[::1 HTTP/1.1",
            b"POST " + b"/" * 70_000 + b" HTTP/1.1", b"CONNECT x:1 HTTP/1.1", b"TRACE / HTTP/1.1", b"GET /%zz HTTP/1.1",
            b"GET /v1/votes/%00 HTTP/1.1", b"GET * HTTP/1.1", b"OPTIONS * HTTP/1.1", b"\xff / HTTP/1.1",
            b"GET /v1/contests/bandas-gt/records?limit=" + b"9" * 5000 + b" HTTP/1.1",
            b"GET /?contest=%ff&lang=%00 HTTP/1.1",
        ]
    )  # fmt: skip
    return Message(line + b"\r\nhost: x\r\nconnection: close\r\n\r\n", half_close=True)


def _odd_headers(choose: random.Random) -> Message:
    more = choose.choice(
        [
            b"x: " + b"y" * 100_000 + b"\r\n", b"x: y\r\n" * 2000, b"no colon\r\n", b": empty\r\n", b"x\x00y: z\r\n",
            b"x: \x00\r\n", b" folded: x\r\n", b"idempotency-key: \xff\xfe\r\n", b"authorization: \xff\r\n",
            b"expect: 200-maybe\r\nauthorization: x\r\n",
            b"upgrade: h2c\r\nconnection: upgrade\r\nauthorization: x\r\n",
            b"content-encoding: gzip\r\nauthorization: x\r\n",
        ]
    )  # fmt: skip
    return Message(_request(b"/insert", b"application/json", GOOD, more), half_close=False)


def _pipelined(choose: random.Random) -> Message:
    first = b"POST /insert HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    parts = []
    for _ in range(choose.randrange(1, 5)):
        content = choose.choice([GOOD, body(choose)])
        parts.append(first + b"content-length: %d\r\n\r\n" % len(content) + content)
    return Message(b"".join(parts) + _request(b"/insert", b"application/json", GOOD))


_BROKEN: tuple[Callable[[random.Random], Message], ...] = (
    _longer_announced, _shorter_announced, _wrong_length, _two_lengths, _bad_chunks, _odd_encoding, _garbage_first,
    _odd_head, _odd_headers, _pipelined,
)  # fmt: skip
