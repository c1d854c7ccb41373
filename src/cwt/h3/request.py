"""One request stream: what is read from it and what is sent on it (RFC 9114 Section 4.1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from cwt._core.wire import varint
from cwt._types import Buffer
from cwt.errors import StreamReset, StreamStopped
from cwt.h3.events import FieldLines
from cwt.h3.frames import FrameType, encode_frame, frame_header
from cwt.h3.message import MessageReader
from cwt.h3.quic import READ, WRITE, Quic
from cwt.h3.streams import Outbox

__all__ = ["Request", "RequestContext", "Sent"]


class Sent(Enum):
    """How far our message has come."""

    NOTHING = 0
    HEADERS = 1
    TRAILERS = 2
    """The last field section: only the end may follow, and it has been given."""


@dataclass(slots=True, frozen=True)
class RequestContext:
    """What all request streams of a connection share."""

    quic: Quic
    outbox: Outbox
    encode: Callable[[int, FieldLines], bytes]
    """The field section for a stream; its instructions are sent before it returns."""
    cancel_section: Callable[[int], None]
    """No section of this stream will be decoded any more."""
    forget: Callable[[int], None]
    """Both sides of this stream are done with it."""


class Request:
    """State of one request stream."""

    __slots__ = (
        "_context",
        "discarding",
        "has_priority",
        "reader",
        "sent",
        "sent_all",
        "stopped",
        "stream_id",
    )

    def __init__(self, stream_id: int, reader: MessageReader, context: RequestContext) -> None:
        self.stream_id = stream_id
        self.reader: MessageReader | None = reader
        """None once nothing more will be read."""
        self.discarding = False
        """What still arrives is thrown away."""
        self.has_priority = False
        """The client gave a PRIORITY_UPDATE, which overrides the Priority field."""
        self.sent = Sent.NOTHING
        self.sent_all = False
        """We gave the end, reset the stream, or the peer stopped it."""
        self.stopped: StreamStopped | None = None
        """The peer stopped it, with this code."""
        self._context = context

    # -- sending ------------------------------------------------------------------------------

    def send_section(self, lines: FieldLines, fin: bool) -> None:
        """The header fields, or the trailers after them."""
        self.sent = Sent.TRAILERS if self.sent is Sent.HEADERS else Sent.HEADERS
        self._write(encode_frame(FrameType.HEADERS, self._encode(lines)), fin)

    def send_informational(self, lines: FieldLines) -> None:
        """A 1xx response; the final one follows."""
        self._write(encode_frame(FrameType.HEADERS, self._encode(lines)), False)

    def _encode(self, lines: FieldLines) -> bytes:
        return self._context.encode(self.stream_id, lines)

    def send_data(self, data: Buffer, fin: bool) -> int:
        """Content; returns the bytes taken, and if they are not all, *fin* is not taken either."""
        context, stream_id = self._context, self.stream_id
        if self.sent_all:
            raise StreamStopped(self.stopped.code if self.stopped else None)
        if self.sent is not Sent.HEADERS:
            raise RuntimeError("content comes after the header fields and before the trailers")
        view = memoryview(data).cast("B")
        if context.outbox.is_pending(stream_id) and view:
            return 0
        try:
            size = min(len(view), _just_too_much(context.quic.stream_capacity(stream_id)))
            end = fin and size == len(view)
            if size:
                context.outbox.send(stream_id, frame_header(FrameType.DATA, size))
            if size or end:
                context.outbox.send(stream_id, view[:size], end)
        except StreamStopped as stopped:
            self._on_stopped(stopped)
            raise
        if end:
            self._sending_done()
        return size

    def send_whole(self, data: bytes, fin: bool) -> None:
        """Content that is not split over calls: what QUIC does not take now waits in the outbox."""
        if not self.sent_all:
            self._write(encode_frame(FrameType.DATA, data) if data else b"", fin)

    def _write(self, data: bytes, fin: bool) -> None:
        try:
            self._context.outbox.send(self.stream_id, data, fin)
        except StreamStopped as stopped:
            self._on_stopped(stopped)
        else:
            if fin:
                self._sending_done()

    def on_writable(self) -> bool:
        """QUIC takes bytes again, or the peer stopped the stream; whether to tell the application."""
        tell = not self.sent_all
        try:
            if not self._context.outbox.flush(self.stream_id):
                return False
            if not self.sent_all:
                self._context.quic.stream_send(self.stream_id, b"")  # says whether it was stopped
        except StreamStopped as stopped:
            self._on_stopped(stopped)
        self._release()
        return tell

    # -- reading ------------------------------------------------------------------------------

    def discard(self) -> None:
        """Throw away what has arrived and what will, without STOP_SENDING."""
        if self.reader is not None:
            self._context.cancel_section(self.stream_id)
            self.reader = None
            self.discarding = True
        if not self.discarding:
            return
        try:
            while (got := self._context.quic.stream_recv(self.stream_id, 65536)) is not None:
                if got[1]:
                    break
                if not got[0]:
                    return
            else:
                return
        except StreamReset:
            pass
        self.reading_done()

    def stop(self, code: int) -> None:
        """Ask the peer to send no more."""
        if self.reader is not None or self.discarding:
            self._context.cancel_section(self.stream_id)
            self._context.quic.stream_shutdown(self.stream_id, READ, code)
            self.reading_done()

    # -- the end ------------------------------------------------------------------------------

    def shutdown(self, code: int) -> None:
        """Give the stream up in both directions."""
        self.stop(code)
        self._context.outbox.discard(self.stream_id)
        self._context.quic.stream_shutdown(self.stream_id, WRITE, code)
        self._sending_done()

    def reading_done(self) -> None:
        """The peer's message is complete, or given up."""
        self.reader = None
        self.discarding = False
        self._release()

    def _on_stopped(self, stopped: StreamStopped) -> None:
        self.stopped = stopped
        self._sending_done()

    def _sending_done(self) -> None:
        self.sent_all = True
        self._release()

    def _release(self) -> None:
        over = self.sent_all and self.reader is None and not self.discarding
        if over and not self._context.outbox.is_pending(self.stream_id):
            self._context.forget(self.stream_id)


def _just_too_much(capacity: int) -> int:
    """Content whose DATA frame is a byte or two longer than *capacity*.

    The write is short then, so QUIC knows that we wait for the stream, and says when it is writable.
    """
    size = capacity - varint.length(max(capacity - varint.length(capacity), 0))
    return max(size, 1)
