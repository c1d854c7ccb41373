"""Connection IDs: ours that were issued, the peer's that we use (RFC 9000 Section 5.1)."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcmp, memcpy, memmove

from hmac import compare_digest

from cwt._core.wire.frame cimport (
    FrameRecord, NEW_CONNECTION_ID, NewConnectionId, PacketBuilder, RETIRE_CONNECTION_ID,
    can_record, put_new_connection_id, put_one, record,
)
from cwt._core.wire.packet cimport Cid, cid_equal, cid_from

from cwt.errors import TransportError, TransportErrorCode

cdef enum:
    TOKEN_LENGTH = 16
    WINDOW = 64              # sequences that are remembered


@cython.final
@cython.no_gc
cdef class LocalIds:
    """The connection IDs we gave the peer to reach us."""

    def __init__(self):
        self.peer_limit = 2
        self.announced = 1

    cdef int issue(self, bytes cid, bytes token, bint announced=False) except -1:
        # The first one travels in the handshake and needs no frame, nor does one *announced* otherwise.
        cdef Entry* entry = &self.entries[self.count]
        if self.count == MAX_ISSUED or len(token) != TOKEN_LENGTH:
            raise ValueError("no room for a connection ID, or its token is wrong")
        entry.sequence = self.next_sequence
        entry.cid = cid_from(<const uint8_t*>PyBytes_AS_STRING(cid), len(cid))
        memcpy(entry.token, PyBytes_AS_STRING(token), TOKEN_LENGTH)
        entry.has_token = True
        entry.pending = self.next_sequence > 0 and not announced
        if announced:
            self.announced = self.next_sequence + 1
        self.pending += entry.pending
        self.count += 1
        self.next_sequence += 1
        if self.added is None:
            self.added = []
        self.added.append(cid)
        return 0

    cdef object sequence_of(self, uint64_t id):
        # Of a connection ID that begins with these eight bytes; None for one that is retired.
        cdef int i
        for i in range(self.count):
            if memcmp(self.entries[i].cid.data, &id, sizeof(id)) == 0:
                return self.entries[i].sequence
        return None

    cdef uint64_t wanted(self) noexcept:
        # How many more the peer may have.
        cdef uint64_t limit = min(self.peer_limit, <uint64_t>MAX_ISSUED), have = <uint64_t>self.count
        return limit - have if limit > have else 0

    cdef bytes first(self):
        # Our first connection ID still in use.
        return self.entries[0].cid.data[:self.entries[0].cid.length] if self.count else b""

    cdef list all(self):
        return [self.entries[i].cid.data[:self.entries[i].cid.length] for i in range(self.count)]

    def set_peer_limit(self, uint64_t limit):
        """active_connection_id_limit of the peer (Section 18.2)."""
        self.peer_limit = limit

    cdef int on_retire_connection_id(
        self, uint64_t sequence, const uint8_t* dcid, size_t length
    ) except -1:
        cdef int i
        if sequence >= self.announced:
            raise TransportError(
                TransportErrorCode.PROTOCOL_VIOLATION, "retired a connection ID that was not issued",
                RETIRE_CONNECTION_ID,
            )
        for i in range(self.count):
            if self.entries[i].sequence == sequence:
                break
        else:
            return 0
        if cid_equal(&self.entries[i].cid, dcid, length):
            raise TransportError(
                TransportErrorCode.PROTOCOL_VIOLATION, "retired the connection ID of its own packet",
                RETIRE_CONNECTION_ID,
            )
        if self.removed is None:
            self.removed = []
        self.removed.append(self.entries[i].cid.data[:self.entries[i].cid.length])
        self.count -= 1
        self.pending -= self.entries[i].pending
        memmove(&self.entries[i], &self.entries[i + 1], (self.count - i) * sizeof(Entry))
        return 0

    cdef bint wants_to_send(self) noexcept:
        return self.pending > 0

    cdef bint write(self, PacketBuilder* p) noexcept:
        # Whether everything was written.
        cdef Entry* entry
        cdef int i
        if self.pending == 0:
            return True
        for i in range(self.count):
            entry = &self.entries[i]
            if not entry.pending:
                continue
            if not can_record(p) or not put_new_connection_id(
                &p.w, entry.sequence, 0, entry.cid.data, entry.cid.length, entry.token
            ):
                return False
            record(p, NEW_CONNECTION_ID, entry.sequence, 0, 0, False)
            entry.pending = False
            self.pending -= 1
            self.announced = max(self.announced, entry.sequence + 1)
        return True

    cdef void on_lost(self, const FrameRecord* r) noexcept:
        cdef int i
        for i in range(self.count):
            if self.entries[i].sequence == r.id and not self.entries[i].pending:
                self.entries[i].pending = True
                self.pending += 1


@cython.final
@cython.no_gc
cdef class RemoteIds:
    """The connection IDs the peer gave us to reach it."""

    def __init__(self, int limit):
        self.limit = limit

    def __dealloc__(self):
        PyMem_Free(self.entries)

    cdef Entry* find(self, uint64_t sequence) noexcept:
        # NULL when we do not have it.
        cdef int i
        for i in range(self.count):
            if self.entries[i].sequence == sequence:
                return &self.entries[i]
        return NULL

    cdef Entry* lowest(self) noexcept:
        # The one with the lowest sequence, or NULL.
        cdef Entry* best = NULL
        cdef int i
        for i in range(self.count):
            if best == NULL or self.entries[i].sequence < best.sequence:
                best = &self.entries[i]
        return best

    cdef Entry* lowest_unused(self) noexcept:
        # Of those that were on no path yet; or NULL.
        cdef Entry* best = NULL
        cdef int i
        for i in range(self.count):
            if not self.entries[i].used and (
                best == NULL or self.entries[i].sequence < best.sequence
            ):
                best = &self.entries[i]
        return best

    cdef int unused(self) noexcept:
        cdef int i, found = 0
        for i in range(self.count):
            found += not self.entries[i].used
        return found

    cdef Entry* take(self) noexcept:
        # An unused connection ID for another path; NULL when there is none.  None is given while the peer
        # does not acknowledge the end of those before it, so that their number stays within bounds.
        cdef Entry* entry = self.lowest_unused()
        if self.unacked_retirements + (len(self.retiring) if self.retiring is not None else 0) > self.limit:
            return NULL
        if entry != NULL:
            entry.used = True
        return entry

    cdef int release(self, uint64_t sequence) except -1:
        # No path uses it any more.
        cdef Entry* entry = self.find(sequence)
        if entry != NULL and sequence != self.sequence:
            self._remove(entry)
            self._retire(sequence)
        return 0

    cdef bint was_received(self, uint64_t sequence) noexcept:
        # Whether it is known, or was before it was retired.  What is far behind counts as known.
        if sequence > self.highest:
            return False
        return self.highest - sequence >= WINDOW or self.received >> (self.highest - sequence) & 1

    cdef void _note(self, uint64_t sequence) noexcept:
        cdef uint64_t step
        if sequence > self.highest:
            step = sequence - self.highest
            self.received = self.received << step if step < WINDOW else 0
            self.highest = sequence
        if self.highest - sequence < WINDOW:
            self.received |= <uint64_t>1 << (self.highest - sequence)

    cdef int _add(self, uint64_t sequence, Cid cid, const uint8_t* token) except -1:
        cdef int room
        cdef Entry* grown
        cdef Entry* entry
        if self.count == self.room:
            room = min(self.room * 2, self.limit + 1) if self.room else 1
            grown = <Entry*>PyMem_Realloc(self.entries, room * sizeof(Entry))
            if grown == NULL:
                raise MemoryError
            self.entries = grown
            self.room = room
        entry = &self.entries[self.count]
        entry.sequence = sequence
        entry.cid = cid
        entry.has_token = token != NULL
        entry.used = False
        if token != NULL:
            memcpy(entry.token, token, TOKEN_LENGTH)
        self.count += 1
        self._note(sequence)
        return 0

    cdef void _remove(self, Entry* entry) noexcept:
        self.count -= 1
        entry[0] = self.entries[self.count]

    cdef int start(self, bytes cid) except -1:
        # The one of the handshake, sequence 0.
        cdef Entry* entry = self.find(0)
        if entry != NULL:
            self._remove(entry)
        self._add(0, cid_from(<const uint8_t*>PyBytes_AS_STRING(cid), len(cid)), NULL)
        return self.use(self.find(0))

    cdef int set_token(self, bytes token) except -1:
        cdef Entry* entry = self.find(0)
        if entry != NULL and len(token) == TOKEN_LENGTH:
            memcpy(entry.token, PyBytes_AS_STRING(token), TOKEN_LENGTH)
            entry.has_token = True
            if self.sequence == 0:
                self.token = token
        return 0

    cdef int set_preferred(self, bytes cid, bytes token) except -1:
        # The one that comes with a server's preferred address (Section 5.1.1).
        self._add(
            1, cid_from(<const uint8_t*>PyBytes_AS_STRING(cid), len(cid)),
            <const uint8_t*>PyBytes_AS_STRING(token),
        )
        return 0

    cdef int use(self, Entry* entry) except -1:
        entry.used = True
        self.token = entry.token[:TOKEN_LENGTH] if entry.has_token else None
        self.sequence = entry.sequence
        self.current = entry.cid
        return 0

    @property
    def cid(self):
        """The connection ID in use."""
        return self.current.data[:self.current.length]

    cdef int on_new_connection_id(self, NewConnectionId* frame) except -1:
        cdef Entry* known
        cdef int i
        if self.current.length == 0:
            raise TransportError(
                TransportErrorCode.PROTOCOL_VIOLATION, "NEW_CONNECTION_ID to a zero-length one",
                NEW_CONNECTION_ID,
            )
        known = self.find(frame.sequence)
        if known != NULL:
            if not cid_equal(&known.cid, frame.cid, frame.length) or not known.has_token or (
                memcmp(known.token, frame.token, TOKEN_LENGTH) != 0
            ):
                raise TransportError(
                    TransportErrorCode.PROTOCOL_VIOLATION, "a sequence number was used twice",
                    NEW_CONNECTION_ID,
                )
            return 0
        if self.was_received(frame.sequence):
            return 0                         # again, and retired by now
        if frame.sequence < self.retire_prior_to:
            self._note(frame.sequence)
            return self._retire(frame.sequence)
        for i in range(self.count):
            if cid_equal(&self.entries[i].cid, frame.cid, frame.length):
                raise TransportError(
                    TransportErrorCode.PROTOCOL_VIOLATION, "a connection ID was issued twice",
                    NEW_CONNECTION_ID,
                )
        self._add(frame.sequence, cid_from(frame.cid, frame.length), frame.token)
        if frame.retire_prior_to > self.retire_prior_to:
            self.retire_prior_to = frame.retire_prior_to
            known = self.lowest()
            while known != NULL and known.sequence < frame.retire_prior_to:
                self._retire(known.sequence)
                self._remove(known)
                known = self.lowest()
            if self.sequence < frame.retire_prior_to:
                self.use(self.lowest_unused())   # at least the one of this frame
        if self.count > self.limit:
            raise TransportError(
                TransportErrorCode.CONNECTION_ID_LIMIT_ERROR, "more connection IDs than allowed",
                NEW_CONNECTION_ID,
            )
        return 0

    cdef int _retire(self, uint64_t sequence) except -1:
        # Bounded: a peer that never acknowledges retirements may not make us remember them for ever.
        if self.retiring is None:
            self.retiring = []
        elif sequence in self.retiring:
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
        cdef Entry* spare = self.take()
        if spare == NULL:
            return False
        self.use(spare)
        self._remove(self.find(old))
        self._retire(old)
        return True

    cdef bint wants_to_send(self) noexcept:
        return self.retiring is not None

    cdef bint write(self, PacketBuilder* p) except -1:
        while self.retiring is not None:
            if not can_record(p) or not put_one(&p.w, RETIRE_CONNECTION_ID, self.retiring[0]):
                return False
            record(p, RETIRE_CONNECTION_ID, self.retiring.pop(0), 0, 0, False)
            self.unacked_retirements += 1
            if not self.retiring:
                self.retiring = None
        return True

    cdef int on_acked(self, const FrameRecord* r) except -1:
        self.unacked_retirements = max(self.unacked_retirements - 1, 0)
        return 0

    cdef int on_lost(self, const FrameRecord* r) except -1:
        self.unacked_retirements = max(self.unacked_retirements - 1, 0)
        if self.retiring is None:
            self.retiring = []
        if r.id not in self.retiring:
            self.retiring.append(r.id)
        return 0

    cdef bint is_reset_token(self, const uint8_t* token) except -1:
        # Tokens of connection IDs that are not used, or no longer, do not count (Section 10.3.1).
        cdef bytes candidate = token[:TOKEN_LENGTH]
        cdef bint found = False
        cdef int i
        for i in range(self.count):
            if self.entries[i].used and self.entries[i].has_token:
                found |= compare_digest(self.entries[i].token[:TOKEN_LENGTH], candidate)
        return found
