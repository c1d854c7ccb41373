"""Round-trip time estimate (RFC 9002 Section 5)."""

cimport cython
from libc.stdint cimport int64_t


@cython.final
cdef class RttEstimator:
    """Latest, smoothed and minimum round-trip time, in nanoseconds."""

    def __init__(self, int64_t initial, int64_t max_ack_delay=25_000_000):
        self.initial = initial
        self.max_ack_delay = max_ack_delay
        self.reset()

    cpdef void reset(self) noexcept:
        """Forget all samples: the path is another one (RFC 9000 Section 9.4)."""
        self.has_sample = False
        self.latest = 0
        self.smoothed = self.initial
        self.variation = self.initial // 2

    cpdef void suggest(self, int64_t value) noexcept:
        """Begin with *value* instead of the default: what validating the path took (Section 6.2.2)."""
        if not self.has_sample and value > 0:
            self.smoothed = value
            self.variation = value // 2

    cpdef void sample(self, int64_t latest, int64_t ack_delay, bint confirmed) noexcept:
        """Take a sample (Section 5.3); *confirmed*: the handshake is, so max_ack_delay binds."""
        cdef int64_t adjusted, difference
        self.latest = latest
        self.maximum = max(self.maximum, latest)
        # In the handshake an ACK that was lost comes again with what the peer repeats, seconds later; a
        # sample that shows this for what it was begins the estimate anew.
        if not self.has_sample or not confirmed and latest < self.smoothed // 2:
            self.minimum = min(latest, self.minimum) if self.has_sample else latest
            self.has_sample = True
            self.smoothed = latest
            self.variation = latest // 2
            return
        self.minimum = min(self.minimum, latest)
        if confirmed:
            ack_delay = min(ack_delay, self.max_ack_delay)
        adjusted = latest
        if latest >= self.minimum + ack_delay:
            adjusted = latest - ack_delay
        difference = self.smoothed - adjusted
        if difference < 0:
            difference = -difference
        self.variation = (3 * self.variation + difference) // 4
        self.smoothed = (7 * self.smoothed + adjusted) // 8

    cpdef int64_t pto(self, bint with_ack_delay) noexcept:
        """The probe timeout without back-off (Section 6.2.1)."""
        cdef int64_t value = self.smoothed + max(4 * self.variation, <int64_t>GRANULARITY)
        if with_ack_delay:
            value += self.max_ack_delay
        return value

    cdef void forget_minimum(self) noexcept:
        # Persistent congestion: the path may be another one by now (Section 5.2).
        self.minimum = self.latest
