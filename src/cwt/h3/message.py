"""The receiving side of a request stream (RFC 9114 Section 4.1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from cwt.errors import H3ErrorCode
from cwt.h3.events import (
    DataReceived,
    Event,
    FieldLines,
    InformationalReceived,
    RequestReceived,
    ResponseReceived,
    TrailersReceived,
)
from cwt.h3.fault import ConnectionFault, StreamFault
from cwt.h3.fields import check_request, check_response, check_trailers, content_length
from cwt.h3.frames import FORBIDDEN_FRAMES, NO_FRAME, FrameReader, FrameType
from cwt.h3.qpack import Decoder
from cwt.h3.quic import Quic

__all__ = ["MessageContext", "MessageReader"]

_CHUNK = 4096
"""Bytes read ahead of the application at most, besides one field section."""
_MAX_INFORMATIONAL = 16
"""1xx responses to one request; more are abuse."""
_NOT_HERE = FORBIDDEN_FRAMES | {
    FrameType.CANCEL_PUSH,
    FrameType.SETTINGS,
    FrameType.GOAWAY,
    FrameType.MAX_PUSH_ID,
    FrameType.PRIORITY_UPDATE_REQUEST,
    FrameType.PRIORITY_UPDATE_PUSH,
}


class _Stage(Enum):
    HEAD = "the field section that starts the message"
    CONTENT = "content, then perhaps trailers"
    TRAILED = "trailers were the last"


@dataclass(slots=True)
class MessageContext:
    """What all request streams of a connection share."""

    quic: Quic
    decoder: Decoder
    emit: Callable[[Event], None]
    send_decoder_stream: Callable[[bytes], None]
    is_client: bool
    extended_connect: bool = False
    """Whether SETTINGS_ENABLE_CONNECT_PROTOCOL was sent."""
    signals: tuple[int, ...] = ()
    """Frame types that may only start a stream, for extensions."""


class MessageReader:
    """Parses one message up to the next byte of content, which stays in QUIC until it is asked for.

    Not reading therefore keeps the peer's flow control shut.
    """

    __slots__ = (
        "_blocked",
        "_context",
        "_end_read",
        "_expected",
        "_fin",
        "_frames",
        "_head",
        "_informational",
        "_method",
        "_quiet",
        "_received",
        "_section",
        "_stage",
        "_tunnel",
        "ended",
        "stream_id",
    )

    def __init__(
        self, stream_id: int, context: MessageContext, *, method: bytes = b"", start: bytes = b""
    ) -> None:
        self.stream_id = stream_id
        self.ended = False
        """The message is complete; some of its content may still have to be read."""
        self._context = context
        self._method = method  # of our request, when this is its response
        self._frames = FrameReader()
        self._frames.buffer += start
        self._stage = _Stage.HEAD
        self._fin = False
        self._end_read = False
        self._blocked = False
        self._section = False
        self._tunnel = False
        self._quiet = False
        self._head: RequestReceived | ResponseReceived | None = None
        self._informational = 0
        self._expected: int | None = None
        self._received = 0

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to read."""
        return self._end_read

    @property
    def has_head(self) -> bool:
        """Whether the application knows of the message."""
        return self._stage is not _Stage.HEAD

    def pump(self) -> None:
        """Take in what can be taken without the application.

        Raises StreamFault, ConnectionFault, and StreamReset when the peer reset the stream.
        """
        frames = self._frames
        if self._blocked and len(frames.buffer) < _CHUNK:
            self._receive()  # a reset must free the place among the blocked streams
        while not self._blocked and not self.ended:
            if frames.type == NO_FRAME:
                if frames.read_header():
                    self._on_frame(frames.type, frames.remaining)
                elif not self._fill():
                    break
            elif frames.type == FrameType.DATA and frames.remaining:
                if self._fin and len(frames.buffer) < frames.remaining:
                    raise _cut_short()
                if not self._quiet:
                    self._context.emit(DataReceived(self.stream_id))
                break
            elif self._section:
                section = frames.take_all()
                if section is not None:
                    self._section = False
                    self._on_section(section)
                elif not self._fill():
                    break
            elif not frames.skip() and not self._fill():
                break
        self._head = None

    def read(self, max_length: int) -> tuple[bytes, bool] | None:
        """Up to *max_length* bytes of content and whether the message ends with them.

        None when there is nothing now.  Raises as ``pump`` does.
        """
        self._quiet = True
        try:
            self.pump()
            data = self._read_data(max_length)
            if data is None:
                return None
            if self._frames.type == NO_FRAME:
                self.pump()
        finally:
            self._quiet = False
        if self.ended:
            self._end_read = True
        return (data, self.ended) if data or self.ended else None

    def _read_data(self, max_length: int) -> bytes | None:
        frames = self._frames
        if self.ended:
            return None if self._end_read else b""
        if frames.type != FrameType.DATA or not frames.remaining or self._blocked:
            return None
        if frames.buffer:
            return frames.take(max_length)
        got = self._context.quic.stream_recv(self.stream_id, min(max_length, frames.remaining))
        if got is None:
            return None
        data, self._fin = got
        frames.advance(len(data))
        if self._fin and frames.remaining:
            raise _cut_short()
        return data

    def resume(self, lines: FieldLines) -> None:
        """The field section that was blocked has been decoded."""
        self._blocked = False
        self._on_lines(lines)
        self.pump()

    def _fill(self) -> bool:
        """Read ahead a little; False when nothing came."""
        if self._receive():
            return True
        if self._fin:
            if not self._frames.is_idle:
                raise _cut_short()
            self._on_end()
        return False

    def _receive(self) -> bool:
        if self._fin:
            return False
        got = self._context.quic.stream_recv(self.stream_id, _CHUNK)
        if got is None:
            return False
        data, self._fin = got
        self._frames.buffer += data
        return bool(data)

    def _on_frame(self, frame_type: int, length: int) -> None:
        """Judge a frame by its type and length, before its payload."""
        self._section = False
        if frame_type == FrameType.DATA:
            if self._stage is not _Stage.CONTENT:
                raise _unexpected(frame_type)
            self._received += length
            if self._expected is not None and self._received > self._expected:
                raise StreamFault(H3ErrorCode.MESSAGE_ERROR, "more content than content-length")
        elif frame_type == FrameType.HEADERS:
            if self._stage is _Stage.TRAILED or self._tunnel:
                raise _unexpected(frame_type)
            if length > self._context.decoder.max_size:
                raise StreamFault(H3ErrorCode.EXCESSIVE_LOAD, "the field section is too large")
            self._section = True
        elif frame_type == FrameType.PUSH_PROMISE and self._context.is_client:
            raise ConnectionFault(H3ErrorCode.ID_ERROR, "a push that we did not allow")
        elif frame_type in _NOT_HERE or frame_type == FrameType.PUSH_PROMISE:
            raise _unexpected(frame_type)
        elif frame_type in self._context.signals:
            raise ConnectionFault(
                H3ErrorCode.FRAME_ERROR, f"0x{frame_type:x} only ever starts a stream"
            )

    def _on_section(self, section: bytes) -> None:
        decoded = self._context.decoder.decode(self.stream_id, section)
        if decoded is None:
            self._blocked = True
            return
        output, lines = decoded
        self._context.send_decoder_stream(output)
        self._on_lines(lines)

    def _on_lines(self, lines: FieldLines) -> None:
        if self._stage is _Stage.CONTENT:
            check_trailers(lines)
            self._stage = _Stage.TRAILED
            self._context.emit(TrailersReceived(self.stream_id, lines))
        elif self._context.is_client:
            self._on_response(lines)
        else:
            self._on_request(lines)

    def _on_request(self, lines: FieldLines) -> None:
        pseudo = check_request(lines, self._context.extended_connect)
        self._tunnel = pseudo[b":method"] == b"CONNECT"
        self._expected = None if self._tunnel else content_length(lines)
        self._start(RequestReceived(self.stream_id, lines))

    def _on_response(self, lines: FieldLines) -> None:
        status = check_response(lines)
        if status < 200:
            self._informational += 1
            if self._informational > _MAX_INFORMATIONAL:
                raise StreamFault(H3ErrorCode.EXCESSIVE_LOAD, "too many informational responses")
            self._context.emit(InformationalReceived(self.stream_id, status, lines))
            return
        self._tunnel = self._method == b"CONNECT" and status < 300
        if not self._tunnel:
            self._expected = content_length(lines)
            if self._method == b"HEAD" or status in (204, 304):
                self._expected = 0
        self._start(ResponseReceived(self.stream_id, status, lines))

    def _start(self, event: RequestReceived | ResponseReceived) -> None:
        self._stage = _Stage.CONTENT
        self._head = event
        self._context.emit(event)

    def _on_end(self) -> None:
        if self._stage is _Stage.HEAD:
            if self._context.is_client:
                raise StreamFault(H3ErrorCode.MESSAGE_ERROR, "the stream ends without a response")
            raise StreamFault(H3ErrorCode.REQUEST_INCOMPLETE, "the stream ends without a request")
        if self._expected is not None and self._received != self._expected:
            raise StreamFault(H3ErrorCode.MESSAGE_ERROR, "less content than content-length")
        self.ended = True
        if self._head is not None and not self._received:
            self._head.ended = True
            self._end_read = True
        elif not self._quiet:
            self._context.emit(DataReceived(self.stream_id))


def _unexpected(frame_type: int) -> ConnectionFault:
    return ConnectionFault(
        H3ErrorCode.FRAME_UNEXPECTED, f"frame 0x{frame_type:x} at this point of a request stream"
    )


def _cut_short() -> ConnectionFault:
    return ConnectionFault(H3ErrorCode.FRAME_ERROR, "the stream ends inside a frame")
