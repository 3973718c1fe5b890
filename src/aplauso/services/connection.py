"""One client's connection, the reading side: HTTP/1.1 as llhttp parses it, one request after the other.

A request is answered when the one before it has been: answers keep the order of their requests, and who does not read
them is not listened to. No task is made for a request whose answer somebody brings by a call.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final, cast

import structlog
from httptools import (
    HttpParserCallbackError,
    HttpParserError,
    HttpParserUpgrade,
    HttpRequestParser,
)

from aplauso.domain.errors import AplausoError, NotRecorded
from aplauso.services.clients import Clients
from aplauso.services.heads import Head
from aplauso.services.sending import IDLE_SECONDS, Sending
from aplauso.web import wire
from aplauso.web.http import ASKED, CLOSE, DISCARD_BYTES, Body, HTTPError, Request, too_large

HEAD_SECONDS: Final = 10.0
"""How long a client may take for a request's head."""
HEAD_BYTES: Final = 64 * 1024
HEAD_FIELDS: Final = 128
_SLICE: Final = 16 * 1024  # what is parsed at once: of a thousand requests in one read, few are taken at a time
_WAITING: Final = 64 * 1024  # bytes that may wait for the answer before them
_NONE: Final = Body(0)
_OURS: Final = ("connection", "transfer-encoding")  # headers that no call asks for
_NAMES: Final = {spelled.encode(): name for name in (*ASKED, *_OURS) for spelled in (name, name.title(), name.upper())}
log = structlog.get_logger("aplauso.http")


class Connection(Sending):
    """Made for each client that the listening socket accepts."""

    __slots__ = (
        "_begun", "_body", "_content", "_ended", "_failure", "_fields", "_found", "_head", "_headers", "_parser",
        "_queue", "_repeated", "_request", "_size", "_target", "_unparsed", "_waiting",
    )  # fmt: skip

    def __init__(self, clients: Clients) -> None:
        super().__init__(clients)
        self._parser: HttpRequestParser | None = HttpRequestParser(self)
        self._queue: deque[tuple[Request, Exception | None]] = deque()  # whole requests, and why they are refused
        self._waiting = b""  # what comes behind them
        self._ended = False  # the client has ended its sending side
        self._target = b""
        self._headers: dict[str, bytes] = {}
        self._repeated: list[str] = []
        self._begun = False  # a head has begun that is not whole
        self._head = self._fields = 0
        self._request: Request | None = None  # whose head is whole and whose body is not
        self._body, self._size, self._unparsed = _NONE, 0, 0
        self._failure: Exception | None = None
        self._found: Head | None = None  # what the last whole head says, where that may be kept
        self._content: bytes | bytearray = b""

    # What the transport tells.

    def data_received(self, data: bytes) -> None:
        """As `asyncio.Protocol`."""
        if self.finished:
            return
        if self.current is None and not (self.stalled or self._waiting or self._queue):
            if self._begun or self._request is not None:
                self._read(data)
            elif not self._answer_known(data):
                self._read_new(data)
            return
        self._waiting += data
        if len(self._waiting) > _WAITING:
            self.transport.pause_reading()

    def eof_received(self) -> bool:
        """As `asyncio.Protocol`: who ends only the sending side gets what was asked for."""
        if self.streams:
            return False
        self._ended = True
        self._end_reading()
        self._answer_next()
        return self.current is not None or self.stalled or bool(self._queue or self._waiting)

    def _end_reading(self) -> None:
        """Once the client has ended its side, and all that came was read, nothing will be whole that is not."""
        if not self._ended or self._waiting or self.finished:
            return
        if self._request is not None:
            log.info("the client hung up", request=self._request.id, path=self._request.path)
            self._refuse(HTTPError(400, "the body ended before it was whole", "client-gone", CLOSE))
        self.finished = True

    def connection_lost(self, error: Exception | None) -> None:
        """As `asyncio.Protocol`."""
        super().connection_lost(error)
        self._parser, self._request = None, None  # each knows this connection
        self.forget()

    # What its clients' keeper says.

    def expire(self) -> None:
        """Too late for whatever was waited for."""
        if self.stalled or self.finished:
            self.transport.abort()
        elif self._request is not None:
            self._end(HTTPError(408, f"the body did not come within {self._body.seconds:.0f} s", "too-slow", CLOSE))
        elif self._begun:
            self._end(HTTPError(408, f"the head did not come within {HEAD_SECONDS:.0f} s", "too-slow", CLOSE))
        else:
            self.transport.close()

    def finish(self) -> None:
        """Ends: at once, or with the answer that is under way."""
        if self.streams:
            self.end()
        elif self.current is not None:
            self.forget()
            self.current.keep = False
        elif self._request is not None:
            self._end(NotRecorded("stopping"))
        else:
            self.forget()
            self.leave()

    def _end(self, error: Exception) -> None:
        self._refuse(error)
        self._answer_next()

    # Reading.

    def _answer_known(self, data: bytes) -> bool:
        """Has a whole request answered whose head came before, and was not refused; False for any other."""
        known = self.clients.heads.find(data)
        if known is None:
            return False
        request = self._made(known.method, known.target, known.headers, known.repeated)
        request.call, request.gap = known.call, known.gap
        if known.kept and known.length:
            request.body = data[-known.length :]
        self._head = 0
        self.begin(request)
        self.clients.app.answer(request)
        return True

    def _read_new(self, data: bytes) -> None:
        """Parses what begins with a request, and keeps its head if it was one whole request and nothing else."""
        self._found = None
        self._read(data)
        if self._found is not None and self._request is None:
            self.clients.heads.keep(data, self._found)

    def _read(self, data: bytes) -> None:
        """Parses as much as may be asked now, and keeps the rest."""
        at, size = 0, len(data)
        while at < size and self.current is None and not (self.stalled or self.finished):
            piece = data if size <= _SLICE else data[at : at + _SLICE]
            at += len(piece)
            self._head += len(piece)
            self._parse(piece)
            if self._head > HEAD_BYTES and not self.finished:
                self._refuse(HTTPError(431, f"the head is larger than {HEAD_BYTES // 1024} KiB", "too-large", CLOSE))
            self._answer_next()
        if at < size and not self.finished:
            self._waiting = data[at:]

    def _parse(self, data: bytes) -> None:
        try:
            while data := self._take_unparsed(data):
                try:
                    cast(HttpRequestParser, self._parser).feed_data(data)
                except HttpParserUpgrade as upgrade:  # nobody is upgraded: what follows is HTTP as before
                    data = data[upgrade.args[0] :]
                else:
                    return
                if self.finished:
                    return
        except HttpParserCallbackError as error:
            self._refuse(error)
        except HttpParserError as error:
            self._refuse(HTTPError(400, f"this is not HTTP/1.1: {error}", "malformed", CLOSE))

    def _take_unparsed(self, data: bytes) -> bytes:
        """Takes from the data what belongs to a body that the parser passes over; the rest is the parser's."""
        if not self._unparsed:
            return data
        part, rest = data[: self._unparsed], data[self._unparsed :]
        self._unparsed -= len(part)
        self.on_body(part)
        if not self._unparsed:
            self.on_message_complete()
        return rest

    def _answer_next(self) -> None:
        """Has the requests answered that are whole, until one is not answered at once."""
        queue = self._queue
        while queue and self.current is None and not self.stalled:
            request, failure = queue.popleft()
            self.begin(request)
            if failure is None:
                self.clients.app.answer(request)
            else:
                self.clients.app.fail(request, failure)

    def forget(self) -> None:
        """As `Sending`."""
        self.finished = True
        self._queue.clear()
        self._waiting = b""

    def answered(self) -> None:
        """As `Sending`."""
        if self._queue or self._waiting:
            if not self.stalled:
                self.clients.loop.call_soon(self._go_on)  # not one call deeper for each answer that comes at once
        elif self.finished:
            self.leave()
        elif self.stalled:
            return
        elif self._request is not None:
            self.wait(self._body.seconds)
        else:
            self.wait(HEAD_SECONDS if self._begun else IDLE_SECONDS)

    def _go_on(self) -> None:
        if self.transport.is_closing():
            return
        self._answer_next()
        if self.current is not None or self.stalled or self._queue:
            return
        if self._waiting:
            data, self._waiting = self._waiting, b""
            self._read(data)
            self.transport.resume_reading()
        self._end_reading()
        self._answer_next()
        if self.current is None:
            self.answered()

    def _refuse(self, error: Exception) -> None:
        """Refuses what is being read, and listens to nothing more: it is answered in its turn."""
        request, self._request = self._request, None
        if self.finished:
            return
        if request is None:
            request = self._made("", "/", self._headers, self._repeated)
        request.keep = False
        self.finished = self.lingers = True
        self._waiting = b""
        self._queue.append((request, error))

    def _made(self, method: str, target: str, headers: Mapping[str, bytes], repeated: Sequence[str]) -> Request:
        app = self.clients.app
        request = Request(method, target, headers, repeated, app.new_id, app)
        request.send = self.send
        return request

    # What the parser tells.

    def on_message_begin(self) -> None:
        """A request begins."""
        self._target, self._fields, self._begun = b"", 0, True
        self._headers, self._repeated = {}, []
        self.wait(HEAD_SECONDS)

    def on_url(self, part: bytes) -> None:
        """A part of the target."""
        self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or what comes behind a body in the same form: nobody asks for that."""
        self._fields += 1
        if self._fields > HEAD_FIELDS and self._request is not None:
            self._refuse(_too_many())
        known = _NAMES.get(name) or _NAMES.get(name.lower())
        if known is None or self._request is not None:
            return
        if known in self._headers:
            self._repeated.append(known)
        else:
            self._headers[known] = value

    def on_headers_complete(self) -> None:
        """The head is whole: what can be said of the request without its body is said now."""
        self._begun = False
        if self.finished:
            return
        parser = cast(HttpRequestParser, self._parser)
        target, wrong = wire.origin_form(self._target)
        request = self._request = self._made(parser.get_method().decode(), target, self._headers, self._repeated)
        self._head = self._size = 0
        self._content, self._body, self._failure = b"", _NONE, None
        request.keep = parser.should_keep_alive()
        if not request.keep or "connection" in self._headers:
            self.old = parser.get_http_version() == "1.0"
        try:
            if self._fields > HEAD_FIELDS:
                wrong = _too_many()
            if parser.should_upgrade():
                wrong = self._pass_over(request) or wrong
            if wrong is not None:
                raise wrong
            self._body = self.clients.app.begin(request)
            self._found = self._as_head(request, self._weigh())
        except AplausoError as error:
            # With the frames that it came through it would hold the connection until garbage is collected.
            self._failure = error.with_traceback(None)
            # Who waits for a word has not begun to send, and need not.
            if "expect" in self._headers or (isinstance(error, HTTPError) and wire.ends_connection(error.headers)):
                self._refuse(error)
        self.wait(self._body.seconds)

    def _as_head(self, request: Request, length: int) -> Head | None:
        """What the head says, for the next one that is the same; None where another body follows, or no request."""
        if not request.keep or self._unparsed:
            return None
        return Head(
            request.method, request.target, self._headers, self._repeated, length,
            request.call, request.gap, self._body.kept,
        )  # fmt: skip

    def _pass_over(self, request: Request) -> HTTPError | None:
        """Sees to the body of a request that offers another protocol: the parser takes it for what comes after HTTP."""
        if request.method == "CONNECT" or "transfer-encoding" in self._headers:
            return HTTPError(400, "nobody is connected through, or upgraded with a body in chunks", "malformed", CLOSE)
        self._unparsed = int(self._headers.get("content-length", 0))
        return None

    def _weigh(self) -> int:
        """Holds the announced length against what the body may be, and returns it. Raises `HTTPError`."""
        announced, limit = int(self._headers.get("content-length", 0)), self._body.limit
        if announced > limit:
            raise too_large(limit, CLOSE if announced > DISCARD_BYTES else ())
        if "expect" in self._headers and self.current is None and not self._queue:
            self.transport.write(wire.CONTINUE)
        return announced

    def on_body(self, part: bytes) -> None:
        """A part of the body. One that is refused is read on and forgotten, until that is too much."""
        if self._request is None:
            return
        self._head = 0
        self._size += len(part)
        if self._failure is None and self._size > self._body.limit:
            self._failure, self._content = too_large(self._body.limit), b""
        if self._size > DISCARD_BYTES:
            self._refuse(self._failure or too_large(DISCARD_BYTES))
        elif self._failure is None and self._body.kept:
            self._keep(part)

    def _keep(self, part: bytes) -> None:
        if not self._content:
            self._content = part
            return
        if isinstance(self._content, bytes):
            self._content = bytearray(self._content)
        self._content += part

    def on_message_complete(self) -> None:
        """A request is whole."""
        if self._unparsed:
            return
        request, self._request = self._request, None
        if request is None:
            return
        self._head = 0
        request.body, self._content = bytes(self._content), b""
        if not request.keep:
            self.finished = True
        self._queue.append((request, self._failure))


def _too_many() -> HTTPError:
    return HTTPError(431, f"there are more than {HEAD_FIELDS} headers", "too-large", CLOSE)
