"""One path: a pair of addresses, anti-amplification and validation (RFC 9000 Section 8)."""

cimport cython
from libc.stdint cimport int64_t, uint64_t

from cwt._core.recovery.mtu cimport PathMtu
from cwt._core.recovery.path cimport PathRecovery
from cwt._core.wire.packet cimport MIN_INITIAL_SIZE

cdef tuple WILDCARDS = ("0.0.0.0", "::")


@cython.final
cdef class Path:
    """A pair of addresses, what is known of the way between them, and whether the peer is there.

    *limited* paths are those of a server to an address that a client may have made up.
    """

    def __init__(
        self, local, remote, bint validated, bint limited, PathMtu mtu, PathRecovery recovery
    ):
        self.local = local
        self.remote = remote
        self.validated = validated
        self.limited = limited
        self.sequence = -1
        self.mtu = mtu
        self.recovery = recovery

    cdef bint is_at(self, object remote, object local) except -1:
        # Whether datagrams between these addresses are on this path.  A local address may be unknown, or
        # that of a socket for all addresses of the host.
        if remote is not self.remote and remote != self.remote:
            return False
        if local is None or self.local is None or local is self.local or local == self.local:
            return True
        return local[1] == self.local[1] and self.local[0] in WILDCARDS

    cdef uint64_t allowance(self) noexcept:
        # Bytes that may be sent now (Section 8.1).
        if not self.limited:
            return <uint64_t>1 << 62
        return 3 * self.received - min(self.sent, 3 * self.received)

    cdef int start_validation(self) except -1:
        # The first PATH_CHALLENGE is due; time counts from when it is sent.
        if self.challenges is None:
            self.challenges = []
            self.challenge_due = True
            self.attempts = 0
            self.challenge_at = 0
            self.deadline = 0
        return 0

    cdef int stop_validation(self) except -1:
        self.challenges = None
        self.challenge_due = False
        self.challenge_at = 0
        self.deadline = 0
        return 0

    cdef int on_challenge_sent(self, bytes data, int64_t now, int64_t timeout) except -1:
        # Others follow while it may be lost, the first no sooner than an Initial packet would (Section
        # 8.2.1); at least three in all.
        cdef int64_t again = self.recovery.rtt.pto(True) << min(self.attempts, MAX_BACKOFF)
        self.challenges.append((data, now, self.allowance() < MIN_INITIAL_SIZE))
        self.attempts += 1
        self.challenge_due = False
        if self.deadline == 0:
            self.deadline = now + timeout
        self.challenge_at = now + min(again, timeout // 3)
        return 0

    cdef bint on_path_response(self, bytes data, int64_t now) except -1:
        # Whether it answers a challenge sent on this path.
        cdef tuple sent
        cdef bint small
        if self.challenges is None:
            return False
        for sent in self.challenges:
            if sent[0] == data:
                break
        else:
            return False
        small = sent[2]
        self.recovery.rtt.suggest(now - sent[1])
        self.limited = False
        self.stop_validation()
        if small:
            self.start_validation()          # Section 8.2.3: it may not take datagrams of full size
        else:
            self.set_validated()
        return True

    cdef int set_validated(self) except -1:
        self.validated = True
        self.limited = False
        return self.stop_validation()

    cdef int64_t next_timeout(self) noexcept:
        # The earliest of its times, 0 for never.
        cdef int64_t best = self.deadline
        if self.challenge_at and (best == 0 or self.challenge_at < best):
            best = self.challenge_at
        if self.close_at and (best == 0 or self.close_at < best):
            best = self.close_at
        return best

    @property
    def state(self):
        """How far validation is (of ``cwt._types.PathState``)."""
        if self.challenges is not None:
            return <int>VALIDATING
        return <int>(VALIDATED if self.validated else UNKNOWN)
