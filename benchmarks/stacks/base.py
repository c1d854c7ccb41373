"""What an adapter does, and the small protocol that every server speaks.

A bidirectional stream begins with one byte that says what the client wants:

* ``U``: the client sends bytes to the end; the server answers with their number (8 bytes).
* ``D`` and a size (8 bytes): the server sends that many bytes.
* ``E``: the server sends everything back, when it has all of it.

Datagrams are sent back as they are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager

ECHO, UPLOAD, DOWNLOAD = b"E", b"U", b"D"


def download_request(size: int) -> bytes:
    return DOWNLOAD + size.to_bytes(8, "big")


class Client(ABC):
    """One connection (and WebTransport session, where the stack has them)."""

    @abstractmethod
    async def upload(self, size: int) -> int:
        """Send *size* bytes on one stream; how many the server says it got."""

    @abstractmethod
    async def download(self, size: int) -> int:
        """Get *size* bytes on one stream; how many came."""

    @abstractmethod
    async def echo(self, data: bytes) -> bytes:
        """Send *data* on a stream of its own; what came back."""

    @abstractmethod
    def send_datagram(self, data: bytes) -> None:
        """Send one datagram."""

    @abstractmethod
    async def receive_datagram(self) -> bytes:
        """The next datagram."""


class Stack(ABC):
    """A QUIC implementation."""

    @abstractmethod
    def serve(self, certfile: str, keyfile: str) -> AbstractAsyncContextManager[int]:
        """Run the server on a free port of 127.0.0.1; enters with the port."""

    @abstractmethod
    def connect(self, port: int) -> AbstractAsyncContextManager[Client]:
        """Connect to 127.0.0.1; the certificate is not verified."""

    def version(self) -> str:
        """What is being measured."""
        return ""
