"""Frames (RFC 9000 Section 19, RFC 9221 Section 4)."""

from libc.stdint cimport uint8_t, uint64_t

from cwt._core.wire.cursor cimport (
    Reader, Writer, put_bytes, put_u8, put_varint, read_bytes, read_u8, read_varint, reader,
    remaining, varint_length,
)

from cwt.errors import TransportError, TransportErrorCode


cdef bint read_type(Reader* r, uint64_t* type) noexcept nogil:
    # A type must be in its shortest form (RFC 9000 Section 12.4).
    cdef const uint8_t* start = r.pos
    return read_varint(r, type) and <size_t>(r.pos - start) == varint_length(type[0])


cdef bint read_ack(Reader* r, uint64_t type, AckFrame* frame) noexcept nogil:
    # The ranges are walked here so that whoever uses them need not check: none goes below zero.
    cdef uint64_t left, gap, length, smallest
    if not (
        read_varint(r, &frame.largest) and read_varint(r, &frame.delay)
        and read_varint(r, &frame.range_count) and read_varint(r, &frame.first_range)
    ):
        return False
    if frame.first_range > frame.largest:
        return False
    smallest = frame.largest - frame.first_range
    frame.ranges = r[0]
    left = frame.range_count
    while left:
        left -= 1
        if not read_varint(r, &gap) or not read_varint(r, &length):
            return False
        if gap + 2 > smallest or length > smallest - gap - 2:
            return False
        smallest = smallest - gap - 2 - length
    frame.has_ecn = type == ACK_ECN
    if frame.has_ecn:
        return (
            read_varint(r, &frame.ect0) and read_varint(r, &frame.ect1)
            and read_varint(r, &frame.ce)
        )
    return True


cdef bint read_ack_frequency(Reader* r, AckFrequencyFrame* frame) noexcept nogil:
    return (
        read_varint(r, &frame.sequence) and read_varint(r, &frame.threshold)
        and read_varint(r, &frame.max_delay) and read_varint(r, &frame.reordering)
    )


cdef bint read_stream(Reader* r, uint64_t type, DataFrame* frame) noexcept nogil:
    frame.offset = 0
    frame.fin = type & STREAM_FIN
    if not read_varint(r, &frame.stream_id):
        return False
    if type & STREAM_OFF and not read_varint(r, &frame.offset):
        return False
    if type & STREAM_LEN:
        if not read_varint(r, &frame.length) or frame.length > remaining(r):
            return False
    else:
        frame.length = remaining(r)
    read_bytes(r, <size_t>frame.length, &frame.data)
    return frame.offset + frame.length < <uint64_t>1 << 62


cdef bint read_crypto(Reader* r, DataFrame* frame) noexcept nogil:
    frame.fin = False
    if not read_varint(r, &frame.offset) or not read_varint(r, &frame.length):
        return False
    return read_bytes_of(r, frame) and frame.offset + frame.length < <uint64_t>1 << 62


cdef bint read_bytes_of(Reader* r, DataFrame* frame) noexcept nogil:
    if frame.length > remaining(r):
        return False
    return read_bytes(r, <size_t>frame.length, &frame.data)


cdef bint read_datagram(Reader* r, uint64_t type, DataFrame* frame) noexcept nogil:
    if type == DATAGRAM_WITH_LENGTH:
        if not read_varint(r, &frame.length):
            return False
    else:
        frame.length = remaining(r)
    return read_bytes_of(r, frame)


cdef bint read_new_token(Reader* r, DataFrame* frame) noexcept nogil:
    return read_varint(r, &frame.length) and frame.length > 0 and read_bytes_of(r, frame)


cdef bint read_reset_stream(Reader* r, uint64_t type, StreamControl* frame) noexcept nogil:
    # RESET_STREAM, or RESET_STREAM_AT by its *type*.
    frame.reliable_size = 0
    return (
        read_varint(r, &frame.stream_id) and read_varint(r, &frame.code)
        and read_varint(r, &frame.final_size)
        and (type == RESET_STREAM or read_varint(r, &frame.reliable_size))
        and frame.reliable_size <= frame.final_size
    )


cdef bint read_stop_sending(Reader* r, StreamControl* frame) noexcept nogil:
    return read_varint(r, &frame.stream_id) and read_varint(r, &frame.code)


cdef bint read_pair(Reader* r, uint64_t* first, uint64_t* second) noexcept nogil:
    return read_varint(r, first) and read_varint(r, second)


cdef bint read_new_connection_id(Reader* r, NewConnectionId* frame) noexcept nogil:
    return (
        read_varint(r, &frame.sequence) and read_varint(r, &frame.retire_prior_to)
        and read_u8(r, &frame.length) and 1 <= frame.length <= 20
        and frame.retire_prior_to <= frame.sequence
        and read_bytes(r, frame.length, &frame.cid) and read_bytes(r, 16, &frame.token)
    )


cdef bint read_close(Reader* r, uint64_t type, CloseFrame* frame) noexcept nogil:
    frame.application = type == APPLICATION_CLOSE
    frame.frame_type = 0
    if not read_varint(r, &frame.code):
        return False
    if not frame.application and not read_varint(r, &frame.frame_type):
        return False
    if not read_varint(r, &frame.reason_length) or frame.reason_length > remaining(r):
        return False
    return read_bytes(r, <size_t>frame.reason_length, &frame.reason)


cdef bint put_one(Writer* w, uint64_t type, uint64_t value) noexcept nogil:
    cdef Writer start = w[0]
    if put_varint(w, type) and put_varint(w, value):
        return True
    w[0] = start
    return False


cdef bint put_two(Writer* w, uint64_t type, uint64_t first, uint64_t second) noexcept nogil:
    cdef Writer start = w[0]
    if put_varint(w, type) and put_varint(w, first) and put_varint(w, second):
        return True
    w[0] = start
    return False


cdef bint put_reset_stream(Writer* w, const StreamControl* frame) noexcept nogil:
    # RESET_STREAM_AT if there is a reliable size.
    cdef Writer start = w[0]
    if (
        put_varint(w, RESET_STREAM_AT if frame.reliable_size else RESET_STREAM) and put_varint(w, frame.stream_id)
        and put_varint(w, frame.code) and put_varint(w, frame.final_size)
        and (frame.reliable_size == 0 or put_varint(w, frame.reliable_size))
    ):
        return True
    w[0] = start
    return False


cdef bint put_ack_frequency(Writer* w, const AckFrequencyFrame* frame) noexcept nogil:
    cdef Writer start = w[0]
    if (
        put_varint(w, ACK_FREQUENCY) and put_varint(w, frame.sequence) and put_varint(w, frame.threshold)
        and put_varint(w, frame.max_delay) and put_varint(w, frame.reordering)
    ):
        return True
    w[0] = start
    return False


cdef bint put_new_connection_id(
    Writer* w, uint64_t sequence, uint64_t retire_prior_to, const uint8_t* cid, size_t length, const uint8_t* token
) noexcept nogil:
    cdef Writer start = w[0]
    if (
        put_varint(w, NEW_CONNECTION_ID) and put_varint(w, sequence)
        and put_varint(w, retire_prior_to) and put_u8(w, <uint8_t>length)
        and put_bytes(w, cid, length) and put_bytes(w, token, 16)
    ):
        return True
    w[0] = start
    return False


cdef bint put_close(
    Writer* w, bint application, uint64_t code, uint64_t frame_type, const uint8_t* reason, size_t length
) noexcept nogil:
    cdef Writer start = w[0]
    if (
        put_varint(w, APPLICATION_CLOSE if application else TRANSPORT_CLOSE) and put_varint(w, code)
        and (application or put_varint(w, frame_type)) and put_varint(w, length)
        and put_bytes(w, reason, length)
    ):
        return True
    w[0] = start
    return False


def parse(const uint8_t[::1] payload not None):
    """The frames of a packet payload as tuples, type first, for tests and tools.

    Raises TransportError(FRAME_ENCODING_ERROR) where a connection would close.
    """
    cdef Reader r
    cdef uint64_t type
    frames = []
    if payload.shape[0] == 0:
        return frames
    r = reader(&payload[0], payload.shape[0])
    while remaining(&r):
        if not read_type(&r, &type):
            raise TransportError(TransportErrorCode.FRAME_ENCODING_ERROR, "bad frame type")
        frame = parse_one(&r, type)
        if frame is None:
            raise TransportError(
                TransportErrorCode.FRAME_ENCODING_ERROR, "bad or unknown frame", type
            )
        frames.append(frame)
    return frames


cdef object parse_one(Reader* r, uint64_t type):
    cdef DataFrame data
    cdef StreamControl control
    cdef NewConnectionId cid
    cdef CloseFrame close
    cdef AckFrequencyFrame frequency
    cdef uint64_t a = 0, b = 0
    cdef const uint8_t* raw
    if type == PADDING:
        while remaining(r) and r.pos[0] == 0:
            r.pos += 1
        return (FrameType.PADDING,)
    if type == PING or type == HANDSHAKE_DONE or type == IMMEDIATE_ACK:
        return (FrameType(type),)
    if type == ACK or type == ACK_ECN:
        return parse_ack(r, type)
    if type == RESET_STREAM:
        if read_reset_stream(r, type, &control):
            return (FrameType.RESET_STREAM, control.stream_id, control.code, control.final_size)
    elif type == RESET_STREAM_AT:
        if read_reset_stream(r, type, &control):
            return (
                FrameType.RESET_STREAM_AT, control.stream_id, control.code, control.final_size, control.reliable_size,
            )
    elif type == STOP_SENDING:
        if read_stop_sending(r, &control):
            return (FrameType.STOP_SENDING, control.stream_id, control.code)
    elif type == CRYPTO:
        if read_crypto(r, &data):
            return (FrameType.CRYPTO, data.offset, data.data[:data.length])
    elif type == NEW_TOKEN:
        if read_new_token(r, &data):
            return (FrameType.NEW_TOKEN, data.data[:data.length])
    elif STREAM <= type <= 0x0F:
        if read_stream(r, type, &data):
            return (
                FrameType.STREAM, data.stream_id, data.offset, data.data[:data.length],
                bool(data.fin),
            )
    elif type in (MAX_DATA, MAX_STREAMS_BIDI, MAX_STREAMS_UNI, DATA_BLOCKED,
                  STREAMS_BLOCKED_BIDI, STREAMS_BLOCKED_UNI, RETIRE_CONNECTION_ID):
        if read_varint(r, &a):
            return (FrameType(type), a)
    elif type == MAX_STREAM_DATA or type == STREAM_DATA_BLOCKED:
        if read_pair(r, &a, &b):
            return (FrameType(type), a, b)
    elif type == NEW_CONNECTION_ID:
        if read_new_connection_id(r, &cid):
            return (
                FrameType.NEW_CONNECTION_ID, cid.sequence, cid.retire_prior_to,
                cid.cid[:cid.length], cid.token[:16],
            )
    elif type == PATH_CHALLENGE or type == PATH_RESPONSE:
        if read_bytes(r, 8, &raw):
            return (FrameType(type), raw[:8])
    elif type == TRANSPORT_CLOSE or type == APPLICATION_CLOSE:
        if read_close(r, type, &close):
            return (FrameType(type), close.code, close.frame_type, close.reason[:close.reason_length])
    elif type == DATAGRAM or type == DATAGRAM_WITH_LENGTH:
        if read_datagram(r, type, &data):
            return (FrameType.DATAGRAM, data.data[:data.length])
    elif type == ACK_FREQUENCY:
        if read_ack_frequency(r, &frequency):
            return (
                FrameType.ACK_FREQUENCY, frequency.sequence, frequency.threshold, frequency.max_delay,
                frequency.reordering,
            )
    return None


cdef object parse_ack(Reader* r, uint64_t type):
    cdef AckFrame ack
    cdef uint64_t left, gap = 0, length = 0, smallest
    if not read_ack(r, type, &ack):
        return None
    smallest = ack.largest - ack.first_range
    ranges = [(smallest, ack.largest + 1)]
    left = ack.range_count
    while left:
        left -= 1
        read_pair(&ack.ranges, &gap, &length)
        smallest -= gap + 2
        ranges.append((smallest - length, smallest + 1))
        smallest -= length
    ecn = (ack.ect0, ack.ect1, ack.ce) if ack.has_ecn else None
    return (FrameType.ACK, ack.delay, ranges, ecn)
