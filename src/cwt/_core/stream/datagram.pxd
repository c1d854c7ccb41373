"""Unreliable datagrams (RFC 9221)."""

from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint64_t

from cwt._core.wire.frame cimport DataFrame, PacketBuilder

cdef struct Entry:
    PyObject* data           # bytes, one reference; they refer to nothing, so no cycle goes through here
    int64_t tag              # received: nanoseconds when it came; to be sent: flow ID, -1 for none


cdef class DatagramQueue:
    cdef Entry* ring
    cdef size_t mask, head, count
    cdef size_t size                         # bytes, with what each datagram costs besides its own
    cdef readonly size_t max_count, max_bytes
    cdef readonly uint64_t dropped

    cdef int _resize(self, size_t size) except -1
    cdef bint push(self, bytes data, int64_t tag) except -1
    cdef object pop(self)
    cdef void _shrink(self) noexcept
    cdef bint is_crowded(self, size_t divisor) noexcept


cdef class DatagramFlow(DatagramQueue):
    cdef readonly uint64_t id
    cdef readonly uint64_t sent
    cdef readonly uint64_t received
    cdef Datagrams owner                     # while datagrams still come
    cdef bint listed


cdef class Datagrams:
    cdef DatagramQueue incoming              # those of no flow
    cdef DatagramQueue outgoing
    cdef dict flows                          # by ID
    cdef DatagramFlow last                   # who got the datagram before
    cdef list ready                          # flows with something new
    cdef object config
    cdef readonly uint64_t our_max_frame_size
    cdef public uint64_t peer_max_frame_size
    cdef readonly uint64_t dropped_incoming
    cdef readonly uint64_t sent, received
    cdef public uint64_t lost
    cdef int64_t now                         # when the packet being read came
    cdef bint crowded                        # the application was told to wait
    cdef bint news                           # for the application

    cdef int on_datagram(self, DataFrame* frame) except -1
    cdef DatagramFlow _flow_of(self, DataFrame* frame)
    cdef bint wants_to_send(self) noexcept
    cdef bint write(self, PacketBuilder* p, bint is_full) except -1
    cdef bint send(self, object data, DatagramFlow flow) except -1
    cdef DatagramFlow open(self, uint64_t id)
    cdef list take_ready(self)
