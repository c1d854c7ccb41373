"""How late packets may come before they count as lost (RFC 9002 Section 6.1)."""

from libc.stdint cimport int64_t, uint64_t

from cwt._core.recovery.rtt cimport RttEstimator


cdef class Reordering:
    cdef readonly uint64_t packets           # sent later and acknowledged, that make a packet lost
    cdef readonly int eighths                # of a round trip beyond the first, that do
    cdef int quiet                           # times in a row that losses were no mistake
    # What was lost since the window shrank last.
    cdef int64_t episode                     # when it did, -1 for never
    cdef uint64_t first                      # packet number
    cdef uint64_t missing                    # packets

    cpdef int64_t delay(self, RttEstimator rtt) noexcept
    cpdef void on_lost(self, uint64_t first, uint64_t count, int64_t newest, int64_t now) noexcept
    cpdef bint on_spurious_loss(
        self, uint64_t number, uint64_t distance, int64_t took, RttEstimator rtt
    ) noexcept
