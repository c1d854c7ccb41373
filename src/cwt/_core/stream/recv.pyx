"""Reassembly and the receiving part of a stream (RFC 9000 Sections 2.2, 3.2 and 4.5)."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memmove

from cwt._core.stream.flow cimport window_open
from cwt._core.wire.frame cimport RESET_STREAM, RESET_STREAM_AT, STREAM
from cwt._core.wire.ranges cimport RangeSet

from cwt.errors import TransportError, TransportErrorCode

cdef enum:
    MAX_SPARE = 512

cdef uint64_t UNKNOWN = <uint64_t>-1

# Blocks that were read, kept for reuse.
cdef uint8_t* spare[MAX_SPARE]
cdef int spare_count = 0


cdef uint8_t* new_block() except NULL:
    global spare_count
    cdef uint8_t* block
    if spare_count:
        spare_count -= 1
        return spare[spare_count]
    block = <uint8_t*>PyMem_Malloc(BLOCK)
    if block == NULL:
        raise MemoryError
    return block


cdef void free_block(uint8_t* block) noexcept:
    global spare_count
    if block == NULL:
        return
    if spare_count < MAX_SPARE:
        spare[spare_count] = block
        spare_count += 1
    else:
        PyMem_Free(block)


@cython.no_gc
cdef class ReassemblyBuffer:
    """Bytes that come in any order and leave in order.

    They are copied once, to their place in a row of fixed blocks; ``ahead`` knows which places are filled.
    """

    def __cinit__(self, *_):
        self.blocks = &self.only
        self.block_room = 1

    def __dealloc__(self):
        self._drop_blocks()

    cdef int insert(self, uint64_t offset, const uint8_t* data, size_t length) except -1:
        cdef uint64_t end = offset + length
        if end <= self.contiguous:
            return 0
        if offset <= self.contiguous:
            data += self.contiguous - offset
            self._store(self.contiguous, data, end - self.contiguous)
            self.contiguous = end
            if self.ahead is not None:
                while self.ahead.count and self.ahead.items[0].start <= self.contiguous:
                    self.contiguous = max(self.contiguous, self.ahead.items[0].end)
                    self.ahead.drop_lowest()
            return 0
        if self.ahead is None:
            self.ahead = RangeSet()
        if self.ahead.covers(offset, end):
            return 0
        self._store(offset, data, length)
        self.ahead.add(offset, end)
        # A fast path that loses every second packet may leave many; what is spread thinner is an attack.
        if self.ahead.count > MAX_GAPS and self.ahead.count > (
            (self.ahead.items[self.ahead.count - 1].end - self.contiguous) // MIN_GAP_SPACING
        ):
            raise TransportError(TransportErrorCode.INTERNAL_ERROR, "too many gaps in a stream", STREAM)
        return 0

    cdef int _store(self, uint64_t offset, const uint8_t* data, size_t length) except -1:
        cdef size_t index, within, part
        if self.block_count == 0:
            self.first_block = self.offset // BLOCK
        while length:
            index = <size_t>(offset // BLOCK - self.first_block)
            within = <size_t>(offset % BLOCK)
            part = min(length, BLOCK - within)
            if index >= self.block_count:
                self._reserve(index + 1)
            if self.blocks[index] == NULL:
                self.blocks[index] = new_block()
            # Of memcpy gcc makes `rep movs`, knowing that part <= BLOCK: three times slower here.
            memmove(self.blocks[index] + within, data, part)
            offset += part
            data += part
            length -= part
        return 0

    cdef int _reserve(self, size_t blocks) except -1:
        cdef size_t size = self.block_room
        cdef uint8_t** grown
        while size < blocks:
            size *= 4
        if size != self.block_room:
            grown = <uint8_t**>PyMem_Malloc(size * sizeof(uint8_t*))
            if grown == NULL:
                raise MemoryError
            memmove(grown, self.blocks, self.block_count * sizeof(uint8_t*))
            if self.blocks != &self.only:
                PyMem_Free(self.blocks)
            self.blocks = grown
            self.block_room = size
        while self.block_count < blocks:
            self.blocks[self.block_count] = NULL
            self.block_count += 1
        return 0

    cdef size_t available(self) noexcept:
        return <size_t>(self.contiguous - self.offset)

    cdef size_t peek(self, uint8_t* out, size_t length) noexcept:
        # Copy out at most *length* bytes.
        cdef uint64_t offset = self.offset
        cdef size_t left, within, part
        length = min(length, self.available())
        left = length
        while left:
            within = <size_t>(offset % BLOCK)
            part = min(left, BLOCK - within)
            memmove(out, self.blocks[<size_t>(offset // BLOCK - self.first_block)] + within, part)
            out += part
            left -= part
            offset += part
        return length

    cdef size_t take(self, uint8_t* out, size_t length) noexcept:
        # Copy out at most *length* bytes and forget them.
        length = self.peek(out, length)
        self.offset += length
        self._drop_read_blocks()
        return length

    cdef void _drop_read_blocks(self) noexcept:
        cdef size_t done = <size_t>(self.offset // BLOCK - self.first_block), i
        if self.offset == self.contiguous and (self.ahead is None or self.ahead.count == 0):
            self._drop_blocks()
            return
        done = min(done, self.block_count)
        if done == 0:
            return
        for i in range(done):
            free_block(self.blocks[i])
        self.block_count -= done
        memmove(self.blocks, self.blocks + done, self.block_count * sizeof(uint8_t*))
        self.first_block += done

    cdef void _drop_blocks(self) noexcept:
        cdef size_t i
        for i in range(self.block_count):
            free_block(self.blocks[i])
        self.block_count = 0
        if self.blocks != &self.only:
            PyMem_Free(self.blocks)
        self.blocks = &self.only
        self.block_room = 1

    cdef void discard(self) noexcept:
        # Forget everything that is held.
        self._drop_blocks()
        self.ahead = None
        self.offset = self.contiguous

    cdef int cut(self, uint64_t end) except -1:
        # Forget what is held from *end* on; nothing comes there any more.
        if end <= self.offset:
            self.discard()
        elif end <= self.contiguous:
            self.contiguous = end
            self.ahead = None
        elif self.ahead is not None:
            self.ahead.subtract(end, UNKNOWN)
        return 0

    def write(self, uint64_t offset, bytes data not None):
        """Insert *data* at *offset*."""
        self.insert(offset, <const uint8_t*>PyBytes_AS_STRING(data), len(data))

    def read(self, size_t length):
        """At most *length* bytes, in order."""
        length = min(length, self.available())
        cdef bytes out = PyBytes_FromStringAndSize(NULL, length)
        self.take(<uint8_t*>PyBytes_AS_STRING(out), length)
        return out


@cython.final
@cython.no_gc
cdef class ReceivePart(ReassemblyBuffer):
    """The receiving part of a stream: reassembly, final size, reset and what we asked to stop."""

    def __init__(self, uint64_t window, uint64_t max_window):
        window_open(&self.window, window, max_window)
        self.final_size = UNKNOWN

    cdef int _check(self, uint64_t end, bint final, int frame_type) except -1:
        # RFC 9000 Section 4.5 and 4.1.
        if self.final_size != UNKNOWN and (end > self.final_size or final and end != self.final_size):
            raise TransportError(
                TransportErrorCode.FINAL_SIZE_ERROR, "data beyond the final size", frame_type
            )
        if final and end < self.window.received:
            raise TransportError(
                TransportErrorCode.FINAL_SIZE_ERROR, "final size below received data", frame_type
            )
        if end > self.window.limit:
            raise TransportError(
                TransportErrorCode.FLOW_CONTROL_ERROR, "more data than the stream allows", frame_type
            )
        return 0

    cdef int64_t on_data(
        self, uint64_t offset, const uint8_t* data, uint64_t length, bint fin
    ) except -1:
        # Returns by how much the highest offset grew, for the connection's flow control.
        cdef uint64_t end = offset + length
        cdef int64_t grown = 0
        self._check(end, fin, STREAM)
        if end > self.window.received:
            grown = end - self.window.received
            self.window.received = end
        if fin:
            self.final_size = end
        if self.was_reset:
            if offset >= self.reliable:
                return grown
            length = min(length, self.reliable - offset)
        if not self.stopped:
            self.insert(offset, data, <size_t>length)
        return grown

    cdef int64_t on_reset(self, uint64_t code, uint64_t final_size, uint64_t reliable) except -1:
        # RESET_STREAM, or with *reliable* RESET_STREAM_AT.  Like on_data.
        cdef int64_t grown
        self._check(final_size, True, RESET_STREAM)
        if self.was_reset and (self.reliable or reliable) and code != self.reset_code:
            raise TransportError(
                TransportErrorCode.STREAM_STATE_ERROR, "another code in another reset", RESET_STREAM_AT
            )
        if self.stopped:
            reliable = 0                     # the application wants none of it
        grown = final_size - self.window.received
        self.window.received = final_size
        # All data received and FIN beats a late reset (Section 3.2, "Data Recvd").
        if self.was_reset or self.final_size == UNKNOWN or self.contiguous < self.final_size:
            if not self.was_reset:
                self.was_reset = True
                self.reset_code = code
                self.reliable = reliable
            # In whatever order they come, the smallest counts.
            self.reliable = min(self.reliable, reliable)
            self.cut(self.reliable)
        self.final_size = final_size
        return grown

    cdef uint64_t unreadable(self) noexcept:
        # Bytes that a reset has kept from the application and that do not count as consumed yet.
        return self.final_size - max(self.reliable, self.offset) - (self.window.consumed - self.offset)

    cdef bint reset_due(self) noexcept:
        # The application has what the reset let through, and is to know of it.
        return self.was_reset and self.offset >= self.reliable

    cdef bint at_end(self) noexcept:
        # Everything up to FIN has been read.
        return self.final_size != UNKNOWN and self.offset == self.final_size and not self.was_reset

    cdef bint has_news(self) noexcept:
        # Something for the application: data, the end, or a reset.
        if self.done or self.stopped:
            return False
        return self.available() > 0 or self.at_end() or self.reset_due()

    cdef uint64_t stop(self, uint64_t code) noexcept:
        # The application wants no more; returns the unread bytes that count as consumed now.
        cdef uint64_t unread = self.window.received - self.window.consumed
        self.stopped = True
        self.stop_code = code
        self.stop_pending = self.final_size == UNKNOWN
        self.discard()
        self.window.consumed = self.window.received
        return unread
