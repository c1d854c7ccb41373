"""The end of a connection: closing, draining, closed (RFC 9000 Section 10.2)."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport int64_t, uint8_t, uint64_t

from cwt._core.wire.frame cimport PacketBuilder, put_close

cdef enum:
    MAX_REASON = 256
    APPLICATION_ERROR = 0x0C


@cython.final
cdef class Closing:
    """What state the connection is in, why, and the CONNECTION_CLOSE it owes the peer."""

    cdef int close(
        self, bint application, uint64_t code, str reason, uint64_t frame_type, object error
    ) except -1:
        if self.state != OPEN:
            return 0
        self.state = CLOSING
        self.application = application
        self.code = code
        self.frame_type = frame_type
        self.reason = reason.encode("utf-8", "replace")[:MAX_REASON].decode("utf-8", "ignore").encode()
        self.error = error
        self.pending = True
        self.answer_at = 1
        return 0

    cdef int drain(self, object error) except -1:
        # The peer closed.
        if self.state == OPEN:
            self.error = error
        if self.state != CLOSED:
            self.state = DRAINING
            self.pending = False
        return 0

    cdef int finish(self, object error) except -1:
        # At once: nothing is sent, nothing is awaited.
        if self.state == OPEN:
            self.error = error
        self.state = CLOSED
        self.pending = False
        return 0

    cdef void start_timer(self, int64_t now, int64_t pto) noexcept:
        if self.deadline == 0:
            self.deadline = now + 3 * pto

    cdef void on_packet(self) noexcept:
        # Answer the first, second, fourth, eighth ... packet (Section 10.2.1).
        if self.state != CLOSING:
            return
        self.received += 1
        if self.received >= self.answer_at:
            self.answer_at = 2 * self.received
            self.pending = True

    cdef bint write(self, PacketBuilder* p, bint hide_application) except -1:
        # Initial and Handshake packets must not carry the application's code (Section 10.2.3).
        cdef bytes reason = self.reason
        if hide_application and self.application:
            return put_close(&p.w, False, APPLICATION_ERROR, 0, NULL, 0)
        return put_close(
            &p.w, self.application, self.code, self.frame_type,
            <const uint8_t*>PyBytes_AS_STRING(reason), len(reason),
        )
