"""A WebTransport client and server over the fake pair."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import pylsqpack

from cwt import h3
from cwt import webtransport as wt
from cwt.config import Config
from cwt.h3.frames import FrameType, encode_frame
from cwt.h3.settings import encode_settings
from tests.h3.fake import pair
from tests.h3.support import data_frame, frames, headers_frame

T = TypeVar("T")


class Pair:
    def __init__(
        self, config: Config | None = None, client_config: Config | None = None, **options: int
    ) -> None:
        config = config or Config()
        self.client_quic, self.server_quic = pair(**options)
        self.client = wt.Connection(h3.Connection(self.client_quic, client_config or config))
        self.server = wt.Connection(h3.Connection(self.server_quic, config))
        self.client_events: list[Any] = []
        self.server_events: list[Any] = []

    def run(self) -> None:
        """Poll both sides until nothing happens."""
        for _ in range(100):
            client, server = self.client.poll(), self.server.poll()
            self.client_events += client
            self.server_events += server
            if not client and not server and not self._has_news():
                return
        raise AssertionError("the two sides never come to rest")

    def _has_news(self) -> bool:
        return any(
            quic._readable or quic._writable or quic._datagrams
            for quic in (self.client_quic, self.server_quic)
        )

    def client_saw(self, kind: type[T]) -> list[T]:
        """The client's events of one kind since the last call."""
        found = [event for event in self.client_events if isinstance(event, kind)]
        self.client_events = [e for e in self.client_events if not isinstance(e, kind)]
        return found

    def server_saw(self, kind: type[T]) -> list[T]:
        """The server's events of one kind since the last call."""
        found = [event for event in self.server_events if isinstance(event, kind)]
        self.server_events = [e for e in self.server_events if not isinstance(e, kind)]
        return found


def connected(**options: Any) -> tuple[Pair, int]:
    """A pair with one open session."""
    two = Pair(**options)
    two.run()
    session = two.client.connect("localhost", "/")
    two.run()
    two.server.accept(session)
    two.run()
    assert two.client_saw(wt.SessionAccepted)
    two.client_events.clear()
    two.server_events.clear()
    return two, session


def taken(events: Iterable[wt.DatagramsReadable]) -> list[tuple[int, bytes]]:
    """The datagrams that *events* tell of, with the ids of their sessions."""
    return [(event.session_id, data) for event in events for data in event.datagrams.recv_many()]


SETTINGS = {
    "draft-15/16": ((0x33, 1), (0x2C7CF000, 1)),
    "draft-13/14": ((0x33, 1), (0x14E9CD29, 1)),
    "draft-07": ((0x33, 1), (0xC671706A, 1)),
    "draft-02": ((0x33, 1), (0x2B603742, 1)),
}
"""What the client's or server's SETTINGS say when it speaks one dialect only."""


def control_stream(settings: Iterable[tuple[int, int]]) -> bytes:
    return b"\x00" + encode_frame(FrameType.SETTINGS, encode_settings(settings))


def connect_lines(token: str = "webtransport", **fields: str) -> list[tuple[bytes, bytes]]:
    """Header fields of a session request; underscores in *fields* stand for hyphens."""
    lines = {
        ":method": "CONNECT",
        ":protocol": token,
        ":scheme": "https",
        ":authority": "localhost",
        ":path": "/",
    } | {name.replace("_", "-"): value for name, value in fields.items()}
    return [(name.encode(), value.encode()) for name, value in lines.items()]


class Rig:
    """A WebTransport connection under test; the peer is the test, which writes raw bytes."""

    def __init__(
        self,
        settings: Iterable[tuple[int, int]] | None = SETTINGS["draft-02"],
        config: Config | None = None,
        *,
        is_client: bool = False,
        **options: int,
    ) -> None:
        client, server = pair(**options)
        self.quic, self.peer = (client, server) if is_client else (server, client)
        self.wt = wt.Connection(h3.Connection(self.quic, config or Config()))
        self.events: list[Any] = []
        self.poll()
        if settings is not None:
            self.settings(settings)

    def settings(self, settings: Iterable[tuple[int, int]]) -> None:
        self.peer.raw_open(control_stream(settings))
        self.poll()

    def poll(self) -> list[Any]:
        events = self.wt.poll()
        self.events += events
        return events

    def saw(self, kind: type[T]) -> list[T]:
        """Events of one kind since the last call."""
        found = [event for event in self.events if isinstance(event, kind)]
        self.events = [event for event in self.events if not isinstance(event, kind)]
        return found

    def request(self, lines: list[tuple[bytes, bytes]] | None = None, more: bytes = b"") -> int:
        """A raw session request; returns the session id."""
        stream_id = self.peer.raw_open(
            headers_frame(lines or connect_lines()) + more, bidirectional=True
        )
        self.poll()
        return stream_id

    def session(self, lines: list[tuple[bytes, bytes]] | None = None) -> int:
        """An open session, asked for by the raw peer or, when that is the server, by us."""
        if self.quic.is_client:
            session_id = self.wt.connect("localhost", "/")
            self.write(session_id, headers_frame([(b":status", b"200")]))
        else:
            session_id = self.request(lines)
            self.wt.accept(session_id)
        self.poll()
        self.events.clear()
        return session_id

    def write(self, stream_id: int, data: bytes, fin: bool = False) -> None:
        assert self.peer.stream_send(stream_id, data, fin) == len(data)
        self.poll()

    def capsules(self, session_id: int, data: bytes, fin: bool = False) -> None:
        """Write capsules on the CONNECT stream, in one DATA frame."""
        self.write(session_id, data_frame(data), fin)

    def stream(self, data: bytes, *, bidirectional: bool = False, fin: bool = False) -> int:
        """A raw stream of the peer."""
        stream_id = self.peer.raw_open(data, fin, bidirectional=bidirectional)
        self.poll()
        return stream_id

    def sent(self, session_id: int) -> list[tuple[int, bytes]]:
        """The frames that we have written on the CONNECT stream, without the header fields."""
        found = frames(self.peer.unread(session_id))
        return [frame for frame in found if frame[0] != FrameType.HEADERS]

    def response(self, session_id: int) -> dict[bytes, bytes]:
        """The header fields that we answered with."""
        kind, block = frames(self.peer.unread(session_id))[0]
        assert kind == FrameType.HEADERS
        return dict(pylsqpack.Decoder(0, 0).feed_header(session_id, block)[1])

    @property
    def error(self) -> int | None:
        """The code the connection was closed with."""
        return self.quic.closed_with[0] if self.quic.closed_with else None
