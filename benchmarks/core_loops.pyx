"""Loops over the core's C functions, so that a benchmark measures them and not the interpreter.

Every function does *count* operations and returns something that depends on them.
"""

from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport int64_t, uint8_t, uint64_t

from cwt._core.recovery.acks cimport AckTracker
from cwt._core.recovery.congestion cimport CongestionController
from cwt._core.recovery.loss cimport LossRecovery
from cwt._core.recovery.pacer cimport Pacer
from cwt._core.recovery.rtt cimport RttEstimator
from cwt._core.recovery.sent cimport RecordHandler
from cwt._core.stream.flow cimport SendCredit
from cwt._core.stream.recv cimport ReassemblyBuffer
from cwt._core.stream.send cimport SendPart
from cwt._core.wire.cursor cimport Reader, Writer, put_varint, read_varint, reader, remaining, writer
from cwt._core.wire.frame cimport (
    AckFrame, DataFrame, FrameRecord, PacketBuilder, read_ack, read_stream, read_type, record, start_packet,
)
from cwt._core.wire.packet cimport Header, parse_header
from cwt._core.wire.ranges cimport RangeSet

cdef enum:
    ROOM = 2048
    STREAM = 0x08


def write_varints(list values, int count):
    """Write each of up to 64 *values*, *count* times over."""
    cdef uint64_t numbers[64]
    cdef uint8_t buffer[64 * 8]
    cdef Writer w
    cdef int i, j, size = len(values)
    for i in range(size):
        numbers[i] = values[i]
    for i in range(count):
        w = writer(buffer, sizeof(buffer))
        for j in range(size):
            put_varint(&w, numbers[j])
    return w.pos - buffer


def read_varints(bytes data, int count):
    """Read all varints in *data*, *count* times over; their sum."""
    cdef Reader r
    cdef uint64_t value = 0, total = 0
    cdef int i
    for i in range(count):
        r = reader(<const uint8_t*>PyBytes_AS_STRING(data), len(data))
        while read_varint(&r, &value):
            total += value
    return total


def parse_headers(bytes data, int cid_length, int count):
    """Parse the header at the start of *data*."""
    cdef Header header
    cdef int i
    cdef uint64_t total = 0
    for i in range(count):
        if parse_header(<const uint8_t*>PyBytes_AS_STRING(data), len(data), cid_length, &header):
            total += header.number_offset
    return total


def read_frames(bytes payload, int count):
    """Read the STREAM and ACK frames in *payload*; how many there were in all."""
    cdef Reader r
    cdef DataFrame data
    cdef AckFrame ack
    cdef uint64_t type = 0, total = 0
    cdef int i
    for i in range(count):
        r = reader(<const uint8_t*>PyBytes_AS_STRING(payload), len(payload))
        while remaining(&r):
            read_type(&r, &type)
            if type & 0xF8 == STREAM:
                if not read_stream(&r, type, &data):
                    raise ValueError("bad STREAM frame")
            elif not read_ack(&r, type, &ack):
                raise ValueError("bad ACK frame")
            total += 1
    return total


def write_stream_packets(int size, int count):
    """Fill *count* packets of *size* bytes with a STREAM frame each; payload bytes written."""
    cdef SendPart part = SendPart(1 << 60)
    cdef SendCredit credit
    cdef PacketBuilder builder
    cdef uint8_t buffer[ROOM]
    cdef int i
    cdef bytes chunk = bytes(size * 16)
    if size > ROOM:
        raise ValueError("too large")
    credit.limit = 1 << 60
    credit.used = 0
    credit.blocked_at = 0
    for i in range(count):
        if part.end - part.sent < <uint64_t>size:
            part.append(chunk, <const uint8_t*>PyBytes_AS_STRING(chunk), len(chunk))
        start_packet(&builder, buffer, size)
        part.write(&builder, 4, &credit)
        part.on_acked(
            builder.records[0].offset, builder.records[0].length, builder.records[0].fin
        )
    return credit.used


def track_acks(int every_lost, int count):
    """Receive *count* packets, of which every *every_lost*-th is missing (0: none), and write the ACKs due."""
    cdef AckTracker tracker = AckTracker(25_000_000)
    cdef PacketBuilder builder
    cdef uint8_t buffer[ROOM]
    cdef int i, acks = 0
    for i in range(count):
        if every_lost and i % every_lost == 0:
            continue
        tracker.on_packet(i, True, 0, i * 1000)
        if tracker.is_due(i * 1000):
            start_packet(&builder, buffer, ROOM)
            tracker.write(&builder, i * 1000)
            acks += 1
            if acks % 8 == 0:
                tracker.on_acked(max(0, i - 50))
    return acks


def add_ranges(list starts, int count):
    """Add a range of one at each of *starts*, to a new set each time; ranges left."""
    cdef RangeSet ranges
    cdef int i
    cdef uint64_t start
    for i in range(count):
        ranges = RangeSet()
        for start in starts:
            ranges.add(start, start + 1)
    return len(ranges)


def reassemble(list offsets, bytes data, int chunk, int count):
    """Insert *chunk* bytes at each of *offsets* and read what is in order; bytes read."""
    cdef ReassemblyBuffer buffer
    cdef uint8_t out[65536]
    cdef int i
    cdef uint64_t offset, total = 0
    cdef size_t taken
    for i in range(count):
        buffer = ReassemblyBuffer()
        for offset in offsets:
            buffer.insert(offset, <const uint8_t*>PyBytes_AS_STRING(data), chunk)
            taken = buffer.available()
            if taken:
                total += buffer.take(out, min(taken, sizeof(out)))
    return total


cdef class Ignore(RecordHandler):
    """Owners of frames who do not care."""

    cdef int record_acked(self, const FrameRecord* r, int space) except -1:
        return 0

    cdef int record_lost(self, const FrameRecord* r, int space) except -1:
        return 0


def recover(CongestionController congestion, int burst, int lose, int count):
    """Send *count* bursts of packets of 1200 bytes and acknowledge each, but for every *lose*-th packet.

    Returns packets lost.
    """
    cdef LossRecovery recovery = LossRecovery(
        RttEstimator(333_000_000), congestion, Pacer(False), False
    )
    cdef Ignore handler = Ignore()
    cdef PacketBuilder builder
    cdef uint8_t buffer[ROOM]
    cdef uint8_t ack_bytes[ROOM]
    cdef Writer w
    cdef Reader r
    cdef AckFrame ack
    cdef uint64_t number = 0, end
    cdef int64_t now = 1_000_000_000
    cdef int i, j, gaps
    recovery.handshake_confirmed = True
    for i in range(count):
        for j in range(burst):
            start_packet(&builder, buffer, ROOM)
            record(&builder, STREAM, 4, number * 1200, 1200, False)
            recovery.on_sent(2, &builder, 1200, now)
            number += 1
        now += 10_000_000
        # ACK of the whole burst, highest first, without its packets 0, lose, 2 * lose, ...
        w = writer(ack_bytes, ROOM)
        put_varint(&w, number - 1)
        put_varint(&w, 0)
        gaps = (burst - 1) // lose if lose else 0
        put_varint(&w, gaps)
        if lose:
            put_varint(&w, (burst - 1) % lose - 1 if (burst - 1) % lose else 0)
            for j in range(gaps):
                put_varint(&w, 0)
                put_varint(&w, lose - 2)
        else:
            put_varint(&w, burst - 1)
        r = reader(ack_bytes, w.pos - ack_bytes)
        if not read_ack(&r, 0x02, &ack):
            raise ValueError("bad ACK frame")
        recovery.on_ack(2, &ack, 0, now, handler)
        now += 10_000_000
    return recovery.packets_lost


def control(CongestionController congestion, int count):
    """Acknowledge *count* packets, one at a time, and lose one in a thousand; the window."""
    cdef RttEstimator rtt = RttEstimator(333_000_000)
    cdef int64_t now = 1_000_000_000
    cdef int i
    for i in range(count):
        congestion.on_sent(1200, 12000, now)
        now += 20_000
        if i % 16 == 0:
            rtt.sample(20_000_000, 0, True)
        if i % 1000 == 999:
            congestion.on_lost(now - 20_000_000, now)
        else:
            congestion.on_acked(1200, now - 20_000_000, True, rtt, now)
            if i % 16 == 0:
                congestion.on_ack_done(i, i + 100, rtt)
    return congestion.window
