"""The idle timeout and keep-alive (RFC 9000 Section 10.1)."""

from libc.stdint cimport int64_t


cdef class IdleTimer:
    cdef int64_t timeout                     # 0 for never
    cdef int64_t keep_alive                  # 0 for never
    cdef int64_t last                        # activity that restarts the timeout
    cdef bint sent_since                     # an ack-eliciting packet since the last received one
    cdef bint ping_pending
    cdef bint watches_flow                   # a client, perhaps behind a NAT
    cdef int flow                            # packets received without a pause between them
    cdef int questions                       # that may be asked when no more come

    cdef void negotiate(self, int64_t peer_timeout) noexcept
    cdef void on_received(self, int64_t now) noexcept
    cdef void on_sent_eliciting(self, int64_t now) noexcept
    cdef int64_t flow_deadline(self, int64_t pto) noexcept
    cdef int64_t deadline(self, int64_t pto) noexcept
    cdef int64_t next_timeout(self, int64_t pto) noexcept
    cdef bint on_timeout(self, int64_t now, int64_t pto) noexcept
