"""Unreliable datagrams (RFC 9221)."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t

from cwt._core.wire.cursor cimport put_bytes, put_u8, put_varint, put_zeros, room, varint_length
from cwt._core.wire.frame cimport (
    DATAGRAM, DATAGRAM_WITH_LENGTH, DataFrame, PacketBuilder, can_record, record,
)

from collections import deque

from cwt.errors import TransportError, TransportErrorCode


@cython.final
cdef class Datagrams:
    """Datagrams waiting to be sent and to be read; when a queue is full its oldest one is dropped."""

    def __init__(self, config):
        self.incoming = deque()
        self.outgoing = deque()
        self.incoming_limit = config.datagram_recv_queue
        self.outgoing_limit = config.datagram_send_queue
        self.our_max_frame_size = config.max_datagram_frame_size

    cdef int on_datagram(self, DataFrame* frame) except -1:
        if frame.length + 1 > self.our_max_frame_size:
            raise TransportError(
                TransportErrorCode.PROTOCOL_VIOLATION, "a datagram larger than allowed", DATAGRAM
            )
        if <size_t>len(self.incoming) >= self.incoming_limit:
            self.incoming.popleft()
            self.dropped_incoming += 1
        self.incoming.append(frame.data[:frame.length])
        self.news = True
        return 0

    cdef bint wants_to_send(self) noexcept:
        return len(self.outgoing) > 0

    cdef int write(self, PacketBuilder* p) except -1:
        # Whole datagrams, oldest first, while they fit; without a length when one fills the packet
        # but for a byte or two, which become PADDING.
        cdef bytes data
        cdef size_t length
        while self.outgoing and can_record(p):
            data = <bytes>self.outgoing[0]
            length = PyBytes_GET_SIZE(data)
            if 1 + varint_length(length) + length <= room(&p.w):
                put_u8(&p.w, DATAGRAM_WITH_LENGTH)
                put_varint(&p.w, length)
            elif 1 + length <= room(&p.w):
                put_zeros(&p.w, room(&p.w) - 1 - length)
                put_u8(&p.w, DATAGRAM)
            elif p.record_count:
                return 0                     # the next packet has more room
            else:
                # It never fits any more: the path or the connection ID in use changed.
                self.outgoing.popleft()
                self.dropped_outgoing += 1
                continue
            put_bytes(&p.w, <const uint8_t*>PyBytes_AS_STRING(data), length)
            record(p, DATAGRAM, 0, 0, length, False)
            self.outgoing.popleft()
        return 0

    cdef bint send(self, object data) except -1:
        cdef bint room_left = True
        if <size_t>len(self.outgoing) >= self.outgoing_limit:
            self.outgoing.popleft()
            self.dropped_outgoing += 1
            room_left = False
        self.outgoing.append(data if type(data) is bytes else bytes(data))
        return room_left

    cdef object receive(self):
        return self.incoming.popleft() if self.incoming else None
