"""Which QUIC version a connection speaks (RFC 9368, RFC 9369)."""

from libc.stdint cimport uint32_t


cdef class Versions:
    cdef tuple supported                     # ours, the preferred one first
    cdef readonly uint32_t original          # of the client's first flight, the one that led to a connection
    cdef readonly uint32_t chosen            # in use
    cdef readonly bint reacted               # to a Version Negotiation packet
    cdef bint is_client
    cdef uint32_t reserved                   # a version that nobody has, to be listed; 0 for none
    cdef object own_params                   # a server's, until the client's are known
    cdef object peer_params                  # a client's, as far as they were understood

    cdef uint32_t select(self, versions) except? 0
    cdef bint may_move_to(self, uint32_t version) except -1
    cdef uint32_t react(self, list offered) except? 0
    cdef object take_peer_params(self)
    cdef int check(self, params) except -1
    cdef tuple _information(self)

cdef uint32_t reserved_version(object random) except? 0
