"""Paths: addresses, anti-amplification, validation (RFC 9000 Sections 8 and 9)."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport int64_t, uint8_t, uint64_t

from cwt._core.wire.cursor cimport put_bytes, put_u8, room
from cwt._core.wire.frame cimport (
    PATH_CHALLENGE, PATH_RESPONSE, PacketBuilder, can_record, record,
)


@cython.final
cdef class Path:
    """A pair of addresses, and whether the peer has proved that it is there."""

    def __init__(self, local, remote, bint validated):
        self.local = local
        self.remote = remote
        self.validated = validated
        self.responses = []

    cdef uint64_t allowance(self) noexcept:
        # Bytes that may be sent now (Section 8.1).
        if self.validated:
            return <uint64_t>1 << 62
        return 3 * self.received - min(self.sent, 3 * self.received)

    cdef int start_validation(self, bytes challenge) except -1:
        self.challenge = challenge
        self.challenge_pending = True
        return 0

    cdef int on_path_challenge(self, const uint8_t* data) except -1:
        # Bounded: what a flood adds beyond is dropped.
        if len(self.responses) < MAX_RESPONSES:
            self.responses.append(data[:8])
        return 0

    cdef bint on_path_response(self, const uint8_t* data) except -1:
        # Whether it validated the path.
        if self.challenge is None or self.challenge != data[:8]:
            return False
        self.challenge = None
        self.challenge_pending = False
        self.challenge_deadline = 0
        self.validated = True
        return True

    cdef bint wants_to_send(self) noexcept:
        return self.challenge_pending or len(self.responses) > 0

    cdef bint write(self, PacketBuilder* p, int64_t now, int64_t timeout) except -1:
        # Whether something was written; such a datagram is padded (Section 8.2).
        cdef bint written = False
        while self.responses and can_record(p) and room(&p.w) >= 9:
            data = self.responses.pop(0)
            put_u8(&p.w, PATH_RESPONSE)
            put_bytes(&p.w, <const uint8_t*>PyBytes_AS_STRING(data), 8)
            record(p, PATH_RESPONSE, 0, 0, 0, False)
            written = True
        if self.challenge_pending and can_record(p) and room(&p.w) >= 9:
            put_u8(&p.w, PATH_CHALLENGE)
            put_bytes(&p.w, <const uint8_t*>PyBytes_AS_STRING(self.challenge), 8)
            record(p, PATH_CHALLENGE, 0, 0, 0, False)
            self.challenge_pending = False
            if self.challenge_deadline == 0:
                self.challenge_deadline = now + timeout
            written = True
        return written


@cython.final
cdef class Paths:
    """The path in use, and the one to fall back on while a new one is validated (Section 9.3)."""

    def __init__(self, local, remote, bint validated):
        self.current = Path(local, remote, validated)

    cdef bint is_current(self, object remote) except -1:
        return remote is self.current.remote or remote == self.current.remote

    cdef int follow(self, object remote, object local, bytes challenge, size_t credit) except -1:
        # To the peer's new address, sending little until it has answered there.
        if self.previous is None or not self.previous.validated:
            self.previous = self.current
        self.current = Path(local, remote, False)
        self.current.received = credit
        self.current.start_validation(challenge)
        return 0

    cdef int on_path_response(self, const uint8_t* data) except -1:
        if self.current.on_path_response(data):
            self.previous = None
        return 0

    cdef bint give_up(self) noexcept:
        # Validation failed: back to where the peer last was; False when there is no such path.
        self.current.challenge = None
        self.current.challenge_deadline = 0
        if self.previous is None:
            return False
        self.current = self.previous
        self.previous = None
        return True
