"""Sent packets and what they carried, in two rings (RFC 9002 Section A.1)."""

cimport cython
from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Malloc
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from cwt._core.recovery.delivery cimport SendState
from cwt._core.wire.frame cimport FrameRecord, PacketBuilder

cdef enum:
    FIRST_PACKETS = 4
    FIRST_FRAMES = 4


cdef class RecordHandler:
    """Hands what a packet carried back to the component that wrote it."""

    cdef int record_acked(self, const FrameRecord* r, int space) except -1:
        return 0

    cdef int record_lost(self, const FrameRecord* r, int space) except -1:
        return 0


@cython.final
cdef class SentPackets:
    """The sent packets of one packet number space, oldest first.

    Only packets in flight are kept: a number that was skipped, or carried but an ACK, takes no room, or a
    peer that never acknowledges could make us remember without end.  A packet leaves when all before it
    have been settled, so both rings move like queues.
    """

    def __cinit__(self):
        self.packets = NULL
        self.states = NULL
        self.frames = NULL
        self.packet_mask = 0
        self.frame_mask = 0

    def __dealloc__(self):
        PyMem_Free(self.packets)
        PyMem_Free(self.states)
        PyMem_Free(self.frames)

    cdef int _grow_packets(self) except -1:
        cdef uint64_t size = (self.packet_mask + 1) * 2 if self.packets != NULL else FIRST_PACKETS
        cdef uint64_t i
        cdef SendState* states
        cdef SentPacket* packets = <SentPacket*>PyMem_Malloc(size * sizeof(SentPacket))
        if packets == NULL:
            raise MemoryError
        for i in range(self.head, self.tail):
            packets[i & (size - 1)] = self.packets[i & self.packet_mask]
        if self.states != NULL:
            states = <SendState*>PyMem_Calloc(size, sizeof(SendState))
            if states == NULL:
                PyMem_Free(packets)
                raise MemoryError
            for i in range(self.head, self.tail):
                states[i & (size - 1)] = self.states[i & self.packet_mask]
            PyMem_Free(self.states)
            self.states = states
        PyMem_Free(self.packets)
        self.packets = packets
        self.packet_mask = size - 1
        return 0

    cdef SendState* new_state(self) except NULL:
        # For what is known while the packet added last goes out; those before the first call have none.
        if self.states == NULL:
            self.states = <SendState*>PyMem_Calloc(self.packet_mask + 1, sizeof(SendState))
            if self.states == NULL:
                raise MemoryError
        return &self.states[(self.tail - 1) & self.packet_mask]

    cdef int _grow_frames(self, uint64_t needed) except -1:
        cdef uint64_t size = (self.frame_mask + 1) * 2 if self.frames != NULL else FIRST_FRAMES
        cdef uint64_t i
        cdef FrameRecord* frames
        while size < self.frame_tail - self.frame_head + needed:
            size *= 2
        frames = <FrameRecord*>PyMem_Malloc(size * sizeof(FrameRecord))
        if frames == NULL:
            raise MemoryError
        for i in range(self.frame_head, self.frame_tail):
            frames[i & (size - 1)] = self.frames[i & self.frame_mask]
        PyMem_Free(self.frames)
        self.frames = frames
        self.frame_mask = size - 1
        return 0

    cdef SentPacket* _new(self) except NULL:
        if self.packets == NULL or self.tail - self.head > self.packet_mask:
            self._grow_packets()
        self.tail += 1
        return &self.packets[(self.tail - 1) & self.packet_mask]

    cdef int add(self, const PacketBuilder* p, uint32_t size, uint8_t flags, int64_t now) except -1:
        """Remember packet number ``next``, which carries what *p* recorded; *flags* besides the obvious."""
        cdef SentPacket* packet
        cdef int i
        if not p.in_flight:
            self.skip()
            return 0
        if self.frames == NULL or (
            self.frame_tail - self.frame_head + p.record_count > self.frame_mask + 1
        ):
            self._grow_frames(p.record_count)
        packet = self._new()
        packet.number = self.next
        self.next += 1
        packet.time = now
        packet.size = size
        packet.first_frame = self.frame_tail
        packet.frame_count = <uint16_t>p.record_count
        packet.path = p.path
        packet.flags = flags | OUTSTANDING | IN_FLIGHT | (ELICITING if p.ack_eliciting else 0)
        if p.mtu_probe:
            packet.flags |= MTU_PROBE
        for i in range(p.record_count):
            self.frames[self.frame_tail & self.frame_mask] = p.records[i]
            self.frame_tail += 1
        self.outstanding += 1
        if p.ack_eliciting:
            self.eliciting += 1
        return 0

    cdef int keep(self, SentPackets source, const SentPacket* p) except -1:
        # A copy of packet *p* of *source*, as if it were outstanding; numbers have to grow.
        cdef SentPacket* packet
        cdef int i
        if self.frames == NULL or self.frame_tail - self.frame_head + p.frame_count > self.frame_mask + 1:
            self._grow_frames(p.frame_count)
        packet = self._new()
        packet[0] = p[0]
        packet.flags = OUTSTANDING
        packet.first_frame = self.frame_tail
        for i in range(p.frame_count):
            self.frames[self.frame_tail & self.frame_mask] = source.frame(p, i)[0]
            self.frame_tail += 1
        self.outstanding += 1
        return 0

    cdef void forget(self, int64_t before) noexcept:
        # What was sent before that time counts as settled.
        cdef uint64_t position
        for position in range(self.head, self.tail):
            if self.at(position).time >= before:
                break
            if self.at(position).flags & OUTSTANDING:
                self.settle(self.at(position), 0)
        self.trim()

    cdef void skip(self) noexcept:
        # A number without anything to remember.
        self.next += 1

    cdef SentPacket* at(self, uint64_t position) noexcept:
        # The caller keeps head <= position < tail.
        return &self.packets[position & self.packet_mask]

    cdef uint64_t find(self, uint64_t number) noexcept:
        # Position of the first packet with *number* or a later one.
        cdef uint64_t low = self.head, high = self.tail, middle, first
        if low == high:
            return low
        first = self.at(low).number
        if number <= first:
            return low
        # Numbers grow at least as fast as positions; mostly just as fast.
        if number - first < high - low:
            high = low + (number - first)
            if self.at(high).number == number:
                return high
        while low < high:
            middle = low + (high - low) // 2
            if self.at(middle).number < number:
                low = middle + 1
            else:
                high = middle
        return low

    cdef FrameRecord* frame(self, const SentPacket* p, int index) noexcept:
        return &self.frames[(p.first_frame + index) & self.frame_mask]

    cdef void settle(self, SentPacket* p, uint8_t flags) noexcept:
        # Acknowledged or lost: no longer outstanding.
        self.outstanding -= 1
        if p.flags & ELICITING:
            self.eliciting -= 1
        p.flags = flags

    cdef void trim(self) noexcept:
        # Forget the settled packets at the old end.
        cdef SentPacket* packet
        while self.head < self.tail:
            packet = self.at(self.head)
            if packet.flags & OUTSTANDING:
                return
            self.frame_head = packet.first_frame + packet.frame_count
            self.head += 1
        self.frame_head = self.frame_tail
        if self.packet_mask >= FIRST_PACKETS or self.frame_mask >= FIRST_FRAMES:
            self.clear()                     # an idle connection holds no more than the smallest

    cdef void clear(self) noexcept:
        # Forget everything, the rings too.
        PyMem_Free(self.packets)
        PyMem_Free(self.states)
        PyMem_Free(self.frames)
        self.packets = NULL
        self.states = NULL
        self.frames = NULL
        self.packet_mask = 0
        self.frame_mask = 0
        self.head = self.tail
        self.frame_head = self.frame_tail
        self.outstanding = 0
        self.eliciting = 0
