"""Connection IDs: ours that were issued, the peer's that we use (RFC 9000 Section 5.1)."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport uint8_t, uint64_t

from hmac import compare_digest

from cwt._core.wire.frame cimport (
    FrameRecord, NEW_CONNECTION_ID, NewConnectionId, PacketBuilder, RETIRE_CONNECTION_ID,
    can_record, put_new_connection_id, put_one, record,
)
from cwt._core.wire.packet cimport cid_from

from cwt.errors import TransportError, TransportErrorCode

cdef enum:
    MAX_ISSUED = 4           # of ours at once, whatever the peer would take


@cython.final
cdef class LocalIds:
    """The connection IDs we gave the peer to reach us."""

    def __init__(self):
        self.by_sequence = {}
        self.tokens = {}
        self.pending = []
        self.added = []
        self.removed = []
        self.peer_limit = 2
        self.announced = 1

    cdef int issue(self, bytes cid, bytes token) except -1:
        # The first one travels in the handshake and needs no frame.
        self.by_sequence[self.next_sequence] = cid
        self.tokens[self.next_sequence] = token
        if self.next_sequence:
            self.pending.append(self.next_sequence)
        self.next_sequence += 1
        self.added.append(cid)
        return 0

    cdef uint64_t wanted(self) noexcept:
        # How many more the peer may have.
        cdef uint64_t limit = min(self.peer_limit, <uint64_t>MAX_ISSUED), have = len(self.by_sequence)
        return limit - have if limit > have else 0

    cdef bytes first(self):
        # Our first connection ID still in use.
        return next(iter(self.by_sequence.values()), b"")

    def set_peer_limit(self, uint64_t limit):
        """active_connection_id_limit of the peer (Section 18.2)."""
        self.peer_limit = limit

    cdef int on_retire_connection_id(
        self, uint64_t sequence, const uint8_t* dcid, size_t length
    ) except -1:
        cdef bytes cid
        if sequence >= self.announced:
            raise TransportError(
                TransportErrorCode.PROTOCOL_VIOLATION, "retired a connection ID that was not issued",
                RETIRE_CONNECTION_ID,
            )
        cid = self.by_sequence.get(sequence)
        if cid is None:
            return 0
        if cid == dcid[:length]:
            raise TransportError(
                TransportErrorCode.PROTOCOL_VIOLATION, "retired the connection ID of its own packet",
                RETIRE_CONNECTION_ID,
            )
        del self.by_sequence[sequence], self.tokens[sequence]
        self.removed.append(cid)
        return 0

    cdef bint write(self, PacketBuilder* p) except -1:
        # Whether everything was written.
        cdef bytes cid, token
        while self.pending:
            sequence = self.pending[0]
            cid = self.by_sequence.get(sequence)
            if cid is not None:
                token = self.tokens[sequence]
                if not can_record(p) or not put_new_connection_id(
                    &p.w, sequence, 0, <const uint8_t*>PyBytes_AS_STRING(cid), len(cid),
                    <const uint8_t*>PyBytes_AS_STRING(token),
                ):
                    return False
                record(p, NEW_CONNECTION_ID, sequence, 0, 0, False)
                self.announced = max(self.announced, <uint64_t>sequence + 1)
            self.pending.pop(0)
        return True

    cdef int on_lost(self, const FrameRecord* r) except -1:
        if r.id in self.by_sequence and r.id not in self.pending:
            self.pending.append(r.id)
        return 0


@cython.final
cdef class RemoteIds:
    """The connection IDs the peer gave us to reach it."""

    def __init__(self, int limit):
        self.by_sequence = {}
        self.retiring = []
        self.limit = limit

    cdef int start(self, bytes cid) except -1:
        # The one of the handshake, sequence 0.
        self.by_sequence[0] = (cid, None)
        return self.use(0)

    cdef int set_token(self, bytes token) except -1:
        if 0 in self.by_sequence:
            self.by_sequence[0] = (self.by_sequence[0][0], token)
            if self.sequence == 0:
                self.token = token
        return 0

    cdef int use(self, uint64_t sequence) except -1:
        cdef bytes cid
        cid, self.token = self.by_sequence[sequence]
        self.sequence = sequence
        self.current = cid_from(<const uint8_t*>PyBytes_AS_STRING(cid), len(cid))
        return 0

    @property
    def cid(self):
        """The connection ID in use."""
        return self.current.data[:self.current.length]

    cdef int on_new_connection_id(self, NewConnectionId* frame) except -1:
        cdef bytes cid = frame.cid[:frame.length], token = frame.token[:16]
        if self.current.length == 0:
            raise TransportError(
                TransportErrorCode.PROTOCOL_VIOLATION, "NEW_CONNECTION_ID to a zero-length one",
                NEW_CONNECTION_ID,
            )
        known = self.by_sequence.get(frame.sequence)
        if known is not None:
            if known != (cid, token):
                raise TransportError(
                    TransportErrorCode.PROTOCOL_VIOLATION, "a sequence number was used twice",
                    NEW_CONNECTION_ID,
                )
            return 0
        if frame.sequence < max(self.retire_prior_to, self.sequence):
            # Retired already, or late: those in use only go up.
            return self._retire(frame.sequence)
        for other, _ in self.by_sequence.values():
            if other == cid:
                raise TransportError(
                    TransportErrorCode.PROTOCOL_VIOLATION, "a connection ID was issued twice",
                    NEW_CONNECTION_ID,
                )
        self.by_sequence[frame.sequence] = (cid, token)
        if frame.retire_prior_to > self.retire_prior_to:
            self.retire_prior_to = frame.retire_prior_to
            for sequence in [s for s in self.by_sequence if s < frame.retire_prior_to]:
                del self.by_sequence[sequence]
                self._retire(sequence)
            if self.sequence < frame.retire_prior_to:
                self.use(min(self.by_sequence))
        if len(self.by_sequence) > self.limit:
            raise TransportError(
                TransportErrorCode.CONNECTION_ID_LIMIT_ERROR, "more connection IDs than allowed",
                NEW_CONNECTION_ID,
            )
        return 0

    cdef int _retire(self, uint64_t sequence) except -1:
        # Bounded: a peer that never acknowledges retirements may not make us remember them for ever.
        if sequence in self.retiring:
            return 0
        if len(self.retiring) + self.unacked_retirements >= 3 * self.limit:
            raise TransportError(
                TransportErrorCode.CONNECTION_ID_LIMIT_ERROR, "too many retirements are outstanding",
                NEW_CONNECTION_ID,
            )
        self.retiring.append(sequence)
        return 0

    cdef bint rotate(self) except -1:
        # To an unused connection ID, retiring the present one; False when there is none.
        cdef uint64_t old = self.sequence
        spare = [s for s in self.by_sequence if s > old]
        if not spare:
            return False
        self.use(min(spare))
        del self.by_sequence[old]
        self._retire(old)
        return True

    cdef bint write(self, PacketBuilder* p) except -1:
        while self.retiring:
            if not can_record(p) or not put_one(&p.w, RETIRE_CONNECTION_ID, self.retiring[0]):
                return False
            record(p, RETIRE_CONNECTION_ID, self.retiring.pop(0), 0, 0, False)
            self.unacked_retirements += 1
        return True

    cdef int on_acked(self, const FrameRecord* r) except -1:
        self.unacked_retirements = max(self.unacked_retirements - 1, 0)
        return 0

    cdef int on_lost(self, const FrameRecord* r) except -1:
        self.unacked_retirements = max(self.unacked_retirements - 1, 0)
        if r.id not in self.retiring:
            self.retiring.append(r.id)
        return 0

    cdef bint is_reset_token(self, const uint8_t* token) except -1:
        # Tokens of connection IDs that are not used, or no longer, do not count (Section 10.3.1).
        return self.token is not None and compare_digest(self.token, token[:16])
