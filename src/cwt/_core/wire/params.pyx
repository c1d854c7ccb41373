"""Transport parameters (RFC 9000 Section 18)."""

cimport cython

from cwt._core.wire import varint
from cwt.errors import TransportError, TransportErrorCode

# (id, attribute, default, lowest, highest) of the integer parameters, RFC 9000 Section 18.2 and RFC 9221.
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
)
# (id, attribute, exact length or None for 0 to 20, only a server sends it)
_BYTES = (
    (0x00, "original_destination_connection_id", None, True),
    (0x02, "stateless_reset_token", 16, True),
    (0x0D, "preferred_address", -1, True),
    (0x0F, "initial_source_connection_id", None, False),
    (0x10, "retry_source_connection_id", None, True),
)
_DISABLE_ACTIVE_MIGRATION = 0x0C
_BY_ID = {row[0]: row for row in _INTEGERS + _BYTES}
_INTEGER_IDS = frozenset(row[0] for row in _INTEGERS)


def _error(text):
    return TransportError(TransportErrorCode.TRANSPORT_PARAMETER_ERROR, text)


@cython.final
cdef class TransportParameters:
    """The transport parameters of one side; ``parse`` and ``encode`` are its wire form.

    Times are milliseconds, as on the wire.  ``unknown`` holds parameters to send as they are (GREASE).
    """

    def __init__(self, **values):
        for _, name, default, _, _ in _INTEGERS:
            setattr(self, name, default)
        self.unknown = {}
        for name, value in values.items():
            setattr(self, name, value)

    def encode(self):
        """The value of the quic_transport_parameters extension (RFC 9001 Section 8.2)."""
        out = bytearray()

        def put(id, value):
            out.extend(varint.encode(id) + varint.encode(len(value)) + value)

        for id, name, default, _, _ in _INTEGERS:
            value = getattr(self, name)
            if value != default:
                put(id, varint.encode(value))
        for id, name, _, _ in _BYTES:
            value = getattr(self, name)
            if value is not None:
                put(id, value)
        if self.disable_active_migration:
            put(_DISABLE_ACTIVE_MIGRATION, b"")
        for id, value in self.unknown.items():
            put(id, value)
        return bytes(out)

    @staticmethod
    def parse(bytes data not None, bint from_client):
        """Read the peer's parameters; TransportError(TRANSPORT_PARAMETER_ERROR) when they are wrong."""
        parameters = TransportParameters()
        seen = set()
        position = 0
        while position < len(data):
            head = varint.decode(data, position)
            size = head and varint.decode(data, head[1])
            if not size or size[0] > len(data) - size[1]:
                raise _error("truncated transport parameter")
            id, position = head[0], size[1] + size[0]
            if id in seen:
                raise _error(f"transport parameter 0x{id:x} occurs twice")
            if len(seen) >= 256:
                raise _error("too many transport parameters")
            seen.add(id)
            _read(parameters, id, data[size[1]:position], from_client)
        return parameters


cdef _read(TransportParameters parameters, id, bytes value, bint from_client):
    row = _BY_ID.get(id)
    if id in _INTEGER_IDS:
        number = varint.decode(value)
        if number is None or number[1] != len(value) or not row[3] <= number[0] <= row[4]:
            raise _error(f"{row[1]} is out of range")
        setattr(parameters, row[1], number[0])
    elif row is not None:
        _, name, length, server_only = row
        if server_only and from_client:
            raise _error(f"a client sent {name}")
        if length is None and len(value) > 20 or length is not None and 0 <= length != len(value):
            raise _error(f"{name} has a wrong length")
        if name == "preferred_address":
            _check_preferred_address(value)
        setattr(parameters, name, value)
    elif id == _DISABLE_ACTIVE_MIGRATION:
        if value:
            raise _error("disable_active_migration is not empty")
        parameters.disable_active_migration = True


cdef _check_preferred_address(bytes value):
    # IPv4 4 + 2, IPv6 16 + 2, connection ID length 1, connection ID 1 to 20, token 16.
    if len(value) < 42 or not 1 <= value[24] <= 20 or len(value) != 41 + value[24]:
        raise _error("preferred_address is malformed")
