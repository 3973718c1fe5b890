"""Casts single votes at a steady pace and prints each acknowledgement. Arguments: port, votes a second, seconds.

One line an acknowledgement: the moment on the system's monotonic clock, and the vote's id.
"""

import asyncio
import sys
import time
from collections import deque

CONNECTIONS = 256
TICK = 0.005
BODY = '{{"name": "Banda de prueba {}", "album": "Disco {}", "year": "{}", "rank": "{}"}}'


class Voter(asyncio.Protocol):
    """One connection; votes again once its last vote is answered."""

    def __init__(self, free: "deque[Voter]", answers: list[tuple[float, bytes]]) -> None:
        self.free, self.answers = free, answers

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.free.append(self)

    def data_received(self, data: bytes) -> None:
        assert data.startswith(b"HTTP/1.1 201"), data
        at = data.index(b'"id":"') + 6
        self.answers.append((time.monotonic(), data[at : at + 36]))
        self.free.append(self)


def request(number: int) -> bytes:
    """A vote as a phone would send it."""
    body = BODY.format(number % 16, number % 4, 1960 + number % 64, number % 10 + 1).encode()
    head = (
        f"POST /insert HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def run(port: int, pace: int, seconds: float) -> list[tuple[float, bytes]]:
    """Votes; what finds no free connection is sent later, but is sent."""
    free: deque[Voter] = deque()
    answers: list[tuple[float, bytes]] = []
    loop = asyncio.get_running_loop()
    for _ in range(CONNECTIONS):
        await loop.create_connection(lambda: Voter(free, answers), "127.0.0.1", port)
    requests = [request(number) for number in range(64)]
    started, sent, total = time.monotonic(), 0, int(pace * seconds)
    while sent < total:
        due = min(total, int((time.monotonic() - started) * pace))
        while sent < due and free:
            free.popleft().transport.write(requests[sent % 64])
            sent += 1
        await asyncio.sleep(TICK)
    while len(answers) < total:  # noqa: ASYNC110 - a look now and then costs less than an event a vote
        await asyncio.sleep(TICK)
    return answers


if __name__ == "__main__":
    found = asyncio.run(run(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
    print("\n".join(f"{at:.6f} {vote_id.decode()}" for at, vote_id in found))
