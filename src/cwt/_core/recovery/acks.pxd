"""What to acknowledge and when (RFC 9000 Section 13.2)."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from cwt._core.wire.frame cimport AckFrequencyFrame, PacketBuilder
from cwt._core.wire.ranges cimport RangeSet

cdef enum:
    MAX_ACK_RANGES = 64


cdef class AckTracker:
    cdef readonly RangeSet received          # packet numbers still to be reported
    cdef readonly int64_t largest            # -1 for none
    cdef int64_t largest_time
    cdef uint64_t floor                      # below it everything counts as received
    cdef readonly bint immediate             # an ACK is due now
    cdef readonly uint64_t unacked           # ack-eliciting packets since the last ACK
    cdef int64_t deadline                    # of the delayed ACK, 0 for none
    cdef readonly int64_t max_delay          # 0: acknowledge every packet at once
    cdef int64_t min_delay                   # least that the peer may ask for
    cdef int delay_exponent
    cdef readonly uint64_t threshold         # ack-eliciting packets that make an ACK due
    cdef readonly uint64_t reordering        # packets behind a missing one that make an ACK due, 0 for never
    cdef int64_t reported                    # largest number in the last ACK, -1 for none
    cdef readonly int64_t sequence                # of the last ACK_FREQUENCY frame, -1 for none
    cdef bint marked                         # the last packet was, with CE
    cdef uint64_t ecn[3]                     # ECT(0), ECT(1), CE
    cdef bint has_ecn

    cpdef bint is_duplicate(self, uint64_t number) noexcept
    cpdef int on_packet(self, uint64_t number, bint ack_eliciting, int ecn, int64_t now) except -1
    cdef bint _tells_of_reordering(self, uint64_t number, bint in_order) noexcept
    cdef int on_ack_frequency(self, AckFrequencyFrame* frame, bint early) except -1
    cpdef bint is_due(self, int64_t now) noexcept
    cdef bint has_anything(self) noexcept
    cdef bint write(self, PacketBuilder* p, int64_t now) noexcept
    cdef int on_acked(self, uint64_t largest) except -1
    cpdef int64_t next_timeout(self) noexcept
    cdef uint64_t _gap(self, size_t upper) noexcept
    cdef uint64_t _length(self, size_t index) noexcept


cdef class AckTrackers:
    cdef readonly AckTracker initial, handshake      # None once the keys of their spaces are gone
    cdef readonly AckTracker application
    cdef uint32_t discarded_ecn[3]           # what those that are gone had counted

    cdef AckTracker of(self, int space)
    cdef int discard(self, int space) except -1
    cdef uint64_t with_codepoint(self, int which) noexcept
