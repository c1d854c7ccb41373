"""Datagrams between a UDP socket and an endpoint, in batches."""

from libc.stdint cimport int64_t, uint8_t

from cwt._core.connection cimport Connection
from cwt._core.endpoint cimport Endpoint
from cwt._core.udp.socket cimport UdpSocket


cdef class Pump:
    cdef readonly Endpoint endpoint
    cdef readonly UdpSocket socket
    cdef object clock
    cdef uint8_t* buffer
    cdef size_t held                         # bytes in the buffer that the socket did not take
    cdef size_t held_from
    cdef size_t held_segment
    cdef object held_to, held_source

    cdef bint _flush(self) except -1
    cdef bint _transmit_stateless(self) except -1
    cdef bint _transmit(self, Connection connection, int64_t now, size_t* sent) except -1
