"""One path: a pair of addresses, anti-amplification and validation (RFC 9000 Section 8)."""

from libc.stdint cimport int64_t, uint64_t

from cwt._core.recovery.mtu cimport PathMtu
from cwt._core.recovery.path cimport PathRecovery

cdef enum:
    MAX_RESPONSES = 3
    MAX_BACKOFF = 8

cdef enum Validation:        # as cwt._types.PathState has it
    UNKNOWN = 0
    VALIDATING = 1
    VALIDATED = 2


cdef class Path:
    cdef readonly object local, remote       # addresses
    cdef readonly bint validated             # the peer is there
    cdef bint limited                        # no more may be sent than three times what came
    cdef bint was_used                       # not only probed
    cdef bint wanted                         # comes into use once it is validated
    cdef readonly uint64_t received, sent    # bytes of datagrams
    cdef readonly uint64_t packets_received, packets_sent
    cdef int64_t sequence                    # of the peer's connection ID that is used on it, -1 for none yet
    cdef uint64_t peer_id                    # our connection ID that the peer used on it last
    cdef int64_t close_at                    # when it is forgotten, 0 for not
    # Validation
    cdef list challenges                     # (data, time, whether its datagram was too small); or None
    cdef bint challenge_due
    cdef int attempts                        # PATH_CHALLENGE frames sent
    cdef int64_t challenge_at                # when to send another one
    cdef int64_t deadline                    # when validation has failed, 0 before the first was sent
    cdef list responses                      # data of PATH_CHALLENGE frames to be answered; or None
    cdef readonly PathMtu mtu
    cdef readonly PathRecovery recovery      # round-trip time, window, pace

    cdef bint is_at(self, object remote, object local) except -1
    cdef uint64_t allowance(self) noexcept
    cdef int start_validation(self) except -1
    cdef int stop_validation(self) except -1
    cdef int on_challenge_sent(self, bytes data, int64_t now, int64_t timeout) except -1
    cdef bint on_path_response(self, bytes data, int64_t now) except -1
    cdef int set_validated(self) except -1
    cdef int64_t next_timeout(self) noexcept
