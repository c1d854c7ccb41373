"""What recovery keeps for each path (RFC 9000 Section 9.4)."""

cimport cython
from libc.stdint cimport uint8_t, uint64_t

from cwt._core.recovery.congestion cimport CongestionController
from cwt._core.recovery.ecn cimport Ecn
from cwt._core.recovery.pacer cimport Pacer
from cwt._core.recovery.reordering cimport Reordering
from cwt._core.recovery.rtt cimport RttEstimator


@cython.final
cdef class PathRecovery:
    """The estimates, the window and what is in flight of one path.

    Two pairs of addresses share it where only a port differs: a NAT that forgot a binding changes nothing
    about the path behind it.
    """

    def __init__(
        self, RttEstimator rtt, CongestionController congestion, Pacer pacer, Ecn ecn, uint8_t slot=0
    ):
        self.rtt = rtt
        self.congestion = congestion
        self.pacer = pacer
        self.ecn = ecn
        self.reordering = Reordering()
        self.slot = slot

    cdef void settle(self, uint64_t size) noexcept:
        # A packet of *size* bytes is no longer in flight.
        self.in_flight -= min(size, self.in_flight)
