"""Spreading packets over the round trip (RFC 9002 Section 7.7)."""

from libc.stdint cimport int64_t, uint64_t


cdef class Pacer:
    cdef readonly bint enabled
    cdef double tokens                       # bytes that may go now
    cdef int64_t last
    cdef uint64_t rate                       # bytes a second

    cpdef void update(
        self, uint64_t rate, uint64_t max_datagram_size, uint64_t in_flight, int64_t now
    ) noexcept
    cpdef void on_sent(self, uint64_t size) noexcept
    cpdef int64_t ready_at(self, uint64_t size, int64_t now) noexcept
