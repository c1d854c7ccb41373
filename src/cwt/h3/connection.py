"""One HTTP/3 connection over the QUIC verbs (RFC 9114, RFC 9204, RFC 9218, RFC 9220, RFC 9297)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from cwt._core.wire import varint
from cwt._types import Buffer
from cwt.config import Http3Config
from cwt.errors import (
    ConnectError,
    DatagramTooLarge,
    H3ErrorCode,
    StreamLimitError,
    StreamReset,
    StreamStopped,
)
from cwt.h3.control import ControlReader, Goaway, PriorityUpdate, Settings, parse_priority
from cwt.h3.critical import CRITICAL, CriticalStreams
from cwt.h3.events import (
    DatagramReceived,
    Event,
    FieldLines,
    GoawayReceived,
    InformationalReceived,
    RequestReceived,
    RequestReset,
    ResponseReceived,
    SettingsReceived,
    StreamWritable,
    TrailersReceived,
)
from cwt.h3.fault import ConnectionFault, StreamFault
from cwt.h3.fields import (
    Headers,
    check_request,
    check_response,
    check_trailers,
    normalize,
)
from cwt.h3.frames import FrameType, StreamType, encode_frame
from cwt.h3.message import MessageContext, MessageReader
from cwt.h3.qlog import log_of
from cwt.h3.qpack import Decoder, Encoder
from cwt.h3.quic import READ, WRITE, Quic, is_client_initiated, is_unidirectional
from cwt.h3.request import Request, RequestContext, Sent
from cwt.h3.section import section_size
from cwt.h3.settings import Setting, encode_settings, our_settings, parse_settings
from cwt.h3.streams import Outbox, VarintReader

__all__ = ["Connection", "Extension"]

T = TypeVar("T")

_MAX_REQUEST_ID = (1 << 62) - 4
_MAX_QUARTER_ID = (1 << 60) - 1
_MAX_PRIORITIES = 64
"""Priorities remembered for requests that have not arrived yet."""
_WITH_FIELDS = (RequestReceived, InformationalReceived, ResponseReceived, TrailersReceived)


class Extension(Protocol):
    """A protocol that owns streams of its own on an HTTP/3 connection (RFC 9114 Section 9)."""

    @property
    def settings(self) -> Sequence[tuple[int, int]]:
        """What it adds to our SETTINGS."""

    @property
    def stream_type(self) -> int:
        """The unidirectional stream type it owns."""

    @property
    def signal(self) -> int:
        """The frame type that makes a bidirectional stream its own when it comes first."""

    def claim(self, stream_id: int) -> bool:
        """The peer opened a stream, and none of it was read: whether it is the extension's for sure.

        Then the extension has it now.  Otherwise its first bytes are read here, and ``stream_opened``
        follows when they say so.  May raise ConnectionFault.
        """

    def stream_opened(self, stream_id: int, fin: bool) -> None:
        """The peer opened a stream; its type has been read and nothing else.

        ``fin``: the stream ended right there.  May raise ConnectionFault.
        """


class Connection:
    """HTTP/3 on one QUIC connection, sans-IO.

    In from below: ``poll`` (or ``stream_readable``, ``stream_writable``, ``datagram_received``).  In
    from the application: ``send_request``, ``send_headers``, ``send_data``, ``read_data``, ``reset``,
    ``goaway``.  Out: events, from ``poll`` or ``next_event``.  What the peer does wrong never raises:
    its stream is reset, or the QUIC connection is closed with the code that RFC 9114 names.
    """

    __slots__ = (
        "_context",
        "_control",
        "_critical",
        "_decoder",
        "_encoder",
        "_extension",
        "_failed",
        "_goaway_received",
        "_goaway_sent",
        "_is_client",
        "_log",
        "_next_request_id",
        "_outbox",
        "_peer_max_section",
        "_peer_settings",
        "_preambles",
        "_priorities",
        "_request_context",
        "_requests",
        "_started",
        "config",
        "events",
        "quic",
    )

    def __init__(self, quic: Quic, config: Http3Config, *, extended_connect: bool = False) -> None:
        self.quic = quic
        self.config = config
        self._peer_settings: bytes | None = None
        self._peer_max_section: int | None = None
        self._is_client = quic.is_client
        self._log = log_of(quic)
        self._started = False
        self._failed = False
        self._extension: Extension | None = None
        self.events: list[Event] = []
        """What ``next_event`` has not given yet."""
        self._outbox = Outbox(quic)
        self._encoder = Encoder(config.qpack_max_table_capacity)
        self._decoder = Decoder(
            max_table_capacity=config.qpack_max_table_capacity,
            blocked_streams=config.qpack_blocked_streams,
            max_size=config.max_field_section_size,
            max_lines=config.max_field_lines,
        )
        self._context = MessageContext(
            quic=quic,
            decoder=self._decoder,
            emit=self._emit,
            send_decoder_stream=self._send_decoder_stream,
            is_client=quic.is_client,
            extended_connect=extended_connect,
        )
        self._control = ControlReader(self._is_client)
        self._critical = CriticalStreams(
            quic,
            self._outbox,
            self._feed_critical,
            self.fail,
        )
        self._request_context = RequestContext(
            quic, self._outbox, self._encode, self._cancel_section, self._forget
        )
        self._preambles: dict[int, VarintReader] = {}
        self._requests: dict[int, Request] = {}
        self._priorities: dict[int, tuple[int, bool]] = {}
        self._next_request_id = 0  # server: one above the highest seen
        self._goaway_sent: int | None = None
        self._goaway_received: int | None = None

    # -- life ---------------------------------------------------------------------------------

    def extend(self, extension: Extension) -> None:
        """Let *extension* own its streams and add its settings; only before ``start``."""
        if self._started:
            raise RuntimeError("an extension must be added before the connection starts")
        self._extension = extension
        self._context.signals = self._control.signals = (extension.signal,)
        self._context.extended_connect = not self._is_client

    def start(self) -> None:
        """Open the control and QPACK streams; once ``quic.can_open_streams``."""
        self._started = True
        opened = self._critical.open({StreamType.CONTROL: self._first_control_frames()})
        if self._log is not None:
            for stream_type in opened:
                self._log.stream("local", self._critical.id_of(stream_type), stream_type)
        settings = self.peer_settings
        if StreamType.QPACK_ENCODER in opened and settings is not None:
            self._apply_qpack_settings(settings)

    @property
    def has_peer_settings(self) -> bool:
        """Whether the peer's SETTINGS have been received."""
        return self._peer_settings is not None

    @property
    def peer_settings(self) -> Mapping[int, int] | None:
        """The peer's SETTINGS (unknown identifiers too), None before they are received."""
        return None if self._peer_settings is None else parse_settings(self._peer_settings)

    @property
    def is_started(self) -> bool:
        """Whether the control stream is open."""
        return self._critical.has(StreamType.CONTROL)

    @property
    def requests(self) -> int:
        """Request streams in progress."""
        return len(self._requests)

    def knows(self, stream_id: int) -> bool:
        """Whether *stream_id* is a request in progress."""
        return stream_id in self._requests

    def has_head(self, stream_id: int) -> bool:
        """Whether the header fields of the request or response *stream_id* have arrived."""
        request = self._requests.get(stream_id)
        return request is not None and (request.reader is None or request.reader.has_head)

    def is_critical(self, stream_id: int) -> bool:
        """Whether *stream_id* is our control stream or a QPACK stream of ours."""
        return self._critical.is_ours(stream_id)

    def is_stopped(self, stream_id: int) -> bool:
        """Whether the peer stopped our side of the request *stream_id*."""
        request = self._requests.get(stream_id)
        return request is not None and request.stopped is not None

    def poll(self) -> list[Event]:
        """Take in everything that QUIC has, and return all events."""
        self.begin_poll()
        for stream_id in self.quic.readable():
            self.stream_readable(stream_id)
        for stream_id in self.quic.writable():
            self.stream_writable(stream_id)
        while (data := self.quic.dgram_recv()) is not None:
            self.datagram_received(data)
        events, self.events = self.events, []
        return events

    def begin_poll(self) -> None:
        """Start when that has become possible; open streams that were waiting for credit."""
        if self._failed or self._critical.is_complete:
            return
        if self.quic.can_open_streams and not self.quic.is_closed:
            self.start()

    def next_event(self) -> Event | None:
        """The oldest event, or None."""
        return self.events.pop(0) if self.events else None

    def close(self, code: int = H3ErrorCode.NO_ERROR, reason: str = "") -> None:
        """Close the QUIC connection with an HTTP/3 error code (RFC 9114 Section 5.3)."""
        self._failed = True
        self.quic.close(code, reason)

    def fail(self, fault: ConnectionFault) -> None:
        """Close the connection for what the peer did."""
        if not self._failed:
            self.close(fault.code, fault.reason)

    # -- in from QUIC -------------------------------------------------------------------------

    def stream_readable(self, stream_id: int) -> None:
        """QUIC has news to read on *stream_id*."""
        if self._failed:
            return
        try:
            request = self._requests.get(stream_id)
            if request is not None:
                self._pump(request)
            elif is_unidirectional(stream_id) and self._critical.is_theirs(stream_id):
                self._critical.receive(stream_id)
            elif is_client_initiated(stream_id) != self._is_client and not self._claimed(stream_id):
                self._read_preamble(stream_id)
        except ConnectionFault as fault:
            self.fail(fault)

    def stream_writable(self, stream_id: int) -> None:
        """QUIC takes bytes of *stream_id* again, or the peer has stopped it."""
        if self._failed:
            return
        request = self._requests.get(stream_id)
        if request is not None:
            if request.on_writable():
                self.events.append(StreamWritable(stream_id))
        elif self.is_critical(stream_id):
            self._critical.on_writable(stream_id)

    def datagram_received(self, data: bytes) -> None:
        """A QUIC datagram arrived."""
        parsed = self.parse_datagram(data)
        if parsed is not None and parsed[0] in self._requests:
            self.events.append(DatagramReceived(*parsed))

    def parse_datagram(self, data: bytes) -> tuple[int, bytes] | None:
        """``(request stream, payload)`` of a QUIC datagram (RFC 9297 Section 2.1)."""
        if self._failed:
            return None
        quarter = varint.decode(data)
        if quarter is None or quarter[0] > _MAX_QUARTER_ID:
            self.fail(ConnectionFault(H3ErrorCode.DATAGRAM_ERROR, "bad quarter stream id"))
            return None
        return quarter[0] * 4, data[quarter[1] :]

    # -- in from the application --------------------------------------------------------------

    def send_request(self, headers: Headers, fin: bool = False) -> int:
        """Client: send a request, pseudo-header fields first; returns its stream id.

        Raises StreamLimitError when the peer allows no more streams now, ConnectError after its
        GOAWAY, ValueError for fields that HTTP forbids or that are larger than the server accepts.
        RFC 9114 Section 4.1.
        """
        if not self._is_client:
            raise RuntimeError("only a client sends requests")
        if self._goaway_received is not None:
            raise ConnectError("the server is going away; open a new connection")
        lines = normalize(headers)
        method = _checked(check_request, lines)[b":method"]
        limit = self._peer_max_section
        if limit is not None and section_size(lines) > limit:
            raise ValueError(f"the server accepts no more than {limit} bytes of header fields")
        stream_id = self.quic.open_stream(True)
        if stream_id is None:
            raise StreamLimitError("the server allows no more requests now; wait for one to end")
        reader = MessageReader(stream_id, self._context, method=method)
        request = Request(stream_id, reader, self._request_context)
        self._requests[stream_id] = request
        if self._log is not None:
            self._log.headers(True, stream_id, lines)
        request.send_section(lines, fin)
        return stream_id

    def send_headers(self, stream_id: int, headers: Headers, fin: bool = False) -> None:
        """Send a response (or a 1xx one), or trailers, which end the message.

        A stream that the peer has stopped or that is gone takes it silently.  Raises ValueError for
        fields that HTTP forbids, BufferFull when the peer does not read.  RFC 9114 Section 4.1.

        A client's SETTINGS_MAX_FIELD_SECTION_SIZE is not enforced on responses: it is advice, and no
        setting of a client may make the server's own code fail.
        """
        lines = normalize(headers)
        request = self._requests.get(stream_id)
        if request is None or request.sent_all:
            return
        if request.sent is Sent.HEADERS:
            _checked(check_trailers, lines)
            fin = True
        elif _checked(check_response, lines) < 200:
            request.send_informational(lines)
            return
        if self._log is not None:
            self._log.headers(True, stream_id, lines)
        request.send_section(lines, fin)

    def send_data(self, stream_id: int, data: Buffer, fin: bool = False) -> int:
        """Send content; returns the bytes taken, perhaps fewer, and then ``fin`` is not taken.

        A StreamWritable event says when to go on.  Raises StreamStopped when the peer wants no more.
        """
        request = self._requests.get(stream_id)
        if request is None:
            raise StreamStopped(None)
        return request.send_data(data, fin)

    def send_whole(self, stream_id: int, data: bytes, fin: bool = False) -> None:
        """Send a little content that must not be split over calls, such as a capsule.

        What QUIC does not take now waits here, in bounds: raises BufferFull beyond them.  A stream that
        the peer has stopped or that is gone takes it silently.
        """
        request = self._requests.get(stream_id)
        if request is not None:
            request.send_whole(data, fin)

    def read_data(self, stream_id: int, max_length: int = 65536) -> tuple[bytes, bool] | None:
        """Content that has arrived and whether it is all; None: nothing now, or nothing any more.

        Until it is called, content stays in QUIC and keeps its flow control shut.  Raises StreamReset
        when the peer reset the stream, or when the message proved malformed.
        """
        request = self._requests.get(stream_id)
        if self._failed or request is None or request.reader is None or max_length < 1:
            return None
        try:
            got = request.reader.read(max_length)
        except ConnectionFault as fault:
            self.fail(fault)
            return None
        except StreamFault as fault:
            self._abort(request, fault)
            raise StreamReset(fault.code) from None
        except StreamReset as reset:
            self._on_reset(request, reset.code)
            raise
        self._after_reading(request)
        return got

    def discard(self, stream_id: int) -> None:
        """Read no more from the request: what still arrives is thrown away, without STOP_SENDING."""
        request = self._requests.get(stream_id)
        if request is not None:
            request.discard()

    def reset(self, stream_id: int, code: int = H3ErrorCode.REQUEST_CANCELLED) -> None:
        """Abandon a request in both directions (RFC 9114 Section 4.1.1)."""
        request = self._requests.get(stream_id)
        if request is not None:
            request.shutdown(code)

    def stop(self, stream_id: int, code: int = H3ErrorCode.NO_ERROR) -> None:
        """Ask the peer to send no more of this message, for instance after an early response."""
        request = self._requests.get(stream_id)
        if request is not None:
            request.stop(code)

    def is_flushed(self, stream_id: int) -> bool:
        """Whether everything sent on *stream_id* has been acknowledged."""
        return not self._outbox.is_pending(stream_id) and self.quic.stream_acked(stream_id)

    def send_datagram(self, stream_id: int, data: Buffer) -> bool:
        """Send an HTTP Datagram (RFC 9297); False when the oldest queued one was dropped for it.

        Raises DatagramTooLarge.
        """
        limit = self.max_datagram_size(stream_id)
        if len(data) > limit:
            raise DatagramTooLarge(len(data), limit)
        return self.quic.dgram_send(b"".join((varint.encode(stream_id >> 2), data)))

    def max_datagram_size(self, stream_id: int) -> int:
        """Bytes that one HTTP Datagram of *stream_id* may hold now; 0 when the peer takes none."""
        return max(self.quic.dgram_max_writable_len() - varint.length(stream_id >> 2), 0)

    def goaway(self, final: bool = False) -> None:
        """Announce the end (RFC 9114 Section 5.2): a server refuses requests it has not seen.

        Without *final* the server only warns, with the largest identifier.  Browsers end WebTransport
        sessions on GOAWAY; drain sessions instead.
        """
        if not self.is_started:
            return
        if self._is_client:
            identifier = 0  # we accept no pushes
        else:
            identifier = self._next_request_id if final else _MAX_REQUEST_ID
        if self._goaway_sent is None or identifier < self._goaway_sent:
            self._goaway_sent = identifier
            frame = encode_frame(FrameType.GOAWAY, varint.encode(identifier))
            self._critical.send(StreamType.CONTROL, frame)
            if self._log is not None:
                self._log.goaway(True, self._critical.id_of(StreamType.CONTROL), identifier)

    # -- streams of ours ----------------------------------------------------------------------

    def _first_control_frames(self) -> bytes:
        settings = our_settings(self.config, extended_connect=self._context.extended_connect)
        if self._extension is not None:
            settings.extend(self._extension.settings)
        if self._log is not None:
            self._log.settings("local", settings)
        if not self.config.grease:
            return encode_frame(FrameType.SETTINGS, encode_settings(settings))
        # Reserved identifiers differ from one connection to the next, as connection IDs do.
        seed = int.from_bytes(self.quic.source_id[:3], "big")
        reserved = 0x21 + 0x1F * seed
        settings.append((reserved, seed & 0xFF))
        return encode_frame(FrameType.SETTINGS, encode_settings(settings)) + encode_frame(
            reserved, b"cwt"[: seed & 3]
        )

    def _send_decoder_stream(self, data: bytes) -> None:
        self._critical.send(StreamType.QPACK_DECODER, data)

    def _encode(self, stream_id: int, lines: FieldLines) -> bytes:
        instructions, section = self._encoder.encode(stream_id, lines)
        self._critical.send(StreamType.QPACK_ENCODER, instructions)
        return section

    def _cancel_section(self, stream_id: int) -> None:
        self._send_decoder_stream(self._decoder.cancel(stream_id))

    def _forget(self, stream_id: int) -> None:
        self._requests.pop(stream_id, None)

    # -- streams of the peer ------------------------------------------------------------------

    def _claimed(self, stream_id: int) -> bool:
        """Whether the stream, of which nothing was read, is the extension's now."""
        extension = self._extension
        if extension is None or stream_id in self._preambles or not extension.claim(stream_id):
            return False
        if not is_unidirectional(stream_id) and stream_id >= self._next_request_id:
            self._next_request_id = stream_id + 4
        return True

    def _read_preamble(self, stream_id: int) -> None:
        """The first varint of a stream decides whose it is."""
        preamble = self._preambles.get(stream_id) or VarintReader()
        try:
            value = preamble.read(self.quic, stream_id)
        except StreamReset:  # before it said what it is: not an error
            self._preambles.pop(stream_id, None)
            if not is_unidirectional(stream_id) and stream_id >= self._next_request_id:
                self.quic.stream_shutdown(stream_id, WRITE, H3ErrorCode.REQUEST_CANCELLED)
            return
        if value is not None:
            self._preambles.pop(stream_id, None)
            if is_unidirectional(stream_id):
                self._on_uni_stream(stream_id, value, preamble.fin)
            else:
                self._next_request_id = max(self._next_request_id, stream_id + 4)
                self._on_bidi_stream(stream_id, value, preamble.fin)
        elif not preamble.fin:
            if preamble.started:
                self._preambles[stream_id] = preamble
        else:
            self._preambles.pop(stream_id, None)
            if not is_unidirectional(stream_id):
                self.quic.stream_shutdown(stream_id, WRITE, H3ErrorCode.REQUEST_INCOMPLETE)

    def _on_uni_stream(self, stream_id: int, stream_type: int, fin: bool) -> None:
        if self._log is not None:
            self._log.stream("remote", stream_id, stream_type)
        if stream_type in CRITICAL:
            self._critical.accept(stream_id, StreamType(stream_type), fin)
        elif stream_type == StreamType.PUSH:
            if self._is_client:
                raise ConnectionFault(H3ErrorCode.ID_ERROR, "a push that we did not allow")
            raise ConnectionFault(H3ErrorCode.STREAM_CREATION_ERROR, "a client cannot push")
        elif self._extension is not None and stream_type == self._extension.stream_type:
            self._extension.stream_opened(stream_id, fin)
        elif not fin:
            self.quic.stream_shutdown(stream_id, READ, H3ErrorCode.STREAM_CREATION_ERROR)

    def _on_bidi_stream(self, stream_id: int, frame_type: int, fin: bool) -> None:
        if self._extension is not None and frame_type == self._extension.signal:
            self._extension.stream_opened(stream_id, fin)
            return
        if self._is_client:
            raise ConnectionFault(
                H3ErrorCode.STREAM_CREATION_ERROR, "the server opened a bidirectional stream"
            )
        if self._goaway_sent is not None and stream_id >= self._goaway_sent:
            self.quic.stream_shutdown(stream_id, READ, H3ErrorCode.REQUEST_REJECTED)
            self.quic.stream_shutdown(stream_id, WRITE, H3ErrorCode.REQUEST_REJECTED)
            return
        reader = MessageReader(stream_id, self._context, start=varint.encode(frame_type))
        request = Request(stream_id, reader, self._request_context)
        self._requests[stream_id] = request
        priority = self._priorities.pop(stream_id, None)
        if priority is not None:
            request.has_priority = True
            self.quic.stream_priority(stream_id, *priority)
        if fin:
            raise ConnectionFault(H3ErrorCode.FRAME_ERROR, "the stream ends inside a frame")
        self._pump(request)

    def _feed_critical(self, stream_type: StreamType, data: bytes) -> None:
        if stream_type is StreamType.CONTROL:
            self._feed_control(data)
        elif stream_type is StreamType.QPACK_ENCODER:
            self._feed_encoder(data)
        else:
            self._encoder.feed_decoder_stream(data)

    def _feed_control(self, data: bytes) -> None:
        for frame in self._control.feed(data):
            match frame:
                case Settings(values):
                    self._on_settings(values)
                case Goaway(identifier):
                    self._on_goaway(identifier)
                case PriorityUpdate(stream_id, urgency, incremental):
                    self._on_priority(stream_id, urgency, incremental)

    def _on_settings(self, values: Mapping[int, int]) -> None:
        self._peer_settings = encode_settings(values.items())
        self._peer_max_section = values.get(Setting.MAX_FIELD_SECTION_SIZE)
        self._apply_qpack_settings(values)
        if self._log is not None:
            self._log.settings("remote", values.items())
        self.events.append(SettingsReceived(values))

    def _apply_qpack_settings(self, values: Mapping[int, int]) -> None:
        if self._critical.has(StreamType.QPACK_ENCODER):
            instructions = self._encoder.apply_settings(
                values.get(Setting.QPACK_MAX_TABLE_CAPACITY, 0),
                values.get(Setting.QPACK_BLOCKED_STREAMS, 0),
            )
            self._critical.send(StreamType.QPACK_ENCODER, instructions)

    def _on_goaway(self, identifier: int) -> None:
        self._goaway_received = identifier
        if self._log is not None:
            control = self._critical.their_id(StreamType.CONTROL)
            self._log.goaway(False, control or 0, identifier)
        rejected = [i for i in self._requests if self._is_client and i >= identifier]
        self.events.append(GoawayReceived(identifier, rejected))

    def _on_priority(self, stream_id: int, urgency: int, incremental: bool) -> None:
        request = self._requests.get(stream_id)
        if request is not None:
            request.has_priority = True
            self.quic.stream_priority(stream_id, urgency, incremental)
        elif stream_id >= self._next_request_id:
            self._priorities[stream_id] = urgency, incremental
            if len(self._priorities) > _MAX_PRIORITIES:
                del self._priorities[next(iter(self._priorities))]

    def _feed_encoder(self, data: bytes) -> None:
        for stream_id in self._decoder.feed_encoder_stream(data):
            request = self._requests.get(stream_id)
            try:
                output, lines = self._decoder.resume(stream_id)
                self._send_decoder_stream(output)
                if request is not None and request.reader is not None:
                    request.reader.resume(lines)
            except StreamFault as fault:
                if request is not None:
                    self._abort(request, fault)
            except StreamReset as reset:
                if request is not None:
                    self._on_reset(request, reset.code)
            else:
                if request is not None:
                    self._after_reading(request)

    # -- requests -----------------------------------------------------------------------------

    def _pump(self, request: Request) -> None:
        if request.discarding:
            request.discard()
            return
        if request.reader is None:
            return
        try:
            request.reader.pump()
        except StreamFault as fault:
            self._abort(request, fault)
        except StreamReset as reset:
            self._on_reset(request, reset.code)
        else:
            self._after_reading(request)

    def _emit(self, event: Event) -> None:
        self.events.append(event)
        if self._log is not None and isinstance(event, _WITH_FIELDS):
            self._log.headers(False, event.stream_id, event.headers)
        if isinstance(event, RequestReceived):
            request = self._requests[event.stream_id]
            for name, value in event.headers:
                if name == b"priority" and not request.has_priority:
                    self.quic.stream_priority(event.stream_id, *parse_priority(value))

    def _after_reading(self, request: Request) -> None:
        if request.reader is not None and request.reader.is_done:
            request.reading_done()

    def _on_reset(self, request: Request, code: int | None) -> None:
        """The peer reset its side; we may still send."""
        known = self._is_known(request)
        self._cancel_section(request.stream_id)
        request.reading_done()
        if known:
            self.events.append(RequestReset(request.stream_id, code, True))
        else:
            request.shutdown(H3ErrorCode.REQUEST_CANCELLED)

    def _abort(self, request: Request, fault: StreamFault) -> None:
        """The peer's message is bad: give it up in both directions."""
        known = self._is_known(request)
        request.shutdown(fault.code)
        if known:
            event = RequestReset(request.stream_id, fault.code, False, fault.reason)
            self.events.append(event)

    def _is_known(self, request: Request) -> bool:
        """Whether the application knows of it."""
        return self._is_client or (request.reader is not None and request.reader.has_head)


def _checked(check: Callable[[FieldLines], T], lines: FieldLines) -> T:
    """What *check* says of our own fields; ValueError when they break a rule."""
    try:
        return check(lines)
    except StreamFault as fault:
        raise ValueError(fault.reason) from None
