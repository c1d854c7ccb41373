"""What changed in a connection since its log last looked (draft-ietf-quic-qlog-quic-events)."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from cwt._core.qlog.trace cimport Trace
from cwt._core.router cimport Router

# Of quic:recovery_metrics_updated, as last told.
cdef struct Metrics:
    int64_t minimum, smoothed, latest, variation
    uint64_t window, in_flight, threshold, packets, rate
    int pto_count


cdef class Observer:
    cdef readonly Trace trace
    cdef bint begun
    cdef uint32_t version
    cdef str state                           # of the connection
    cdef str congestion, ecn
    cdef uint64_t recovery_ends              # packet number whose acknowledgement ends the recovery period
    cdef int64_t recovery_start
    cdef Metrics last
    cdef object controller                   # the congestion controller
    cdef size_t mtu
    cdef object path                         # the Path in use
    cdef bint path_validated
    cdef dict tuples                         # (local, remote) -> tuple ID
    cdef bytes remote_id, local_id           # connection IDs in use
    cdef unsigned int keys                   # those there are, a bit each
    cdef uint64_t key_updates
    cdef bint told_own, told_peer, told_early, told_alpn
    cdef int64_t timer                       # when the loss detection timer is due, 0 for never
    cdef bint timer_is_pto

    cdef void begin(self, Router connection, int64_t now) noexcept
    cdef void look(self, Router connection, int64_t now) noexcept
    cdef int _begin(self, Router connection) except -1
    cdef int _look(self, Router connection) except -1
    cdef int _params(self, object params, bytes initiator, Router connection) except -1
    cdef int _handshake(self, Router connection) except -1
    cdef int _version(self, Router connection) except -1
    cdef int _restored(self, object params) except -1
    cdef int _keys(self, Router connection) except -1
    cdef int _key(self, const char* event, bint is_client, int space, const char* trigger) except -1
    cdef int _key_update(self, Router connection) except -1
    cdef int _paths(self, Router connection) except -1
    cdef int _ids(self, Router connection) except -1
    cdef int _recovery_set(self, Router connection) except -1
    cdef int _congestion(self, Router connection) except -1
    cdef int _ecn(self, Router connection) except -1
    cdef void _metrics(self, Router connection) noexcept
    cdef int _timer(self, Router connection) except -1
    cdef int _closed(self, Router connection) except -1
    cdef int _state(self, str new) except -1
