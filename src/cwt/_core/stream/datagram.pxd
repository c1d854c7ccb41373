"""Unreliable datagrams (RFC 9221)."""

from libc.stdint cimport uint8_t, uint64_t

from cwt._core.wire.frame cimport DataFrame, PacketBuilder


cdef class Datagrams:
    cdef object incoming                     # deque of bytes
    cdef object outgoing
    cdef size_t incoming_limit, outgoing_limit
    cdef readonly uint64_t our_max_frame_size
    cdef public uint64_t peer_max_frame_size
    cdef readonly uint64_t dropped_incoming
    cdef readonly uint64_t dropped_outgoing
    cdef readonly uint64_t lost
    cdef bint news                           # something came since the application last looked

    cdef int on_datagram(self, DataFrame* frame) except -1
    cdef bint wants_to_send(self) noexcept
    cdef int write(self, PacketBuilder* p) except -1
    cdef bint send(self, object data) except -1
    cdef object receive(self)
