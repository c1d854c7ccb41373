"""The sending part of a stream: what was written, sent, acknowledged and lost (RFC 9000 Section 3.1)."""

from cpython.object cimport PyObject
from libc.stdint cimport uint8_t, uint64_t

from cwt._core.stream.flow cimport SendCredit
from cwt._core.wire.frame cimport PacketBuilder
from cwt._core.wire.ranges cimport RangeSet

cdef struct Chunk:
    PyObject* owner          # a bytes object, held
    const uint8_t* data
    uint64_t offset          # in the stream
    size_t length


cdef class SendBuffer:
    cdef Chunk* chunks                       # ring; of one it is ``only``
    cdef Chunk only
    cdef size_t chunk_mask, chunk_head, chunk_count
    cdef size_t tail_room                    # bytes left in the last chunk, which is ours
    cdef readonly uint64_t base              # everything below it is acknowledged
    cdef readonly uint64_t sent              # everything below it was sent once
    cdef readonly uint64_t end               # everything below it was written
    cdef RangeSet acked                      # above base; None for nothing
    cdef RangeSet lost                       # to be sent again; None for nothing

    cdef int append(self, object data, const uint8_t* source, size_t length) except -1
    cdef int _push(self, object owner, const uint8_t* data, size_t length) except -1
    cdef size_t _find(self, uint64_t offset) noexcept
    cdef void copy(self, uint64_t offset, uint8_t* out, size_t length) noexcept
    cdef int acknowledge(self, uint64_t start, uint64_t end) except -1
    cdef int lose(self, uint64_t start, uint64_t end) except -1
    cdef void _release(self) noexcept
    cdef void _forget_ring(self) noexcept
    cdef void _forget_beyond(self, uint64_t end) noexcept
    cdef void clear(self) noexcept


cdef class SendPart(SendBuffer):
    cdef SendCredit credit
    cdef uint64_t reset_code
    cdef uint64_t reliable                   # bytes that a reset lets through
    cdef uint64_t stop_code
    cdef uint8_t fin                         # the application finished
    cdef uint8_t fin_sent
    cdef uint8_t fin_acked
    cdef uint8_t was_reset                   # RESET_STREAM takes the place of data
    cdef uint8_t reset_pending
    cdef uint8_t reset_acked
    cdef uint8_t stopped                     # by the peer
    cdef uint8_t short_write                 # the application wants to write more

    cdef bint has_data(self) noexcept
    cdef bint needs_credit(self) noexcept
    cdef bint all_acked(self) noexcept
    cdef bint done(self) noexcept
    cdef int write(self, PacketBuilder* p, uint64_t stream_id, SendCredit* connection) except -2
    cdef int on_acked(self, uint64_t offset, uint64_t length, bint fin) except -1
    cdef int on_lost(self, uint64_t offset, uint64_t length, bint fin) except -1
    cdef int reset(self, uint64_t code, uint64_t reliable) except -1
    cdef bint reset_ready(self, bint at) noexcept
    cdef bint on_reset_acked(self, uint64_t reliable) noexcept
    cdef void rewind(self) noexcept
