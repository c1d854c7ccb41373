"""The interface of a congestion controller (RFC 9002 Section 7)."""

from libc.stdint cimport int64_t, uint64_t

from cwt._core.recovery.delivery cimport RateSampler
from cwt._core.recovery.rtt cimport RttEstimator


cdef inline uint64_t initial_window(uint64_t max_datagram_size) noexcept nogil:
    # RFC 9002 Section 7.2.
    return min(10 * max_datagram_size, max(<uint64_t>14720, 2 * max_datagram_size))


cdef class CongestionController:
    cdef readonly uint64_t window            # bytes that may be in flight
    cdef readonly uint64_t slow_start_threshold
    cdef readonly uint64_t max_datagram_size
    cdef readonly int64_t recovery_start     # packets sent before it do not shrink the window again
    cdef readonly RateSampler rates          # for controllers that want samples, else None
    # As they were before the last reduction, for the case that its losses were none.
    cdef bint can_undo
    cdef uint64_t undo_window
    cdef uint64_t undo_threshold
    cdef int64_t undo_recovery_start

    cpdef int set_max_datagram_size(self, uint64_t size) except -1
    cpdef int on_sent(self, uint64_t size, uint64_t in_flight, int64_t now) except -1
    cpdef int on_acked(
        self, uint64_t size, int64_t time_sent, bint window_limited, RttEstimator rtt, int64_t now
    ) except -1
    cpdef int on_rtt_sample(self, uint64_t largest_acked, uint64_t next_number, RttEstimator rtt) except -1
    cpdef int on_ack_done(self, uint64_t in_flight, RttEstimator rtt, int64_t now) except -1
    cpdef int on_packet_lost(self, uint64_t number, uint64_t size, int64_t now) except -1
    cpdef int on_lost(self, int64_t time_sent, int64_t now) except -1
    cpdef int on_congestion_experienced(self, int64_t time_sent, int64_t now) except -1
    cpdef int on_spurious_loss(self, int64_t now) except -1
    cpdef int on_persistent_congestion(self) except -1
    cpdef bint in_slow_start(self) except -1
    cpdef uint64_t pacing_rate(self, RttEstimator rtt) except? 0
    cdef void _save(self) noexcept
