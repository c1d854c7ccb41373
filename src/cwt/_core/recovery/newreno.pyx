"""NewReno (RFC 9002 Appendix B)."""

cimport cython
from libc.stdint cimport int64_t, uint64_t

from cwt._core.recovery.congestion cimport CongestionController
from cwt._core.recovery.rtt cimport RttEstimator


@cython.final
cdef class NewReno(CongestionController):
    """Slow start, then one datagram a round trip; half the window on loss."""

    cdef uint64_t credit                     # bytes acknowledged towards the next increase

    cpdef int on_acked(
        self, uint64_t size, int64_t time_sent, bint window_limited, RttEstimator rtt, int64_t now
    ) except -1:
        if time_sent <= self.recovery_start or not window_limited:
            return 0
        if self.window < self.slow_start_threshold:
            self.window += size
            return 0
        self.credit += size
        if self.credit >= self.window:
            self.credit -= self.window
            self.window += self.max_datagram_size
        return 0

    cpdef int on_lost(self, int64_t time_sent, int64_t now) except -1:
        if time_sent <= self.recovery_start:
            return 0
        self._save()
        self.recovery_start = now
        self.window = max(self.window // 2, 2 * self.max_datagram_size)
        self.slow_start_threshold = self.window
        self.credit = 0
        return 0
