"""Many stream viewers in one process. Arguments: port, path, viewers, seconds.

Connects them all and prints "ready". For each line that it is given it counts each one's frames for some seconds, and
prints the least, the median and the sum. Plain epoll and one buffer: asyncio would need more of the machine than the
board that it watches.
"""

import select
import socket
import statistics
import sys
import time

MARK = b"event: standings"
BATCH = 200


def connect(port: int, path: str, viewers: int) -> dict[int, socket.socket]:
    """All connections, their requests sent."""
    request = f"GET {path} HTTP/1.1\r\nHost: bench\r\nAccept: text/event-stream\r\n\r\n".encode()
    connections = {}
    for _ in range(viewers):
        connection = socket.create_connection(("127.0.0.1", port), timeout=60)
        connection.sendall(request)
        connection.setblocking(False)
        connections[connection.fileno()] = connection
    return connections


def count(poll: select.epoll, connections: dict[int, socket.socket], seconds: float, frames: dict[int, int]) -> None:
    """Reads whatever comes for some seconds, and counts the frames of each connection."""
    buffer = bytearray(256 * 1024)
    view = memoryview(buffer)
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        for number, _ in poll.poll(left, BATCH):
            size = connections[number].recv_into(view)
            assert size, "the board hung up"
            frames[number] = frames.get(number, 0) + buffer.count(MARK, 0, size)


def main() -> None:
    """Counts, when told to."""
    port, path, viewers, seconds = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    connections = connect(port, path, viewers)
    poll = select.epoll()
    for number in connections:
        poll.register(number, select.EPOLLIN)
    # Every viewer has had its first frame before anything is counted.
    first: dict[int, int] = {}
    until = time.monotonic() + 60
    while len(first) < viewers and time.monotonic() < until:
        count(poll, connections, 0.2, first)
    print("ready", flush=True)
    while True:
        while not select.select([sys.stdin], [], [], 0)[0]:
            count(poll, connections, 0.05, {})
        if not sys.stdin.readline():
            return
        frames = dict.fromkeys(connections, 0)
        count(poll, connections, seconds, frames)
        numbers = list(frames.values())
        print(min(numbers), statistics.median(numbers), sum(numbers), flush=True)


if __name__ == "__main__":
    main()
