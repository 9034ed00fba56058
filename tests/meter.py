"""A meter on the wire: when each HTTP request reached the server's socket, by the kernel's own stamps.

It runs in a process of its own, for a server in the test's process would see requests whenever the test lets it.
Without an upstream port it answers 204 to everything; else it passes everything on and back. It ends with its standard
input, and prints the moments then, in seconds.
"""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

_SO_TIMESTAMPNS = 35  # Linux, on the machines that have a wheel; elsewhere the meter reads the clock
ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"


@dataclass
class Meter:
    """Where it listens; and, once it has ended, when the requests came."""

    url: str
    at: list[float] = field(default_factory=list)

    @property
    def fullest_second(self) -> int:
        return max(sum(begin <= moment < begin + 1 for moment in self.at) for begin in self.at)


@contextmanager
def meter(upstream: int = 0) -> Iterator[Meter]:
    command = [sys.executable, __file__, str(upstream)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    made = Meter(f"http://127.0.0.1:{int(process.stdout.readline())}")
    try:
        yield made
    finally:
        out, _ = process.communicate(timeout=10)
        made.at += json.loads(out)


def _run(upstream: int) -> None:
    at: list[float] = []
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    if sys.platform == "linux":
        listener.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)  # accepted sockets have it from their listener
    print(listener.getsockname()[1], flush=True)  # noqa: T201

    def listen() -> None:
        while True:
            client, _ = listener.accept()
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=_requests, args=(client, upstream, at), daemon=True).start()

    threading.Thread(target=listen, daemon=True).start()
    sys.stdin.read()
    print(json.dumps(sorted(at)))  # noqa: T201


def _requests(client: socket.socket, upstream: int, at: list[float]) -> None:
    server = socket.create_connection(("127.0.0.1", upstream)) if upstream else None
    if server is not None:
        threading.Thread(target=_answers, args=(server, client), daemon=True).start()
    with client, suppress(OSError):
        while True:
            data, stamps, _, _ = client.recvmsg(256 * 1024, 64)
            if not data:
                break
            if data.startswith(b"POST "):  # the rest of a request, if it comes apart, does not begin so
                at.append(_moment(stamps))
                if server is None:
                    client.sendall(ANSWER)
            if server is not None:
                server.sendall(data)
    if server is not None:
        with suppress(OSError):
            server.shutdown(socket.SHUT_WR)


def _answers(server: socket.socket, client: socket.socket) -> None:
    with server, suppress(OSError):
        while data := server.recv(256 * 1024):
            client.sendall(data)
        client.shutdown(socket.SHUT_WR)


def _moment(stamps: list[tuple[int, int, bytes]]) -> float:
    for level, kind, data in stamps:
        if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS):
            seconds, nanoseconds = struct.unpack("@ll", data[: struct.calcsize("@ll")])
            return float(seconds + nanoseconds / 1e9)
    return time.time()


if __name__ == "__main__":
    _run(int(sys.argv[1]))
