"""One UDP port: datagrams to connections (RFC 9000 Section 5.2)."""

from libc.stdint cimport int64_t, uint8_t, uint64_t

from cwt._core.connection cimport Connection, Host
from cwt._core.stateless cimport Stateless
from cwt._core.timers cimport TimerHeap
from cwt._core.tokens cimport AddressTokens
from cwt._core.wire.packet cimport Header


cdef class Endpoint(Host):
    cdef readonly object config
    cdef public object tls                   # makes server handshakes; None accepts no connections
    cdef readonly int max_connections
    cdef readonly int max_handshakes
    cdef int retry_from                      # handshakes from which on clients must prove their address
    cdef AddressTokens tokens
    cdef object unix_time                    # callable, or None
    cdef int64_t now                         # when the last datagrams came
    cdef readonly set handshaking            # accepted connections that are not established yet
    cdef dict routes                         # connection ID -> Connection
    cdef dict reset_tokens                   # the peers' stateless reset tokens -> Connection
    cdef set all
    cdef uint8_t last_id[8]
    cdef Connection last                     # where last_id leads
    cdef list news
    cdef list sending                        # connections that may have output
    cdef Stateless stateless
    cdef TimerHeap timers
    cdef public bint accepting
    cdef readonly uint64_t written           # batches of datagrams that connections had to send
    cdef public object on_output             # called when `sending` gets its first connection; or None

    cdef int receive(
        self, uint8_t* data, size_t length, size_t segment_size, object remote, object local,
        int ecn, int64_t now
    ) except -1
    cdef size_t _run(self, const uint8_t* data, size_t length, size_t segment_size) noexcept
    cdef Connection _route(self, const uint8_t* data, size_t length, Header* header)
    cdef int _short_unknown(
        self, const uint8_t* data, size_t length, object remote, object local, int64_t now
    ) except -1
    cdef int _unknown(
        self, uint8_t* data, size_t length, Header* header, object remote, object local, int ecn, int64_t now
    ) except -1
    cdef int _accept(
        self, uint8_t* data, size_t length, Header* header, object remote, object local, int ecn, int64_t now
    ) except -1
    cdef int _retry(self, Header* header, bytes dcid, object remote, object local) except -1
    cdef bint _open(
        self, uint8_t* data, size_t length, Header* header, bytes dcid, bytes original, bytes retry_source,
        bint validated, object remote, object local, int ecn, int64_t now
    ) except -1
    cdef double _unix_time(self) except? -1
    cdef int _add(self, Connection connection) except -1
    cdef int _unroute(self, bytes cid, Connection connection) except -1
    cdef int _forget_token(self, Connection connection) except -1
    cdef int _forget(self, Connection connection) except -1
    cdef int arm(self, Connection connection, int64_t now) except -1
