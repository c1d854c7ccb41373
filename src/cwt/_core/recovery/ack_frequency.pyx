"""How often we want the peer to acknowledge (draft-ietf-quic-ack-frequency).

After slow start, a sixteenth of a congestion window for each ACK, and at least eight ACKs a round trip: fewer
cost both ends time, and the congestion controller needs no more.  How often the peer may acknowledge a
short transfer stays as in RFC 9000.
"""

cimport cython
from libc.stdint cimport int64_t, uint64_t

from cwt._core.recovery.congestion cimport CongestionController
from cwt._core.recovery.rtt cimport RttEstimator
from cwt._core.wire.frame cimport (
    ACK_FREQUENCY, AckFrequencyFrame, FrameRecord, PacketBuilder, can_record, put_ack_frequency, record,
)

cdef enum:
    ACKS_PER_WINDOW = 16
    ACKS_PER_ROUND_TRIP = 8
    DEFAULT_THRESHOLD = 2    # RFC 9000 Section 13.2.2
    MIN_THRESHOLD = 4        # a small window needs its ACKs to grow
    MAX_THRESHOLD = 64
    REORDERING = 3           # the packet threshold of loss detection (RFC 9002 Section 6.1.1)


@cython.final
cdef class AckFrequency:
    """Decides what to ask for, and asks; times in nanoseconds."""

    cpdef int enable(self, int64_t min_delay, int64_t max_delay, bint early) except -1:
        """The peer takes ACK_FREQUENCY frames; these are its min_ack_delay and max_ack_delay.

        *early*: in the form of version 00 of the draft.
        """
        self.supported = True
        self.early = early
        self.min_delay = min_delay
        self.max_delay = max_delay
        self.threshold = DEFAULT_THRESHOLD
        self.delay = max_delay
        return 0

    cpdef int update(self, CongestionController congestion, RttEstimator rtt, int64_t now) except -1:
        """An ACK changed window and round-trip time: is it time to ask for something else?"""
        cdef uint64_t threshold = DEFAULT_THRESHOLD
        cdef int64_t delay = self.max_delay
        if not self.supported or self.in_flight or now < self.next_update:
            return 0
        self.next_update = now + rtt.smoothed
        if not congestion.in_slow_start():
            threshold = congestion.window // congestion.max_datagram_size // ACKS_PER_WINDOW
            threshold = min(max(threshold, <uint64_t>DEFAULT_THRESHOLD), <uint64_t>MAX_THRESHOLD)
        if threshold > DEFAULT_THRESHOLD:
            delay = min(max(rtt.smoothed // ACKS_PER_ROUND_TRIP, self.min_delay), self.max_delay)
        elif self.sequence == 0:
            return 0
        if (
            threshold >= 2 * self.threshold or 2 * threshold <= self.threshold
            or threshold > DEFAULT_THRESHOLD and (delay >= 2 * self.delay or 2 * delay <= self.delay)
        ):
            if threshold < MIN_THRESHOLD:
                threshold = DEFAULT_THRESHOLD
                delay = self.max_delay
            self.pending = threshold != self.threshold or delay != self.delay
            self.threshold = threshold
            self.delay = delay
        return 0

    cpdef int reset(self) except -1:
        """The path is another one: back to the default, until something is known of it."""
        self.next_update = 0
        if self.sequence or self.pending:
            self.threshold = DEFAULT_THRESHOLD
            self.delay = self.max_delay
            self.pending = True
        return 0

    cdef bint asks_at_once(self) noexcept:
        # Whether to ask with IMMEDIATE_ACK for what a PING might get only later.
        return self.supported and not self.early

    cdef int write(self, PacketBuilder* p, RttEstimator rtt) except -1:
        cdef AckFrequencyFrame frame
        if not self.pending or not can_record(p):
            return 0
        frame.sequence = self.sequence
        frame.threshold = self.threshold if self.early else self.threshold - 1
        frame.max_delay = self.delay // 1000
        frame.reordering = 0 if self.early else REORDERING
        if not put_ack_frequency(&p.w, &frame):
            return 0
        record(p, ACK_FREQUENCY, self.sequence, 0, 0, False)
        # Until it is acknowledged, the larger of both delays counts.
        rtt.max_ack_delay = max(rtt.max_ack_delay, self.delay)
        self.sequence += 1
        self.pending = False
        self.in_flight = True
        return 0

    cdef int on_acked(self, const FrameRecord* r, RttEstimator rtt) except -1:
        if r.id + 1 == self.sequence:
            self.in_flight = False
            if not self.pending:
                rtt.max_ack_delay = self.delay
        return 0

    cdef int on_lost(self, const FrameRecord* r) except -1:
        # Asked for again as it is wanted by then, unless there is a later frame.
        if r.id + 1 == self.sequence:
            self.in_flight = False
            self.pending = True
        return 0
