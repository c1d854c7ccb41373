"""Building datagrams: which packets, which frames, padding and sealing (RFC 9000 Sections 12 and 14)."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from cwt._core.cid cimport LocalIds, RemoteIds
from cwt._core.closing cimport Closing
from cwt._core.crypto.aead cimport Packet
from cwt._core.handshake cimport Handshake
from cwt._core.idle cimport IdleTimer
from cwt._core.keyring cimport Keyring
from cwt._core.path cimport Path
from cwt._core.paths cimport Paths
from cwt._core.qlog.trace cimport Trace
from cwt._core.recovery.ack_frequency cimport AckFrequency
from cwt._core.recovery.acks cimport AckTrackers
from cwt._core.recovery.loss cimport LossRecovery
from cwt._core.stream.datagram cimport Datagrams
from cwt._core.stream.streams cimport Streams
from cwt._core.tokens cimport GivenToken
from cwt._core.wire.frame cimport PacketBuilder
from cwt._core.wire.packet cimport Cid

# A packet being built into a datagram.
cdef struct Draft:
    int space
    size_t start             # in the datagram
    size_t header_length
    size_t length_offset     # of the Length field of a long header, from start; 0 for none
    bint full                # the datagram must be padded to what every path takes
    bint whole               # no packet has more room than this one
    PacketBuilder builder


cdef class Assembler:
    # The components it asks; the connection owns them.
    cdef Handshake handshake
    cdef Keyring keys
    cdef LossRecovery recovery
    cdef AckTrackers acks
    cdef AckFrequency ack_frequency
    cdef Streams streams
    cdef Datagrams datagrams
    cdef LocalIds local_ids
    cdef RemoteIds remote_ids
    cdef Paths paths
    cdef Path path                           # that is being written for
    cdef Closing closing
    cdef IdleTimer idle
    cdef GivenToken given_token              # None until there is one
    cdef Trace trace                         # the qlog, or None

    cdef object random                       # callable: so many random bytes
    cdef uint64_t noise                      # state of what the QUIC bits are made of, 0 while they are 1
    cdef bint is_client
    cdef bytes token                         # for Initial packets
    cdef size_t datagram_size                # largest datagram to send
    cdef size_t reserved                     # of the window, for a probe of the path MTU
    cdef bint control                        # handshake, path or connection IDs have something to send
    cdef int first_space                     # that has keys to send
    cdef int64_t pacing_at                   # when pacing lets the next packet go, 0 for now
    cdef uint64_t skip_at                    # packet number to leave out
    cdef int acks_only                       # packets since the last ack-eliciting one
    cdef bint streams_turn                   # the packet before began with datagrams
    cdef bint handshake_sent                 # a Handshake packet went out
    cdef uint64_t packets_sent, bytes_sent
    cdef uint64_t packets_repeated           # that carried what had been sent before
    cdef uint64_t stream_bytes_repeated
    cdef uint64_t times_limited              # by the anti-amplification limit
    cdef bint is_limited

    cdef uint8_t _quic_bit(self) noexcept
    cdef int _look(self) except -1
    cdef int set_datagram_size(self, size_t size) except -1
    cdef uint64_t _next_skip(self, uint64_t number) except? 0
    cdef size_t write_batch(
        self, uint8_t* out, size_t capacity, size_t most, int64_t now, size_t* segment_size
    ) except? 0
    cdef size_t _write_mtu_probe(self, uint8_t* out, size_t capacity, int64_t now) except? 0
    cdef bint may_send(self) noexcept
    cdef size_t _write_datagram(self, uint8_t* out, size_t size, int64_t now, Packet* job, bint* last) except? 0
    cdef bint _pacing_allows(self, size_t size, int64_t now) noexcept
    cdef bint _wants(self, int space) except -1
    cdef bint _start_draft(
        self, int space, uint8_t* out, size_t start, size_t size, const Cid* dcid, Draft* draft
    ) except -1
    cdef bint _fill(self, int space, Draft* draft, bint allow_data, int64_t now) except -1
    cdef void _ask_at_once(self, PacketBuilder* p) noexcept
    cdef int _write_data(self, Draft* draft) except -1
    cdef void _fill_sample(self, uint8_t* out, Draft* draft) noexcept
    cdef bint _should_ping(self, Draft* draft, const uint8_t* start) noexcept
    cdef size_t _finish(
        self, uint8_t* out, size_t size, Draft* drafts, int count, int64_t now, Packet* job, bint* last
    ) except? 0
    cdef int _sent(self, Draft* draft, uint32_t size, int64_t now) except -1
    cdef size_t write_probe(self, uint8_t* out, size_t capacity, int64_t now) except? 0
    cdef size_t write_close(self, uint8_t* out, size_t size, int64_t now) except? 0
