"""What an adapter does, and the small protocol that every server speaks.

A bidirectional stream begins with one byte that says what the client wants:

* ``U``: the client sends bytes to the end; the server answers with their number (8 bytes).
* ``D`` and a size (8 bytes): the server sends that many bytes.
* ``E``: the server sends everything back, when it has all of it.
* ``C``: the server answers with how many datagrams came on this connection (8 bytes) and when the last of
  them did (Unix time in nanoseconds, 8 bytes).

Numbers are big-endian.  Applications write 64 KiB at a time, where the stack lets them wait.
"""

from __future__ import annotations

import socket
import time
from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple

ECHO, UPLOAD, DOWNLOAD, COUNT = b"E", b"U", b"D", b"C"
CHUNK = bytes(1 << 16)


class Unsupported(Exception):
    """The stack has nothing of the kind; says what is missing."""


class Received(NamedTuple):
    """Datagrams that came, and the Unix time of the last in nanoseconds."""

    total: int
    last: int


class Counter:
    """A server's count of datagrams."""

    __slots__ = ("_count", "_last")

    def __init__(self) -> None:
        self._count = self._last = 0

    def add(self, count: int = 1) -> None:
        self._count += count
        self._last = time.time_ns()

    def answer(self) -> bytes:
        return self._count.to_bytes(8, "big") + self._last.to_bytes(8, "big")


def download_request(size: int) -> bytes:
    return DOWNLOAD + size.to_bytes(8, "big")


def free_port() -> int:
    """A UDP port for servers that do not find one."""
    with socket.socket(type=socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def pieces(size: int) -> list[bytes]:
    """*size* bytes as an application writes them."""
    return [CHUNK] * (size // len(CHUNK)) + [CHUNK[: size % len(CHUNK)]]


class Client(ABC):
    """One connection (and WebTransport session, where the stack has them)."""

    @abstractmethod
    async def upload(self, size: int) -> int:
        """Send *size* bytes on one stream; how many the server says it got."""

    @abstractmethod
    async def download(self, size: int) -> int:
        """Get *size* bytes on one stream; how many came."""

    @abstractmethod
    async def exchange(self, data: bytes) -> bytes:
        """Send *data* on a stream of its own; what came back."""

    @abstractmethod
    async def send_datagrams(self, count: int, data: bytes) -> None:
        """Send *data* so many times, as fast as the stack takes them."""

    async def echo(self, data: bytes) -> bytes:
        return await self.exchange(ECHO + data)

    async def arrived(self) -> Received:
        """What the server got so far."""
        answer = await self.exchange(COUNT)
        return Received(int.from_bytes(answer[:8], "big"), int.from_bytes(answer[8:], "big"))


class Stack(ABC):
    """An implementation that is spoken to from Python."""

    @abstractmethod
    def serve(self, certfile: str, keyfile: str) -> AbstractAsyncContextManager[int]:
        """Run the server on a free port of 127.0.0.1; enters with the port."""

    @abstractmethod
    def connect(self, port: int) -> AbstractAsyncContextManager[Client]:
        """Connect to 127.0.0.1; the certificate is not verified."""

    @abstractmethod
    def version(self) -> str:
        """What is being measured."""
