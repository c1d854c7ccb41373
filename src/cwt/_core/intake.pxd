"""Received datagrams: packets, their protection, and what precedes the handshake (RFC 9000 Section 12)."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from cwt._core.cid cimport LocalIds, RemoteIds
from cwt._core.handshake cimport Handshake
from cwt._core.keyring cimport Keyring, Opened
from cwt._core.paths cimport Paths
from cwt._core.qlog.trace cimport Drop, Trace
from cwt._core.recovery.acks cimport AckTrackers
from cwt._core.recovery.loss cimport LossRecovery
from cwt._core.recovery.sent cimport RecordHandler
from cwt._core.versions cimport Versions
from cwt._core.wire.packet cimport Header

cdef enum:
    EARLY = 3                # for the keyring: 0-RTT packets, which have no packet number space of their own
    SHORT_CID_LENGTH = 8     # of every connection ID we issue


cdef class PacketHandler(RecordHandler):
    cdef int on_packet(
        self, int space, Opened* opened, object remote, object local, int ecn, int64_t now
    ) except -1
    cdef int on_handshake_packet(self) except -1
    cdef int on_stateless_reset(self) except -1
    cdef int on_retry(self, bytes token) except -1
    cdef int on_versions(self, list versions) except -1


cdef class Intake:
    # Components of the connection that it looks at.
    cdef Handshake handshake
    cdef Keyring keys
    cdef LossRecovery recovery
    cdef AckTrackers acks
    cdef LocalIds local_ids
    cdef RemoteIds remote_ids
    cdef Paths paths
    cdef Versions versions
    cdef Trace trace                         # the qlog, or None

    cdef bint is_client
    cdef bint any_bit                        # packets with a QUIC bit of 0 are taken (RFC 9287)
    cdef bytes original_destination          # the client's first Destination Connection ID
    cdef bytes retry_source                  # Source Connection ID of the Retry packet, or None
    cdef bytes peer_source                   # Source Connection ID of the peer's first packet
    cdef list undecryptable                  # (bytes, remote, local, ecn) until keys come; None for nothing
    cdef size_t undecryptable_bytes
    cdef bint early                          # the packet being read came in 0-RTT
    cdef const uint8_t* packet_destination   # Destination Connection ID of the 1-RTT packet being read
    cdef uint64_t bytes_received
    cdef uint64_t packets_dropped
    cdef size_t datagram_length              # of the one being read
    cdef object server                       # a client's: where its answers come from, None before the first

    cdef int receive(
        self, PacketHandler handler, uint8_t* data, size_t length, size_t segment_size,
        object remote, object local, int ecn, int64_t now
    ) except -1
    cdef int _count(self, object remote, object local, size_t size) except -1
    cdef int _datagram(
        self, PacketHandler handler, uint8_t* data, size_t length, object remote, object local,
        int ecn, int64_t now
    ) except -1
    cdef int _short(
        self, PacketHandler handler, uint8_t* data, size_t length, const uint8_t* mask,
        object remote, object local, int ecn, int64_t now
    ) except -1
    cdef int _long(
        self, PacketHandler handler, uint8_t* data, Header* header, object remote, object local,
        int ecn, int64_t now
    ) except -1
    cdef bint _may_be_ours(self, Header* header) except -1
    cdef bint _select_initial(self, uint32_t version) except -1
    cdef int _early(
        self, PacketHandler handler, uint8_t* data, Header* header, object remote, object local,
        int ecn, int64_t now
    ) except -1
    cdef int _keep(
        self, uint8_t* data, size_t length, object remote, object local, int ecn
    ) except -1
    cdef int _drop(self, const uint8_t* data, size_t length, Drop trigger) except -1
    cdef int replay(self, PacketHandler handler, int64_t now) except -1
    cdef int _check_reset(self, PacketHandler handler, const uint8_t* data, size_t length) except -1
    cdef int _on_retry(
        self, PacketHandler handler, const uint8_t* data, size_t length, Header* header
    ) except -1
    cdef int _on_version_negotiation(self, PacketHandler handler, Header* header) except -1
