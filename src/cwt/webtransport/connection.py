"""All WebTransport sessions of one HTTP/3 connection (draft-ietf-webtrans-http3)."""

from __future__ import annotations

from collections.abc import Sequence

from cwt._core.stream.datagram import DatagramFlow
from cwt._types import Buffer
from cwt.config import Config
from cwt.errors import BufferFull, ConnectError, H3ErrorCode, StreamReset, StreamStopped
from cwt.errors import SessionClosed as SessionClosedError
from cwt.h3 import events as h3_events
from cwt.h3.capsules import CapsuleError
from cwt.h3.connection import Connection as Http3Connection
from cwt.h3.fault import ConnectionFault
from cwt.webtransport import dialects
from cwt.webtransport.codes import check_code
from cwt.webtransport.dialects import DIALECTS, TOKEN_H3, TOKENS, Dialect
from cwt.webtransport.early import MAX_EARLY_BYTES, EarlyArrivals
from cwt.webtransport.events import (
    DatagramsReadable,
    Event,
    Headers,
    Ready,
    SessionAccepted,
    SessionClosed,
    SessionDraining,
    SessionRejected,
    SessionRequested,
    StreamWritable,
)
from cwt.webtransport.protocols import (
    parse_protocol,
    parse_protocols,
    serialize_protocol,
    serialize_protocols,
)
from cwt.webtransport.session import Close, Session, State, close_capsule, drain_capsule
from cwt.webtransport.streams import BIDI_SIGNAL, UNI_TYPE, Stream, Streams

__all__ = ["Connection"]

_MAX_REMEMBERED = 64
"""Closed sessions remembered, so that late streams of theirs are refused rather than held."""
_MAX_WAITING = 16
"""Requests held until the client's SETTINGS have arrived."""
_WT_ENABLED = DIALECTS[0].setting


class Connection:
    """The sessions of one connection, in either role; sans-IO.

    ``poll`` drives everything below and returns what happened; a stream of ``open`` or ``stream`` can have
    listeners, and then tells them instead.  A stream's payload never passes
    through HTTP/3: past the preamble, ``stream_send`` and ``stream_recv`` are QUIC's own, with error
    codes mapped, and so is the backpressure.

    A reset does not overtake the preamble: a peer without RESET_STREAM_AT is told of it when the preamble
    has been acknowledged.
    """

    __slots__ = (
        "_closed",
        "_closing",
        "_early",
        "_events",
        "_is_client",
        "_sessions",
        "_streams",
        "_waiting",
        "claim",
        "config",
        "dialect",
        "h3",
        "quic",
    )

    def __init__(self, h3: Http3Connection, config: Config | None = None) -> None:
        self.h3 = h3
        self.quic = h3.quic
        if config is None:
            config = h3.config if isinstance(h3.config, Config) else Config()
        self.config = config
        self.dialect: Dialect | None = None
        """The draft in use, once the peer's SETTINGS are known."""
        self._is_client = h3.quic.is_client
        self._sessions: dict[int, Session] = {}
        self._early = EarlyArrivals(config.max_early_streams, config.max_early_datagrams)
        self._waiting: dict[int, h3_events.RequestReceived] = {}
        self._closed: dict[int, None] = {}
        self._closing: dict[int, None] = {}
        self._events: list[Event] = []
        self._streams = Streams(h3.quic, self._events, self._place_stream)
        self.claim = self._streams.claim
        h3.extend(self)

    # -- what HTTP/3 asks of an extension -------------------------------------------------------

    @property
    def settings(self) -> Sequence[tuple[int, int]]:
        """Our SETTINGS: every dialect at once."""
        return dialects.offers(self.config.max_sessions)

    @property
    def stream_type(self) -> int:
        """Type of our unidirectional streams."""
        return UNI_TYPE

    @property
    def signal(self) -> int:
        """Signal value of our bidirectional streams."""
        return BIDI_SIGNAL

    def stream_opened(self, stream_id: int, fin: bool) -> None:
        """The peer opened a stream of a session; its session id comes next."""
        self._streams.opened(stream_id, fin)

    # -- look ---------------------------------------------------------------------------------

    @property
    def is_ready(self) -> bool:
        """Whether the peer's SETTINGS have arrived: a client may ``connect`` then."""
        return self.h3.has_peer_settings

    @property
    def sessions(self) -> int:
        """Sessions requested or open."""
        return len(self._sessions)

    @property
    def is_finished(self) -> bool:
        """Whether there was a session, none is left, and the peer has seen the end of each.

        Close the QUIC connection then: browsers give every session a connection of its own, and
        Chromium leaves it without closing it.
        """
        self._forget_closing()
        return bool(self._closed) and not self._sessions and not self._closing

    # -- drive --------------------------------------------------------------------------------

    def poll(self) -> list[Event]:
        """Take in everything that QUIC has; returns what happened, in order."""
        quic = self.quic
        self.h3.begin_poll()
        if self.h3.events:
            self._take_http3_events()
        streams = self._streams
        for stream_id in quic.readable():
            try:
                ours = streams.on_readable(stream_id)
            except ConnectionFault as fault:
                self.h3.fail(fault)
                continue
            if not ours and stream_id not in self._early:
                self.h3.stream_readable(stream_id)
                if self.h3.events:
                    self._take_http3_events()
        for stream_id in quic.writable():
            if not streams.on_writable(stream_id):
                self._on_writable(stream_id)
        while (data := quic.dgram_recv()) is not None:
            self._on_datagram(data)
        for flow in quic.dgram_ready():
            session = self._sessions.get(flow.id * 4)
            if session is not None:
                self._tell_of_datagrams(session)
        events = self._events[:]
        self._events.clear()
        return events

    def _on_writable(self, stream_id: int) -> None:
        if self.h3.knows(stream_id) or self.h3.is_critical(stream_id):
            self.h3.stream_writable(stream_id)
            self._take_http3_events()
        else:
            self._events.append(StreamWritable(stream_id))  # finished, and acknowledged now

    def _tell_of_datagrams(self, session: Session) -> None:
        if session.state is State.OPEN and len(session.datagrams):
            self._events.append(DatagramsReadable(session.session_id, session.datagrams))

    def _on_datagram(self, data: bytes) -> None:
        """A datagram that came while no session of ours had its flow."""
        parsed = self.h3.parse_datagram(data)
        if parsed is None:
            return
        session_id, payload = parsed
        session = self._sessions.get(session_id)
        if session is not None:  # requested since
            session.datagrams.put(payload)
            self._tell_of_datagrams(session)
        elif session_id in self._waiting:
            self._early.add_datagram(session_id, payload)
        elif session_id in self._closed:
            return
        elif self.h3.has_head(session_id):
            self._events.append(h3_events.DatagramReceived(session_id, payload))
        elif not self._is_client:
            self._early.add_datagram(session_id, payload)

    def _take_http3_events(self) -> None:
        while (event := self.h3.next_event()) is not None:
            match event:
                case h3_events.SettingsReceived():
                    self._on_settings(event)
                case h3_events.RequestReceived():
                    self._on_request(event)
                case h3_events.GoawayReceived():
                    for each in self._sessions.values():
                        self._on_drain(each)
                    self._events.append(event)
                case _:
                    session = self._sessions.get(event.stream_id)
                    if session is not None:
                        self._on_connect_stream(session, event)
                    elif event.stream_id in self._closing:
                        self._on_closing(event)
                    elif event.stream_id in self._waiting:
                        if isinstance(event, h3_events.RequestReset):
                            del self._waiting[event.stream_id]
                            self.h3.reset(event.stream_id)
                    else:
                        self._events.append(event)

    def _on_connect_stream(self, session: Session, event: h3_events.Event) -> None:
        match event:
            case h3_events.ResponseReceived():
                self._on_response(session, event)
            case h3_events.DataReceived() if session.state is State.OPEN:
                self._read_capsules(session)
            case h3_events.RequestReset() if session.state is State.CONNECTING:
                self._end(session, SessionRejected(session.session_id, 0))
            case h3_events.RequestReset():
                self.h3.reset(session.session_id, H3ErrorCode.WT_SESSION_GONE)
                self._end(session, SessionClosed(session.session_id, 0, event.reason, event.remote))
            case h3_events.StreamWritable() if self.h3.is_stopped(session.session_id):
                self.h3.reset(session.session_id, H3ErrorCode.WT_SESSION_GONE)
                self._end(session, SessionClosed(session.session_id))

    def _on_closing(self, event: h3_events.Event) -> None:
        """After CLOSE_SESSION nothing but the end of the stream may come (Section 6)."""
        if isinstance(event, h3_events.DataReceived):
            self._expect_end(event.stream_id)

    def _expect_end(self, session_id: int) -> None:
        try:
            got = self.h3.read_data(session_id, 1)
        except StreamReset:
            return
        if got is not None and got[0]:
            self.h3.reset(session_id, H3ErrorCode.MESSAGE_ERROR)

    # -- establishing -------------------------------------------------------------------------

    def connect(
        self,
        authority: str,
        path: str,
        *,
        origin: str | None = None,
        protocols: Sequence[str] = (),
        headers: Sequence[tuple[str, str]] = (),
    ) -> int:
        """Client: ask for a session; returns its id.  SessionAccepted or SessionRejected follows.

        Streams and datagrams may be sent at once.  Raises ConnectError when the server speaks no dialect
        of ours or takes no more sessions, StreamLimitError, ValueError.  Section 3.2.
        """
        if not self._is_client:
            raise RuntimeError("only a client connects")
        dialect = self.dialect
        if not self.is_ready:
            raise RuntimeError("wait for the Ready event: the server's SETTINGS are not known yet")
        if dialect is None:
            raise ConnectError("the server does not offer WebTransport over HTTP/3")
        if self._sessions and dialect.one_session:
            raise ConnectError(f"{dialect.name} allows one session; open another connection")
        lines = [
            (":method", "CONNECT"),
            (":protocol", dialect.token.decode()),
            (":scheme", "https"),
            (":authority", authority),
            (":path", path),
        ]
        if dialect.draft_fields:
            lines.append(("sec-webtransport-http3-draft02", "1"))
        if origin is not None:
            lines.append(("origin", origin))
        if protocols:
            lines.append(("wt-available-protocols", serialize_protocols(protocols)))
        lines.extend(headers)
        session_id = self.h3.send_request(lines)
        self.quic.stream_priority(session_id, 1, False)
        self._sessions[session_id] = self._new_session(
            session_id, State.CONNECTING, dialect, protocols
        )
        return session_id

    def accept(
        self,
        session_id: int,
        protocol: str | None = None,
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Server: establish a requested session.  Check its origin first.

        *protocol* is one that the client offered.  Raises SessionClosed when the client has gone,
        ValueError.  Sections 3.2 and 3.3.
        """
        session = self._requested(session_id)
        if protocol is not None and protocol not in session.protocols:
            raise ValueError(f"the client did not offer the protocol {protocol!r}")
        lines = [(":status", "200")]
        if session.has_draft_field:
            lines.append(("sec-webtransport-http3-draft", "draft02"))
        if protocol is not None:
            lines.append(("wt-protocol", serialize_protocol(protocol)))
        lines.extend(headers)
        self.h3.send_headers(session_id, lines)
        self.quic.stream_priority(session_id, 1, False)
        self._open(session)

    def reject(
        self, session_id: int, status: int = 403, headers: Sequence[tuple[str, str]] = ()
    ) -> None:
        """Server: refuse a requested session with an HTTP status from 300 to 599.

        Raises SessionClosed when the client has gone, ValueError.  Section 3.2.
        """
        session = self._requested(session_id)
        if not 300 <= status <= 599:
            raise ValueError(f"a rejection has a status from 300 to 599, not {status!r}")
        self.h3.send_headers(session_id, [(":status", str(status)), *headers], fin=True)
        self.h3.discard(session_id)
        self._end(session, None)

    def _new_session(
        self, session_id: int, state: State, dialect: Dialect, protocols: Sequence[str]
    ) -> Session:
        flow = self.quic.dgram_flow(session_id >> 2)
        flow.limit(self.config.max_early_datagrams, MAX_EARLY_BYTES)
        return Session(session_id, state, dialect, protocols, flow)

    def _requested(self, session_id: int) -> Session:
        session = self._session(session_id)
        if session.state is not State.REQUESTED:
            raise RuntimeError(f"session {session_id} is not waiting for an answer")
        return session

    def _session(self, session_id: int) -> Session:
        session = self._sessions.get(session_id)
        if session is None:
            raise SessionClosedError()
        return session

    def _on_settings(self, event: h3_events.SettingsReceived) -> None:
        if self._is_client and event.settings.get(_WT_ENABLED, 0) > 1:
            self.h3.fail(ConnectionFault(H3ErrorCode.SETTINGS_ERROR, "WT_ENABLED is above 1"))
            return
        self.dialect = dialects.choose(event.settings, from_server=self._is_client)
        self._events.append(Ready(self.dialect.name if self.dialect else None))
        waiting, self._waiting = self._waiting, {}
        for request in waiting.values():
            self._on_request(request)

    def _on_request(self, event: h3_events.RequestReceived) -> None:
        token = next((value for name, value in event.headers if name == b":protocol"), None)
        if token not in TOKENS:
            self._events.append(event)
        elif self.h3.has_peer_settings:
            self._on_session_request(event, token)
        elif len(self._waiting) < _MAX_WAITING:
            self._waiting[event.stream_id] = event
        else:
            self.h3.reset(event.stream_id, H3ErrorCode.REQUEST_REJECTED)

    def _on_session_request(self, event: h3_events.RequestReceived, token: bytes | None) -> None:
        session_id = event.stream_id
        dialect = self.dialect
        if dialect is None and token == TOKEN_H3 and not self._names_a_dialect():
            dialect = DIALECTS[0]  # the final version will not ask a client for a setting
        fields = dict(event.headers)
        if dialect is None or fields.get(b":scheme") != b"https":
            self.h3.reset(session_id, H3ErrorCode.MESSAGE_ERROR)
            return
        if len(self._sessions) >= (1 if dialect.one_session else self.config.max_sessions):
            self.h3.reset(session_id, H3ErrorCode.REQUEST_REJECTED)
            return
        headers = _decode(event.headers)
        protocols = parse_protocols(_joined(headers, "wt-available-protocols") or "")
        session = self._new_session(session_id, State.REQUESTED, dialect, protocols)
        session.has_draft_field = (
            dialect.draft_fields and fields.get(b"sec-webtransport-http3-draft02") == b"1"
        )
        session.peer_finished = event.ended
        self._sessions[session_id] = session
        for stream in self._early.take_streams(session_id):
            self._hold(session, stream)
        for data in self._early.take_datagrams(session_id):
            session.datagrams.put(data)
        self._events.append(
            SessionRequested(
                session_id,
                fields.get(b":authority", fields.get(b"host", b"")).decode("latin-1"),
                fields.get(b":path", b"").decode("latin-1"),
                _joined(headers, "origin"),
                headers,
                protocols,
            )
        )

    def _names_a_dialect(self) -> bool:
        settings = self.h3.peer_settings or {}
        return any(dialect.setting in settings for dialect in DIALECTS)

    def _on_response(self, session: Session, event: h3_events.ResponseReceived) -> None:
        session_id = session.session_id
        headers = _decode(event.headers)
        if not 200 <= event.status < 300:
            self.h3.send_whole(session_id, b"", fin=True)
            self.h3.discard(session_id)
            self._end(session, SessionRejected(session_id, event.status, headers))
            return
        field = _joined(headers, "wt-protocol")
        protocol = None if field is None else parse_protocol(field)
        if protocol is not None and protocol not in session.protocols:
            if session.dialect.protocol_error:
                self._abort(session, H3ErrorCode.WT_ALPN_ERROR, "a protocol that was not offered")
                return
            protocol = None
        session.peer_finished = event.ended
        self._events.append(
            SessionAccepted(session_id, event.status, session.datagrams, protocol, headers)
        )
        self._open(session)

    def _open(self, session: Session) -> None:
        """The session is established: hand out what was held for it."""
        session.state = State.OPEN
        held, session.held = session.held, []
        for stream in held:
            self._streams.announce(stream, session.streams)
        config = self.config
        session.datagrams.limit(config.datagram_recv_queue, config.datagram_recv_bytes)
        self._tell_of_datagrams(session)
        if session.peer_finished:
            self._on_close(session, Close(0, ""))
        else:
            self._read_capsules(session)

    # -- closing ------------------------------------------------------------------------------

    def close(self, session_id: int, code: int = 0, reason: str = "") -> None:
        """End a session; its streams are reset.  A reason above 1024 bytes is cut (Section 6).

        Does nothing for a session that is over.  Raises ValueError for a code above 32 bits.
        """
        check_code(code)
        session = self._sessions.get(session_id)
        if session is None:
            return
        if session.state is not State.OPEN:
            self.h3.reset(session_id, H3ErrorCode.REQUEST_CANCELLED)
        else:
            self._finish(session, close_capsule(code, reason))
            self.h3.discard(session_id)
        self._end(session, SessionClosed(session_id, code, reason, remote=False))

    def drain(self, session_id: int) -> None:
        """Ask the peer to end the session soon (Section 4.7); everything goes on working."""
        session = self._sessions.get(session_id)
        if session is not None and session.state is State.OPEN and not session.drain_sent:
            session.drain_sent = True
            self.h3.send_whole(session_id, drain_capsule())

    def _finish(self, session: Session, data: bytes) -> None:
        """The last bytes on our side of the CONNECT stream."""
        try:
            self.h3.send_whole(session.session_id, data, fin=True)
        except BufferFull:  # the peer withholds credit: the session must end all the same
            self.h3.reset(session.session_id, H3ErrorCode.WT_SESSION_GONE)

    def _read_capsules(self, session: Session) -> None:
        while session.session_id in self._sessions:
            try:
                got = self.h3.read_data(session.session_id, 4096)
            except StreamReset:
                break  # the event says it too
            if got is None:
                break
            received = session.datagrams.received
            try:
                close = session.feed(*got)
            except CapsuleError as error:
                self._abort(session, H3ErrorCode.MESSAGE_ERROR, str(error))
                break
            if session.datagrams.received != received:
                self._tell_of_datagrams(session)
            if session.drain_received:
                self._on_drain(session)
            if close is not None:
                self._on_close(session, close)
        self._take_http3_events()

    def _on_drain(self, session: Session) -> None:
        if session.state is State.OPEN and not session.drain_told:
            session.drain_told = True
            self._events.append(SessionDraining(session.session_id))

    def _on_close(self, session: Session, close: Close) -> None:
        """The peer closed the session: answer with the end of our side."""
        self._finish(session, b"")
        self._end(session, SessionClosed(session.session_id, close.code, close.reason))
        self._expect_end(session.session_id)

    def _abort(self, session: Session, code: int, reason: str) -> None:
        """End the session for what the peer did on its CONNECT stream."""
        self.h3.reset(session.session_id, code)
        self._end(session, SessionClosed(session.session_id, 0, reason, remote=False))

    def _end(self, session: Session, event: Event | None) -> None:
        """The session is over: reset its streams, remember its id."""
        session_id = session.session_id
        del self._sessions[session_id]
        session.datagrams.close()
        self._forget_closing()
        self._closing[session_id] = None
        self._closed[session_id] = None
        if len(self._closed) > _MAX_REMEMBERED:
            del self._closed[next(iter(self._closed))]
        for stream in list(session.streams.values()):
            self._streams.refuse(stream, H3ErrorCode.WT_SESSION_GONE)
        if event is not None:
            self._events.append(event)

    def _forget_closing(self) -> None:
        """Forget the closed sessions whose CONNECT streams are done."""
        self._closing = {i: None for i in self._closing if self.h3.knows(i)}

    # -- streams ------------------------------------------------------------------------------

    def open_stream(self, session_id: int, bidirectional: bool) -> int | None:
        """A new stream of the session; None when the peer allows no more now (Sections 4.2, 4.3).

        Raises SessionClosed.
        """
        stream = self.open(session_id, bidirectional)
        return None if stream is None else stream.stream_id

    def open(self, session_id: int, bidirectional: bool) -> Stream | None:
        """As ``open_stream``; returns the stream itself, whose verbs do without looking it up."""
        session = self._session(session_id)
        return self._streams.open(session_id, bidirectional, session.streams)

    def stream(self, stream_id: int) -> Stream | None:
        """The stream *stream_id* of a session, as long as one of its directions is not over."""
        return self._streams.get(stream_id)

    def stream_send(self, stream_id: int, data: Buffer, fin: bool = False) -> int:
        """Send on a stream; returns the bytes taken, perhaps fewer, and then ``fin`` is not taken.

        Raises StreamStopped, its code the application's or None.
        """
        stream = self._streams.get(stream_id)
        if stream is None:
            raise StreamStopped(None)
        return stream.send(data, fin)

    def stream_recv(self, stream_id: int, max_length: int = 65536) -> tuple[bytes, bool] | None:
        """Data of a stream and whether it ends there; None when there is nothing now, or any more.

        Raises StreamReset, its code the application's or None.
        """
        stream = self._streams.get(stream_id)
        return None if stream is None else stream.recv(max_length)

    def stream_recv_into(self, stream_id: int, buffer: Buffer) -> tuple[int, bool] | None:
        """As ``stream_recv``, into *buffer*: ``(count, fin)``."""
        stream = self._streams.get(stream_id)
        return None if stream is None else stream.recv_into(buffer)

    def reset_stream(self, stream_id: int, code: int = 0) -> None:
        """Abandon our side of a stream with an application error code (Section 4.4)."""
        check_code(code)
        stream = self._streams.get(stream_id)
        if stream is not None:
            stream.reset(code)

    def stop_stream(self, stream_id: int, code: int = 0) -> None:
        """Ask the peer to abandon its side of a stream (Section 4.4); what still comes is dropped."""
        check_code(code)
        stream = self._streams.get(stream_id)
        if stream is not None:
            stream.stop(code)

    def _place_stream(self, stream: Stream) -> None:
        """The peer has opened a stream of a session: which we have, had, or do not know yet."""
        session_id = stream.session_id
        session = self._sessions.get(session_id)
        if session is not None:
            if session.state is State.OPEN:
                self._streams.announce(stream, session.streams)
            else:
                self._hold(session, stream)
        elif self._is_client or session_id in self._closed:
            self._streams.refuse(stream, H3ErrorCode.WT_SESSION_GONE)
        else:
            evicted = self._early.add_stream(stream)
            if evicted is not None:
                self._streams.refuse(evicted, H3ErrorCode.WT_BUFFERED_STREAM_REJECTED)

    def _hold(self, session: Session, stream: Stream) -> None:
        session.held.append(stream)
        self._streams.hold(stream, session.streams)

    # -- datagrams and keys -------------------------------------------------------------------

    def datagrams(self, session_id: int) -> DatagramFlow:
        """The datagrams of a session: take those that came from it, give it to QUIC's ``dgram_send_many``.

        It can be read after the end of the session.  Raises SessionClosed.
        """
        return self._session(session_id).datagrams

    def send_datagram(self, session_id: int, data: Buffer) -> bool:
        """Send a datagram; False when the oldest queued one was dropped for it (Section 4.4).

        Raises SessionClosed, DatagramTooLarge.
        """
        return self.quic.dgram_send(data, self._session(session_id).datagrams)

    def max_datagram_size(self, session_id: int) -> int:
        """Bytes of the largest datagram now; 0 when the peer takes none.  Raises SessionClosed."""
        return self.quic.dgram_max_writable_len(self._session(session_id).datagrams)

    def export_keying_material(
        self, session_id: int, label: bytes, context: bytes, length: int
    ) -> bytes:
        """Keying material of this session only (Section 4.8).

        Raises SessionClosed, and ValueError for a label or context above 255 bytes.
        """
        self._session(session_id)
        if len(label) > 255 or len(context) > 255:
            raise ValueError("label and context are at most 255 bytes each")
        bound = b"".join(
            (
                session_id.to_bytes(8, "big"),
                bytes((len(label),)),
                label,
                bytes((len(context),)),
                context,
            )
        )
        return self.quic.export_keying_material(b"EXPORTER-WebTransport", bound, length)


def _decode(lines: h3_events.FieldLines) -> Headers:
    return [
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in lines
        if name[:1] != b":"
    ]


def _joined(headers: Headers, name: str) -> str | None:
    values = [value for key, value in headers if key == name]
    return ", ".join(values) if values else None
