"""What to acknowledge and when (RFC 9000 Section 13.2, draft-ietf-quic-ack-frequency)."""

cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t

from cwt._core.wire.cursor cimport Writer, put_varint, room, varint_length
from cwt._core.wire.frame cimport (
    ACK, ACK_ECN, ACK_FREQUENCY, AckFrequencyFrame, PacketBuilder, can_record, record,
)
from cwt._core.wire.ranges cimport RangeSet

from cwt.errors import TransportError, TransportErrorCode

# Microseconds that no max_ack_delay reaches (RFC 9000 Section 18.2).
cdef uint64_t MAX_ACK_DELAY = (1 << 14) * 1000


@cython.final
@cython.no_gc
cdef class AckTracker:
    """Received packet numbers of one space.

    *max_delay* is ours in nanoseconds, 0 for Initial and Handshake packets, which are acknowledged at once.
    *min_delay* is the least that the peer may ask for.
    """

    def __init__(self, int64_t max_delay=0, int delay_exponent=3, int64_t min_delay=0):
        self.received = RangeSet()
        self.largest = -1
        self.reported = -1
        self.sequence = -1
        self.max_delay = max_delay
        self.min_delay = min_delay
        self.delay_exponent = delay_exponent
        self.threshold = 2
        self.reordering = 1

    cpdef bint is_duplicate(self, uint64_t number) noexcept:
        """Whether *number* was received, or is too old to tell."""
        return number < self.floor or self.received.contains(number)

    cpdef int on_packet(self, uint64_t number, bint ack_eliciting, int ecn, int64_t now) except -1:
        """An authenticated packet that ``is_duplicate`` did not know."""
        cdef bint in_order = <int64_t>number == self.largest + 1, newly_marked
        self.received.add(number, number + 1)
        if self.received.count > MAX_ACK_RANGES:
            self.floor = self.received.items[0].end
            self.received.drop_lowest()
        if <int64_t>number > self.largest:
            self.largest = number
            self.largest_time = now
        if ecn:
            self.has_ecn = True
            # ECN bits: 1 is ECT(1), 2 is ECT(0), 3 is CE.
            self.ecn[0 if ecn == 2 else ecn if ecn == 1 else 2] += 1
        newly_marked = ecn == 3 and (self.threshold <= 2 or not self.marked)
        self.marked = ecn == 3
        if not ack_eliciting:
            return 0
        self.unacked += 1
        if (
            self.max_delay == 0 or newly_marked or self.unacked >= self.threshold
            or self._tells_of_reordering(number, in_order)
        ):
            self.immediate = True
        elif self.deadline == 0 or self.deadline > now + self.max_delay:
            self.deadline = now + self.max_delay
        return 0

    cdef bint _tells_of_reordering(self, uint64_t number, bint in_order) noexcept:
        # Whether the peer can learn from an ACK now that packets are missing, or were not after all.
        cdef uint64_t low, missing
        cdef Py_ssize_t i
        if self.reordering == 1:
            return not in_order
        if not in_order and self.received.count > MAX_ACK_RANGES // 2:
            return True                      # before there are too many to tell
        if self.reordering == 0 or in_order and self.received.count == 1:
            return False
        if self.reported >= 0 and number + self.reordering <= <uint64_t>self.reported:
            return True
        # The first missing number that no ACK gave the peer reason to declare lost.
        low = self.floor
        if self.reported >= 0 and <uint64_t>self.reported + 1 > low + self.reordering:
            low = self.reported + 1 - self.reordering
        missing = self.largest
        for i in range(<Py_ssize_t>self.received.count - 1, -1, -1):
            if self.received.items[i].start <= low:
                break
            missing = low
            if i and self.received.items[i - 1].end > low:
                missing = self.received.items[i - 1].end
        return <uint64_t>self.largest - missing >= self.reordering

    cdef int on_ack_frequency(self, AckFrequencyFrame* frame, bint early) except -1:
        # *early*: the peer speaks version 00 of the draft, where the threshold counts the packet that makes
        # the ACK due, and the last field says whether to ignore reordering.
        if early and (frame.threshold == 0 or frame.reordering > 1):
            raise TransportError(
                TransportErrorCode.FRAME_ENCODING_ERROR, "ACK_FREQUENCY without sense", ACK_FREQUENCY
            )
        if frame.max_delay >= MAX_ACK_DELAY or <int64_t>frame.max_delay * 1000 < self.min_delay:
            raise TransportError(
                TransportErrorCode.PROTOCOL_VIOLATION, "ACK_FREQUENCY asks for a delay out of bounds",
                ACK_FREQUENCY,
            )
        if <int64_t>frame.sequence <= self.sequence:
            return 0                         # overtaken
        self.sequence = frame.sequence
        self.max_delay = frame.max_delay * 1000
        self.threshold = frame.threshold if early else frame.threshold + 1
        self.reordering = 1 - frame.reordering if early else frame.reordering
        return 0

    cpdef bint is_due(self, int64_t now) noexcept:
        """Whether an ACK should be sent even if nothing else is."""
        return self.immediate or (self.deadline != 0 and now >= self.deadline)

    cdef bint has_anything(self) noexcept:
        # Something ack-eliciting came since the last ACK.
        return self.unacked > 0

    cdef bint write(self, PacketBuilder* p, int64_t now) noexcept:
        # As many ranges as fit, newest first.
        cdef size_t i, count = self.received.count
        cdef uint64_t delay, ranges
        cdef size_t space, size
        cdef Writer* w = &p.w
        if count == 0 or not can_record(p):
            return False
        delay = <uint64_t>max(now - self.largest_time, <int64_t>0) // 1000 >> self.delay_exponent
        space = room(w)
        size = 1 + 8 + varint_length(delay) + 1 + 8 + (24 if self.has_ecn else 0)
        if space < size:
            return False
        space -= size
        ranges = 0
        for i in range(1, count):
            size = (
                varint_length(self._gap(count - i)) + varint_length(self._length(count - 1 - i))
            )
            if size > space or ranges == 63:
                break
            space -= size
            ranges += 1
        put_varint(w, ACK_ECN if self.has_ecn else ACK)
        put_varint(w, <uint64_t>self.largest)
        put_varint(w, delay)
        put_varint(w, ranges)
        put_varint(w, self._length(count - 1))
        for i in range(1, ranges + 1):
            put_varint(w, self._gap(count - i))
            put_varint(w, self._length(count - 1 - i))
        if self.has_ecn:
            for i in range(3):
                put_varint(w, self.ecn[i])
        record(p, ACK, <uint64_t>self.largest, 0, 0, False)
        self.reported = self.largest
        self.immediate = False
        self.unacked = 0
        self.deadline = 0
        return True

    cdef uint64_t _gap(self, size_t upper) noexcept:
        return self.received.items[upper].start - self.received.items[upper - 1].end - 1

    cdef uint64_t _length(self, size_t index) noexcept:
        return self.received.items[index].end - self.received.items[index].start - 1

    cdef int on_acked(self, uint64_t largest) except -1:
        # The peer has our ACK of *largest*: what is well below need not be repeated (Section 13.2.4).
        cdef uint64_t limit
        if self.received.count > 1 and largest > 0:
            limit = min(largest, self.received.items[self.received.count - 1].start)
            if limit > self.floor:
                self.received.subtract(0, limit)
                self.floor = limit
        return 0

    cpdef int64_t next_timeout(self) noexcept:
        """When a delayed ACK becomes due, 0 for never."""
        return self.deadline if not self.immediate else 0


@cython.final
@cython.no_gc
cdef class AckTrackers:
    """The trackers of a connection's packet number spaces; *application* is that of 1-RTT packets."""

    def __init__(self, AckTracker application not None):
        self.initial = AckTracker()
        self.handshake = AckTracker()
        self.application = application

    cdef int discard(self, int space) except -1:
        # The keys of *space* are gone: nothing is received in it, or acknowledged, any more.
        cdef AckTracker gone = self.of(space)
        cdef int which
        if gone is None:
            return 0
        for which in range(3):
            self.discarded_ecn[which] += <uint32_t>gone.ecn[which]
        if space == 0:
            self.initial = None
        else:
            self.handshake = None
        return 0

    cdef AckTracker of(self, int space):
        if space == 2:
            return self.application
        return self.initial if space == 0 else self.handshake

    cdef uint64_t with_codepoint(self, int which) noexcept:
        # Received packets with ECT(0), ECT(1) or CE, as *which* is 0 to 2.
        cdef uint64_t count = self.discarded_ecn[which] + self.application.ecn[which]
        if self.initial is not None:
            count += self.initial.ecn[which]
        if self.handshake is not None:
            count += self.handshake.ecn[which]
        return count
