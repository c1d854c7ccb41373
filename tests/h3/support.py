"""HTTP/3 against a hand-written peer, and against itself."""

from __future__ import annotations

from typing import Any, TypeVar

import pylsqpack

from cwt import h3
from cwt._core.wire import varint
from cwt.config import Http3Config
from cwt.h3.frames import FrameType, encode_frame
from tests.h3.fake import FakeQuic, pair

T = TypeVar("T")

GET = [
    (b":method", b"GET"),
    (b":scheme", b"https"),
    (b":authority", b"localhost"),
    (b":path", b"/"),
]
EMPTY_SETTINGS = b"\x00\x04\x00"
"""A control stream: its type and a SETTINGS frame without settings."""


def section(lines: list[tuple[bytes, bytes]]) -> bytes:
    """A field section without the dynamic table."""
    return pylsqpack.Encoder().encode(0, lines)[1]


def headers_frame(lines: list[tuple[bytes, bytes]]) -> bytes:
    return encode_frame(FrameType.HEADERS, section(lines))


def data_frame(data: bytes) -> bytes:
    return encode_frame(FrameType.DATA, data)


def frames(data: bytes) -> list[tuple[int, bytes]]:
    """Cut *data* into frames."""
    found = []
    offset = 0
    while offset < len(data):
        kind = varint.decode(data, offset)
        assert kind is not None
        length = varint.decode(data, kind[1])
        assert length is not None
        found.append((kind[0], data[length[1] : length[1] + length[0]]))
        offset = length[1] + length[0]
    return found


class Rig:
    """One HTTP/3 connection under test; the peer is the test, which writes raw bytes."""

    def __init__(
        self, config: Http3Config | None = None, *, is_client: bool = False, **options: Any
    ) -> None:
        client, server = pair(**options)
        self.quic, self.peer = (client, server) if is_client else (server, client)
        self.h3 = h3.Connection(self.quic, config or Http3Config())
        self.events: list[h3.Event] = []
        self.poll()

    def poll(self) -> list[h3.Event]:
        events = self.h3.poll()
        self.events += events
        return events

    def saw(self, kind: type[T]) -> list[T]:
        return [event for event in self.events if isinstance(event, kind)]

    def control(self, data: bytes = EMPTY_SETTINGS) -> int:
        """The peer's control stream, from its type on."""
        stream_id = self.peer.raw_open(data)
        self.poll()
        return stream_id

    def request(self, data: bytes, fin: bool = False) -> int:
        """A request stream of the peer."""
        stream_id = self.peer.raw_open(data, fin, bidirectional=True)
        self.poll()
        return stream_id

    def write(self, stream_id: int, data: bytes, fin: bool = False) -> None:
        assert self.peer.stream_send(stream_id, data, fin) == len(data)
        self.poll()

    @property
    def error(self) -> int | None:
        """The code the connection was closed with."""
        return self.quic.closed_with[0] if self.quic.closed_with else None

    def stream_error(self, stream_id: int) -> int | None:
        """The code the stream was reset with, in both directions."""
        reset, stop = self.quic.sent_reset(stream_id), self.quic.sent_stop(stream_id)
        half = self.quic.incoming[stream_id]
        assert stop in (reset, None) if half.fin_read else stop == reset
        return reset


class Duo:
    """An HTTP/3 client and server."""

    def __init__(self, config: Http3Config | None = None, **options: Any) -> None:
        self.client_quic, self.server_quic = pair(**options)
        config = config or Http3Config()
        self.client = h3.Connection(self.client_quic, config)
        self.server = h3.Connection(self.server_quic, config, extended_connect=True)
        self.client_events: list[h3.Event] = []
        self.server_events: list[h3.Event] = []

    def run(self) -> None:
        """Poll both sides until nothing happens."""
        for _ in range(10_000):
            client, server = self.client.poll(), self.server.poll()
            self.client_events += client
            self.server_events += server
            busy: list[FakeQuic] = [self.client_quic, self.server_quic]
            if not client and not server and not any(q._readable or q._writable for q in busy):
                return
        raise AssertionError("the two sides never come to rest")

    def client_saw(self, kind: type[T]) -> list[T]:
        return [event for event in self.client_events if isinstance(event, kind)]

    def server_saw(self, kind: type[T]) -> list[T]:
        return [event for event in self.server_events if isinstance(event, kind)]
