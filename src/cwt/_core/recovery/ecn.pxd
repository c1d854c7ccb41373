"""Explicit congestion notification on one path (RFC 9000 Section 13.4)."""

from libc.stdint cimport uint64_t

from cwt._core.wire.frame cimport AckFrame

cdef enum:
    ECT_0 = 2                # of the two bits in the IP header (RFC 3168 Section 5)
    # The states of Appendix A.4, and no ECN at all.
    OFF = 0
    TESTING = 1
    UNKNOWN = 2
    CAPABLE = 3
    FAILED = 4

# Of one packet number space, on all paths together, as the peer counts.
cdef struct EcnCounts:
    uint64_t sent            # packets that we marked
    uint64_t ect0, ect1, ce  # what the peer said it received


cdef class Ecn:
    cdef readonly int state
    cdef readonly uint64_t sent              # marked packets
    cdef readonly uint64_t acked             # of these
    cdef readonly uint64_t ce                # packets that routers marked, as far as the peer is believed
    cdef uint64_t tested                     # packets of the test
    cdef uint64_t lost_run                   # marked packets lost since the last one acknowledged
    cdef bint arrived                        # a marked packet did since the test began
    cdef bint arrived_bare                   # a packet without mark did since the last marked one

    cpdef str name(self)
    cpdef int codepoint(self, int pto_count) noexcept
    cpdef void on_sent(self) noexcept
    cpdef void on_lost(self) noexcept
    cdef uint64_t on_ack(
        self, EcnCounts* counts, const AckFrame* ack, uint64_t marked, bint unmarked
    ) noexcept
    cdef void _count(self, uint64_t marked, bint unmarked) noexcept
    cdef void _check_losses(self) noexcept
    cdef bint _is_valid(
        self, const EcnCounts* counts, const AckFrame* ack, uint64_t marked
    ) noexcept
