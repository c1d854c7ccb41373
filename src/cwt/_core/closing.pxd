"""The end of a connection: closing, draining, closed (RFC 9000 Section 10.2)."""

from libc.stdint cimport int64_t, uint64_t

from cwt._core.wire.frame cimport PacketBuilder

cpdef enum State:
    OPEN = 0
    CLOSING = 1              # we close: every packet is answered with CONNECTION_CLOSE, ever more rarely
    DRAINING = 2             # the peer closed: nothing is sent
    CLOSED = 3


cdef class Closing:
    cdef readonly int state
    cdef readonly object error               # the exception that says why
    cdef bint application
    cdef uint64_t code, frame_type
    cdef bytes reason
    cdef bint pending                        # a CONNECTION_CLOSE is due
    cdef int64_t deadline
    cdef uint64_t received, answer_at        # packets since closing began, and which one is answered

    cdef int close(self, bint application, uint64_t code, str reason, uint64_t frame_type, object error) except -1
    cdef int drain(self, object error) except -1
    cdef int finish(self, object error) except -1
    cdef void start_timer(self, int64_t now, int64_t pto) noexcept
    cdef void on_packet(self) noexcept
    cdef bint write(self, PacketBuilder* p, bint hide_application) except -1
