"""Reassembly and the receiving part of a stream (RFC 9000 Sections 2.2, 3.2 and 4.5)."""

from libc.stdint cimport int64_t, uint8_t, uint64_t

from cwt._core.stream.flow cimport ReceiveWindow
from cwt._core.wire.ranges cimport RangeSet

cdef enum:
    BLOCK = 4096
    MAX_GAPS = 1000
    MIN_GAP_SPACING = 1024   # bytes on average, of gaps beyond that number


cdef class ReassemblyBuffer:
    cdef readonly uint64_t offset            # of the next byte to read
    cdef readonly uint64_t contiguous        # everything below it has arrived
    cdef RangeSet ahead                      # what arrived above, None for nothing
    cdef uint8_t** blocks                    # BLOCK bytes each, NULL where nothing arrived
    cdef uint8_t* only                       # of one, ``blocks`` is here
    cdef uint64_t first_block
    cdef size_t block_count, block_room

    cdef int insert(self, uint64_t offset, const uint8_t* data, size_t length) except -1
    cdef int _store(self, uint64_t offset, const uint8_t* data, size_t length) except -1
    cdef int _reserve(self, size_t blocks) except -1
    cdef size_t available(self) noexcept
    cdef size_t peek(self, uint8_t* out, size_t length) noexcept
    cdef size_t take(self, uint8_t* out, size_t length) noexcept
    cdef void _drop_read_blocks(self) noexcept
    cdef void _drop_blocks(self) noexcept
    cdef void discard(self) noexcept
    cdef int cut(self, uint64_t end) except -1


cdef class ReceivePart(ReassemblyBuffer):
    cdef ReceiveWindow window
    cdef uint64_t final_size                 # UNKNOWN until FIN or reset
    cdef uint64_t reset_code
    cdef uint64_t reliable                   # bytes that the reset lets through
    cdef uint64_t stop_code
    cdef uint8_t was_reset                   # the peer will not send more than ``reliable`` again
    cdef uint8_t stopped                     # we sent, or will send, STOP_SENDING
    cdef uint8_t stop_pending
    cdef uint8_t limit_pending               # MAX_STREAM_DATA is due
    cdef uint8_t done                        # the application knows the end

    cdef int64_t on_data(self, uint64_t offset, const uint8_t* data, uint64_t length, bint fin) except -1
    cdef int64_t on_reset(self, uint64_t code, uint64_t final_size, uint64_t reliable) except -1
    cdef uint64_t unreadable(self) noexcept
    cdef bint reset_due(self) noexcept
    cdef int _check(self, uint64_t end, bint final, int frame_type) except -1
    cdef bint at_end(self) noexcept
    cdef bint has_news(self) noexcept
    cdef uint64_t stop(self, uint64_t code) noexcept
