"""Explicit congestion notification on one path (RFC 9000 Section 13.4 and Appendix A.4).

Routers mark ECT(0) packets with CE where they would otherwise drop them.  Some routers clear or change
the marks, and some lose marked packets: the first ones are a test, and what the peer counts is checked
for as long as packets are marked.  ECT(1) is for scalable congestion controllers (RFC 9331), of which
there are none here; a peer that counts some is one that cannot count, or behind a router that rewrites.
"""

cimport cython
from libc.stdint cimport uint64_t

from cwt._core.wire.frame cimport AckFrame

cdef enum:
    TEST_PACKETS = 10        # Appendix A.4
    TEST_PROBES = 2          # probe timeouts in a row, three times the first one's period


_STATES = ("off", "testing", "unknown", "capable", "failed")


@cython.final
cdef class Ecn:
    """Whether packets on a path may carry ECT(0), and how many of them routers marked."""

    def __init__(self, bint enabled=True):
        self.state = TESTING if enabled else OFF

    cpdef str name(self):
        """The state: "off", "testing", "unknown", "capable" or "failed"."""
        return _STATES[self.state]

    cpdef int codepoint(self, int pto_count) noexcept:
        """What the next packets carry, after *pto_count* probe timeouts in a row: ECT(0) or 0.

        Once probes are lost too, the next ones go without, in case it is the mark that they are lost for.
        """
        if self.state != CAPABLE and self.state != TESTING:
            return 0
        if pto_count < TEST_PROBES:
            return ECT_0
        if self.state == TESTING:
            self.state = UNKNOWN
        return 0

    cpdef void on_sent(self) noexcept:
        """A packet with ECT(0) went out."""
        self.sent += 1
        if self.state == TESTING:
            self.tested += 1
            if self.tested >= TEST_PACKETS:
                self.state = UNKNOWN

    cpdef void on_lost(self) noexcept:
        """A packet with ECT(0) was lost."""
        self.lost_run += 1
        self._check_losses()

    cdef uint64_t on_ack(
        self, EcnCounts* counts, const AckFrame* ack, uint64_t marked, bint unmarked
    ) noexcept:
        """An ACK frame that increased the largest acknowledged packet number of a space.

        It acknowledged *marked* packets with ECT(0) on this path for the first time, and perhaps *unmarked*
        ones.  Returns by how much the peer's count of CE grew; 0 when what it says cannot be right.
        """
        cdef uint64_t increase = 0
        if self.state == TESTING or self.state == UNKNOWN or self.state == CAPABLE:
            if not self._is_valid(counts, ack, marked):
                self.state = FAILED
            else:
                self._count(marked, unmarked)
                if ack.has_ecn:
                    increase = ack.ce - counts.ce
                self.ce += increase
                if self.acked >= TEST_PACKETS and self.ce >= self.acked:
                    self.state = FAILED      # a router that marks everything tells nothing
                elif self.state == UNKNOWN and self.arrived:
                    self.state = CAPABLE
        if ack.has_ecn:
            counts.ect0 = ack.ect0
            counts.ect1 = ack.ect1
            counts.ce = ack.ce
        return increase if self.state != FAILED else 0

    cdef void _count(self, uint64_t marked, bint unmarked) noexcept:
        self.acked += marked
        if marked:
            self.lost_run = 0
            self.arrived = True
            self.arrived_bare = False
        elif unmarked:
            self.arrived_bare = True
            self._check_losses()

    cdef void _check_losses(self) noexcept:
        # Only what carries no mark arrives: perhaps the path was broken and only the last probes came
        # through, so it is tested once more; perhaps it drops what is marked.
        if not self.arrived_bare or self.lost_run < TEST_PACKETS:
            return
        if self.state == CAPABLE:
            self.state = TESTING
            self.tested = 0
            self.lost_run = 0
            self.arrived = False
            self.arrived_bare = False
        elif self.state == UNKNOWN:
            self.state = FAILED

    cdef bint _is_valid(
        self, const EcnCounts* counts, const AckFrame* ack, uint64_t marked
    ) noexcept:
        # Section 13.4.2.1.
        if not ack.has_ecn:
            return marked == 0
        if ack.ect0 < counts.ect0 or ack.ce < counts.ce or ack.ect1:
            return False
        if ack.ect0 - counts.ect0 + ack.ce - counts.ce < marked:
            return False                     # bleached, or marked with something else
        return ack.ect0 + ack.ce <= counts.sent
