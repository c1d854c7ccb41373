"""Unreliable datagrams (RFC 9221).

Those that begin with the same varint, such as the Quarter Stream ID of RFC 9297, make up a flow, which
has a queue of its own; neither the application nor the layers between ever cut or join their bytes.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.list cimport PyList_New, PyList_SET_ITEM
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport int64_t, uint8_t, uint64_t

from cwt._core.wire.cursor cimport (
    Reader, put_bytes, put_u8, put_varint, put_zeros, read_varint, reader, remaining, room,
    varint_length,
)
from cwt._core.wire.frame cimport (
    DATAGRAM, DATAGRAM_WITH_LENGTH, DataFrame, PacketBuilder, can_record, record,
)

from cwt.errors import TransportError, TransportErrorCode

cdef enum:
    OVERHEAD = 64            # bytes that a waiting datagram costs besides its own
    FIRST_ENTRIES = 32
    MOST_KEPT = 256          # entries of an empty queue; a larger ring is given back
    MAX_AGE = 1 << 30        # seconds


cdef int64_t age_of(object seconds) except -1:
    # Nanoseconds, 0 for None.
    if seconds is None:
        return 0
    if not 0 < seconds <= MAX_AGE:
        raise ValueError(f"an age is above 0 seconds, or None, not {seconds!r}")
    return max(<int64_t>(<double>seconds * 1e9), 1)


cdef class DatagramQueue:
    """Datagrams that wait, oldest first; what comes when the queue is full drops the oldest, or is refused.

    It is full at *max_count* datagrams or *max_bytes* bytes, though one is taken whatever its size.
    ``dropped`` counts; ``expired`` those of them that waited too long.
    """

    def __cinit__(self, size_t max_count, size_t max_bytes, *_):
        self.ring = NULL
        self.max_count = max_count
        self.max_bytes = max_bytes

    def __dealloc__(self):
        cdef size_t i
        for i in range(self.count):
            Py_DECREF(<object>self.ring[(self.head + i) & self.mask].data)
        PyMem_Free(self.ring)

    def __len__(self):
        return self.count

    cdef int _resize(self, size_t size) except -1:
        # *size* is a power of two and at least ``count``.
        cdef size_t i
        cdef Entry* ring = <Entry*>PyMem_Malloc(size * sizeof(Entry))
        if ring == NULL:
            raise MemoryError
        for i in range(self.count):
            ring[i] = self.ring[(self.head + i) & self.mask]
        PyMem_Free(self.ring)
        self.ring = ring
        self.mask = size - 1
        self.head = 0
        return 0

    cdef bint push(self, bytes data, int64_t tag, int64_t expires) except -1:
        # Whether there was room for it.
        cdef size_t cost = PyBytes_GET_SIZE(data) + OVERHEAD
        cdef bint had_room = True
        cdef Entry* entry
        while self.count and (self.count >= self.max_count or self.size + cost > self.max_bytes):
            self.dropped += 1
            had_room = False
            if self.refuses:
                return False
            self.pop()
        if not self.max_count:
            self.dropped += 1
            return False
        if self.ring == NULL:
            self._resize(FIRST_ENTRIES)
        elif self.count > self.mask:
            self._resize(2 * (self.mask + 1))
        entry = &self.ring[(self.head + self.count) & self.mask]
        Py_INCREF(data)
        entry.data = <PyObject*>data
        entry.tag = tag
        entry.expires = expires
        self.count += 1
        self.size += cost
        return had_room

    cdef object pop(self):
        # The oldest; the caller knows that there is one.
        cdef object data = <object>self.ring[self.head & self.mask].data
        Py_DECREF(data)                      # the reference of the ring
        self.head += 1
        self.count -= 1
        self.size -= PyBytes_GET_SIZE(data) + OVERHEAD
        if self.count == 0:
            self._shrink()
        return data

    cdef int drop_older(self, int64_t limit) except -1:
        # What was received before *limit*.
        while self.count and self.ring[self.head & self.mask].tag < limit:
            self.pop()
            self.dropped += 1
            self.expired += 1
        return 0

    cdef int forget_old(self) except -1:
        # Drop what has waited for longer than ``max_age``: for whoever knows the time.
        return 0

    cdef void _shrink(self) noexcept:
        # Empty: one burst must not cost memory for ever.
        self.head = 0
        self.size = 0
        if self.mask >= MOST_KEPT:
            PyMem_Free(self.ring)
            self.ring = NULL
            self.mask = 0

    cdef bint is_crowded(self, size_t divisor) noexcept:
        # Whether more than one part in *divisor* of the room is taken.
        return self.count * divisor > self.max_count or self.size * divisor > self.max_bytes

    def recv(self):
        """The oldest datagram, or None."""
        if self.max_age:
            self.forget_old()
        return self.pop() if self.count else None

    def recv_many(self, limit=None):
        """The datagrams that wait, oldest first, at most *limit*; a list, perhaps empty."""
        cdef size_t i, count
        cdef list taken
        if self.max_age:
            self.forget_old()
        count = self.count
        if limit is not None and <size_t>max(limit, 0) < count:
            count = max(limit, 0)
        taken = PyList_New(count)
        for i in range(count):
            # The reference of the ring becomes that of the list.
            data = <object>self.ring[(self.head + i) & self.mask].data
            PyList_SET_ITEM(taken, i, data)
            self.size -= PyBytes_GET_SIZE(data) + OVERHEAD
        self.head += count
        self.count -= count
        if self.count == 0:
            self._shrink()
        return taken

    def limit(self, size_t max_count, size_t max_bytes):
        """Change the limits; what is beyond them is dropped, the oldest first."""
        self.max_count = max_count
        self.max_bytes = max_bytes
        while self.count > max_count or self.count > 1 and self.size > max_bytes:
            self.pop()
            self.dropped += 1


@cython.final
cdef class DatagramFlow(DatagramQueue):
    """The received datagrams that began with the varint *id*, without it.

    ``sent``, ``received`` and ``dropped`` count.  A connection makes these; one made by hand is fed with
    ``put``.
    """

    def __init__(self, size_t max_count, size_t max_bytes, uint64_t id):
        self.id = id

    def put(self, bytes data not None):
        """Add a datagram that came another way, such as in a capsule (RFC 9297 Section 3.5)."""
        self.received += 1
        self.push(data, self.owner.now if self.owner is not None else 0, 0)

    @property
    def incoming_max_age(self):
        """Seconds after which a received datagram that was not taken is dropped; None for never.

        Counted to the last call that told the connection the time.  To start with
        ``datagram_incoming_max_age`` of the configuration.
        """
        return self.max_age / 1e9 if self.max_age else None

    @incoming_max_age.setter
    def incoming_max_age(self, seconds):
        self.max_age = age_of(seconds)

    @property
    def outgoing_max_age(self):
        """Seconds after which a datagram that could not be sent is dropped; None for never.

        For datagrams queued from now on.  To start with ``datagram_outgoing_max_age`` of the configuration.
        """
        return self.send_age / 1e9 if self.send_age else None

    @outgoing_max_age.setter
    def outgoing_max_age(self, seconds):
        self.send_age = age_of(seconds)

    cdef int forget_old(self) except -1:
        cdef uint64_t before = self.expired
        if self.owner is not None:
            self.drop_older(self.owner.now - self.max_age)
            self.owner.expired_incoming += self.expired - before
        return 0

    def expire(self, double before):
        """Drop what came before that time, in seconds."""
        cdef uint64_t expired = self.expired
        self.drop_older(<int64_t>(before * 1e9))
        if self.owner is not None:
            self.owner.expired_incoming += self.expired - expired

    def close(self):
        """Nothing more comes; what waits can still be taken."""
        if self.owner is not None:
            del self.owner.flows[self.id]
            if self.owner.last is self:
                self.owner.last = None
            self.owner = None


@cython.final
cdef class Datagrams:
    """The datagrams of a connection that wait to be sent and to be read."""

    def __init__(self, config):
        self.config = config
        self.incoming = DatagramQueue(config.datagram_recv_queue, config.datagram_recv_bytes)
        self.outgoing = DatagramQueue(config.datagram_send_queue, config.datagram_send_bytes)
        self.incoming.refuses = self.outgoing.refuses = config.datagram_drop == "newest"
        self.incoming.max_age = age_of(config.datagram_incoming_max_age)
        self.send_age = age_of(config.datagram_outgoing_max_age)
        self.flows = {}
        self.ready = []
        self.our_max_frame_size = config.max_datagram_frame_size

    cdef int on_datagram(self, DataFrame* frame) except -1:
        cdef DatagramFlow flow
        cdef DatagramQueue queue = self.incoming
        cdef uint64_t dropped
        if frame.length + 1 > self.our_max_frame_size:
            raise TransportError(
                TransportErrorCode.PROTOCOL_VIOLATION, "a datagram larger than allowed", DATAGRAM
            )
        self.received += 1
        flow = self._flow_of(frame)
        if flow is not None:
            queue = flow
            flow.received += 1
            if not flow.listed:
                flow.listed = True
                self.ready.append(flow)
        dropped = queue.dropped
        queue.push(frame.data[:frame.length], self.now, 0)
        self.dropped_incoming += queue.dropped - dropped
        self.news = True
        return 0

    cdef DatagramFlow _flow_of(self, DataFrame* frame):
        # The flow that *frame* belongs to, whose ID is then cut off; or None.
        cdef Reader r
        cdef uint64_t id
        cdef object found
        if not self.flows:
            return None
        r = reader(frame.data, frame.length)
        if not read_varint(&r, &id):
            return None
        if self.last is None or self.last.id != id:
            found = self.flows.get(id)
            if found is None:
                return None
            self.last = <DatagramFlow>found
        frame.data = r.pos
        frame.length = remaining(&r)
        return self.last

    cdef bint wants_to_send(self) noexcept:
        return self.outgoing.count > 0

    cdef bint write(self, PacketBuilder* p, bint is_full) except -1:
        # Whole datagrams, oldest first, while they fit, and whether there was one; without a length when
        # one fills the packet but for a byte or two, which become PADDING.  *is_full*: no packet has more
        # room than this one.
        cdef DatagramQueue queue = self.outgoing
        cdef Entry* entry
        cdef size_t length, own, with_length
        cdef uint64_t written = 0
        while queue.count and can_record(p):
            entry = &queue.ring[queue.head & queue.mask]
            if entry.expires and entry.expires <= self.now:
                self._drop_expired()
                continue
            own = PyBytes_GET_SIZE(<object>entry.data)
            length = own + (varint_length(entry.tag) if entry.tag >= 0 else 0)
            with_length = 1 + varint_length(length) + length
            if with_length <= room(&p.w) and with_length <= self.peer_max_frame_size:
                put_u8(&p.w, DATAGRAM_WITH_LENGTH)
                put_varint(&p.w, length)
            elif 1 + length <= room(&p.w):
                put_zeros(&p.w, room(&p.w) - 1 - length)
                put_u8(&p.w, DATAGRAM)
            elif is_full and not p.record_count and not written:
                # It never fits any more: the path or the connection ID in use changed.
                queue.pop()
                queue.dropped += 1
                self.too_large += 1
                continue
            else:
                break                        # the next packet has more room
            if entry.tag >= 0:
                put_varint(&p.w, entry.tag)
            put_bytes(&p.w, <const uint8_t*>PyBytes_AS_STRING(<object>entry.data), own)
            queue.pop()
            written += 1
        if written:
            record(p, DATAGRAM, 0, 0, written, False)
            self.sent += written
        if self.crowded and not queue.is_crowded(4):
            self.crowded = False
            self.news = True
        return written > 0

    cdef bint send(self, object data, DatagramFlow flow) except -1:
        # Whether there was room for it.
        cdef int64_t age = self.send_age if flow is None else flow.send_age
        cdef bint had_room
        if self.outgoing.refuses and self.outgoing.count:
            self._drop_expired()
        had_room = self.outgoing.push(
            data if type(data) is bytes else bytes(data), -1 if flow is None else <int64_t>flow.id, -age
        )
        if age and (had_room or not self.outgoing.refuses):
            self.undated += 1
        if flow is not None and (had_room or not self.outgoing.refuses):
            flow.sent += 1
        if not self.crowded and self.outgoing.is_crowded(2):
            self.crowded = True
        return had_room

    cdef void date(self) noexcept:
        # Datagrams are queued at a time that nobody tells; the next call that does is not far.
        cdef DatagramQueue queue = self.outgoing
        cdef Entry* entry
        cdef size_t i
        if self.undated == 0:
            return
        for i in range(queue.count):
            entry = &queue.ring[(queue.head + queue.count - 1 - i) & queue.mask]
            if entry.expires < 0:
                entry.expires = self.now - entry.expires
                self.undated -= 1
                if self.undated == 0:
                    return
        self.undated = 0                     # the others were dropped

    cdef int _drop_expired(self) except -1:
        # From the front of what is to be sent.
        cdef DatagramQueue queue = self.outgoing
        while queue.count and 0 < queue.ring[queue.head & queue.mask].expires <= self.now:
            queue.pop()
            queue.dropped += 1
            queue.expired += 1
        return 0

    cdef uint64_t overflowed_outgoing(self) noexcept:
        return self.outgoing.dropped - self.outgoing.expired - self.too_large

    cdef object recv(self):
        # The oldest received datagram of no flow, or None.
        cdef DatagramQueue queue = self.incoming
        cdef uint64_t before = queue.expired
        if queue.max_age:
            queue.drop_older(self.now - queue.max_age)
            self.expired_incoming += queue.expired - before
        return queue.pop() if queue.count else None

    cdef DatagramFlow open(self, uint64_t id):
        cdef DatagramFlow flow = DatagramFlow(
            self.config.datagram_recv_queue, self.config.datagram_recv_bytes, id
        )
        if id in self.flows:
            raise ValueError(f"the flow {id} is open already")
        flow.refuses = self.incoming.refuses
        flow.max_age = self.incoming.max_age
        flow.send_age = self.send_age
        flow.owner = self
        self.flows[id] = flow
        return flow

    cdef list take_ready(self):
        cdef DatagramFlow flow
        cdef list ready
        ready, self.ready = self.ready, []
        for flow in ready:
            flow.listed = False
        return ready
