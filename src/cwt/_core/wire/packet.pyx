"""Packet headers and packet numbers (RFC 9000 Section 17, RFC 8999)."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from cwt._core.wire.cursor cimport (
    Reader, read_bytes, read_u32, read_u8, read_varint, reader, remaining,
)

# Two type bits of the long header for each PacketType; version 2 shuffles them (RFC 9369 Section 3.2).
cdef uint8_t[4] TYPE_BITS_V1 = [0, 1, 2, 3]
cdef uint8_t[4] TYPE_BITS_V2 = [1, 2, 3, 0]


cdef bint version_known(uint32_t version) noexcept nogil:
    return version == VERSION_1 or version == VERSION_2


cdef int type_from_bits(uint32_t version, int bits) noexcept nogil:
    return (bits + 3) & 3 if version == VERSION_2 else bits


cdef uint8_t long_header_byte(int packet_type, uint32_t version, size_t number_length) noexcept nogil:
    cdef uint8_t bits = TYPE_BITS_V2[packet_type] if version == VERSION_2 else TYPE_BITS_V1[packet_type]
    return <uint8_t>(0xC0 | (bits << 4) | (number_length - 1))


cdef bint parse_cids(Reader* r, Header* header, size_t limit) noexcept nogil:
    cdef uint8_t length
    if not read_u8(r, &length) or length > limit or not read_bytes(r, length, &header.dcid):
        return False
    header.dcid_length = length
    if not read_u8(r, &length) or length > limit or not read_bytes(r, length, &header.scid):
        return False
    header.scid_length = length
    return True


cdef bint parse_header(
    const uint8_t* data, size_t length, size_t short_cid_length, Header* header
) noexcept nogil:
    # False when the datagram holds no header that can be routed or answered.  The QUIC bit may be 0: who
    # did not say that it may (RFC 9287) must look.
    cdef Reader r = reader(data, length)
    cdef uint8_t first
    cdef uint64_t size
    header.token = NULL
    header.token_length = 0
    header.scid = NULL
    header.scid_length = 0
    header.number_offset = 0
    header.end = length
    if not read_u8(&r, &first):
        return False
    if not first & 0x80:
        header.type = ONE_RTT
        header.version = 0
        header.dcid_length = short_cid_length
        if not read_bytes(&r, short_cid_length, &header.dcid):
            return False
        header.number_offset = r.pos - data
        return True
    if not read_u32(&r, &header.version):
        return False
    if header.version == 0:
        header.type = VERSION_NEGOTIATION
        if not parse_cids(&r, header, 255):
            return False
        header.token_length = remaining(&r)
        return read_bytes(&r, header.token_length, &header.token)
    if not version_known(header.version):
        # Enough for a Version Negotiation packet (RFC 8999 Section 5.1); the type is not known.
        header.type = INITIAL
        return parse_cids(&r, header, 255)
    if not parse_cids(&r, header, MAX_CID_LENGTH):
        return False
    header.type = type_from_bits(header.version, (first >> 4) & 3)
    if header.type == RETRY:
        if remaining(&r) < RETRY_TAG_LENGTH:
            return False
        header.token_length = remaining(&r) - RETRY_TAG_LENGTH
        return read_bytes(&r, header.token_length, &header.token)
    if header.type == INITIAL:
        if not read_varint(&r, &size) or size > remaining(&r):
            return False
        header.token_length = <size_t>size
        read_bytes(&r, header.token_length, &header.token)
    if not read_varint(&r, &size) or size > remaining(&r):
        return False
    header.number_offset = r.pos - data
    header.end = header.number_offset + <size_t>size
    return True


cdef uint64_t decode_number(uint64_t truncated, size_t length, uint64_t expected) noexcept nogil:
    # RFC 9000 Section A.3; *expected* is the largest received plus one.
    cdef uint64_t window = <uint64_t>1 << (8 * length)
    cdef uint64_t half = window // 2
    cdef uint64_t candidate = (expected & ~(window - 1)) | truncated
    if candidate + half <= expected and candidate + window < (<uint64_t>1 << 62):
        return candidate + window
    if candidate > expected + half and candidate >= window:
        return candidate - window
    return candidate


cdef size_t number_length(uint64_t number, int64_t largest_acked) noexcept nogil:
    # RFC 9000 Section A.2: room for twice what is unacknowledged.
    cdef uint64_t span = number - <uint64_t>largest_acked if largest_acked >= 0 else number + 1
    span *= 2
    if span < 0x100:
        return 1
    if span < 0x10000:
        return 2
    if span < 0x1000000:
        return 3
    return 4


cdef Cid cid_from(const uint8_t* data, size_t length) noexcept nogil:
    cdef Cid cid
    cid.length = <uint8_t>length
    if length:
        memcpy(cid.data, data, length)
    return cid


cdef bint cid_equal(const Cid* cid, const uint8_t* data, size_t length) noexcept nogil:
    return cid.length == length and (length == 0 or memcmp(cid.data, data, length) == 0)


def parse(const uint8_t[::1] data not None, size_t short_cid_length):
    """``(type, version, dcid, scid, token, number_offset, end)`` of the packet at the start of *data*.

    None when it is no QUIC packet.  For Version Negotiation *token* is the list of versions.
    """
    cdef Header header
    if data.shape[0] == 0 or not parse_header(&data[0], data.shape[0], short_cid_length, &header):
        return None
    return (
        PacketType(header.type),
        header.version,
        header.dcid[:header.dcid_length],
        header.scid[:header.scid_length] if header.scid != NULL else b"",
        header.token[:header.token_length] if header.token != NULL else b"",
        header.number_offset,
        header.end,
    )


def decode_packet_number(uint64_t truncated, size_t length, uint64_t expected):
    """The full packet number (RFC 9000 Section A.3); *expected* is the largest received plus one."""
    return decode_number(truncated, length, expected)


def packet_number_length(uint64_t number, int64_t largest_acked):
    """Bytes for *number* when *largest_acked* (-1 for none) is (RFC 9000 Section A.2)."""
    return number_length(number, largest_acked)


def version_negotiation(bytes dcid not None, bytes scid not None, versions, uint8_t first_byte):
    """A Version Negotiation packet (RFC 9000 Section 17.2.1)."""
    out = bytes([0x80 | first_byte]) + bytes(4) + bytes([len(dcid)]) + dcid + bytes([len(scid)]) + scid
    for version in versions:
        out += (<object>version).to_bytes(4, "big")
    return out


def retry_without_tag(uint32_t version, bytes dcid not None, bytes scid not None, bytes token not None):
    """A Retry packet up to its integrity tag (RFC 9000 Section 17.2.5)."""
    if len(dcid) > MAX_CID_LENGTH or len(scid) > MAX_CID_LENGTH:
        raise ValueError(f"a connection ID has at most {MAX_CID_LENGTH} bytes")
    return (
        bytes([long_header_byte(RETRY, version, 1) & 0xF0])
        + (<object>version).to_bytes(4, "big")
        + bytes([len(dcid)]) + dcid + bytes([len(scid)]) + scid + token
    )
