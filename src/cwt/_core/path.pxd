"""Paths: addresses, anti-amplification, validation (RFC 9000 Sections 8 and 9)."""

from libc.stdint cimport int64_t, uint8_t, uint64_t

from cwt._core.recovery.mtu cimport PathMtu
from cwt._core.recovery.path cimport PathRecovery
from cwt._core.wire.frame cimport PacketBuilder

cdef enum:
    MAX_RESPONSES = 3


cdef class Path:
    cdef readonly object local, remote       # addresses
    cdef readonly bint validated             # the peer is there: no limit on what we send
    cdef readonly uint64_t received, sent    # bytes of datagrams
    cdef bytes challenge                     # outstanding PATH_CHALLENGE
    cdef bint challenge_pending
    cdef int64_t challenge_deadline          # when validation has failed, 0 for none
    cdef readonly PathMtu mtu
    cdef readonly PathRecovery recovery      # round-trip time, window, pace

    cdef uint64_t allowance(self) noexcept
    cdef int start_validation(self, bytes challenge, int64_t deadline) except -1
    cdef bint on_path_response(self, const uint8_t* data) except -1


cdef class Paths:
    cdef readonly Path current
    cdef readonly Path previous
    cdef object source, destination          # of the datagram being read
    cdef object to, from_                    # of the datagrams written last
    cdef size_t datagram_size                # to begin with, on every path
    cdef size_t mtu_limit                    # of the search for larger ones, 0 for no search
    cdef readonly uint8_t slots              # given to paths so far, the newest of them
    cdef list responses                      # data of PATH_CHALLENGE to be answered
    cdef list elsewhere                      # the same for other addresses: (data, remote, local, size)

    cdef Path _make(self, object local, object remote, bint validated, PathRecovery recovery)
    cdef bint needs_recovery(self, object remote) except -1
    cdef int set_mtu_limit(self, size_t limit) except -1
    cdef bint is_current(self, object remote) except -1
    cdef int received(self, object remote, size_t size) except -1
    cdef int follow(
        self, object remote, object local, size_t credit, PathRecovery recovery, bytes challenge,
        int64_t deadline
    ) except -1
    cdef int on_path_challenge(self, const uint8_t* data, size_t received) except -1
    cdef bint on_path_response(self, const uint8_t* data) except -1
    cdef bint wants_to_send(self) noexcept
    cdef bint write(self, PacketBuilder* p) except -1
    cdef bint give_up(self) noexcept
