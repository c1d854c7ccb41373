"""Packet headers and packet numbers (RFC 9000 Section 17, RFC 8999)."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

cdef enum:
    MAX_CID_LENGTH = 20
    VERSION_1 = 0x00000001
    VERSION_2 = 0x6B3343CF
    MIN_INITIAL_SIZE = 1200
    RETRY_TAG_LENGTH = 16
    RESET_TOKEN_LENGTH = 16
    MIN_RESET_SIZE = 21

cpdef enum PacketType:
    """What a packet is, in the order of the long header types of version 1 (RFC 9000 Section 17.2)."""
    INITIAL = 0
    ZERO_RTT = 1
    HANDSHAKE = 2
    RETRY = 3
    VERSION_NEGOTIATION = 4
    ONE_RTT = 5

cdef struct Header:
    int type
    uint32_t version
    const uint8_t* dcid
    size_t dcid_length
    const uint8_t* scid
    size_t scid_length
    const uint8_t* token     # Initial: the token; Retry: the token; VN: the list of versions
    size_t token_length
    size_t number_offset     # of the packet number, from the start of the packet
    size_t end               # of the packet, from its start: what follows is another packet

cdef struct Cid:
    uint8_t length
    uint8_t data[20]

cdef bint version_known(uint32_t version) noexcept nogil
cdef bint parse_header(const uint8_t* data, size_t length, size_t short_cid_length, Header* header) noexcept nogil
cdef uint64_t decode_number(uint64_t truncated, size_t length, uint64_t expected) noexcept nogil
cdef size_t number_length(uint64_t number, int64_t largest_acked) noexcept nogil
cdef uint8_t long_header_byte(int packet_type, uint32_t version, size_t number_length) noexcept nogil
cdef Cid cid_from(const uint8_t* data, size_t length) noexcept nogil
cdef bint cid_equal(const Cid* cid, const uint8_t* data, size_t length) noexcept nogil
