"""Heads of requests that came before, byte for byte: what they say is known, and they are not parsed again.

Who casts one vote after the other, a proxy or a test of load, sends the same head each time, or one of a few that
differ in a length. Parsing it costs as much as all else that is done with the vote before it is handed in.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

MOST: Final = 256
"""Heads that are kept; then the oldest goes."""
LONGEST: Final = 1_024
"""Bytes of a head that is kept, at most."""
_END: Final = b"\r\n\r\n"
_NOT_KEPT: Final = frozenset(
    ("authorization", "connection", "expect", "idempotency-key", "transfer-encoding", "x-request-id")
)
"""Headers that are a secret, or another one's each time, or that ask for more than an answer."""


class Head(NamedTuple):
    """What a head says of a request with a body of a known length, after which the connection goes on.

    Attributes:
        method: in upper case.
        target: in origin form.
        headers: as `aplauso.web.http.Request` has them.
        repeated: likewise.
        length: bytes of the body.
        call: the call that the request was found to be, by its head alone; see `aplauso.web.app.Route`.
        gap: what stood in the gap of its path.
        kept: whether anybody will look at the body.
    """

    method: str
    target: str
    headers: Mapping[str, bytes]
    repeated: Sequence[str]
    length: int
    call: Any
    gap: str | None
    kept: bool


class Heads:
    """Heads by their bytes."""

    def __init__(self) -> None:
        self._known: dict[bytes, Head] = {}

    def find(self, message: bytes) -> Head | None:
        """The head of a whole message that begins with a known one, and has just the body that it tells of."""
        end = message.find(_END, 0, LONGEST) + len(_END)
        known = self._known.get(message[:end])
        return known if known is not None and known.length == len(message) - end else None

    def keep(self, message: bytes, head: Head) -> None:
        """Keeps what a parser found the head of a message to say, if there is just one body behind it.

        The parser ends no head but with two ends of lines, so that of two messages in one neither has this length.
        """
        end = message.find(_END, 0, LONGEST) + len(_END)
        if end < len(_END) or len(message) - end != head.length or not _NOT_KEPT.isdisjoint(head.headers):
            return
        if len(self._known) >= MOST:
            del self._known[next(iter(self._known))]
        self._known[message[:end]] = head
