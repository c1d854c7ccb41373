"""What recovery keeps for each path (RFC 9000 Section 9.4)."""

from libc.stdint cimport uint8_t, uint64_t

from cwt._core.recovery.congestion cimport CongestionController
from cwt._core.recovery.ecn cimport Ecn
from cwt._core.recovery.pacer cimport Pacer
from cwt._core.recovery.reordering cimport Reordering
from cwt._core.recovery.rtt cimport RttEstimator

cdef enum:
    NO_SLOT = 255            # of packets that say nothing about any path in use


cdef class PathRecovery:
    cdef readonly RttEstimator rtt
    cdef readonly CongestionController congestion
    cdef readonly Pacer pacer
    cdef readonly Ecn ecn
    cdef readonly Reordering reordering
    cdef readonly uint8_t slot               # by which its sent packets are known
    cdef readonly uint64_t in_flight         # bytes, while another path is in use
    cdef readonly uint64_t packets_lost
    cdef readonly uint64_t bytes_lost

    cdef void settle(self, uint64_t size) noexcept
