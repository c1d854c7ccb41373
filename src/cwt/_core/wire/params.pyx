"""Transport parameters (RFC 9000 Section 18)."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport uint8_t, uint64_t

from cwt._core.wire.cursor cimport Reader, read_bytes, read_varint, reader, remaining

from cwt._core.wire import varint
from cwt.errors import TransportError, TransportErrorCode

# Of min_ack_delay: no value that a peer may send is as large.
ABSENT = varint.MAX

# (id, attribute, default, lowest, highest) of the integer parameters: RFC 9000 Section 18.2, RFC 9221,
# draft-ietf-quic-ack-frequency as it is and as of version 00, which Firefox speaks.
_INTEGERS = (
    (0x01, "max_idle_timeout", 0, 0, varint.MAX),
    (0x03, "max_udp_payload_size", 65527, 1200, varint.MAX),
    (0x04, "initial_max_data", 0, 0, varint.MAX),
    (0x05, "initial_max_stream_data_bidi_local", 0, 0, varint.MAX),
    (0x06, "initial_max_stream_data_bidi_remote", 0, 0, varint.MAX),
    (0x07, "initial_max_stream_data_uni", 0, 0, varint.MAX),
    (0x08, "initial_max_streams_bidi", 0, 0, 1 << 60),
    (0x09, "initial_max_streams_uni", 0, 0, 1 << 60),
    (0x0A, "ack_delay_exponent", 3, 0, 20),
    (0x0B, "max_ack_delay", 25, 0, (1 << 14) - 1),
    (0x0E, "active_connection_id_limit", 2, 2, varint.MAX),
    (0x20, "max_datagram_frame_size", 0, 0, varint.MAX),
    (0xFF04DE1B, "min_ack_delay", ABSENT, 0, varint.MAX - 1),
    (0xFF02DE1A, "early_min_ack_delay", ABSENT, 0, varint.MAX - 1),
)
# (id, attribute, exact length or None for 0 to 20, only a server sends it)
_BYTES = (
    (0x00, "original_destination_connection_id", None, True),
    (0x02, "stateless_reset_token", 16, True),
    (0x0D, "preferred_address", -1, True),
    (0x0F, "initial_source_connection_id", None, False),
    (0x10, "retry_source_connection_id", None, True),
)
# (id, attribute) of those that say something by being there.  RFC 9000, RFC 9287, and
# draft-ietf-quic-reliable-stream-reset as it is and up to version 07, which browsers speak.
_FLAGS = (
    (0x0C, "disable_active_migration"),
    (0x2AB2, "grease_quic_bit"),
    (0x1D, "reset_stream_at"),
    (0x17F7586D2CB571, "early_reset_stream_at"),
)
# What 0-RTT relies on: remembered with a session, and not to be lowered when the server takes 0-RTT with it
# (RFC 9000 Section 7.4.1, RFC 9221 Section 3).
_LIMITS = (
    "initial_max_data", "initial_max_stream_data_bidi_local", "initial_max_stream_data_bidi_remote",
    "initial_max_stream_data_uni", "initial_max_streams_bidi", "initial_max_streams_uni",
    "active_connection_id_limit", "max_datagram_frame_size",
    "reset_stream_at", "early_reset_stream_at",
)
cdef enum:
    _VERSION_INFORMATION = 0x11
cdef dict _BY_ID = {row[0]: row for row in _INTEGERS + _BYTES + _FLAGS}


def _error(text):
    return TransportError(TransportErrorCode.TRANSPORT_PARAMETER_ERROR, text)


@cython.final
@cython.no_gc
cdef class TransportParameters:
    """The transport parameters of one side; ``parse`` and ``encode`` are its wire form.

    Times are milliseconds, as on the wire.  ``unknown`` holds parameters to send as they are (GREASE), if any.
    """

    def __init__(self, **values):
        for _, name, default, _, _ in _INTEGERS:
            setattr(self, name, default)
        for name, value in values.items():
            setattr(self, name, value)

    def encode(self):
        """The value of the quic_transport_parameters extension (RFC 9001 Section 8.2)."""
        cdef list parts = []
        for id, name, default, _, _ in _INTEGERS:
            value = getattr(self, name)
            if value != default:
                _put(parts, id, varint.encode(value))
        for id, name, _, _ in _BYTES:
            value = getattr(self, name)
            if value is not None:
                _put(parts, id, value)
        for id, name in _FLAGS:
            if getattr(self, name):
                _put(parts, id, b"")
        if self.version_information is not None:
            _put(parts, _VERSION_INFORMATION, b"".join(
                [(<object>version).to_bytes(4, "big") for version in self.version_information]
            ))
        if self.unknown is not None:
            for id, value in self.unknown.items():
                _put(parts, id, value)
        return b"".join(parts)

    def remembered(self):
        """What a client remembers of a server's parameters for 0-RTT, encoded (RFC 9000 Section 7.4.1)."""
        names = (*_LIMITS, "max_udp_payload_size")
        return TransportParameters(**{name: getattr(self, name) for name in names}).encode()

    def lowered(self, before):
        """The name of a limit that is lower than *before*, or None."""
        for name in _LIMITS:
            if getattr(self, name) < getattr(before, name):
                return name
        return None

    @staticmethod
    def parse(bytes data not None, bint from_client):
        """Read the peer's parameters; TransportError(TRANSPORT_PARAMETER_ERROR) when they are wrong."""
        cdef TransportParameters parameters = TransportParameters()
        cdef Reader r = reader(<const uint8_t*>PyBytes_AS_STRING(data), len(data))
        cdef const uint8_t* value
        cdef uint64_t id, size
        cdef set seen = set()
        while remaining(&r):
            if not read_varint(&r, &id) or not read_varint(&r, &size) or (
                not read_bytes(&r, <size_t>size, &value)
            ):
                raise _error("truncated transport parameter")
            if id in seen:
                raise _error(f"transport parameter 0x{id:x} occurs twice")
            if len(seen) >= 256:
                raise _error("too many transport parameters")
            seen.add(id)
            _read(parameters, id, value, <size_t>size, from_client)
        if not _valid_delay(parameters, parameters.min_ack_delay) or (
            not _valid_delay(parameters, parameters.early_min_ack_delay)
        ):
            raise _error("min_ack_delay is above max_ack_delay")
        return parameters


cdef bint _valid_delay(TransportParameters parameters, uint64_t minimum) except -1:
    return minimum <= 1000 * parameters.max_ack_delay or minimum == ABSENT


cdef int _put(list parts, id, bytes value) except -1:
    parts.append(varint.encode(id))
    parts.append(varint.encode(len(value)))
    parts.append(value)
    return 0


cdef int _read(
    TransportParameters parameters, uint64_t id, const uint8_t* data, size_t size, bint from_client
) except -1:
    cdef Reader r
    cdef uint64_t number
    cdef tuple row = _BY_ID.get(id)
    if row is None:
        if id == _VERSION_INFORMATION:
            _read_versions(parameters, data[:size], from_client)
        return 0
    if len(row) == 2:
        if size:
            raise _error(f"{row[1]} is not empty")
        setattr(parameters, row[1], True)
        return 0
    if len(row) == 5:
        r = reader(data, size)
        if not read_varint(&r, &number) or remaining(&r) or not row[3] <= number <= row[4]:
            raise _error(f"{row[1]} is out of range")
        setattr(parameters, row[1], number)
        return 0
    _, name, length, server_only = row
    if server_only and from_client:
        raise _error(f"a client sent {name}")
    if length is None and size > 20 or length is not None and 0 <= length != size:
        raise _error(f"{name} has a wrong length")
    if name == "preferred_address":
        _check_preferred_address(data[:size])
    setattr(parameters, name, data[:size])
    return 0


cdef int _read_versions(TransportParameters parameters, bytes value, bint from_client) except -1:
    # RFC 9368 Section 4 tells what of it cannot be parsed.
    cdef tuple versions = tuple([
        int.from_bytes(value[i:i + 4], "big") for i in range(0, len(value), 4)
    ])
    if not versions or len(value) % 4 or 0 in versions:
        raise _error("version_information is malformed")
    if from_client and versions[0] not in versions[1:]:
        raise _error("version_information does not list the version chosen")
    parameters.version_information = versions
    return 0


def encode_preferred_address(v4, v6, bytes cid not None, bytes token not None):
    """The preferred_address of Section 18.2: *v4* and *v6* are (host, port) or None."""
    from ipaddress import IPv4Address, IPv6Address

    cdef list parts = []
    for kind, length, address in ((IPv4Address, 4, v4), (IPv6Address, 16, v6)):
        parts.append(kind(address[0]).packed + address[1].to_bytes(2, "big") if address else bytes(length + 2))
    return b"".join(parts) + bytes([len(cid)]) + cid + token


def parse_preferred_address(bytes value not None):
    """``(v4, v6, cid, token)`` of a checked preferred_address; an address that is all zeros is None."""
    from ipaddress import IPv4Address, IPv6Address

    cdef list found = []
    for kind, start, end in ((IPv4Address, 0, 4), (IPv6Address, 6, 22)):
        port = int.from_bytes(value[end:end + 2], "big")
        found.append((str(kind(value[start:end])), port) if port and any(value[start:end]) else None)
    end = len(value) - 16
    return found[0], found[1], value[25:end], value[end:]


cdef _check_preferred_address(bytes value):
    # IPv4 4 + 2, IPv6 16 + 2, connection ID length 1, connection ID 1 to 20, token 16.
    if len(value) < 42 or not 1 <= value[24] <= 20 or len(value) != 41 + value[24]:
        raise _error("preferred_address is malformed")
