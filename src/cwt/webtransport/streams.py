"""Streams of sessions, and those that come before their session (draft-ietf-webtrans-http3
Sections 4.2, 4.3 and 4.5)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from cwt._core.wire import varint
from cwt._types import Buffer
from cwt.errors import H3ErrorCode, StreamReset, StreamStopped
from cwt.h3.fault import ConnectionFault
from cwt.h3.quic import READ, WRITE, Quic, is_unidirectional
from cwt.h3.streams import Outbox, VarintReader
from cwt.webtransport.codes import from_http3, to_http3
from cwt.webtransport.events import Event, StreamOpened, StreamReadable, StreamWritable

__all__ = ["BIDI_SIGNAL", "UNI_TYPE", "EarlyArrivals", "Stream", "Streams", "preamble"]

UNI_TYPE = 0x54
"""Stream type of a unidirectional stream (Section 4.2)."""
BIDI_SIGNAL = 0x41
"""Signal value of a bidirectional stream (Section 4.3)."""

_MAX_EARLY_BYTES = 64 * 1024


def preamble(session_id: int, bidirectional: bool) -> bytes:
    """The first bytes of a stream: what it is, and whose."""
    kind = BIDI_SIGNAL if bidirectional else UNI_TYPE
    return varint.encode(kind) + varint.encode(session_id)


class Stream:
    """What is not done yet on one stream of a session."""

    __slots__ = (
        "announced",
        "bare",
        "fin_pending",
        "reading",
        "sending",
        "session_id",
        "stream_id",
    )

    def __init__(self, stream_id: int, session_id: int, *, reading: bool, sending: bool) -> None:
        self.stream_id = stream_id
        self.session_id = session_id
        self.reading = reading
        self.sending = sending
        self.announced = True
        """The application knows of it."""
        self.fin_pending = False
        """The end came with the preamble; the application still has to be told."""
        self.bare = False
        """We sent its preamble, and nothing after it."""


class EarlyArrivals:
    """Streams and datagrams whose session is not known yet: packets come in any order.

    Beyond the limits the oldest go, so that those of a session which never comes do not block others.
    """

    __slots__ = ("_bytes", "_datagrams", "_max_datagrams", "_max_streams", "_streams")

    def __init__(self, max_streams: int, max_datagrams: int) -> None:
        self._max_streams = max_streams
        self._max_datagrams = max_datagrams
        self._streams: dict[int, Stream] = {}
        self._datagrams: deque[tuple[int, bytes]] | None = None
        self._bytes = 0

    def __contains__(self, stream_id: int) -> bool:
        return stream_id in self._streams

    def add_stream(self, stream: Stream) -> Stream | None:
        """Hold *stream*; returns the one that has to go for it."""
        self._streams[stream.stream_id] = stream
        if len(self._streams) > self._max_streams:
            return self._streams.pop(next(iter(self._streams)))
        return None

    def add_datagram(self, session_id: int, data: bytes) -> None:
        """Hold *data*, or drop it."""
        if self._datagrams is None:
            self._datagrams = deque()
        self._datagrams.append((session_id, data))
        self._bytes += len(data)
        while len(self._datagrams) > self._max_datagrams or self._bytes > _MAX_EARLY_BYTES:
            self._bytes -= len(self._datagrams.popleft()[1])

    def take_streams(self, session_id: int) -> list[Stream]:
        """The streams of a session, in order of arrival; they are not held any more."""
        taken = [s for s in self._streams.values() if s.session_id == session_id]
        for stream in taken:
            del self._streams[stream.stream_id]
        return taken

    def take_datagrams(self, session_id: int) -> list[bytes]:
        """The datagrams of a session, in order of arrival; they are not held any more."""
        if self._datagrams is None:
            return []
        taken = [data for owner, data in self._datagrams if owner == session_id]
        if len(taken) == len(self._datagrams):
            self._datagrams = None
            self._bytes = 0
        elif taken:
            self._datagrams = deque(d for d in self._datagrams if d[0] != session_id)
            self._bytes -= sum(map(len, taken))
        return taken


class Streams:
    """The streams of all sessions of a connection.

    *place* decides about a stream of the peer whose session id has just been read; *done* hears of a
    stream that is over in both directions.
    """

    __slots__ = ("_done", "_emit", "_opening", "_outbox", "_place", "_quic", "_streams")

    def __init__(
        self,
        quic: Quic,
        *,
        emit: Callable[[Event], None],
        place: Callable[[Stream], None],
        done: Callable[[Stream], None],
    ) -> None:
        self._quic = quic
        self._emit = emit
        self._place = place
        self._done = done
        self._streams: dict[int, Stream] = {}
        self._opening: dict[int, VarintReader] = {}
        self._outbox = Outbox(quic)

    def __len__(self) -> int:
        return len(self._streams) + len(self._opening)

    # -- in from QUIC -------------------------------------------------------------------------

    def opened(self, stream_id: int, fin: bool) -> None:
        """The peer opened a stream; its session id comes next.  Raises ConnectionFault."""
        reader = self._opening[stream_id] = VarintReader()
        reader.fin = fin
        self._read_session_id(stream_id, reader)

    def on_readable(self, stream_id: int) -> bool:
        """QUIC has news to read; False when the stream is none of ours.  Raises ConnectionFault."""
        stream = self._streams.get(stream_id)
        if stream is not None:
            if stream.announced:
                self._emit(StreamReadable(stream_id))
            return True
        reader = self._opening.get(stream_id)
        if reader is None:
            return False
        self._read_session_id(stream_id, reader)
        return True

    def on_writable(self, stream_id: int) -> bool:
        """QUIC takes data again, or the peer stopped it; False when the stream is none of ours."""
        stream = self._streams.get(stream_id)
        if stream is None:
            return False
        try:
            if not self._outbox.flush(stream_id):
                return True
        except StreamStopped:
            pass  # the application learns it from its next send
        self._emit(StreamWritable(stream_id))
        self._forget_when_done(stream)
        return True

    def _read_session_id(self, stream_id: int, reader: VarintReader) -> None:
        """The second half of a preamble."""
        bidirectional = not is_unidirectional(stream_id)
        try:
            session_id = reader.read(self._quic, stream_id)
        except StreamReset:
            reader.fin = True
            session_id = None
        if session_id is None:
            if reader.fin:  # ended before it said whose it is: it belongs to nobody
                del self._opening[stream_id]
                if bidirectional:
                    self._quic.stream_shutdown(stream_id, WRITE, H3ErrorCode.REQUEST_INCOMPLETE)
            return
        del self._opening[stream_id]
        if session_id & 3:
            raise ConnectionFault(H3ErrorCode.ID_ERROR, f"{session_id} cannot be a session")
        stream = Stream(stream_id, session_id, reading=True, sending=bidirectional)
        stream.fin_pending = reader.fin
        self._place(stream)

    # -- in from sessions ---------------------------------------------------------------------

    def open(self, session_id: int, bidirectional: bool) -> Stream | None:
        """A new stream; None when the peer allows no more now."""
        stream_id = self._quic.open_stream(bidirectional)
        if stream_id is None:
            return None
        stream = Stream(stream_id, session_id, reading=bidirectional, sending=True)
        stream.bare = True
        self._streams[stream_id] = stream
        try:
            self._outbox.send(stream_id, preamble(session_id, bidirectional))
        except StreamStopped:
            pass  # the application learns it from its next send
        return stream

    def hold(self, stream: Stream) -> None:
        """The stream belongs to a session that is not open yet."""
        stream.announced = False
        self._streams[stream.stream_id] = stream

    def announce(self, stream: Stream) -> None:
        """Tell the application of a stream of the peer."""
        stream.announced = True
        self._streams[stream.stream_id] = stream
        bidirectional = not is_unidirectional(stream.stream_id)
        self._emit(StreamOpened(stream.session_id, stream.stream_id, bidirectional))
        self._emit(StreamReadable(stream.stream_id))

    def refuse(self, stream: Stream, code: int) -> None:
        """Reset what is left of a stream, with an HTTP/3 error code."""
        if stream.reading:
            self._quic.stream_shutdown(stream.stream_id, READ, code)
            self._reading_done(stream)
        if stream.sending or self._outbox.is_pending(stream.stream_id):
            self._outbox.discard(stream.stream_id)
            self._quic.stream_shutdown(stream.stream_id, WRITE, code)
            self._sending_done(stream)

    # -- in from the application --------------------------------------------------------------

    def send(self, stream_id: int, data: Buffer, fin: bool) -> int:
        """See ``Connection.stream_send``."""
        stream = self._streams.get(stream_id)
        if stream is None or not stream.sending:
            raise StreamStopped(None)
        try:
            if self._outbox.is_pending(stream_id):
                if fin and not len(data):
                    self._outbox.send(stream_id, b"", True)
                    self._sending_done(stream)
                return 0
            if stream.bare and fin and not len(data) and not self._quic.stream_acked(stream_id):
                # Firefox closes the connection (H3_GENERAL_PROTOCOL_ERROR) when it reads the end
                # together with the preamble: the end waits until the preamble has been taken.
                self._outbox.hold_fin(stream_id)
                self._sending_done(stream)
                return 0
            taken = self._quic.stream_send(stream_id, data, fin)
        except StreamStopped as stopped:
            self._sending_done(stream)
            raise StreamStopped(from_http3(stopped.code)) from None
        if taken:
            stream.bare = False
        if fin and taken == memoryview(data).nbytes:
            self._sending_done(stream)
        return taken

    def recv(self, stream_id: int, max_length: int) -> tuple[bytes, bool] | None:
        """See ``Connection.stream_recv``."""
        stream = self._streams.get(stream_id)
        if stream is None or not stream.reading:
            return None
        if stream.fin_pending:
            self._reading_done(stream)
            return b"", True
        try:
            got = self._quic.stream_recv(stream_id, max_length)
        except StreamReset as reset:
            self._reading_done(stream)
            raise StreamReset(from_http3(reset.code)) from None
        if got is not None and got[1]:
            self._reading_done(stream)
        return got

    def recv_into(self, stream_id: int, buffer: Buffer) -> tuple[int, bool] | None:
        """See ``Connection.stream_recv_into``."""
        stream = self._streams.get(stream_id)
        if stream is None or not stream.reading:
            return None
        if stream.fin_pending:
            self._reading_done(stream)
            return 0, True
        try:
            got = self._quic.stream_recv_into(stream_id, buffer)
        except StreamReset as reset:
            self._reading_done(stream)
            raise StreamReset(from_http3(reset.code)) from None
        if got is not None and got[1]:
            self._reading_done(stream)
        return got

    def reset(self, stream_id: int, code: int) -> None:
        """See ``Connection.reset_stream``."""
        raw = to_http3(code)
        stream = self._streams.get(stream_id)
        if stream is not None and stream.sending:
            self._outbox.discard(stream_id)
            self._quic.stream_shutdown(stream_id, WRITE, raw)
            self._sending_done(stream)

    def stop(self, stream_id: int, code: int) -> None:
        """See ``Connection.stop_stream``."""
        raw = to_http3(code)
        stream = self._streams.get(stream_id)
        if stream is not None and stream.reading:
            self._quic.stream_shutdown(stream_id, READ, raw)
            self._reading_done(stream)

    # -- the end ------------------------------------------------------------------------------

    def _reading_done(self, stream: Stream) -> None:
        stream.reading = stream.fin_pending = False
        self._forget_when_done(stream)

    def _sending_done(self, stream: Stream) -> None:
        stream.sending = False
        self._forget_when_done(stream)

    def _forget_when_done(self, stream: Stream) -> None:
        if stream.reading or stream.sending or self._outbox.is_pending(stream.stream_id):
            return
        self._streams.pop(stream.stream_id, None)
        self._done(stream)
