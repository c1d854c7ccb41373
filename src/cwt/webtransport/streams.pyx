"""Streams of sessions (draft-ietf-webtrans-http3 Sections 4.2, 4.3 and 4.5).

Compiled, as every read and every write of a session's streams passes here: past the preamble there is
nothing to do but to call QUIC, and in Python those calls cost as much as what they call.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact
from libc.stdint cimport uint8_t, uint64_t

from cwt._core.wire.cursor cimport Reader, Writer, put_varint, read_varint, reader, writer

from cwt.errors import H3ErrorCode, StreamReset, StreamStopped
from cwt.h3.fault import ConnectionFault
from cwt.h3.quic import READ as _READ
from cwt.h3.quic import WRITE as _WRITE
from cwt.h3.streams import VarintReader
from cwt.webtransport.codes import from_http3, to_http3
from cwt.webtransport.events import StreamOpened, StreamReadable, StreamWritable

cdef enum:
    SIGNAL = 0x41
    TYPE = 0x54
    MAX_PREAMBLE = 16        # two varints

UNI_TYPE = TYPE
BIDI_SIGNAL = SIGNAL


cdef bytes preamble(uint64_t session_id, bint bidirectional):
    # The first bytes of a stream: what it is, and whose.
    cdef uint8_t buffer[MAX_PREAMBLE]
    cdef Writer w = writer(buffer, MAX_PREAMBLE)
    put_varint(&w, SIGNAL if bidirectional else TYPE)
    put_varint(&w, session_id)
    return buffer[:w.pos - buffer]


@cython.final
@cython.freelist(64)
cdef class Stream:
    """One stream of a session: QUIC's verbs, with the error codes of the application.

    Once a direction is over, reads give None and writes raise StreamStopped.

    ``reader``, when set, has ``on_readable()`` and is told of news instead of the caller of ``poll``;
    ``writer`` has ``on_writable()``, and the stream is known until its ``release``.
    """

    cpdef Py_ssize_t send(self, data, bint fin=False) except -1:
        """See ``Connection.stream_send``."""
        cdef Py_ssize_t taken, size = len(data) if PyBytes_CheckExact(data) else memoryview(data).nbytes
        if not self.sending:
            raise StreamStopped(None)
        if self.unsent is not None:
            if fin and size == 0:
                self.fin_waits = True
                self.sending_done()
            return 0
        try:
            if self.bare and fin and size == 0 and not self.quic.stream_acked(self.stream_id):
                # Firefox closes the connection (H3_GENERAL_PROTOCOL_ERROR) when it reads the end
                # together with the preamble: the end waits until the preamble has been taken.
                self.fin_waits = self.finished = True
                self.sending_done()
                return 0
            taken = self.quic.stream_send(self.stream_id, data, fin)
        except StreamStopped as stopped:
            self.sending_done()
            raise StreamStopped(from_http3(stopped.code)) from None
        if taken:
            self.bare = False
        if fin and taken == size:
            self.finished = True
            self.sending_done()
        return taken

    cpdef object recv(self, size_t max_length):
        """See ``Connection.stream_recv``."""
        return self.take(self.quic.stream_recv, max_length, b"")

    cpdef object recv_into(self, buffer):
        """See ``Connection.stream_recv_into``."""
        return self.take(self.quic.stream_recv_into, buffer, 0)

    cdef object take(self, read, argument, nothing):
        # What QUIC's verb *read* gives; *nothing* is what it calls no bytes.
        cdef object got
        if not self.reading:
            return None
        if self.fin_pending:
            self.reading_done()
            return nothing, True
        try:
            got = read(self.stream_id, argument)
        except StreamReset as reset:
            self.reading_done()
            raise StreamReset(from_http3(reset.code)) from None
        if got is not None and (<tuple>got)[1]:
            self.reading_done()
        return got

    cpdef int reset(self, code) except -1:
        """See ``Connection.reset_stream``."""
        raw = to_http3(code)
        if self.sending or self.finished:
            self.abandon(raw)
        return 0

    cpdef int stop(self, code) except -1:
        """See ``Connection.stop_stream``."""
        raw = to_http3(code)
        if self.reading:
            self.quic.stream_shutdown(self.stream_id, _READ, raw)
            self.reading_done()
        return 0

    cpdef int release(self) except -1:
        """There is no ``writer`` any more."""
        self.writer = None
        return self.forget_when_done()

    cdef bint flush(self) except -1:
        # Write what waits; whether nothing is left.
        cdef bytes rest = self.unsent or b""
        cdef Py_ssize_t taken
        if self.unsent is None and not self.fin_waits:
            return True
        try:
            taken = self.quic.stream_send(self.stream_id, rest, self.fin_waits)
        except Exception:
            self.unsent = None
            self.fin_waits = False
            raise
        if taken < len(rest):
            self.unsent = rest[taken:]
            return False
        self.unsent = None
        self.fin_waits = False
        return True

    cdef int refuse(self, code) except -1:
        # Reset what is left of it, with an HTTP/3 error code; why is told by the end of the session.
        self.reader = self.writer = None
        if self.reading:
            self.quic.stream_shutdown(self.stream_id, _READ, code)
            self.reading_done()
        if self.sending or self.fin_waits:
            self.abandon(code)
        return 0

    cdef int abandon(self, code) except -1:
        # Reset it; the peer still gets the preamble, to know what stream it is about (Section 4.4).
        cdef Py_ssize_t reliable = self.preamble - (len(self.unsent) if self.unsent is not None else 0)
        self.unsent = None
        self.fin_waits = self.finished = False
        self.quic.stream_shutdown(self.stream_id, _WRITE, code, reliable_size=reliable)
        return self.sending_done()

    cdef int reading_done(self) except -1:
        self.reading = self.fin_pending = False
        return self.forget_when_done()

    cdef int sending_done(self) except -1:
        self.sending = False
        return self.forget_when_done()

    cdef int forget_when_done(self) except -1:
        if self.reading or self.sending or self.unsent is not None or self.fin_waits:
            return 0
        if self.writer is not None:
            return 0
        self.owner.by_id.pop(self.stream_id, None)
        if self.siblings is not None:
            self.siblings.pop(self.stream_id, None)
            self.siblings = None
        return 0


@cython.final
cdef class Streams:
    """The streams of all sessions of a connection.

    *place* decides about a stream of the peer whose session id has just been read; *events* go to a list.
    """

    def __init__(self, quic, list events not None, place):
        self.quic = quic
        self.events = events
        self.place = place
        self.by_id = {}
        self.opening = {}

    def __len__(self):
        return len(self.by_id) + len(self.opening)

    def get(self, stream_id):
        """The stream *stream_id*, or None when it is none of ours, or not any more."""
        return self.by_id.get(stream_id)

    cdef Stream create(self, stream_id, session_id, bint reading, bint sending):
        cdef Stream stream = Stream.__new__(Stream)
        stream.owner = self
        stream.quic = self.quic
        stream.stream_id = stream_id
        stream.session_id = session_id
        stream.reading = reading
        stream.sending = sending
        return stream

    # In from QUIC

    def claim(self, stream_id):
        """The peer opened a stream: take it if all of its preamble is there and is that of a session.

        Raises ConnectionFault.
        """
        cdef bytes head = self.quic.stream_peek(stream_id, MAX_PREAMBLE)
        cdef const uint8_t* start = <const uint8_t*>PyBytes_AS_STRING(head)
        cdef Reader r = reader(start, len(head))
        cdef uint64_t kind, session_id
        cdef int expected = TYPE if <uint64_t>stream_id & 2 else SIGNAL
        if not read_varint(&r, &kind) or kind != <uint64_t>expected or not read_varint(&r, &session_id):
            return False
        got = self.quic.stream_recv(stream_id, r.pos - start)
        self.placed(stream_id, session_id, (<tuple>got)[1])
        return True

    def opened(self, stream_id, bint fin):
        """The peer opened a stream; its session id comes next.  Raises ConnectionFault."""
        varint_reader = self.opening[stream_id] = VarintReader()
        varint_reader.fin = fin
        self.read_session_id(stream_id, varint_reader)

    def on_readable(self, stream_id):
        """QUIC has news to read; False when the stream is none of ours.  Raises ConnectionFault."""
        cdef Stream stream = self.by_id.get(stream_id)
        if stream is not None:
            if stream.reader is not None:
                stream.reader.on_readable()
            elif stream.announced:
                self.events.append(StreamReadable(stream_id))
            return True
        varint_reader = self.opening.get(stream_id)
        if varint_reader is None:
            return False
        self.read_session_id(stream_id, varint_reader)
        return True

    def on_writable(self, stream_id):
        """QUIC takes data again, or the peer stopped it; False when the stream is none of ours."""
        cdef Stream stream = self.by_id.get(stream_id)
        if stream is None:
            return False
        try:
            if not stream.flush():
                return True
        except StreamStopped:
            pass  # the application learns it from its next send
        if stream.writer is not None:
            stream.writer.on_writable()
        else:
            self.events.append(StreamWritable(stream_id))
            stream.forget_when_done()
        return True

    cdef int read_session_id(self, stream_id, varint_reader) except -1:
        # The second half of a preamble that came in pieces.
        try:
            session_id = varint_reader.read(self.quic, stream_id)
        except StreamReset:
            varint_reader.fin = True
            session_id = None
        if session_id is None:
            if varint_reader.fin:  # ended before it said whose it is: it belongs to nobody
                del self.opening[stream_id]
                if not <uint64_t>stream_id & 2:
                    self.quic.stream_shutdown(stream_id, _WRITE, H3ErrorCode.REQUEST_INCOMPLETE)
            return 0
        del self.opening[stream_id]
        return self.placed(stream_id, session_id, varint_reader.fin)

    cdef int placed(self, stream_id, session_id, bint fin) except -1:
        cdef Stream stream
        if session_id & 3:
            raise ConnectionFault(H3ErrorCode.ID_ERROR, f"{session_id} cannot be a session")
        stream = self.create(stream_id, session_id, True, not <uint64_t>stream_id & 2)
        stream.fin_pending = fin
        self.place(stream)
        return 0

    # In from sessions

    def open(self, session_id, bint bidirectional, dict siblings):
        """A new stream among *siblings*; None when the peer allows no more now."""
        cdef Stream stream
        cdef bytes start
        cdef Py_ssize_t taken
        stream_id = self.quic.open_stream(bidirectional)
        if stream_id is None:
            return None
        stream = self.create(stream_id, session_id, bidirectional, True)
        stream.announced = stream.bare = True
        stream.siblings = siblings
        self.by_id[stream_id] = siblings[stream_id] = stream
        start = preamble(session_id, bidirectional)
        stream.preamble = len(start)
        try:
            taken = self.quic.stream_send(stream_id, start)
            if taken < len(start):
                stream.unsent = start[taken:]
        except StreamStopped:
            pass  # the application learns it from its next send
        return stream

    def hold(self, Stream stream not None, dict siblings):
        """The stream belongs to a session that is not open yet."""
        self.by_id[stream.stream_id] = siblings[stream.stream_id] = stream
        stream.siblings = siblings

    def announce(self, Stream stream not None, dict siblings):
        """Tell the application of a stream of the peer."""
        self.hold(stream, siblings)
        stream.announced = True
        self.events.append(
            StreamOpened(stream.session_id, stream.stream_id, not <uint64_t>stream.stream_id & 2)
        )
        self.events.append(StreamReadable(stream.stream_id))

    def refuse(self, Stream stream not None, code):
        """Reset what is left of a stream, with an HTTP/3 error code."""
        stream.refuse(code)
