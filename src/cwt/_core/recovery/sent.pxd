"""Sent packets and what they carried, in two rings (RFC 9002 Section A.1)."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from cwt._core.recovery.delivery cimport SendState
from cwt._core.wire.frame cimport FrameRecord, PacketBuilder

cdef enum:
    OUTSTANDING = 1          # neither acknowledged nor lost
    ELICITING = 2
    IN_FLIGHT = 4
    ACKED = 8
    MTU_PROBE = 16           # its loss says nothing about congestion (RFC 9000 Section 14.4)
    MARKED = 32              # with ECT(0)

cdef struct SentPacket:
    uint64_t number
    int64_t time
    uint64_t first_frame     # position in the ring of frames, ever growing
    uint32_t size
    uint16_t frame_count
    uint8_t flags
    uint8_t path             # it went over


cdef class RecordHandler:
    # Hands what a packet carried back to the component that wrote it.
    cdef int record_acked(self, const FrameRecord* r, int space) except -1
    cdef int record_lost(self, const FrameRecord* r, int space) except -1


cdef class SentPackets:
    cdef SentPacket* packets                 # the one at position *p* is at p & mask
    cdef SendState* states                   # of the same packets; NULL unless a controller asked for them
    cdef uint64_t packet_mask
    cdef uint64_t head, tail                 # positions, ever growing
    cdef FrameRecord* frames
    cdef uint64_t frame_mask
    cdef uint64_t frame_head, frame_tail
    cdef readonly uint64_t next              # next packet number
    cdef readonly uint64_t outstanding       # packets in flight or waiting for judgement
    cdef readonly uint64_t eliciting         # of these, ack-eliciting

    cdef int add(self, const PacketBuilder* p, uint32_t size, uint8_t flags, int64_t now) except -1
    cdef int keep(self, SentPackets source, const SentPacket* p) except -1
    cdef void forget(self, int64_t before) noexcept
    cdef void skip(self) noexcept
    cdef SentPacket* _new(self) except NULL
    cdef int _grow_packets(self) except -1
    cdef SendState* new_state(self) except NULL
    cdef int _grow_frames(self, uint64_t needed) except -1
    cdef SentPacket* at(self, uint64_t position) noexcept
    cdef uint64_t find(self, uint64_t number) noexcept
    cdef FrameRecord* frame(self, const SentPacket* p, int index) noexcept
    cdef void settle(self, SentPacket* p, uint8_t flags) noexcept
    cdef void trim(self) noexcept
    cdef void clear(self) noexcept
