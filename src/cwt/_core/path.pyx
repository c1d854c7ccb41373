"""Paths: addresses, anti-amplification, validation (RFC 9000 Sections 8 and 9)."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport int64_t, uint8_t, uint64_t

from cwt._core.recovery.mtu cimport PathMtu
from cwt._core.recovery.path cimport PathRecovery
from cwt._core.wire.cursor cimport put_bytes, put_u8, room
from cwt._core.wire.frame cimport (
    PATH_CHALLENGE, PATH_RESPONSE, PacketBuilder, can_record, record,
)


@cython.final
cdef class Path:
    """A pair of addresses, and whether the peer has proved that it is there."""

    def __init__(self, local, remote, bint validated, PathMtu mtu, PathRecovery recovery):
        self.local = local
        self.remote = remote
        self.validated = validated
        self.mtu = mtu
        self.recovery = recovery

    cdef uint64_t allowance(self) noexcept:
        # Bytes that may be sent now (Section 8.1).
        if self.validated:
            return <uint64_t>1 << 62
        return 3 * self.received - min(self.sent, 3 * self.received)

    cdef int start_validation(self, bytes challenge, int64_t deadline) except -1:
        self.challenge = challenge
        self.challenge_pending = True
        self.challenge_deadline = deadline
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


@cython.final
cdef class Paths:
    """The path in use, and the one to fall back on while a new one is validated (Section 9.3)."""

    def __init__(
        self, local, remote, bint validated, size_t datagram_size, size_t mtu_limit, PathRecovery recovery
    ):
        self.datagram_size = datagram_size
        self.mtu_limit = mtu_limit
        self.current = self._make(local, remote, validated, recovery)
        self.responses = []
        self.elsewhere = []

    cdef Path _make(self, object local, object remote, bint validated, PathRecovery recovery):
        # Nothing is known of the MTU of another path (Section 14.3).
        return Path(
            local, remote, validated, PathMtu(self.datagram_size, self.mtu_limit, self.mtu_limit > 0),
            recovery,
        )

    cdef int set_mtu_limit(self, size_t limit) except -1:
        # The peer takes no larger datagrams (Section 18.2).
        self.datagram_size = min(self.datagram_size, limit)
        self.mtu_limit = min(self.mtu_limit, limit)
        return self.current.mtu.set_limit(limit)

    cdef bint is_current(self, object remote) except -1:
        return remote is self.current.remote or remote == self.current.remote

    cdef int received(self, object remote, size_t size) except -1:
        # Only what comes from an address lets us send to it (Section 8.1).
        if self.is_current(remote):
            self.current.received += size
        return 0

    cdef bint needs_recovery(self, object remote) except -1:
        # Where more changes than a port, nothing that was learnt before holds (Section 9.4).
        return remote[0] != self.current.remote[0] and (
            self.previous is None or self.previous.remote != remote
        )

    cdef int follow(
        self, object remote, object local, size_t credit, PathRecovery recovery, bytes challenge,
        int64_t deadline
    ) except -1:
        # To the peer's new address, sending little until it has answered there.
        cdef Path old = self.current
        self.responses = [entry[0] for entry in self.elsewhere if entry[1] == remote]
        self.elsewhere = [entry for entry in self.elsewhere if entry[1] != remote]
        if self.previous is not None and self.previous.remote == remote:
            # Back to where it was known to be (Section 9.3.3).
            self.current, self.previous = self.previous, None
            self.current.local = local
            return 0
        if old.validated:
            self.previous = old
        self.current = self._make(local, remote, False, recovery or old.recovery)
        self.current.received = credit
        self.current.start_validation(challenge, deadline)
        return 0

    cdef int on_path_challenge(self, const uint8_t* data, size_t received) except -1:
        # To be answered where it came from (Section 8.2.2).  What a flood adds beyond a few is dropped.
        if self.is_current(self.source):
            if len(self.responses) < MAX_RESPONSES:
                self.responses.append(data[:8])
        elif len(self.elsewhere) < MAX_RESPONSES:
            self.elsewhere.append((data[:8], self.source, self.destination, 3 * received))
        return 0

    cdef bint on_path_response(self, const uint8_t* data) except -1:
        # Whether it validated the path in use.
        if not self.current.on_path_response(data):
            return False
        self.previous = None
        return True

    cdef bint give_up(self) noexcept:
        # Validation failed: back to where the peer last was; False when there is no such path.
        self.current.challenge = None
        self.current.challenge_deadline = 0
        if self.previous is None:
            return False
        self.current = self.previous
        self.previous = None
        return True

    cdef bint wants_to_send(self) noexcept:
        return self.current.challenge_pending or len(self.responses) > 0

    cdef bint write(self, PacketBuilder* p) except -1:
        # Whether something was written; such a datagram is padded (Section 8.2).
        cdef bint written = False
        while self.responses and can_record(p) and room(&p.w) >= 9:
            data = self.responses.pop(0)
            put_u8(&p.w, PATH_RESPONSE)
            put_bytes(&p.w, <const uint8_t*>PyBytes_AS_STRING(data), 8)
            record(p, PATH_RESPONSE, 0, 0, 0, False)
            written = True
        if self.current.challenge_pending and can_record(p) and room(&p.w) >= 9:
            data = self.current.challenge
            put_u8(&p.w, PATH_CHALLENGE)
            put_bytes(&p.w, <const uint8_t*>PyBytes_AS_STRING(data), 8)
            record(p, PATH_CHALLENGE, 0, 0, 0, False)
            self.current.challenge_pending = False
            written = True
        return written
