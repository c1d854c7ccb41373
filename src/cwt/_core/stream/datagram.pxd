"""Unreliable datagrams (RFC 9221)."""

from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint64_t

from cwt._core.wire.frame cimport DataFrame, PacketBuilder

cdef struct Entry:
    PyObject* data           # bytes, one reference; they refer to nothing, so no cycle goes through here
    int64_t tag              # received: nanoseconds when it came; to be sent: flow ID, -1 for none
    int64_t expires          # to be sent: nanoseconds when it is of no use, 0 for never; negative: not dated yet


cdef class DatagramQueue:
    cdef Entry* ring
    cdef size_t mask, head, count
    cdef size_t size                         # bytes, with what each datagram costs besides its own
    cdef readonly size_t max_count, max_bytes
    cdef readonly uint64_t dropped, expired
    cdef bint refuses                        # what comes when it is full
    cdef int64_t max_age                     # of what was received, nanoseconds, 0 for any

    cdef int _resize(self, size_t size) except -1
    cdef bint push(self, bytes data, int64_t tag, int64_t expires) except -1
    cdef int drop_older(self, int64_t limit) except -1
    cdef int forget_old(self) except -1
    cdef object pop(self)
    cdef void _shrink(self) noexcept
    cdef bint is_crowded(self, size_t divisor) noexcept


cdef class DatagramFlow(DatagramQueue):
    cdef readonly uint64_t id
    cdef readonly uint64_t sent
    cdef readonly uint64_t received
    cdef Datagrams owner                     # while datagrams still come
    cdef bint listed
    cdef int64_t send_age                    # of what is to be sent, nanoseconds, 0 for any


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
    cdef readonly uint64_t expired_incoming
    cdef readonly uint64_t too_large         # to be sent, when the path or the connection ID changed
    cdef int64_t send_age                    # of those of no flow, nanoseconds, 0 for any
    cdef size_t undated                      # at the end of ``outgoing``, queued since the clock was seen
    cdef int64_t now                         # of the last call that told the time
    cdef bint crowded                        # the application was told to wait
    cdef bint news                           # for the application

    cdef int on_datagram(self, DataFrame* frame) except -1
    cdef DatagramFlow _flow_of(self, DataFrame* frame)
    cdef bint wants_to_send(self) noexcept
    cdef bint write(self, PacketBuilder* p, bint is_full) except -1
    cdef bint send(self, object data, DatagramFlow flow) except -1
    cdef void date(self) noexcept
    cdef int _drop_expired(self) except -1
    cdef uint64_t overflowed_outgoing(self) noexcept
    cdef object recv(self)
    cdef DatagramFlow open(self, uint64_t id)
    cdef list take_ready(self)
