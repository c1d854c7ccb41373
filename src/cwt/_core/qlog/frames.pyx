"""Frames as qlog describes them (draft-ietf-quic-qlog-quic-events Section 8.13)."""

from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport int64_t, uint8_t, uint64_t

import json

from cwt._core.qlog.text cimport Text
from cwt._core.wire.cursor cimport Reader, read_bytes, read_varint, reader
from cwt._core.wire.frame cimport (
    ACK, ACK_ECN, ACK_FREQUENCY, APPLICATION_CLOSE, AckFrame, AckFrequencyFrame, CRYPTO, CloseFrame,
    DATAGRAM, DATAGRAM_WITH_LENGTH, DATA_BLOCKED, DataFrame, HANDSHAKE_DONE, IMMEDIATE_ACK, MAX_DATA,
    MAX_STREAMS_BIDI, MAX_STREAMS_UNI, MAX_STREAM_DATA, NEW_CONNECTION_ID, NEW_TOKEN, NewConnectionId,
    PADDING, PATH_CHALLENGE, PATH_RESPONSE, PING, RESET_STREAM, RESET_STREAM_AT, RETIRE_CONNECTION_ID,
    STOP_SENDING, STREAM, STREAMS_BLOCKED_BIDI, STREAMS_BLOCKED_UNI, STREAM_DATA_BLOCKED, TRANSPORT_CLOSE, read_ack,
    read_ack_frequency, read_close, read_crypto, read_datagram, read_new_connection_id, read_new_token,
    read_stream, read_type,
)

cdef enum:
    MAX_FRAMES = 512         # of a packet; a peer's thousands of PINGs are not worth more of the disk
    MAX_RANGES = 256         # of an ACK frame
    MAX_REASON = 256

ctypedef const char* Word

cdef Word[17] TRANSPORT_ERRORS = [
    "no_error", "internal_error", "connection_refused", "flow_control_error", "stream_limit_error",
    "stream_state_error", "final_size_error", "frame_encoding_error", "transport_parameter_error",
    "connection_id_limit_error", "protocol_violation", "invalid_token", "application_error",
    "crypto_buffer_exceeded", "key_update_error", "aead_limit_reached", "no_viable_path",
]
cdef Word[17] HTTP_ERRORS = [
    "http_no_error", "http_general_protocol_error", "http_internal_error", "http_stream_creation_error",
    "http_closed_critical_stream", "http_frame_unexpected", "http_frame_error", "http_excessive_load",
    "http_id_error", "http_settings_error", "http_missing_settings", "http_request_rejected",
    "http_request_cancelled", "http_request_incomplete", NULL, "http_connect_error", "http_version_fallback",
]                                            # the draft has no name for H3_MESSAGE_ERROR


cdef void write_error(Text out, const char* name, bint application, uint64_t code, bint http3) noexcept:
    # The name of an error code, and the code itself where it has none.
    cdef const char* digits = "0123456789abcdef"
    cdef char crypto[3]
    if not application and code <= 0x10:
        out.word(name, TRANSPORT_ERRORS[code])
    elif not application and 0x100 <= code <= 0x1FF:
        crypto[0] = digits[code >> 4 & 15]
        crypto[1] = digits[code & 15]
        crypto[2] = 0
        out.key(name)
        out.put('"crypto_error_0x1')
        out.put(crypto)
        out.put('"')
    elif application and http3 and 0x100 <= code <= 0x110 and HTTP_ERRORS[code - 0x100] != NULL:
        out.word(name, HTTP_ERRORS[code - 0x100])
    else:
        out.word(name, "unknown")
        out.number("error_code", code)


cdef void write_frames(Text out, const uint8_t* payload, size_t length, int exponent, bint http3) noexcept:
    """The frames of a packet as a list named "frames".

    *exponent* is the ack_delay_exponent of whoever sent them; *http3* names HTTP/3's error codes.  What
    cannot be read becomes one unknown frame that ends the list.
    """
    cdef Reader r = reader(payload, length)
    cdef uint64_t type = 0
    cdef int count = 0
    cdef const uint8_t* start
    out.open_list("frames")
    while r.pos < r.end and count < MAX_FRAMES:
        start = r.pos
        count += 1
        out.open(NULL)
        if not read_type(&r, &type):
            type = start[0]
            r.pos = start
        elif _known(out, &r, type, start, exponent, http3):
            out.put("}")
            continue
        out.word("frame_type", "unknown")
        out.number("frame_type_bytes", type)
        _raw(out, r.end - start, 0)
        out.put("}")
        break
    out.put("]")


cdef bint _known(
    Text out, Reader* r, uint64_t type, const uint8_t* start, int exponent, bint http3
) noexcept:
    # Whether it could be read; nothing is written otherwise.
    cdef DataFrame data
    if STREAM <= type <= 0x0F:
        if not read_stream(r, type, &data):
            return False
        out.word("frame_type", "stream")
        out.number("stream_id", data.stream_id)
        out.number("offset", data.offset)
        if data.fin:
            out.flag("fin", True)
        _raw(out, r.pos - start, data.length)
    elif type == ACK or type == ACK_ECN:
        return _ack(out, r, type, exponent)
    elif type == PADDING:
        while r.pos < r.end and r.pos[0] == 0:
            r.pos += 1
        out.word("frame_type", "padding")
        _raw(out, r.pos - start, 0)
    elif type == CRYPTO:
        if not read_crypto(r, &data):
            return False
        out.word("frame_type", "crypto")
        out.number("offset", data.offset)
        _raw(out, r.pos - start, data.length)
    elif type == DATAGRAM or type == DATAGRAM_WITH_LENGTH:
        if not read_datagram(r, type, &data):
            return False
        out.word("frame_type", "datagram")
        _raw(out, r.pos - start, data.length)
    elif type == NEW_TOKEN:
        if not read_new_token(r, &data):
            return False
        out.word("frame_type", "new_token")
        out.open("token")
        out.word("type", "resumption")
        _raw(out, data.length, 0)
        out.put("}")
    elif type == TRANSPORT_CLOSE or type == APPLICATION_CLOSE:
        return _close(out, r, type, http3)
    elif type == NEW_CONNECTION_ID:
        return _new_connection_id(out, r)
    elif type == ACK_FREQUENCY:
        return _ack_frequency(out, r)
    elif type == PATH_CHALLENGE or type == PATH_RESPONSE:
        if not read_bytes(r, 8, &start):
            return False
        out.word("frame_type", "path_challenge" if type == PATH_CHALLENGE else "path_response")
        out.hex("data", start, 8)
    else:
        return _numbers(out, r, type, http3)
    return True


cdef void _raw(Text out, size_t length, uint64_t payload_length) noexcept:
    # RawInfo: of the frame, and of what it carries.
    out.open("raw")
    out.number("length", length)
    if payload_length:
        out.number("payload_length", payload_length)
    out.put("}")


cdef bint _ack(Text out, Reader* r, uint64_t type, int exponent) noexcept:
    cdef AckFrame ack
    cdef uint64_t i, smallest, largest, gap = 0, length = 0
    if not read_ack(r, type, &ack):
        return False
    out.word("frame_type", "ack")
    out.duration("ack_delay", <int64_t>(min(ack.delay, <uint64_t>1 << 40) << min(exponent, 20)) * 1000)
    out.open_list("acked_ranges")
    largest = ack.largest
    smallest = largest - ack.first_range
    for i in range(min(ack.range_count + 1, <uint64_t>MAX_RANGES)):
        if i:
            read_varint(&ack.ranges, &gap)
            read_varint(&ack.ranges, &length)
            largest = smallest - gap - 2
            smallest = largest - length
        out.open_list(NULL)
        out.number(NULL, smallest)
        if largest != smallest:
            out.number(NULL, largest)
        out.put("]")
    out.put("]")
    if ack.has_ecn:
        out.number("ect1", ack.ect1)
        out.number("ect0", ack.ect0)
        out.number("ce", ack.ce)
    return True


cdef bint _close(Text out, Reader* r, uint64_t type, bint http3) noexcept:
    cdef CloseFrame close
    if not read_close(r, type, &close):
        return False
    out.word("frame_type", "connection_close")
    out.word("error_space", "application" if close.application else "transport")
    write_error(out, "error", close.application, close.code, http3)
    if close.reason_length:
        out.string("reason", _decoded(close.reason, min(close.reason_length, <uint64_t>MAX_REASON)))
    if not close.application and close.frame_type:
        out.number("trigger_frame_type", close.frame_type)
    return True


cdef str _decoded(const uint8_t* data, size_t length):
    return data[:length].decode("utf-8", "replace")


cdef bint _new_connection_id(Text out, Reader* r) noexcept:
    # Without the stateless reset token: who has it can end the connection.
    cdef NewConnectionId frame
    if not read_new_connection_id(r, &frame):
        return False
    out.word("frame_type", "new_connection_id")
    out.number("sequence_number", frame.sequence)
    out.number("retire_prior_to", frame.retire_prior_to)
    out.number("connection_id_length", frame.length)
    out.hex("connection_id", frame.cid, frame.length)
    return True


cdef bint _ack_frequency(Text out, Reader* r) noexcept:
    # Not in the schema; the names are those of draft-ietf-quic-ack-frequency.
    cdef AckFrequencyFrame frame
    if not read_ack_frequency(r, &frame):
        return False
    out.word("frame_type", "ack_frequency")
    out.number("sequence_number", frame.sequence)
    out.number("ack_eliciting_threshold", frame.threshold)
    out.duration("requested_max_ack_delay", <int64_t>min(frame.max_delay, <uint64_t>1 << 40) * 1000)
    out.number("reordering_threshold", frame.reordering)
    return True


cdef bint _numbers(Text out, Reader* r, uint64_t type, bint http3) noexcept:
    # Frames of nothing but integers.
    cdef uint64_t a = 0, b = 0, c = 0, d = 0
    if type == PING:
        out.word("frame_type", "ping")
    elif type == HANDSHAKE_DONE:
        out.word("frame_type", "handshake_done")
    elif type == IMMEDIATE_ACK:
        out.word("frame_type", "immediate_ack")
    elif type == RESET_STREAM or type == RESET_STREAM_AT or type == STOP_SENDING:
        if not read_varint(r, &a) or not read_varint(r, &b) or (
            type != STOP_SENDING and not read_varint(r, &c)
            or type == RESET_STREAM_AT and not read_varint(r, &d)
        ):
            return False
        out.word(
            "frame_type", "stop_sending" if type == STOP_SENDING
            else "reset_stream" if type == RESET_STREAM else "reset_stream_at"
        )
        out.number("stream_id", a)
        write_error(out, "error", True, b, http3)
        if type != STOP_SENDING:
            out.number("final_size", c)
        if type == RESET_STREAM_AT:
            out.number("reliable_size", d)
    elif not read_varint(r, &a):
        return False
    elif type == MAX_DATA or type == DATA_BLOCKED:
        out.word("frame_type", "max_data" if type == MAX_DATA else "data_blocked")
        out.number("maximum" if type == MAX_DATA else "limit", a)
    elif type == MAX_STREAM_DATA or type == STREAM_DATA_BLOCKED:
        if not read_varint(r, &b):
            return False
        out.word("frame_type", "max_stream_data" if type == MAX_STREAM_DATA else "stream_data_blocked")
        out.number("stream_id", a)
        out.number("maximum" if type == MAX_STREAM_DATA else "limit", b)
    elif MAX_STREAMS_BIDI <= type <= MAX_STREAMS_UNI or STREAMS_BLOCKED_BIDI <= type <= STREAMS_BLOCKED_UNI:
        out.word("frame_type", "max_streams" if type <= MAX_STREAMS_UNI else "streams_blocked")
        out.word(
            "stream_type",
            "unidirectional" if type == MAX_STREAMS_UNI or type == STREAMS_BLOCKED_UNI else "bidirectional",
        )
        out.number("maximum" if type <= MAX_STREAMS_UNI else "limit", a)
    elif type == RETIRE_CONNECTION_ID:
        out.word("frame_type", "retire_connection_id")
        out.number("sequence_number", a)
    else:
        return False
    return True


def describe(bytes payload not None, int exponent=3, bint http3=False):
    """The frames of a packet's *payload* as qlog has them, for tests and tools."""
    cdef Text out = Text()
    out.put("{")
    write_frames(out, <const uint8_t*>PyBytes_AS_STRING(payload), len(payload), exponent, http3)
    out.put("}")
    if out.failed:
        raise MemoryError
    return json.loads(out.take())["frames"]
