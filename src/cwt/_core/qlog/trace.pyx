"""The qlog of one connection (draft-ietf-quic-qlog-main-schema, -quic-events)."""

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint64_t

import json
import logging

from cwt._core.qlog.frames cimport write_frames
from cwt._core.qlog.text cimport Text
from cwt._core.wire.packet cimport (
    HANDSHAKE, Header, INITIAL, RETRY, ZERO_RTT, parse_header,
)

cdef enum:
    FLUSH_SIZE = 16384
    TAG = 16

cdef int64_t FLUSH_INTERVAL = 1_000_000_000

LEVELS = ("core", "base", "extra")
EVENT_SCHEMAS = (
    "urn:ietf:params:qlog:events:quic-13", "urn:ietf:params:qlog:events:http3-13",
    "urn:x-cwt:qlog:events:cwt",             # spurious losses, which the drafts do not have
)

ctypedef const char* Word

cdef Word[3] SPACES = ["initial", "handshake", "application_data"]
cdef Word[3] TYPE_OF_SPACE = ["initial", "handshake", "1RTT"]
cdef Word[7] TRIGGERS = [
    "invalid", "unsupported", "duplicate", "decryption_failure", "key_unavailable", "rejected", "general",
]
cdef Word[4] ECN = ["Not-ECT", "ECT(1)", "ECT(0)", "CE"]

_log = logging.getLogger("cwt")


@cython.final
cdef class Trace:
    """Writes the events of one connection as JSON text sequences (RFC 7464).

    The connection and its components call the verbs, each behind one test for None.  ``now`` is set by the
    connection with every call that tells the time.  No verb raises: what goes wrong, with the writer or
    the memory, ends the trace and not the connection.
    """

    def __init__(
        self, writer, str level, bint is_client, bytes odcid not None, str title=None,
        str description=None, str wall_clock=None,
    ):
        if level not in LEVELS:
            raise ValueError(f"the level of a qlog is one of {', '.join(LEVELS)}, not {level!r}")
        self.write = getattr(writer, "write", writer)
        self.level = LEVELS.index(level)
        self.is_client = is_client
        self.live = is_client
        self.group = odcid.hex()
        self.start = -1
        self.own_exponent = self.peer_exponent = 3
        self.out = Text()
        self.numbers = Text()
        self._put_header(title, description, wall_clock)

    def _put_header(self, title, description, wall_clock):
        reference = {"clock_type": "monotonic", "epoch": "unknown"}
        if wall_clock is not None:
            reference["wall_clock_time"] = wall_clock
        header = {
            "file_schema": "urn:ietf:params:qlog:file:sequential",
            "serialization_format": "application/qlog+json-seq",
            "title": title or "cwt",
        }
        if description:
            header["description"] = description
        header["trace"] = {
            "common_fields": {
                "group_id": self.group,
                "time_format": "relative_to_epoch",
                "reference_time": reference,
            },
            "vantage_point": {"name": "cwt", "type": "client" if self.is_client else "server"},
            "event_schemas": list(EVENT_SCHEMAS),
        }
        data = f"\x1e{json.dumps(header, separators=(',', ':'))}\n".encode("ascii")
        self.out.raw(data, len(data))

    def __del__(self):
        self.flush()

    def event(self, str name not None, data, str level="base"):
        """An event of a layer above: *data* is what its definition asks for, of numbers, text and lists."""
        if not self.wants(LEVELS.index(level)):
            return
        try:
            text = json.dumps(data, separators=(",", ":")).encode("ascii")
            label = name.encode("ascii")
        except Exception as error:
            return self.fail(error)
        self.begin(label)
        self.out.length -= 1                 # the brace
        self.out.raw(text, len(text))
        self.out.length -= 1
        self.end()

    # Events in general

    cdef bint wants(self, int level) noexcept:
        return self.write is not None and self.level >= level

    cdef void begin(self, const char* name) noexcept:
        if self.start < 0:
            self.start = self.flushed = self.now
        self.out.raw("\x1e{", 2)
        self.out.duration("time", self.now - self.start)
        self.out.word("name", name)
        self.out.open("data")

    cdef void end(self) noexcept:
        self.out.raw("}}\n", 3)
        if self.out.failed:
            self.fail(MemoryError("no memory for it"))
        elif self.out.length >= FLUSH_SIZE or self.now - self.flushed >= FLUSH_INTERVAL:
            self.flush()

    cdef void flush(self) noexcept:
        """Hand what there is to the writer."""
        self.flushed = self.now
        if self.write is None or self.out.length == 0:
            return
        if not self.live:
            if self.out.length >= FLUSH_SIZE:
                self.write = None            # nobody proved to be there, and goes on and on
            return
        try:
            self.write(self.out.take())
        except Exception as error:
            self.fail(error)

    cdef void fail(self, object error) noexcept:
        # The one warning; the connection goes on without.
        if self.write is None:
            return
        self.write = None
        try:
            _log.warning("the qlog of connection %s ends here: %s", self.group, error)
        except Exception:
            pass

    # Packets

    cdef void packet_sent(
        self, const uint8_t* data, size_t header_length, size_t length, uint64_t number,
        bint mtu_probe, bint pto_probe
    ) noexcept:
        # *data* is header and payload, not yet protected.
        if not self.wants(CORE):
            return
        self.begin("quic:packet_sent")
        self._packet(data, header_length, length, number, self.own_exponent)
        if mtu_probe:
            self.out.flag("is_mtu_probe_packet", True)
        if pto_probe:
            self.out.word("trigger", "pto_probe")
        self.end()

    cdef void packet_received(
        self, const uint8_t* data, size_t header_length, size_t length, uint64_t number
    ) noexcept:
        # *data* is header and payload, opened.
        self.live = True
        if not self.wants(CORE):
            return
        self.begin("quic:packet_received")
        self._packet(data, header_length, length, number, self.peer_exponent)
        self.end()

    cdef void _packet(
        self, const uint8_t* data, size_t header_length, size_t length, uint64_t number, int exponent
    ) noexcept:
        self._header(data, header_length + length + TAG, <int64_t>number)
        self.out.open("raw")
        self.out.number("length", header_length + length + TAG)
        self.out.number("payload_length", length)
        self.out.put("}")
        write_frames(self.out, data + header_length, length, exponent, self.http3)

    cdef void _header(self, const uint8_t* data, size_t length, int64_t number) noexcept:
        # *number* is -1 where it is not known.
        cdef Header header
        cdef uint8_t version[4]
        self.out.open("header")
        if not length or not data[0] & 0x80:
            self.out.word("packet_type", "1RTT" if length else "unknown")
            if length and number >= 0:
                self.out.flag("key_phase_bit", data[0] & 4)
        elif not parse_header(data, length, 0, &header):
            self.out.word("packet_type", "unknown")
        else:
            self.out.word(
                "packet_type",
                "initial" if header.type == INITIAL else "handshake" if header.type == HANDSHAKE
                else "0RTT" if header.type == ZERO_RTT else "retry" if header.type == RETRY
                else "version_negotiation",
            )
            if header.type == INITIAL and header.token_length or header.type == RETRY:
                self.out.open("token")
                if header.type == RETRY:
                    self.out.word("type", "retry")
                self.out.open("raw")
                self.out.number("length", header.token_length)
                self.out.put("}}")
            version[0] = header.version >> 24
            version[1] = header.version >> 16 & 0xFF
            version[2] = header.version >> 8 & 0xFF
            version[3] = header.version & 0xFF
            self.out.hex("version", version, 4)
            self.out.hex("scid", header.scid, header.scid_length)
            self.out.hex("dcid", header.dcid, header.dcid_length)
        if number >= 0:
            self.out.number("packet_number", number)
        self.out.put("}")

    cdef void retry_received(self, const uint8_t* data, size_t length) noexcept:
        if not self.wants(CORE):
            return
        self.begin("quic:packet_received")
        self._header(data, length, -1)
        self.out.open("raw")
        self.out.number("length", length)
        self.out.put("}")
        self.end()

    cdef void versions_received(self, list versions) noexcept:
        # A Version Negotiation packet, from the point of view of a client.
        if not self.wants(CORE):
            return
        self.begin("quic:packet_received")
        self.out.put('"header":{"packet_type":"version_negotiation"}')
        self.out.open_list("supported_versions")
        for version in versions:
            self.out.string(NULL, f"{version:08x}")
        self.out.put("]")
        self.end()

    cdef void reset_received(self, size_t length) noexcept:
        # A stateless reset; its token stays out of the log.
        if not self.wants(CORE):
            return
        self.begin("quic:packet_received")
        self.out.put('"header":{"packet_type":"stateless_reset"}')
        if length:                           # else its recipient was found by the token alone
            self.out.open("raw")
            self.out.number("length", length)
            self.out.put("}")
        self.end()

    cdef void _protected(self, const uint8_t* data, size_t length) noexcept:
        # What can be told of a packet that was not opened.
        self._header(data, length, -1)
        self.out.open("raw")
        self.out.number("length", length)
        self.out.put("}")

    cdef void packet_dropped(self, const uint8_t* data, size_t length, Drop trigger) noexcept:
        if not self.wants(BASE):
            return
        self.begin("quic:packet_dropped")
        self._protected(data, length)
        self.out.word("trigger", TRIGGERS[<int>trigger])
        self.end()

    cdef void packet_buffered(self, const uint8_t* data, size_t length) noexcept:
        if not self.wants(BASE):
            return
        self.begin("quic:packet_buffered")
        self._protected(data, length)
        self.out.word("trigger", "keys_unavailable")
        self.end()

    cdef void datagrams(self, bint sent, size_t length, size_t segment_size, int ecn) noexcept:
        # Datagrams of *segment_size* in a row, the last perhaps shorter.
        cdef size_t left = length
        if not self.wants(EXTRA) or not segment_size:
            return
        self.begin("quic:udp_datagrams_sent" if sent else "quic:udp_datagrams_received")
        self.out.number("count", (length + segment_size - 1) // segment_size)
        self.out.open_list("raw")
        while left:
            self.out.open(NULL)
            self.out.number("length", min(left, segment_size))
            self.out.put("}")
            left -= min(left, segment_size)
        self.out.put("]")
        if ecn >= 0:
            self.out.open_list("ecn")
            self.out.word(NULL, ECN[ecn & 3])
            self.out.put("]")
        self.end()

    # Recovery

    cdef void packet_acked(self, uint64_t number) noexcept:
        # One of those that the frame being read acknowledges for the first time.
        if self.wants(EXTRA):
            self.numbers.number(NULL, number)

    cdef void acked(self, int space) noexcept:
        # The frame has been read.
        if self.numbers.length == 0:
            return
        self.begin("quic:packets_acked")
        self.out.word("packet_number_space", SPACES[space])
        self.out.open_list("packet_numbers")
        self.out.raw(self.numbers.data, self.numbers.length)
        self.out.put("]")
        self.numbers.length = 0
        self.end()

    cdef void packet_lost(self, int space, uint64_t number, bint by_time, bint mtu_probe) noexcept:
        if not self.wants(CORE):
            return
        self.begin("quic:packet_lost")
        self.out.open("header")
        self.out.word("packet_type", TYPE_OF_SPACE[space])
        self.out.number("packet_number", number)
        self.out.put("}")
        if mtu_probe:
            self.out.flag("is_mtu_probe_packet", True)
        self.out.word("trigger", "time_threshold" if by_time else "reordering_threshold")
        self.end()

    cdef void spurious_loss(self, int space, uint64_t number) noexcept:
        # Declared lost, acknowledged after all.  The drafts have no event for it.
        if not self.wants(BASE):
            return
        self.begin("cwt:spurious_loss")
        self.out.word("packet_number_space", SPACES[space])
        self.out.number("packet_number", number)
        self.end()
