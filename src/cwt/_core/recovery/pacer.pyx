"""Spreading packets over the round trip (RFC 9002 Section 7.7).

A token bucket.  Event loops wake with about a millisecond's precision, so the bucket holds what the rate
gives in two, and never less than four datagrams; an initial window when nothing is in flight, and so no
queue on the path is ours.  Once it is empty, what the rate gives in one comes
together: on a fast path a wake-up for each datagram would cost more than the datagram.
"""

cimport cython
from libc.stdint cimport int64_t, uint64_t

from cwt._core.recovery.congestion cimport initial_window

cdef enum:
    BURST_TIME = 2_000_000   # nanoseconds
    REFILL_TIME = 1_000_000


@cython.final
cdef class Pacer:
    """Says when a datagram may go; times in nanoseconds, rates in bytes a second."""

    def __init__(self, bint enabled=True):
        self.enabled = enabled
        self.tokens = 0
        self.last = -1

    cpdef void update(
        self, uint64_t rate, uint64_t max_datagram_size, uint64_t in_flight, int64_t now
    ) noexcept:
        """Fill the bucket up to *now* at *rate*; *in_flight* bytes are on their way."""
        cdef double least = 4 * max_datagram_size if in_flight else initial_window(max_datagram_size)
        cdef double burst = max(rate * (BURST_TIME / 1e9), least)
        if self.last < 0:
            self.tokens = burst
        elif now > self.last:
            self.tokens = min(burst, self.tokens + (now - self.last) / 1e9 * rate)
        self.last = now
        self.rate = rate

    cpdef void on_sent(self, uint64_t size) noexcept:
        """*size* bytes went out."""
        self.tokens -= size

    cpdef int64_t ready_at(self, uint64_t size, int64_t now) noexcept:
        """When *size* bytes may go: *now* or later."""
        cdef double wanted
        if not self.enabled or self.tokens >= size or self.rate == 0:
            return now
        wanted = max(<double>size, self.rate * (REFILL_TIME / 1e9))
        return now + <int64_t>((wanted - self.tokens) * 1e9 / self.rate) + 1
