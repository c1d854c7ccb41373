"""Building datagrams: which packets, which frames, padding and sealing (RFC 9000 Sections 12 and 14)."""

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from cwt._core.crypto.aead cimport Packet, TAG_LENGTH
from cwt._core.keyring cimport MAX_BATCH
from cwt._core.recovery.acks cimport AckTracker
from cwt._core.recovery.path cimport NO_SLOT
from cwt._core.wire.cursor cimport (
    put_bytes, put_u32, put_u8, put_varint, put_varint_of, put_zeros, room, writer,
)
from cwt._core.wire.frame cimport (
    IMMEDIATE_ACK, PADDING, PING, PacketBuilder, can_record, record, start_packet,
)
from cwt._core.wire.packet cimport (
    Cid, HANDSHAKE, INITIAL, MIN_INITIAL_SIZE, ZERO_RTT, long_header_byte, number_length,
)

cdef enum:
    MIN_DRAFT = 64           # bytes a datagram must have left for another packet
    MAX_LENGTH = 16383       # what the two bytes of a long header's Length field hold
    SKIP_INTERVAL = 500      # packets, on average twice that, between numbers left out
    ACKS_BEFORE_PING = 32    # packets with nothing but an ACK before one asks for an ACK itself
    SMALL_PROBES = 2         # probe timeouts in a row after which large packets may be what is lost


@cython.final
cdef class Assembler:
    """Asks each component what it has to send, and makes datagrams of it.

    Packets of 1-RTT are sealed in batches; those of the handshake one by one.
    """

    def __init__(self, object random, size_t datagram_size, bint is_client):
        self.random = random
        self.datagram_size = datagram_size
        self.is_client = is_client
        self.token = b""
        self.skip_at = self._next_skip(0)

    cdef uint64_t _next_skip(self, uint64_t number) except? 0:
        # Left-out numbers give away a peer that acknowledges what it did not get (Section 21.4).
        return number + SKIP_INTERVAL + int.from_bytes(self.random(2), "big") % SKIP_INTERVAL

    cdef uint8_t _quic_bit(self) noexcept:
        # RFC 9287 Section 3: of any value once the peer allows it.
        if self.noise == 0:
            return 0x40
        self.noise ^= self.noise << 13
        self.noise ^= self.noise >> 7
        self.noise ^= self.noise << 17
        return <uint8_t>(self.noise >> 32) & 0x40

    cdef size_t write_batch(
        self, uint8_t* out, size_t capacity, size_t most, int64_t now, size_t* segment_size
    ) except? 0:
        # Up to *most* datagrams of equal size, the last perhaps shorter; their sum, 0 for none.
        cdef Packet jobs[MAX_BATCH]
        cdef size_t total = 0, size = capacity, count = 0, sealed = 0
        cdef bint last = False
        self.path = self.paths.current
        if not self.may_send():
            self.times_limited += not self.is_limited
            self.is_limited = True
            return 0
        self.is_limited = False
        if self.keys.limit_near() and not self.keys.update(self.recovery.application.next):
            self.keys.check_limit()
        self.pacing_at = 0
        self.recovery.pacer.update(
            self.recovery.congestion.pacing_rate(self.recovery.rtt), self.datagram_size,
            self.recovery.bytes_in_flight, now,
        )
        self.recovery.start_batch()
        total = self._write_mtu_probe(out, capacity, now)
        if total:
            segment_size[0] = total
            return total
        most = min(most, <size_t>MAX_BATCH)
        self._look()
        while count < most and capacity - total >= self.datagram_size and not last:
            size = min(self.datagram_size, self.path.allowance())
            if self.recovery.pto_count >= SMALL_PROBES:
                size = min(size, self.path.mtu.base)
            if size < self.datagram_size and not self.may_send():
                break
            if count and size > segment_size[0]:
                size = segment_size[0]       # behind a packet of DATAGRAM frames that have one size
            jobs[sealed].data = NULL
            size = self._write_datagram(out + total, size, now, &jobs[sealed], &last)
            if size == 0:
                break
            if jobs[sealed].data != NULL:
                sealed += 1
            self.path.sent += size
            total += size
            count += 1
            if self.control:
                self._look()
            if count == 1:
                segment_size[0] = size
            if size < segment_size[0] or size < self.datagram_size and not self.datagrams.wants_to_send():
                break
        if size == 0 and self.pacing_at == 0 and self.recovery.may_send(self.datagram_size + self.reserved):
            self.recovery.on_app_limited()
        if sealed:
            self.keys.seal(2, jobs, sealed)
        if total and segment_size[0] == self.datagram_size and self.handshake.confirmed:
            self.path.mtu.on_full(now)
        self.bytes_sent += total
        return total

    cdef int _look(self) except -1:
        # What most packets have nothing to do with is asked once for a batch, not for each of them.
        self.control = (
            self.handshake.wants_to_send(2) or self.paths.wants_to_send() or self.ack_frequency.pending
            or self.local_ids.wants_to_send() or self.remote_ids.wants_to_send()
            or self.given_token is not None and self.given_token.pending
        )
        self.first_space = 0 if self.keys.can_write(0) else 1 if self.keys.can_write(1) else 2
        return 0

    cdef int set_datagram_size(self, size_t size) except -1:
        # The path takes more than was known, or less.
        self.datagram_size = size
        return self.recovery.congestion.set_max_datagram_size(size)

    cdef size_t _write_mtu_probe(self, uint8_t* out, size_t capacity, int64_t now) except? 0:
        # A datagram larger than any before, if it is time for one (RFC 8899 Section 4.1).  It is of no use
        # to the application, so it waits until the window has room for it; data then leaves it that room.
        cdef Draft draft
        cdef Packet job
        cdef bint last = False
        cdef uint64_t number
        cdef size_t size = self.path.mtu.due(now)
        self.reserved = 0
        if size == 0 or size > capacity or 2 * size > self.recovery.congestion.window or (
            self.recovery.pto_count or self.recovery.probes[2] or not self.paths.current.validated
        ):
            return 0
        if not self.recovery.may_send(size) or not self._pacing_allows(self.datagram_size, now):
            self.reserved = size
            return 0
        if not self._start_draft(2, out, 0, size, &self.remote_ids.current, &draft):
            return 0
        number = self.recovery.application.next
        put_u8(&draft.builder.w, IMMEDIATE_ACK if self.ack_frequency.asks_at_once() else PING)
        put_zeros(&draft.builder.w, room(&draft.builder.w))
        record(&draft.builder, PADDING, number, 0, 0, False)
        draft.builder.mtu_probe = True
        self.path.mtu.on_probe_sent(number, size)
        size = self._finish(out, size, &draft, 1, now, &job, &last)
        self.keys.seal(2, &job, 1)
        self.path.sent += size
        self.bytes_sent += size
        return size

    cdef bint may_send(self) noexcept:
        # Whether the anti-amplification limit leaves room for a datagram.  During the handshake it must
        # be a full one; to a new address what there is must do for a PATH_CHALLENGE (Section 8.2.1).
        return self.paths.current.allowance() >= (
            MIN_DRAFT if self.handshake.confirmed else self.datagram_size
        )

    cdef size_t _write_datagram(
        self, uint8_t* out, size_t size, int64_t now, Packet* job, bint* last
    ) except? 0:
        # One datagram of up to three packets; a 1-RTT packet is left in *job* to be sealed in a batch.
        cdef Draft drafts[3]
        cdef int space, count = 0
        cdef size_t position = 0
        cdef bint allow_data
        for space in range(self.first_space, 3):
            if not self.keys.can_write(space) or size - position < MIN_DRAFT:
                continue
            # Handshake messages are few, and 1-RTT packets that cannot be acknowledged before them
            # must not hold them back.
            # A PATH_CHALLENGE is as a probe: nothing else is worth sending there before it.
            allow_data = space != 2 or self.recovery.probes[space] > 0 or self.path.challenge_due or (
                self.recovery.may_send(size + self.reserved) and self._pacing_allows(size, now)
            )
            if not allow_data and self._wants(space):
                self.recovery.on_blocked()
            if not self.acks.of(space).is_due(now) and not (allow_data and self._wants(space)):
                continue
            if not self._start_draft(space, out, position, size, &self.remote_ids.current, &drafts[count]):
                continue
            if self._fill(space, &drafts[count], allow_data, now):
                self._fill_sample(out, &drafts[count])
                position = drafts[count].builder.w.pos - out + TAG_LENGTH
                count += 1
        if count == 0:
            return 0
        return self._finish(out, size, drafts, count, now, job, last)

    cdef bint _pacing_allows(self, size_t size, int64_t now) noexcept:
        cdef int64_t at
        if not self.recovery.rtt.has_sample:
            return True
        at = self.recovery.pacer.ready_at(size, now)
        if at <= now:
            return True
        self.pacing_at = at
        return False

    cdef bint _wants(self, int space) except -1:
        # Whether there is something besides acknowledgements.
        if self.recovery.probes[space] > 0:
            return True
        if space != 2:
            return self.handshake.wants_to_send(space)
        return (
            self.streams.wants_to_send() or self.datagrams.wants_to_send() or self.control
            or self.idle.ping_pending
        )

    cdef bint _start_draft(
        self, int space, uint8_t* out, size_t start, size_t size, const Cid* dcid, Draft* draft
    ) except -1:
        # The header, up to and with the packet number; False when there is no room.
        cdef uint64_t number = self.recovery.sent(space).next
        cdef uint32_t version
        cdef size_t length
        cdef bytes token = self.token if space == 0 else b"", scid
        if space == 2 and number >= self.skip_at:
            self.recovery.skipped[2] = number
            self.recovery.application.skip()
            number += 1
            self.skip_at = self._next_skip(number)
        length = number_length(number, self.recovery.largest_acked[space])
        draft.space = space
        draft.start = start
        draft.length_offset = 0
        draft.full = False
        draft.whole = start == 0 and size >= self.datagram_size
        if space != 2 or self.keys.write_application is None:
            size = min(size, start + MAX_LENGTH)
        start_packet(&draft.builder, out + start, size - start - TAG_LENGTH)
        draft.builder.path = self.recovery.slot
        if space == 2 and self.keys.write_application is not None:
            put_u8(
                &draft.builder.w, <uint8_t>(self._quic_bit() | (self.keys.key_phase << 2) | (length - 1))
            )
            put_bytes(&draft.builder.w, dcid.data, dcid.length)
        else:
            scid = self.local_ids.first()
            version = self.keys.writing(space).version
            put_u8(
                &draft.builder.w, (0xBF | self._quic_bit())
                & long_header_byte(
                    INITIAL if space == 0 else HANDSHAKE if space == 1 else ZERO_RTT, version, length
                )
            )
            put_u32(&draft.builder.w, version)
            put_u8(&draft.builder.w, dcid.length)
            put_bytes(&draft.builder.w, dcid.data, dcid.length)
            put_u8(&draft.builder.w, <uint8_t>len(scid))
            put_bytes(&draft.builder.w, scid, len(scid))
            if space == 0:
                if not put_varint(&draft.builder.w, len(token)) or not put_bytes(&draft.builder.w, token, len(token)):
                    return False
            draft.length_offset = draft.builder.w.pos - out - start
            if not put_varint_of(&draft.builder.w, 0, 2):
                return False
        while length:
            length -= 1
            if not put_u8(&draft.builder.w, <uint8_t>(number >> (8 * length))):
                return False
        draft.header_length = draft.builder.w.pos - out - start
        return True

    cdef bint _fill(self, int space, Draft* draft, bint allow_data, int64_t now) except -1:
        # Frames, in the order of their urgency; whether there are any.
        cdef const uint8_t* start = draft.builder.w.pos
        cdef AckTracker acks = self.acks.of(space)
        # The ACK before may be lost: in the handshake, and in a probe, what arrived is said again.
        if space != 2 or self.recovery.probes[2] > 0 or acks.has_anything() or acks.is_due(now):
            acks.write(&draft.builder, now)
        if allow_data:
            if space != 2 or self.control:
                self.handshake.write(space, &draft.builder)
            if space == 2:
                if self.control:
                    draft.full = self.paths.write(self.path, &draft.builder, now)
                    self.ack_frequency.write(&draft.builder, self.recovery.rtt)
                    self.local_ids.write(&draft.builder)
                    self.remote_ids.write(&draft.builder)
                    if self.given_token is not None:
                        self.given_token.write(&draft.builder)
                if self.recovery.probes[2] > 0:
                    self._ask_at_once(&draft.builder)
                self.streams.write_control(&draft.builder, now, self.recovery.rtt.smoothed)
                self._write_data(draft)
        if not draft.builder.ack_eliciting and (
            self.recovery.probes[space] > 0 or space == 2 and self._should_ping(draft, start)
        ):
            if can_record(&draft.builder) and put_u8(&draft.builder.w, PING):
                record(&draft.builder, PING, 0, 0, 0, False)
        return draft.builder.w.pos > start

    cdef void _ask_at_once(self, PacketBuilder* p) noexcept:
        # A probe is answered at once, however seldom the peer acknowledges by now.
        if self.ack_frequency.asks_at_once() and can_record(p) and put_u8(&p.w, IMMEDIATE_ACK):
            record(p, IMMEDIATE_ACK, 0, 0, 0, False)

    cdef int _write_data(self, Draft* draft) except -1:
        # Datagrams come first, but not twice in a row while there is stream data, which they would stop.
        cdef bint streams_first = self.streams_turn
        if streams_first:
            self.streams.write_data(&draft.builder)
        self.streams_turn = self.datagrams.write(&draft.builder, draft.whole) and not streams_first
        if not streams_first:
            self.streams.write_data(&draft.builder)
        return 0

    cdef void _fill_sample(self, uint8_t* out, Draft* draft) noexcept:
        # Header protection samples behind four bytes of number and payload (RFC 9001 Section 5.4.2).
        cdef size_t size = draft.builder.w.pos - out - draft.start - draft.header_length
        size += (out[draft.start] & 3) + 1
        if size < 4:
            put_zeros(&draft.builder.w, 4 - size)

    cdef bint _should_ping(self, Draft* draft, const uint8_t* start) noexcept:
        # Keep-alive, or an ACK now and then that is itself acknowledged (Section 13.2.4).
        if self.idle.ping_pending:
            return True
        if draft.builder.w.pos == start:
            return False
        self.acks_only += 1
        return self.acks_only >= ACKS_BEFORE_PING and self.acks.application.received.count > 1

    cdef size_t _finish(
        self, uint8_t* out, size_t size, Draft* drafts, int count, int64_t now, Packet* job, bint* last
    ) except? 0:
        # Pad, fill in lengths, remember, seal.
        cdef Draft* draft = &drafts[count - 1]
        cdef size_t end
        cdef size_t least = 0
        cdef Packet whole
        cdef Packet* packet
        cdef int i
        for i in range(count):
            # Section 14.1: a client's Initial packets, and a server's that elicit an answer.
            if drafts[i].space == 0 and (self.is_client or drafts[i].builder.ack_eliciting):
                least = size
            # Sections 8.2.1 and 8.2.2: so do datagrams that validate a path, as far as they may.
            if drafts[i].full:
                least = max(least, min(size, <size_t>MIN_INITIAL_SIZE))
        end = draft.builder.w.pos - out + TAG_LENGTH
        if end < least:
            put_zeros(&draft.builder.w, min(least - end, room(&draft.builder.w)))
            draft.builder.in_flight = True
        for i in range(count):
            draft = &drafts[i]
            packet = &whole if draft.length_offset else job
            packet.data = out + draft.start
            packet.header_length = <uint32_t>draft.header_length
            packet.length = <uint32_t>(draft.builder.w.pos - packet.data)
            packet.number = self.recovery.sent(draft.space).next
            end = draft.start + packet.length + TAG_LENGTH
            if self.trace is not None:
                self.trace.packet_sent(
                    packet.data, packet.header_length, packet.length - packet.header_length, packet.number,
                    draft.builder.mtu_probe, self.recovery.probes[draft.space] > 0,
                )
            if draft.length_offset:
                last[0] = True
                draft.builder.w = writer(packet.data + draft.length_offset, 2)
                put_varint_of(
                    &draft.builder.w, packet.length - draft.length_offset - 2 + TAG_LENGTH, 2
                )
                self.keys.seal(draft.space, packet, 1)
            self._sent(draft, packet.length + TAG_LENGTH, now)
        return end

    cdef int _sent(self, Draft* draft, uint32_t size, int64_t now) except -1:
        self.packets_sent += 1
        self.path.packets_sent += 1
        if draft.builder.repeats:
            self.packets_repeated += 1
            self.stream_bytes_repeated += draft.builder.repeated
        self.recovery.on_sent(draft.space, &draft.builder, size, now)
        if draft.builder.ack_eliciting:
            self.acks_only = 0
            self.idle.on_sent_eliciting(now)
        if draft.space == 1:
            self.handshake_sent = True
        return 0

    cdef size_t write_probe(self, uint8_t* out, size_t capacity, int64_t now) except? 0:
        # PATH_CHALLENGE and PATH_RESPONSE, alone in their datagram, to another path than the one in use.
        cdef Draft draft
        cdef Packet job
        cdef Cid dcid
        cdef bint last = False
        cdef Path path = self.paths.due(now)
        cdef size_t size
        self.recovery.codepoint = 0
        if path is None or not self.paths.cid(path, &dcid):
            return 0
        size = min(min(<size_t>MIN_INITIAL_SIZE, <size_t>path.allowance()), capacity)
        if not self._start_draft(2, out, 0, size, &dcid, &draft):
            return 0
        # Behind another port they share what is known, but a probe that is lost is no sign of congestion.
        draft.builder.path = NO_SLOT if path.recovery is self.recovery.path else path.recovery.slot
        draft.full = self.paths.write(path, &draft.builder, now)
        if not draft.full:
            return 0
        self.path = path
        size = self._finish(out, size, &draft, 1, now, &job, &last)
        self.keys.seal(2, &job, 1)
        path.sent += size
        self.bytes_sent += size
        self.paths.to = path.remote
        self.paths.from_ = path.local
        return size

    cdef size_t write_close(self, uint8_t* out, size_t size, int64_t now) except? 0:
        # CONNECTION_CLOSE in every packet the peer may be able to read (Section 10.2.3).
        cdef Draft drafts[3]
        cdef Packet job
        cdef int space, count = 0
        cdef size_t position = 0
        cdef bint last = False
        self.path = self.paths.current
        self.closing.start_timer(now, self.recovery.rtt.pto(self.handshake.confirmed))
        self.recovery.codepoint = 0
        if not self.closing.pending or not self.may_send():
            return 0
        size = min(size, self.path.allowance())
        self.closing.pending = False
        for space in range(3):
            if not self.keys.can_write(space) or size - position < MIN_DRAFT:
                continue
            if self.handshake.confirmed and space != 2:
                continue
            if not self._start_draft(space, out, position, size, &self.remote_ids.current, &drafts[count]):
                continue
            if self.closing.write(&drafts[count].builder, space != 2):
                self._fill_sample(out, &drafts[count])
                position = drafts[count].builder.w.pos - out + TAG_LENGTH
                count += 1
        if count == 0:
            self.closing.finish(self.closing.error)
            return 0
        job.data = NULL
        position = self._finish(out, size, drafts, count, now, &job, &last)
        if job.data != NULL:
            self.keys.seal(2, &job, 1)
        self.path.sent += position
        self.bytes_sent += position
        return position
