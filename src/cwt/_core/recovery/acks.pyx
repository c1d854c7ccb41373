"""What to acknowledge and when (RFC 9000 Section 13.2)."""

cimport cython
from libc.stdint cimport int64_t, uint64_t

from cwt._core.wire.cursor cimport Writer, put_varint, room, varint_length
from cwt._core.wire.frame cimport ACK, ACK_ECN, PacketBuilder, can_record, record
from cwt._core.wire.ranges cimport RangeSet


@cython.final
@cython.no_gc
cdef class AckTracker:
    """Received packet numbers of one space.

    *max_delay* is ours in nanoseconds, 0 for Initial and Handshake packets, which are acknowledged at once.
    """

    def __init__(self, int64_t max_delay=0, int delay_exponent=3, int threshold=2):
        self.received = RangeSet()
        self.largest = -1
        self.max_delay = max_delay
        self.delay_exponent = delay_exponent
        self.threshold = threshold

    cpdef bint is_duplicate(self, uint64_t number) noexcept:
        """Whether *number* was received, or is too old to tell."""
        return number < self.floor or self.received.contains(number)

    cpdef int on_packet(self, uint64_t number, bint ack_eliciting, int ecn, int64_t now) except -1:
        """An authenticated packet that ``is_duplicate`` did not know."""
        cdef bint in_order = <int64_t>number == self.largest + 1
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
        if not ack_eliciting:
            return 0
        self.unacked += 1
        if self.max_delay == 0 or not in_order or ecn == 3 or self.unacked >= self.threshold:
            self.immediate = True
        elif self.deadline == 0:
            self.deadline = now + self.max_delay
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
        if self.max_delay == 0:
            delay = 0
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
