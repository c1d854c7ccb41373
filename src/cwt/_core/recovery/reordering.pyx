"""How late packets may come before they count as lost (RFC 9002 Section 6.1).

Three packets or an eighth of a round trip to begin with.  A packet that is acknowledged after it was declared
lost shows how far the path reorders; from then on as much is waited for, until there were a number of losses
without such a mistake, as RFC 8985 Section 6.2 does for TCP.
"""

cimport cython
from libc.stdint cimport int64_t, uint64_t

from cwt._core.recovery.rtt cimport GRANULARITY, RttEstimator

cdef enum:
    PACKETS = 3              # RFC 9002 Section 6.1.1
    MOST_PACKETS = 256
    MOST_EIGHTHS = 8         # two round trips in all
    QUIET = 16               # RFC 8985 Section 6.2


@cython.final
cdef class Reordering:
    """The thresholds of loss detection on one path, and which losses shrank its window last."""

    def __init__(self):
        self.packets = PACKETS
        self.eighths = 1
        self.episode = -1

    cpdef int64_t delay(self, RttEstimator rtt) noexcept:
        """Nanoseconds after which a packet is lost if a later one was acknowledged (Section 6.1.2)."""
        return max((8 + self.eighths) * max(rtt.latest, rtt.smoothed) // 8, <int64_t>GRANULARITY)

    cpdef void on_lost(self, uint64_t first, uint64_t count, int64_t newest, int64_t now) noexcept:
        """*count* packets from number *first* on were found lost; the *newest* was sent at that time."""
        if newest <= self.episode:
            self.missing += count
            return
        self.episode = now
        self.first = first
        self.missing = count
        self.quiet += 1
        if self.quiet >= QUIET:
            self.quiet = 0
            self.packets = PACKETS
            self.eighths = 1

    cpdef bint on_spurious_loss(
        self, uint64_t number, uint64_t distance, int64_t took, RttEstimator rtt
    ) noexcept:
        """Packet *number*, declared lost, was acknowledged *took* nanoseconds after it was sent.

        By then packets up to *distance* later had been.  Whether nothing is left of what shrank the window
        last.
        """
        cdef int64_t round_trip = max(rtt.latest, rtt.smoothed), late
        self.quiet = 0
        self.packets = max(self.packets, min(distance + 1, <uint64_t>MOST_PACKETS))
        if took > self.delay(rtt):
            late = (took - round_trip) * 8 // max(round_trip, <int64_t>1) + 1
            self.eighths = <int>min(late, <int64_t>MOST_EIGHTHS)
        if number < self.first or self.missing == 0:
            return False
        self.missing -= 1
        return self.missing == 0
