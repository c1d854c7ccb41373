"""What a stream is to the application: the part of asyncio's streams that never waits.

Compiled, as every read and write passes here.  Who has to wait does so in ``sending`` and ``receiving``.
"""

cimport cython

from cwt.webtransport.streams cimport Stream as SessionStream

import copy

from cwt.errors import StreamReset, StreamStopped
from cwt.webtransport.codes import from_http3

cdef enum:
    ALL = 1 << 20            # bytes of one read when everything is wanted


cdef object flat(data):
    # Contiguous bytes, not copied; TypeError when there are none.
    if type(data) is bytes:
        return data
    view = memoryview(data)
    return view if view.format == "B" and view.ndim == 1 and view.c_contiguous else view.cast("B")


@cython.final
@cython.freelist(64)
cdef class SendState:
    """What is known of a sending side until everything is acknowledged, or it is abandoned.

    ``rest`` is what QUIC has not taken yet of one write: there is no other buffer here, so QUIC's
    ``send_buffer`` bounds what a stream holds.
    """

    def __cinit__(self, session, SessionStream stream not None):
        self.session = session
        self.connection = session._connection
        self.stream = stream
        self.stream_id = stream.stream_id
        self.is_open = True
        self.urgency = 3
        self.incremental = True
        self.group = session._send_group
        stream.writer = self
        (<dict>self.connection.senders)[self.stream_id] = self

    def check_open(self):
        """Raise if data cannot be written."""
        if not self.is_open:
            self.check_error()
            raise RuntimeError(f"stream {self.stream_id} takes no more data after finish() or reset()")

    def check_error(self):
        """Raise what ended the stream early."""
        if self.error is not None:
            raise copy.copy(self.error)

    def start(self, data):
        """Give *data* to QUIC, when there is no rest; False when there is one now."""
        cdef Py_ssize_t taken
        view = flat(data)
        if not self.is_open:
            self.check_open()
        try:
            taken = self.stream.send(view)
        except StreamStopped as error:
            self.fail(error)
            raise
        if taken == len(view):
            return True
        self.writes += 1
        self.rest = memoryview(view)[taken:]
        return False

    def keep_rest(self):
        """The writer no longer waits: the rest must outlive its buffer."""
        if self.rest is not None and type(self.rest.obj) is not bytes:
            self.rest = memoryview(bytes(self.rest))

    def finish(self):
        """Send FIN, now or behind the rest."""
        if self.is_open:
            self.is_open = False
            if self.rest is None:
                try:
                    self.send_fin()
                except StreamStopped as error:
                    self.fail(error)
                    raise

    cdef int send_fin(self) except -1:
        self.stream.send(b"", True)
        self.fin_sent = True
        return 0

    def on_writable(self):
        """QUIC takes data again, or has everything acknowledged, or the peer stopped the stream."""
        cdef Py_ssize_t taken
        if self.is_done:
            return
        try:
            if self.rest is not None:
                taken = self.stream.send(self.rest)
                self.rest = self.rest[taken:] if taken < len(self.rest) else None
                if self.rest is None and not self.is_open:
                    self.send_fin()
            elif not self.fin_sent:
                self.stream.send(b"")
            elif self.connection.quic.stream_acked(self.stream_id):
                self.forget()
            else:
                self.check_stopped()
        except StreamStopped as error:
            self.fail(error)
        else:
            self.wake()

    cdef int check_stopped(self) except -1:
        # Raise StreamStopped if the peer stopped the stream after its FIN was written.
        try:
            self.connection.quic.stream_send(self.stream_id, b"")
        except StreamStopped as stopped:
            raise StreamStopped(from_http3(stopped.code)) from None
        except ValueError:
            pass  # it is finished, which is what is known already
        return 0

    def fail(self, error):
        """The stream takes nothing more."""
        if not self.is_done:
            self.error = error
            self.is_open = False
            self.rest = None
            self.forget()
            self.wake()

    def reset(self, code):
        """Abandon what is not acknowledged yet."""
        if not self.is_done:
            self.is_open = False
            self.rest = None
            self.stream.reset(code)
            self.forget()
            self.wake()

    def is_acked(self):
        """Whether the peer has everything that was written."""
        if self.is_done:
            return True
        return self.rest is None and self.connection.quic.stream_acked(self.stream_id)

    def prioritize(self, int urgency, bint incremental):
        """How the stream competes with the others of the connection (RFC 9218)."""
        self.urgency = urgency
        self.incremental = incremental
        if not self.is_done:
            self.connection.quic.stream_priority(self.stream_id, urgency, incremental)

    def arrange(self, order, group):
        """Set the send order, and the group in which it counts."""
        self.group._remove(self)
        self.order = order
        self.group = group
        if order is None:
            self.prioritize(3, True)
        elif not self.is_done:
            group._put(self, order)

    def add_waiter(self):
        """A future that the next news completes."""
        waiter = self.connection.loop.create_future()
        if self.waiters is None:
            self.waiters = []
        self.waiters.append(waiter)
        return waiter

    def remove_waiter(self, waiter):
        """Nobody waits for it any more."""
        if self.waiters is not None and waiter in self.waiters:
            self.waiters.remove(waiter)

    cdef int forget(self) except -1:
        self.is_done = True
        (<dict>self.connection.senders).pop(self.stream_id, None)
        self.stream.release()
        if self.order is not None:
            self.group._remove(self)
        return 0

    cdef int wake(self) except -1:
        if self.waiters is not None:
            waiters, self.waiters = self.waiters, None
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)
        return 0


@cython.final
@cython.freelist(64)
cdef class RecvState:
    """What is known of a receiving side until its end was read, or it is abandoned.

    ``ahead`` holds what was read by a call that needs more than has come; everything else stays in QUIC,
    where flow control bounds it.
    """

    def __cinit__(self, session, SessionStream stream not None):
        self.session = session
        self.connection = session._connection
        self.stream = stream
        self.stream_id = stream.stream_id
        stream.reader = self
        (<dict>self.connection.receivers)[self.stream_id] = self

    cpdef bytes receive(self, size_t max_length):
        """Up to *max_length* bytes from QUIC; None when none are there, b"" at the end."""
        cdef bytes data
        if self.is_done:
            return self.end()
        try:
            item = self.stream.recv(max_length)
        except StreamReset as error:
            self.fail(error)
            raise
        if item is None:
            return None
        data = <bytes>(<tuple>item)[0]
        if (<tuple>item)[1]:
            self.eof = True
            self.forget()
        elif not data:
            return None
        return data

    def receive_into(self, buffer):
        """As :meth:`receive`, into *buffer*: the count, 0 at the end."""
        if self.is_done:
            return len(self.end())
        try:
            item = self.stream.recv_into(buffer)
        except StreamReset as error:
            self.fail(error)
            raise
        if item is None:
            return None
        count, fin = item
        if fin:
            self.eof = True
            self.forget()
        elif not count:
            return None
        return count

    def receive_all(self):
        """Everything up to FIN; None when it is not there yet."""
        cdef bytes data
        while not self.eof:
            data = self.receive(ALL)
            if data is None:
                return None
            if self.eof and self.ahead is None:
                return data
            self.keep(data)
        return self.take(self.held())

    def held(self):
        """How many bytes were read ahead."""
        return 0 if self.ahead is None else len(self.ahead)

    def keep(self, bytes data not None):
        """Put *data* behind what was read ahead."""
        if self.ahead is None:
            self.ahead = bytearray(data)
        else:
            self.ahead += data

    cpdef bytes take(self, Py_ssize_t count):
        """At most *count* bytes of what was read ahead."""
        cdef bytes data
        if self.ahead is None:
            return b""
        if count >= len(self.ahead):
            data = bytes(self.ahead)
            self.ahead = None
        else:
            data = bytes(memoryview(self.ahead)[:count])
            del self.ahead[:count]
        return data

    cdef bytes end(self):
        if self.error is not None:
            raise copy.copy(self.error)
        return b""

    def stop(self, code):
        """Tell the peer to send no more, and forget what came."""
        self.ahead = None
        if not self.is_done:
            self.stream.stop(code)
            self.eof = True
            self.forget()
            self.on_readable()

    def fail(self, error):
        """Nothing more will come."""
        if not self.is_done:
            self.error = error
            self.forget()
            self.on_readable()

    cdef int forget(self) except -1:
        self.is_done = True
        (<dict>self.connection.receivers).pop(self.stream_id, None)
        self.stream.reader = None
        return 0

    def on_readable(self):
        """There is news to read."""
        waiter, self.waiter = self.waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def changed(self):
        """A future that the next news completes; RuntimeError when another task waits for it."""
        if self.waiter is not None and not self.waiter.done():
            raise RuntimeError(
                f"another task is already reading stream {self.stream_id}; only one can at a time"
            )
        self.waiter = self.connection.loop.create_future()
        return self.waiter


cdef class Stream:
    """What streams have in common; the state of each direction is apart, for halves share it."""

    def __cinit__(self, SendState tx or None, RecvState rx or None):
        self._tx = tx
        self._rx = rx

    @property
    def stream_id(self):
        """The QUIC stream ID (RFC 9000 Section 2.1)."""
        return self._rx.stream_id if self._tx is None else self._tx.stream_id

    @property
    def session(self):
        """The session that the stream belongs to."""
        return self._rx.session if self._tx is None else self._tx.session

    def __repr__(self):
        return f"<cwt.{type(self).__name__} {self.stream_id}>"
