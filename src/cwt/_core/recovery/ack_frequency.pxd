"""How often we want the peer to acknowledge (draft-ietf-quic-ack-frequency)."""

from libc.stdint cimport int64_t, uint64_t

from cwt._core.recovery.congestion cimport CongestionController
from cwt._core.recovery.rtt cimport RttEstimator
from cwt._core.wire.frame cimport FrameRecord, PacketBuilder


cdef class AckFrequency:
    cdef readonly bint supported             # by the peer
    cdef readonly bint early                          # it speaks version 00 of the draft
    cdef int64_t min_delay, max_delay        # of the peer's transport parameters, nanoseconds
    cdef readonly uint64_t threshold         # ack-eliciting packets for an ACK, as last asked for
    cdef readonly int64_t delay              # nanoseconds until an ACK, as last asked for
    cdef readonly uint64_t sequence          # of the next frame
    cdef readonly bint pending               # a frame is to be sent
    cdef readonly bint in_flight             # the last frame is neither acknowledged nor lost
    cdef int64_t next_update

    cpdef int enable(self, int64_t min_delay, int64_t max_delay, bint early) except -1
    cpdef int update(
        self, CongestionController congestion, RttEstimator rtt, int64_t now
    ) except -1
    cpdef int reset(self) except -1
    cdef bint asks_at_once(self) noexcept
    cdef int write(self, PacketBuilder* p, RttEstimator rtt) except -1
    cdef int on_acked(self, const FrameRecord* r, RttEstimator rtt) except -1
    cdef int on_lost(self, const FrameRecord* r) except -1
