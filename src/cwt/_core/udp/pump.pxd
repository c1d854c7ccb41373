"""Datagrams between a UDP socket and an endpoint, in batches."""

from libc.stdint cimport uint8_t

from cwt._core.endpoint cimport Endpoint
from cwt._core.udp.socket cimport UdpSocket


cdef class Pump:
    cdef readonly Endpoint endpoint
    cdef readonly UdpSocket socket
    cdef list others                         # more sockets of the same endpoint; or None
    cdef readonly UdpSocket blocked          # that took no more last
    cdef object clock
    cdef uint8_t* buffer
    cdef size_t used                         # bytes of the buffer that are staged in sockets

    cdef bint _receive(self, UdpSocket socket, double now) except -1
    cdef UdpSocket _socket_for(self, object source)
    cdef bint _make_room(self) except -1
    cdef bint _flush(self) except -1
    cdef bint _transmit_stateless(self) except -1
