"""The qlog of one connection (draft-ietf-quic-qlog-main-schema, -quic-events)."""

from libc.stdint cimport int64_t, uint8_t, uint64_t

from cwt._core.qlog.text cimport Text

cdef enum:
    CORE = 0                 # importance of an event, and what a trace takes up to
    BASE = 1
    EXTRA = 2

cdef enum Drop:
    DROP_INVALID = 0
    DROP_UNSUPPORTED = 1
    DROP_DUPLICATE = 2
    DROP_DECRYPTION = 3
    DROP_KEY = 4
    DROP_REJECTED = 5
    DROP_GENERAL = 6


cdef class Trace:
    cdef object write                        # takes bytes; None once the trace is off
    cdef Text out
    cdef Text numbers                        # of packets acknowledged by the frame being read
    cdef readonly int level
    cdef bint is_client
    cdef readonly str group                  # the original Destination Connection ID
    cdef int64_t now, start, flushed         # nanoseconds; start is -1 before the first event
    cdef bint live                           # there is a connection to speak of: packets may be written
    cdef bint http3                          # names for its error codes
    cdef int own_exponent, peer_exponent     # ack_delay_exponent

    cdef bint wants(self, int level) noexcept
    cdef void begin(self, const char* name) noexcept
    cdef void end(self) noexcept
    cdef void flush(self) noexcept
    cdef void fail(self, object error) noexcept
    cdef void packet_sent(
        self, const uint8_t* data, size_t header_length, size_t length, uint64_t number,
        bint mtu_probe, bint pto_probe
    ) noexcept
    cdef void packet_received(
        self, const uint8_t* data, size_t header_length, size_t length, uint64_t number
    ) noexcept
    cdef void _header(self, const uint8_t* data, size_t length, int64_t number) noexcept
    cdef void _packet(
        self, const uint8_t* data, size_t header_length, size_t length, uint64_t number, int exponent
    ) noexcept
    cdef void retry_received(self, const uint8_t* data, size_t length) noexcept
    cdef void versions_received(self, list versions) noexcept
    cdef void reset_received(self, size_t length) noexcept
    cdef void _protected(self, const uint8_t* data, size_t length) noexcept
    cdef void packet_dropped(self, const uint8_t* data, size_t length, Drop trigger) noexcept
    cdef void packet_buffered(self, const uint8_t* data, size_t length) noexcept
    cdef void datagrams(self, bint sent, size_t length, size_t segment_size, int ecn) noexcept
    cdef void packet_acked(self, uint64_t number) noexcept
    cdef void acked(self, int space) noexcept
    cdef void packet_lost(self, int space, uint64_t number, bint by_time, bint mtu_probe) noexcept
    cdef void spurious_loss(self, int space, uint64_t number) noexcept
