"""Connection IDs: ours that were issued, the peer's that we use (RFC 9000 Section 5.1)."""

from libc.stdint cimport uint8_t, uint64_t

from cwt._core.wire.frame cimport FrameRecord, NewConnectionId, PacketBuilder
from cwt._core.wire.packet cimport Cid

cdef enum:
    MAX_ISSUED = 4           # of ours at once, whatever the peer would take

# A connection ID, not retired, and its stateless reset token.
cdef struct Entry:
    uint64_t sequence
    Cid cid
    uint8_t token[16]
    uint8_t has_token
    uint8_t pending          # ours: NEW_CONNECTION_ID is due
    uint8_t used             # the peer's: on a path, now or before


cdef class LocalIds:
    cdef Entry entries[MAX_ISSUED]           # in order of their sequence
    cdef int count, pending                  # how many there are, and how many of them are pending
    cdef readonly uint64_t next_sequence
    cdef uint64_t announced                  # the peer may know of all sequences below
    cdef readonly uint64_t peer_limit
    cdef list added, removed                 # for the endpoint's routes, since it last looked; or None

    cdef int issue(self, bytes cid, bytes token, bint announced=*) except -1
    cdef object sequence_of(self, uint64_t id)
    cdef bytes first(self)
    cdef list all(self)
    cdef uint64_t wanted(self) noexcept
    cdef bint wants_to_send(self) noexcept
    cdef int on_retire_connection_id(self, uint64_t sequence, const uint8_t* dcid, size_t length) except -1
    cdef bint write(self, PacketBuilder* p) noexcept
    cdef void on_lost(self, const FrameRecord* r) noexcept


cdef class RemoteIds:
    cdef Entry* entries                      # in order of arrival
    cdef int count, room
    cdef readonly uint64_t sequence          # of the one in use
    cdef Cid current
    cdef bytes token                         # its stateless reset token, or None
    cdef uint64_t retire_prior_to
    cdef uint64_t highest                    # sequence received so far
    cdef uint64_t received                   # of the sequences up to it: bit 0 is the highest
    cdef list retiring                       # sequences whose RETIRE_CONNECTION_ID is due; or None
    cdef int unacked_retirements
    cdef readonly int limit                  # active_connection_id_limit we announced

    cdef Entry* find(self, uint64_t sequence) noexcept
    cdef Entry* lowest_unused(self) noexcept
    cdef Entry* lowest(self) noexcept
    cdef int unused(self) noexcept
    cdef bint was_received(self, uint64_t sequence) noexcept
    cdef void _note(self, uint64_t sequence) noexcept
    cdef Entry* take(self) noexcept
    cdef int release(self, uint64_t sequence) except -1
    cdef int use(self, Entry* entry) except -1
    cdef int start(self, bytes cid) except -1
    cdef int set_token(self, bytes token) except -1
    cdef int set_preferred(self, bytes cid, bytes token) except -1
    cdef int on_new_connection_id(self, NewConnectionId* frame) except -1
    cdef int _add(self, uint64_t sequence, Cid cid, const uint8_t* token) except -1
    cdef void _remove(self, Entry* entry) noexcept
    cdef int _retire(self, uint64_t sequence) except -1
    cdef bint rotate(self) except -1
    cdef bint wants_to_send(self) noexcept
    cdef bint write(self, PacketBuilder* p) except -1
    cdef int on_acked(self, const FrameRecord* r) except -1
    cdef int on_lost(self, const FrameRecord* r) except -1
    cdef bint is_reset_token(self, const uint8_t* token) except -1
