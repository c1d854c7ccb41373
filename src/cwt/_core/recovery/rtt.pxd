"""Round-trip time estimate (RFC 9002 Section 5)."""

from libc.stdint cimport int64_t

cdef enum:
    GRANULARITY = 1000000    # nanoseconds


cdef class RttEstimator:
    cdef readonly int64_t initial
    cdef readonly int64_t latest
    cdef readonly int64_t smoothed
    cdef readonly int64_t variation
    cdef readonly int64_t minimum
    cdef readonly int64_t maximum
    cdef readonly bint has_sample
    cdef public int64_t max_ack_delay        # of the peer

    cpdef void reset(self) noexcept
    cpdef void suggest(self, int64_t value) noexcept
    cpdef void sample(self, int64_t latest, int64_t ack_delay, bint confirmed) noexcept
    cpdef int64_t pto(self, bint with_ack_delay) noexcept
    cdef void forget_minimum(self) noexcept
