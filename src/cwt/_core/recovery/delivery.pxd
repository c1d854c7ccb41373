"""Delivery rate samples (draft-ietf-ccwg-bbr Section 4.1)."""

from libc.stdint cimport int64_t, uint64_t

# What was known when a packet went out.
cdef struct SendState:
    uint64_t delivered       # bytes
    uint64_t lost
    uint64_t in_flight       # with the packet itself
    int64_t delivered_time   # 0: no state was kept
    int64_t first_sent_time
    bint app_limited


cdef class RateSampler:
    # Of the connection on this path
    cdef readonly uint64_t delivered         # bytes, of all packets acknowledged
    cdef readonly uint64_t lost              # bytes
    cdef int64_t delivered_time
    cdef int64_t first_sent_time
    cdef readonly uint64_t app_limited_until  # as long as *delivered* has not passed it; 0 for not
    # The sample that the ACK being processed gives
    cdef readonly uint64_t newly_acked       # bytes
    cdef readonly uint64_t newly_lost        # bytes, since the ACK before
    cdef readonly double rate                # bytes a second, 0 for no sample
    cdef readonly bint has_packets           # the newest packet acknowledged is known; so is the rest:
    cdef readonly uint64_t sample            # bytes delivered since it went out
    cdef readonly uint64_t prior_delivered   # bytes delivered before it went out
    cdef readonly uint64_t sent_in_flight    # bytes in flight when it went out, with it
    cdef readonly uint64_t lost_since        # bytes lost since it went out
    cdef readonly int64_t interval           # nanoseconds that took
    cdef readonly int64_t rtt                # its round trip, -1 for none
    cdef readonly bint app_limited           # it went out with too little behind it
    # Of the packet that was found lost last
    cdef readonly uint64_t loss_in_flight    # bytes in flight when it went out, with it
    cdef readonly uint64_t loss_since        # bytes lost since it went out, with it
    cdef readonly bint loss_app_limited
    cdef int64_t newest_time, send_elapsed, ack_elapsed
    cdef uint64_t prior_lost

    cdef void on_sent(self, SendState* state, uint64_t size, uint64_t in_flight, int64_t now) noexcept
    cdef void on_acked(self, const SendState* state, uint64_t size, int64_t time_sent, int64_t now) noexcept
    cdef void on_lost(self, const SendState* state, uint64_t size) noexcept
    cdef void finish(self, int64_t min_rtt) noexcept
    cdef void clear(self) noexcept
    cpdef void on_app_limited(self, uint64_t in_flight) noexcept
