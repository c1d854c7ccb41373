"""The sending part of a stream: what was written, sent, acknowledged and lost (RFC 9000 Section 3.1)."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.memoryview cimport PyMemoryView_Check
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy

from cwt._core.stream.flow cimport SendCredit, credit_left
from cwt._core.wire.cursor cimport put_u8, put_varint, room, varint_length
from cwt._core.wire.frame cimport (
    PacketBuilder, STREAM, STREAM_FIN, STREAM_LEN, STREAM_OFF, can_record, record,
)
from cwt._core.wire.ranges cimport RangeSet

cdef extern from "Python.h":
    PyObject* PyMemoryView_GET_BASE(object view)      # borrowed; Cython declares another type

cdef enum:
    FIRST_CHUNKS = 4
    SMALL = 512              # writes below it are gathered
    TAIL = 4096              # in chunks of this size
    LARGE = 16384            # writes from here on are held by reference whatever they are part of
    MAX_WASTE = 4            # times a smaller write that its object may take


cdef object owner_of(object data, size_t length):
    """The bytes object to hold so that the first *length* bytes of *data* stay; None: copy them.

    A write that is a small part of a large object is copied, so that it does not keep all of that.
    """
    cdef object owner = data
    cdef PyObject* base
    if PyMemoryView_Check(data):
        base = PyMemoryView_GET_BASE(data)
        owner = <object>base if base != NULL else None
    if type(owner) is bytes and (length >= LARGE or <size_t>len(<bytes>owner) <= MAX_WASTE * length):
        return owner
    return None


@cython.no_gc
cdef class SendBuffer:
    """Written bytes, held by reference until acknowledged and copied once, into packets."""

    def __cinit__(self, *_):
        self.chunks = &self.only

    def __dealloc__(self):
        self.clear()

    cdef int append(self, object data, const uint8_t* source, size_t length) except -1:
        # The first *length* bytes of *data*, which lie at *source*.
        cdef Chunk* tail
        cdef size_t part
        cdef bytes own
        cdef object owner
        if length == 0:
            return 0
        # A small write that finds nothing to be gathered with is held as it is.
        owner = owner_of(data, length) if length >= SMALL or self.chunk_count == 0 else None
        if owner is not None:
            self.tail_room = 0
            return self._push(owner, source, length)
        if self.tail_room and self.chunk_count:
            tail = &self.chunks[(self.chunk_head + self.chunk_count - 1) & self.chunk_mask]
            part = min(length, self.tail_room)
            memcpy(<uint8_t*>tail.data + tail.length, source, part)
            tail.length += part
            self.tail_room -= part
            self.end += part
            source += part
            length -= part
            if length == 0:
                return 0
        own = PyBytes_FromStringAndSize(NULL, max(length, <size_t>TAIL))
        memcpy(PyBytes_AS_STRING(own), source, length)
        self._push(own, <const uint8_t*>PyBytes_AS_STRING(own), length)
        self.tail_room = max(length, <size_t>TAIL) - length
        return 0

    cdef int _push(self, object owner, const uint8_t* data, size_t length) except -1:
        cdef Chunk* grown
        cdef Chunk* chunk
        cdef size_t size, i
        if self.chunk_count > self.chunk_mask:
            size = max((self.chunk_mask + 1) * 2, <size_t>FIRST_CHUNKS)
            grown = <Chunk*>PyMem_Malloc(size * sizeof(Chunk))
            if grown == NULL:
                raise MemoryError
            for i in range(self.chunk_count):
                grown[i] = self.chunks[(self.chunk_head + i) & self.chunk_mask]
            self._forget_ring()
            self.chunks = grown
            self.chunk_mask = size - 1
        chunk = &self.chunks[(self.chunk_head + self.chunk_count) & self.chunk_mask]
        Py_INCREF(owner)
        chunk.owner = <PyObject*>owner
        chunk.data = data
        chunk.offset = self.end
        chunk.length = length
        self.chunk_count += 1
        self.end += length
        return 0

    cdef size_t _find(self, uint64_t offset) noexcept:
        # Index, from the head, of the chunk that holds *offset*.
        cdef size_t low = 0, high = self.chunk_count - 1, middle
        while low < high:
            middle = (low + high + 1) // 2
            if self.chunks[(self.chunk_head + middle) & self.chunk_mask].offset <= offset:
                low = middle
            else:
                high = middle - 1
        return low

    cdef void copy(self, uint64_t offset, uint8_t* out, size_t length) noexcept:
        # The caller keeps base <= offset and offset + length <= end.
        cdef size_t index, within, part
        cdef Chunk* chunk
        if length == 0:
            return
        index = self._find(offset)
        while length:
            chunk = &self.chunks[(self.chunk_head + index) & self.chunk_mask]
            within = <size_t>(offset - chunk.offset)
            part = min(length, chunk.length - within)
            memcpy(out, chunk.data + within, part)
            out += part
            offset += part
            length -= part
            index += 1

    cdef void _forget_ring(self) noexcept:
        if self.chunks != &self.only:
            PyMem_Free(self.chunks)
        self.chunks = &self.only
        self.chunk_mask = 0
        self.chunk_head = 0

    cdef int acknowledge(self, uint64_t start, uint64_t end) except -1:
        if self.lost is not None:
            self.lost.subtract(start, end)
        if start > self.base:
            if self.acked is None:
                self.acked = RangeSet()
            self.acked.add(start, end)
            return 0
        if end <= self.base:
            return 0
        self.base = end
        if self.acked is not None:
            while self.acked.count and self.acked.items[0].start <= self.base:
                self.base = max(self.base, self.acked.items[0].end)
                self.acked.drop_lowest()
        self._release()
        return 0

    cdef void _release(self) noexcept:
        # Let go of chunks that are acknowledged as a whole.
        cdef Chunk* chunk
        while self.chunk_count:
            chunk = &self.chunks[self.chunk_head & self.chunk_mask]
            if chunk.offset + chunk.length > self.base:
                return
            Py_DECREF(<object>chunk.owner)
            self.chunk_head += 1
            self.chunk_count -= 1
        self.tail_room = 0
        self._forget_ring()

    cdef int lose(self, uint64_t start, uint64_t end) except -1:
        cdef size_t i
        start = max(start, self.base)
        if start >= end:
            return 0
        if self.lost is None:
            self.lost = RangeSet()
        self.lost.add(start, end)
        if self.acked is not None:
            for i in range(self.acked.count):
                self.lost.subtract(self.acked.items[i].start, self.acked.items[i].end)
        return 0

    cdef void _forget_beyond(self, uint64_t end) noexcept:
        # What was written from there on and not sent.
        cdef Chunk* chunk
        while self.chunk_count:
            chunk = &self.chunks[(self.chunk_head + self.chunk_count - 1) & self.chunk_mask]
            if chunk.offset < end:
                chunk.length = <size_t>min(chunk.length, end - chunk.offset)
                break
            Py_DECREF(<object>chunk.owner)
            self.chunk_count -= 1
        self.end = end
        self.tail_room = 0

    cdef void clear(self) noexcept:
        cdef size_t i
        for i in range(self.chunk_count):
            Py_DECREF(<object>self.chunks[(self.chunk_head + i) & self.chunk_mask].owner)
        self.chunk_count = 0
        self.tail_room = 0
        self._forget_ring()
        self.lost = None
        self.acked = None


@cython.final
@cython.no_gc
cdef class SendPart(SendBuffer):
    """The sending part of a stream: data, FIN or reset, and the peer's credit."""

    def __init__(self, uint64_t credit):
        self.credit.limit = credit

    cdef bint has_data(self) noexcept:
        # Something could be sent, flow control permitting.
        if self.lost is not None and self.lost.count:
            return True
        return self.sent < self.end or self.fin and not self.fin_sent and not self.was_reset

    cdef bint needs_credit(self) noexcept:
        # Whether what could be sent is all new; lost data, or an end alone, has its credit already.
        return self.sent < self.end and (self.lost is None or self.lost.count == 0)

    cdef bint all_acked(self) noexcept:
        return self.base == self.end and (not self.fin or self.fin_acked)

    cdef bint done(self) noexcept:
        if self.was_reset:
            return self.reset_acked and self.base == self.end
        return self.fin_acked and self.base == self.end

    cdef int write(self, PacketBuilder* p, uint64_t stream_id, SendCredit* connection) except -2:
        """One STREAM frame: 1 written, 0 nothing may be sent now, -1 the packet has no room for it."""
        cdef uint64_t offset, length
        cdef size_t space = room(&p.w), header
        cdef bint fresh = self.lost is None or self.lost.count == 0, fin, ends = self.fin and not self.was_reset
        cdef uint8_t kind = STREAM
        if fresh:
            offset = self.sent
            length = min(self.end - offset, min(credit_left(&self.credit), credit_left(connection)))
            if length == 0 and not (ends and not self.fin_sent and offset == self.end):
                return 0
        else:
            offset = self.lost.items[0].start
            length = self.lost.items[0].end - offset
        header = 1 + varint_length(stream_id) + (varint_length(offset) if offset else 0)
        if not can_record(p) or space < header + (1 if length else 0):
            return -1
        if length >= space - header:
            length = space - header          # to the end of the packet: no Length field
        else:
            kind |= STREAM_LEN
            if header + varint_length(length) > space:
                return -1
            length = min(length, space - header - varint_length(length))
        fin = ends and offset + length == self.end
        if offset:
            kind |= STREAM_OFF
        if fin:
            kind |= STREAM_FIN
        put_u8(&p.w, kind)
        put_varint(&p.w, stream_id)
        if offset:
            put_varint(&p.w, offset)
        if kind & STREAM_LEN:
            put_varint(&p.w, length)
        self.copy(offset, p.w.pos, <size_t>length)
        p.w.pos += length
        record(p, STREAM, stream_id, offset, length, fin)
        if fresh:
            self.sent += length
            self.credit.used += length
            connection.used += length
        else:
            self.lost.subtract(offset, offset + length)
            p.repeats = True
            p.repeated += length
        if fin:
            self.fin_sent = True
        return 1

    cdef int on_acked(self, uint64_t offset, uint64_t length, bint fin) except -1:
        if fin:
            self.fin_acked = True
        return self.acknowledge(offset, offset + length)

    cdef int on_lost(self, uint64_t offset, uint64_t length, bint fin) except -1:
        if fin and not self.fin_acked and not self.was_reset:
            self.fin_sent = False
        return self.lose(offset, offset + length)

    cdef int reset(self, uint64_t code, uint64_t reliable) except -1:
        # Data from *reliable* on gives way to a reset, whose final size is what was sent (RFC 9000
        # Section 4.5).  Once more: it can only let less through, and for the same reason.
        if not self.was_reset:
            self.reset_code = code
        elif reliable >= self.reliable:
            return 0
        self.was_reset = True
        self.reset_pending = True
        self.reset_acked = False
        self.reliable = reliable
        if reliable <= self.base:
            self.clear()
            self.base = self.end = self.sent
            return 0
        self._forget_beyond(max(reliable, self.sent))
        if reliable < self.sent:
            # What was sent beyond is of no interest any more, as if it had arrived.
            self.acknowledge(reliable, self.sent)
        return 0

    cdef bint reset_ready(self, bint at) noexcept:
        # Whether the reset may go out: with RESET_STREAM_AT (*at*) when the data before it did; without it,
        # when that has arrived.
        return self.reset_pending and (self.sent if at else self.base) >= self.reliable

    cdef bint on_reset_acked(self, uint64_t reliable) noexcept:
        # One that let *reliable* bytes through; the peer may wait for these unless it was the last word.
        if reliable == self.reliable:
            self.reset_acked = True
        return self.done()

    cdef void rewind(self) noexcept:
        # The peer has taken nothing, and goes on as if nothing had been sent.
        self.credit.limit = self.credit.used = self.credit.blocked_at = 0
        self.sent = 0
        self.fin_sent = False
        self.lost = None
        if self.was_reset:
            self.base = 0
            self.acked = None
            self._forget_beyond(self.reliable)
            self.reset_pending = True
