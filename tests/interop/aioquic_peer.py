"""WebTransport over aioquic, as far as aioquic has it: draft-ietf-webtrans-http3-02.

aioquic knows the SETTINGS, the stream preambles and HTTP datagrams.  What it lacks is here:
sessions, the close capsule, the mapping of stream error codes.  Nothing of cwt is used, on purpose:
the two sides of an interoperability test must not share a mistake.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aioquic import asyncio as aioquic
from aioquic.buffer import Buffer, BufferReadError, encode_uint_var
from aioquic.h3 import events as h3_events
from aioquic.h3.connection import H3Connection
from aioquic.quic import events as quic_events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.tls import SessionTicket

FIRST_ERROR = 0x52E4A40FA8DB
CLOSE_WT_SESSION = 0x2843
DRAIN_WT_SESSION = 0x78AE

Headers = list[tuple[bytes, bytes]]


class PeerReset(Exception):
    """The other side reset a stream, or asked to stop it; ``code`` is its WebTransport code."""

    def __init__(self, code: int | None) -> None:
        super().__init__(code)
        self.code = code


def to_http_code(code: int) -> int:
    """The HTTP/3 error code of a WebTransport one (draft-ietf-webtrans-http3-02 Section 4.3)."""
    return FIRST_ERROR + code + code // 0x1E


def from_http_code(code: int) -> int | None:
    """The WebTransport code of an HTTP/3 one; None outside of the reserved range."""
    shifted = code - FIRST_ERROR
    if not 0 <= shifted <= to_http_code(0xFFFFFFFF) - FIRST_ERROR or (code - 0x21) % 0x1F == 0:
        return None
    return shifted - shifted // 0x1F


class PeerStream:
    """One stream of a session."""

    def __init__(self, peer: Peer, stream_id: int) -> None:
        self._peer = peer
        self.stream_id = stream_id
        self._received = bytearray()
        self._news = asyncio.Event()
        self._ended = False
        self._reset: PeerReset | None = None
        self.stopped: asyncio.Future[int | None] = peer.loop.create_future()

    def on_data(self, data: bytes, ended: bool) -> None:
        self._received += data
        self._ended = self._ended or ended
        self._news.set()

    def on_reset(self, code: int) -> None:
        self._reset = PeerReset(from_http_code(code))
        self._news.set()

    def on_stopped(self, code: int) -> None:
        if not self.stopped.done():
            self.stopped.set_result(from_http_code(code))

    async def read(self, size: int = -1) -> bytes:
        """Up to ``size`` bytes, or with -1 everything to FIN; b"" at FIN.  PeerReset when reset."""
        while not self._ended and (size < 0 or not self._received):
            if self._reset:
                raise self._reset
            self._news.clear()
            await self._news.wait()
        if size < 0:
            size = len(self._received)
        data = bytes(self._received[:size])
        del self._received[:size]
        return data

    def write(self, data: bytes, fin: bool = False) -> None:
        self._peer.quic.send_stream_data(self.stream_id, data, fin)
        self._peer.transmit()

    def reset(self, code: int) -> None:
        self._peer.quic.reset_stream(self.stream_id, to_http_code(code))
        self._peer.transmit()

    def stop(self, code: int) -> None:
        self._peer.quic.stop_stream(self.stream_id, to_http_code(code))
        self._peer.transmit()


class PeerSession:
    """One WebTransport session."""

    def __init__(self, peer: Peer, session_id: int, headers: Headers) -> None:
        self.peer = peer
        self.session_id = session_id
        self.headers = headers
        self.incoming_bi: asyncio.Queue[PeerStream] = asyncio.Queue()
        self.incoming_uni: asyncio.Queue[PeerStream] = asyncio.Queue()
        self.datagrams: asyncio.Queue[bytes] = asyncio.Queue()
        self.closed: asyncio.Future[tuple[int, str]] = peer.loop.create_future()
        self.draining = asyncio.Event()
        self._capsules = bytearray()

    def on_connect_data(self, data: bytes, ended: bool) -> None:
        """Capsules (RFC 9297 Section 3.2); a FIN without one closes with code 0."""
        self._capsules += data
        while True:
            buf = Buffer(data=bytes(self._capsules))
            try:
                kind = buf.pull_uint_var()
                body = buf.pull_bytes(buf.pull_uint_var())
            except BufferReadError:
                break
            del self._capsules[: buf.tell()]
            if kind == CLOSE_WT_SESSION and not self.closed.done():
                self.closed.set_result((int.from_bytes(body[:4], "big"), body[4:].decode()))
            elif kind == DRAIN_WT_SESSION:
                self.draining.set()
        if ended and not self.closed.done():
            self.closed.set_result((0, ""))

    def open_stream(self, *, bidirectional: bool) -> PeerStream:
        stream_id = self.peer.h3.create_webtransport_stream(
            self.session_id, is_unidirectional=not bidirectional
        )
        self.peer.transmit()
        return self.peer.add_stream(stream_id)

    def send_datagram(self, data: bytes) -> None:
        self.peer.h3.send_datagram(self.session_id, data)
        self.peer.transmit()

    def close(self, code: int = 0, reason: str = "") -> None:
        body = code.to_bytes(4, "big") + reason.encode()
        capsule = encode_uint_var(CLOSE_WT_SESSION) + encode_uint_var(len(body)) + body
        self.peer.h3.send_data(self.session_id, capsule, end_stream=True)
        self.peer.transmit()


Handler = Callable[[PeerSession], Awaitable[None]]
Response = tuple[Headers, bytes]


class Peer(aioquic.QuicConnectionProtocol):
    """An aioquic connection that speaks WebTransport, on either side."""

    def __init__(self, *args: Any, handler: Handler | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.loop = asyncio.get_running_loop()
        self.quic = self._quic
        self.h3 = H3Connection(self._quic, enable_webtransport=True)
        self.sessions: dict[int, PeerSession] = {}
        self.streams: dict[int, PeerStream] = {}
        self.terminated: asyncio.Future[quic_events.ConnectionTerminated] = (
            self.loop.create_future()
        )
        self._handler = handler
        self._settings_received = asyncio.Event()
        self._local_bidi: set[int] = set()
        self._waiters: dict[int, asyncio.Future[Headers]] = {}
        self._bodies: dict[int, tuple[bytearray, asyncio.Future[bytes]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    # what a client does

    async def connect_session(self, authority: str, path: str) -> PeerSession:
        """Opens a session with extended CONNECT (RFC 9220)."""
        await self._settings_received.wait()
        headers = [
            (b":method", b"CONNECT"),
            (b":scheme", b"https"),
            (b":authority", authority.encode()),
            (b":path", path.encode()),
            (b":protocol", b"webtransport"),
            (b"sec-webtransport-http3-draft02", b"1"),
        ]
        stream_id, response = await self._request(headers, fin=False)
        status = int(dict(response)[b":status"])
        if not 200 <= status < 300:
            raise ConnectionRefusedError(status)
        return self.sessions[stream_id]

    async def get(self, authority: str, path: str) -> tuple[int, bytes]:
        """The status and body of a plain HTTP/3 request."""
        headers = [
            (b":method", b"GET"),
            (b":scheme", b"https"),
            (b":authority", authority.encode()),
            (b":path", path.encode()),
        ]
        stream_id, response = await self._request(headers, fin=True)
        body = await self._bodies[stream_id][1]
        return int(dict(response)[b":status"]), body

    async def _request(self, headers: Headers, fin: bool) -> tuple[int, Headers]:
        stream_id = self.quic.get_next_available_stream_id()
        self._waiters[stream_id] = self.loop.create_future()
        self._bodies[stream_id] = (bytearray(), self.loop.create_future())
        if not fin:
            self.sessions[stream_id] = PeerSession(self, stream_id, headers)
        self.h3.send_headers(stream_id, headers, end_stream=fin)
        self.transmit()
        return stream_id, await self._waiters[stream_id]

    # what both do

    def add_stream(self, stream_id: int) -> PeerStream:
        if stream_id & 1 == (0 if self.quic.configuration.is_client else 1) and not stream_id & 2:
            self._local_bidi.add(stream_id)
        stream = self.streams[stream_id] = PeerStream(self, stream_id)
        return stream

    def quic_event_received(self, event: quic_events.QuicEvent) -> None:
        if isinstance(event, quic_events.ConnectionTerminated) and not self.terminated.done():
            self.terminated.set_result(event)
        stream = self.streams.get(getattr(event, "stream_id", -1))
        if stream is not None:
            if isinstance(event, quic_events.StreamReset):
                stream.on_reset(event.error_code)
            elif isinstance(event, quic_events.StopSendingReceived):
                stream.on_stopped(event.error_code)
            elif (
                isinstance(event, quic_events.StreamDataReceived)
                and stream.stream_id in self._local_bidi
            ):
                # What comes back on a stream of ours has no preamble; aioquic would look for one.
                stream.on_data(event.data, event.end_stream)
                return
        for h3_event in self.h3.handle_event(event):
            self._h3_event(h3_event)
        if self.h3.received_settings is not None:
            self._settings_received.set()

    def _h3_event(self, event: h3_events.H3Event) -> None:
        if isinstance(event, h3_events.HeadersReceived):
            self._on_headers(event)
        elif isinstance(event, h3_events.DataReceived):
            if event.stream_id in self._bodies:
                self._on_body(event.stream_id, event.data, event.stream_ended)
            if event.stream_id in self.sessions:
                self.sessions[event.stream_id].on_connect_data(event.data, event.stream_ended)
        elif isinstance(event, h3_events.DatagramReceived):
            if event.stream_id in self.sessions:
                self.sessions[event.stream_id].datagrams.put_nowait(event.data)
        elif isinstance(event, h3_events.WebTransportStreamDataReceived):
            stream = self.streams.get(event.stream_id)
            if stream is None:
                stream = self.add_stream(event.stream_id)
                session = self.sessions[event.session_id]
                queue = session.incoming_uni if event.stream_id & 2 else session.incoming_bi
                queue.put_nowait(stream)
            stream.on_data(event.data, event.stream_ended)

    def _on_headers(self, event: h3_events.HeadersReceived) -> None:
        if self.quic.configuration.is_client:
            waiter = self._waiters[event.stream_id]
            if not waiter.done():
                waiter.set_result(event.headers)
            if event.stream_ended:
                self._on_body(event.stream_id, b"", True)
            return
        headers = dict(event.headers)
        if headers.get(b":protocol") == b"webtransport":
            session = PeerSession(self, event.stream_id, event.headers)
            self.sessions[event.stream_id] = session
            accepted = headers[b":path"] != b"/missing"
            status = b"200" if accepted else b"404"
            response = [(b":status", status), (b"sec-webtransport-http3-draft", b"draft02")]
            self.h3.send_headers(event.stream_id, response, end_stream=not accepted)
            if accepted and self._handler is not None:
                task = self.loop.create_task(self._run(self._handler, session))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        else:
            body = b"you asked for " + headers[b":path"]
            self.h3.send_headers(event.stream_id, [(b":status", b"200")])
            self.h3.send_data(event.stream_id, body, end_stream=True)
        self.transmit()

    async def _run(self, handler: Handler, session: PeerSession) -> None:
        await handler(session)

    def _on_body(self, stream_id: int, data: bytes, ended: bool) -> None:
        body, done = self._bodies[stream_id]
        body += data
        if ended and not done.done():
            done.set_result(bytes(body))


def _configuration(is_client: bool, **kwargs: Any) -> QuicConfiguration:
    return QuicConfiguration(
        alpn_protocols=["h3"],
        is_client=is_client,
        max_datagram_frame_size=65536,
        idle_timeout=20.0,
        **kwargs,
    )


@asynccontextmanager
async def connect(
    host: str,
    port: int,
    tickets: list[SessionTicket] | None = None,
    *,
    token_handler: Callable[[bytes], None] | None = None,
    **options: Any,
) -> AsyncIterator[Peer]:
    """An aioquic client, which trusts any certificate; it resumes with *tickets* and adds to them.

    Address validation tokens go to *token_handler*; *options* are fields of its QuicConfiguration.
    """
    configuration = _configuration(True, verify_mode=ssl.CERT_NONE, **options)
    if tickets:
        configuration.session_ticket = tickets.pop()
    async with aioquic.connect(
        host,
        port,
        configuration=configuration,
        create_protocol=Peer,
        session_ticket_handler=None if tickets is None else tickets.append,
        token_handler=token_handler,
    ) as protocol:
        assert isinstance(protocol, Peer)
        yield protocol


@asynccontextmanager
async def serve(
    handler: Handler,
    host: str,
    certfile: Path,
    keyfile: Path,
    *,
    retry: bool = False,
    **options: Any,
) -> AsyncIterator[int]:
    """An aioquic server, which runs ``handler`` for each session; gives its port.

    *options* are fields of its QuicConfiguration.
    """
    tickets: dict[bytes, SessionTicket] = {}
    configuration = _configuration(False, **options)
    configuration.load_cert_chain(certfile, keyfile)
    server = await aioquic.serve(
        host,
        0,
        configuration=configuration,
        create_protocol=lambda *args, **kwargs: Peer(*args, handler=handler, **kwargs),
        retry=retry,
        session_ticket_fetcher=lambda name: tickets.pop(name, None),
        session_ticket_handler=lambda ticket: tickets.update({ticket.ticket: ticket}),
    )
    transport: Any = server._transport
    try:
        yield transport.get_extra_info("sockname")[1]
    finally:
        server.close()
