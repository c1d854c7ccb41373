"""Connection IDs: ours that were issued, the peer's that we use (RFC 9000 Section 5.1)."""

from libc.stdint cimport uint8_t, uint64_t

from cwt._core.wire.frame cimport FrameRecord, NewConnectionId, PacketBuilder
from cwt._core.wire.packet cimport Cid


cdef class LocalIds:
    cdef readonly dict by_sequence           # sequence -> connection ID
    cdef dict tokens                         # sequence -> stateless reset token
    cdef readonly uint64_t next_sequence
    cdef uint64_t announced                  # the peer may know of all sequences below
    cdef list pending                        # sequences to announce
    cdef readonly uint64_t peer_limit
    cdef readonly list added, removed        # for the endpoint's routes, since it last looked

    cdef int issue(self, bytes cid, bytes token) except -1
    cdef bytes first(self)
    cdef uint64_t wanted(self) noexcept
    cdef int on_retire_connection_id(self, uint64_t sequence, const uint8_t* dcid, size_t length) except -1
    cdef bint write(self, PacketBuilder* p) except -1
    cdef int on_lost(self, const FrameRecord* r) except -1


cdef class RemoteIds:
    cdef readonly dict by_sequence           # sequence -> (connection ID, token or None), not retired
    cdef readonly uint64_t sequence          # of the one in use
    cdef Cid current
    cdef bytes token                         # its stateless reset token, or None
    cdef uint64_t retire_prior_to
    cdef list retiring                       # sequences whose RETIRE_CONNECTION_ID is to be sent
    cdef int unacked_retirements
    cdef readonly int limit                  # active_connection_id_limit we announced

    cdef int use(self, uint64_t sequence) except -1
    cdef int start(self, bytes cid) except -1
    cdef int set_token(self, bytes token) except -1
    cdef int on_new_connection_id(self, NewConnectionId* frame) except -1
    cdef int _retire(self, uint64_t sequence) except -1
    cdef bint rotate(self) except -1
    cdef bint write(self, PacketBuilder* p) except -1
    cdef int on_acked(self, const FrameRecord* r) except -1
    cdef int on_lost(self, const FrameRecord* r) except -1
    cdef bint is_reset_token(self, const uint8_t* token) except -1
