"""What the application may do with a connection: streams, datagrams, paths, the end (RFC 9000)."""

from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int64_t, uint8_t, uint64_t

from cwt._core.closing cimport OPEN
from cwt._core.crypto.aead cimport TAG_LENGTH
from cwt._core.path cimport Path
from cwt._core.recovery.mtu cimport MAX_DATAGRAM
from cwt._core.stream.datagram cimport DatagramFlow
from cwt._core.stream.streams cimport SendGroup
from cwt._core.view cimport View
from cwt._core.wire.cursor cimport varint_length

from cwt.errors import ApplicationError, DatagramTooLarge, MigrationError, TransportError


cdef class Verbs(View):
    """The verbs of a connection for its application; each hands over to who owns the thing."""

    cdef int _wake(self) except -1:
        # There may be something to send.
        raise NotImplementedError

    cdef int _tell(self) except -1:
        # There may be news for the application.
        raise NotImplementedError

    def close(self, uint64_t code=0, str reason="", bint app=True):
        """Close the connection with *code* and *reason* (RFC 9000 Section 10.2).

        *app* False makes it a transport error code.  Closing twice does nothing.
        """
        if app:
            error = ApplicationError(code, reason, remote=False)
        else:
            error = TransportError(code, reason, remote=False)
        self.closing.close(app, code, reason, 0, error)
        self.news = True
        self._wake()
        self._tell()

    def open_stream(self, bint bidirectional=True):
        """The ID of a new stream, or None while the peer allows no more (RFC 9000 Section 4.6)."""
        stream_id = self.streams.open(bidirectional)
        if stream_id is None:
            self._wake()
        return stream_id

    def stream_send(self, uint64_t stream_id, data, bint fin=False):
        """Write *data* and, with *fin*, the end of the stream; returns the bytes taken.

        It may be short, then *fin* is not taken: wait for the stream in ``writable``.  Raises
        StreamStopped once the peer stopped reading, ValueError for a stream that cannot be written.
        """
        cdef Py_ssize_t taken = self.streams.write(stream_id, data, fin)
        if taken or fin:
            self._wake()
        return taken

    def stream_recv(self, uint64_t stream_id, size_t max_length=65536):
        """At most *max_length* bytes and whether the stream ended: ``(bytes, fin)``; None for nothing yet.

        Raises StreamReset once the peer abandoned the stream.
        """
        result = self.streams.read(stream_id, max_length)
        if result is not None:
            self._wake_for_credit()
        return result

    def stream_recv_into(self, uint64_t stream_id, buffer):
        """Like ``stream_recv``, into a writable *buffer*: ``(count, fin)`` or None."""
        cdef Py_buffer view
        cdef bint fin = False
        cdef Py_ssize_t count
        PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE)
        try:
            count = self.streams.read_into(stream_id, <uint8_t*>view.buf, view.len, &fin)
        finally:
            PyBuffer_Release(&view)
        if count < 0:
            return None
        self._wake_for_credit()
        return count, bool(fin)

    def stream_peek(self, uint64_t stream_id, size_t max_length):
        """At most *max_length* bytes of what ``stream_recv`` would give next, which still will.

        Empty when there is nothing, only the end or a reset.
        """
        return self.streams.peek(stream_id, max_length)

    cdef int _wake_for_credit(self) except -1:
        if self.streams.max_data_pending or self.streams.control or (
            self.streams.limit_pending[0] or self.streams.limit_pending[1]
        ):
            self._wake()
        return 0

    def stream_shutdown(self, uint64_t stream_id, int direction, uint64_t code=0, *, uint64_t reliable_size=0):
        """Stop reading (*direction* 0: STOP_SENDING) or abandon writing (1: RESET_STREAM) with *code*.

        The first *reliable_size* bytes that were written still reach the peer, before it learns of the end
        (draft-ietf-quic-reliable-stream-reset); where it does not know RESET_STREAM_AT, the reset waits
        until they are acknowledged.  A later call may lower it.  Raises ValueError when it is more than was
        written.
        """
        self.streams.shutdown(stream_id, direction == 1, code, reliable_size)
        self._wake()

    def stream_priority(self, uint64_t stream_id, int urgency=3, bint incremental=True):
        """Send streams of lower *urgency* (0 to 7) first; *incremental* ones in turn, the others in the order
        of their IDs (RFC 9218 Section 10)."""
        self.streams.prioritize(stream_id, urgency, incremental)

    def send_group(self, int urgency=3):
        """A group whose streams are sent by their order (``stream_order``); it takes turns with other groups
        and streams of its *urgency* (0 to 7)."""
        return self.streams.make_group(urgency)

    def stream_order(self, uint64_t stream_id, SendGroup group or None, int64_t order=0):
        """Put a stream into *group* of this connection: there the highest *order* goes first, and streams of
        the same one take turns.  With None, and with ``stream_priority``, it leaves the group it is in."""
        self.streams.order(stream_id, group, order)

    def readable(self):
        """IDs of the streams with news to read since the last call."""
        return self.streams.take_readable()

    def writable(self):
        """IDs of the streams that take data again, were stopped, or became wholly acknowledged."""
        return self.streams.take_writable()

    def dgram_send(self, data, DatagramFlow flow=None):
        """Queue a datagram (RFC 9221), one of *flow* if given; False when the queue was full and its oldest
        one was dropped, or this one was refused (``datagram_drop``).

        Raises DatagramTooLarge when *data* does not fit a packet or the peer's limit.
        """
        cdef int64_t limit = self._dgram_limit(flow)
        cdef bint kept
        if <int64_t>len(data) > limit:
            raise DatagramTooLarge(len(data), max(limit, 0))
        kept = self.datagrams.send(data, flow)
        self._wake()
        return bool(kept)

    def dgram_send_many(self, datagrams, DatagramFlow flow=None):
        """Queue each of the iterable *datagrams*; returns for how many there was room, and raises, as
        ``dgram_send``."""
        cdef int64_t limit = self._dgram_limit(flow)
        cdef Py_ssize_t kept = 0
        try:
            for data in datagrams:
                if <int64_t>len(data) > limit:
                    raise DatagramTooLarge(len(data), max(limit, 0))
                kept += self.datagrams.send(data, flow)
        finally:
            self._wake()
        return kept

    @property
    def dgram_writable(self):
        """Whether there is room to spare for datagrams: False from when half of the send queue is taken
        until no more than a quarter is, which is news for the application."""
        return not self.datagrams.crowded

    def dgram_recv(self):
        """The oldest received datagram of no flow, or None."""
        return self.datagrams.recv()

    def dgram_flow(self, uint64_t id):
        """A queue of its own for received datagrams that begin with *id* as a varint, without it.

        Until its ``close``; ``dgram_ready`` tells of news.  ValueError when *id* has one already.
        """
        return self.datagrams.open(id)

    def dgram_ready(self):
        """The flows that received something since the last call."""
        return self.datagrams.take_ready() if self.datagrams.ready else []

    def dgram_max_writable_len(self, DatagramFlow flow=None):
        """The largest datagram that can be sent now, as one of *flow* if given; 0 when the peer takes
        none."""
        return max(self._dgram_limit(flow), 0)

    cdef int64_t _dgram_limit(self, DatagramFlow flow) except? -1:
        # -1 when not even an empty one can be sent.
        cdef int64_t limit = min(self.peer_max_datagram_frame_size, <uint64_t>MAX_DATAGRAM), fits
        if limit < 2:
            return -1
        # Short header, longest packet number, tag, frame type.
        fits = self.paths.current.mtu.size - 1 - self.remote_ids.current.length - 4 - TAG_LENGTH - 1
        limit = min(limit - 1, fits)
        return limit if flow is None else limit - <int64_t>varint_length(flow.id)

    # Paths

    cdef Path _try_path(self, object local, object remote):
        cdef Path path
        if not self.is_client:
            raise MigrationError("only clients migrate; a server names a preferred_address")
        if self.closing.state != OPEN or not self.handshake.confirmed:
            raise MigrationError("the connection is not established, or ends")
        path = self.paths.try_path(local, remote)
        self._wake()
        return path

    def probe_path(self, local, remote=None):
        """A client: find out whether the peer is reached from *local* (RFC 9000 Section 8.2), without use of it
        yet.

        ``path_event_next`` tells what came of it.  *remote* is the server's address, its own or the one it
        prefers; None for the one in use.  Raises MigrationError when that must not be tried.
        """
        self._try_path(local, remote)

    def migrate(self, local, remote=None):
        """A client: use the path from *local*, once it is validated (RFC 9000 Section 9.2).

        That is at once after a ``probe_path`` that succeeded.  When validation fails, everything stays as
        it is.  ``path_event_next`` tells which.  Raises MigrationError as ``probe_path``.
        """
        cdef Path path = self._try_path(local, remote)
        self.paths.migrate(path, self.now)
        self._wake()
        self._tell()

    def path_event_next(self):
        """What happened to a path, the oldest :class:`cwt.quic.PathEvent` not taken yet; or None.

        A few are kept; then the oldest is dropped.
        """
        if not self.paths.events:
            return None
        return self.paths.events.pop(0)

    def initiate_key_update(self):
        """Use new keys from now on (RFC 9001 Section 6); False while the last update is unconfirmed."""
        if not self.handshake.confirmed:
            return False
        return bool(self.keys.update(self.recovery.application.next))

    def ping(self):
        """Ask the peer for an acknowledgement."""
        self.idle.ping_pending = True
        self._wake()

    def export_keying_material(self, bytes label not None, bytes context not None, size_t length):
        """Keying material of the TLS exporter (RFC 8446 Section 7.5)."""
        return self.handshake.tls.export_keying_material(label, context, length)

    def remember(self, bytes data not None):
        """Keep *data* with the sessions of this client connection, for 0-RTT with one of them.

        It is for what the application has to know of the server before that can say it, such as SETTINGS of
        HTTP/3 (RFC 9114 Section 7.2.4.2).  Does nothing without a session cache.
        """
        if self.is_client:
            self.handshake.tls.remember(data)
