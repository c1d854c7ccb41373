"""Frames (RFC 9000 Section 19, RFC 9221 Section 4, draft-ietf-quic-ack-frequency,
draft-ietf-quic-reliable-stream-reset): one reader and one writer per frame.

``read_*`` are called behind the type; ``put_*`` write the type too and say whether the frame fitted.
"""

from libc.stdint cimport int64_t, uint8_t, uint64_t

from cwt._core.wire.cursor cimport Reader, Writer

cpdef enum FrameType:
    PADDING = 0x00
    PING = 0x01
    ACK = 0x02
    ACK_ECN = 0x03
    RESET_STREAM = 0x04
    STOP_SENDING = 0x05
    CRYPTO = 0x06
    NEW_TOKEN = 0x07
    STREAM = 0x08
    MAX_DATA = 0x10
    MAX_STREAM_DATA = 0x11
    MAX_STREAMS_BIDI = 0x12
    MAX_STREAMS_UNI = 0x13
    DATA_BLOCKED = 0x14
    STREAM_DATA_BLOCKED = 0x15
    STREAMS_BLOCKED_BIDI = 0x16
    STREAMS_BLOCKED_UNI = 0x17
    NEW_CONNECTION_ID = 0x18
    RETIRE_CONNECTION_ID = 0x19
    PATH_CHALLENGE = 0x1A
    PATH_RESPONSE = 0x1B
    TRANSPORT_CLOSE = 0x1C
    APPLICATION_CLOSE = 0x1D
    HANDSHAKE_DONE = 0x1E
    IMMEDIATE_ACK = 0x1F
    RESET_STREAM_AT = 0x24
    DATAGRAM = 0x30
    DATAGRAM_WITH_LENGTH = 0x31
    ACK_FREQUENCY = 0xAF

cdef enum:
    STREAM_FIN = 0x01
    STREAM_LEN = 0x02
    STREAM_OFF = 0x04
    MAX_RECORDS = 48

# What a packet carried, kept until it is acknowledged or lost.
cdef struct FrameRecord:
    uint8_t type             # of FrameType; STREAM and DATAGRAM without their flag bits
    bint fin
    uint64_t id              # stream ID or sequence number
    uint64_t offset          # or limit
    uint64_t length

# A packet being written: payload cursor and the records of what went in.
cdef struct PacketBuilder:
    Writer w
    FrameRecord records[MAX_RECORDS]
    int record_count
    bint ack_eliciting
    bint in_flight
    bint mtu_probe
    bint repeats             # carries what had been sent before
    size_t repeated          # bytes of streams that had been
    uint8_t path             # over which it goes, as recovery numbers them

cdef struct AckFrame:
    uint64_t largest
    uint64_t delay
    uint64_t range_count
    uint64_t first_range
    Reader ranges            # range_count pairs of gap and length, checked
    bint has_ecn
    uint64_t ect0
    uint64_t ect1
    uint64_t ce

cdef struct AckFrequencyFrame:
    uint64_t sequence
    uint64_t threshold
    uint64_t max_delay       # microseconds
    uint64_t reordering

cdef struct DataFrame:       # STREAM, CRYPTO, DATAGRAM, NEW_TOKEN
    uint64_t stream_id
    uint64_t offset
    uint64_t length
    const uint8_t* data
    bint fin

cdef struct StreamControl:   # RESET_STREAM, RESET_STREAM_AT, STOP_SENDING
    uint64_t stream_id
    uint64_t code
    uint64_t final_size
    uint64_t reliable_size   # 0 in RESET_STREAM

cdef struct NewConnectionId:
    uint64_t sequence
    uint64_t retire_prior_to
    uint8_t length
    const uint8_t* cid
    const uint8_t* token

cdef struct CloseFrame:
    bint application
    uint64_t code
    uint64_t frame_type
    const uint8_t* reason
    uint64_t reason_length


cdef inline void start_packet(PacketBuilder* p, uint8_t* data, size_t length) noexcept nogil:
    p.w.pos = data
    p.w.end = data + length
    p.record_count = 0
    p.ack_eliciting = False
    p.in_flight = False
    p.mtu_probe = False
    p.repeats = False
    p.repeated = 0
    p.path = 0


cdef inline bint can_record(const PacketBuilder* p) noexcept nogil:
    return p.record_count < MAX_RECORDS


cdef inline void record(
    PacketBuilder* p, uint8_t type, uint64_t id, uint64_t offset, uint64_t length, bint fin
) noexcept nogil:
    # The frame just written must be remembered; it elicits an acknowledgement unless it is an ACK.
    cdef FrameRecord* r = &p.records[p.record_count]
    r.type = type
    r.id = id
    r.offset = offset
    r.length = length
    r.fin = fin
    p.record_count += 1
    if type != 0x02:
        p.ack_eliciting = True
        p.in_flight = True


cdef bint read_type(Reader* r, uint64_t* type) noexcept nogil
cdef bint read_ack(Reader* r, uint64_t type, AckFrame* frame) noexcept nogil
cdef bint read_ack_frequency(Reader* r, AckFrequencyFrame* frame) noexcept nogil
cdef bint read_stream(Reader* r, uint64_t type, DataFrame* frame) noexcept nogil
cdef bint read_crypto(Reader* r, DataFrame* frame) noexcept nogil
cdef bint read_datagram(Reader* r, uint64_t type, DataFrame* frame) noexcept nogil
cdef bint read_new_token(Reader* r, DataFrame* frame) noexcept nogil
cdef bint read_reset_stream(Reader* r, uint64_t type, StreamControl* frame) noexcept nogil
cdef bint read_stop_sending(Reader* r, StreamControl* frame) noexcept nogil
cdef bint read_pair(Reader* r, uint64_t* first, uint64_t* second) noexcept nogil
cdef bint read_new_connection_id(Reader* r, NewConnectionId* frame) noexcept nogil
cdef bint read_close(Reader* r, uint64_t type, CloseFrame* frame) noexcept nogil

cdef bint put_one(Writer* w, uint64_t type, uint64_t value) noexcept nogil
cdef bint put_two(Writer* w, uint64_t type, uint64_t first, uint64_t second) noexcept nogil
cdef bint put_reset_stream(Writer* w, const StreamControl* frame) noexcept nogil
cdef bint put_ack_frequency(Writer* w, const AckFrequencyFrame* frame) noexcept nogil
cdef bint put_new_connection_id(
    Writer* w, uint64_t sequence, uint64_t retire_prior_to, const uint8_t* cid, size_t length, const uint8_t* token
) noexcept nogil
cdef bint put_close(
    Writer* w, bint application, uint64_t code, uint64_t frame_type, const uint8_t* reason, size_t length
) noexcept nogil
