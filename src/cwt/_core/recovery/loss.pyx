"""Loss detection and probe timeouts (RFC 9002 Section 6)."""

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from cwt._core.recovery.mtu cimport PathMtu
from cwt._core.recovery.path cimport PathRecovery
from cwt._core.recovery.reordering cimport Reordering
from cwt._core.recovery.sent cimport (
    ACKED, ELICITING, MARKED, MTU_PROBE, OUTSTANDING, RecordHandler, SentPacket, SentPackets,
)
from cwt._core.wire.cursor cimport read_varint
from cwt._core.wire.frame cimport ACK, AckFrame, PacketBuilder

from cwt.errors import TransportError, TransportErrorCode

cdef enum:
    PERSISTENT_CONGESTION_PTOS = 3
    MAX_PTO_BACKOFF = 10     # doublings
    MAX_REPEATS = 8          # of handshake packets that the peer asked for
    MAX_LOST = 1024          # packets remembered in case they arrive
    LOST_PTOS = 4            # for how long


@cython.final
cdef class LossRecovery:
    """What is in flight, in all three packet number spaces (0 Initial, 1 Handshake, 2 application).

    What packets carried goes back to its owners through a ``RecordHandler`` given to each call.  A packet
    says something about the path it went over, and about no other.
    """

    def __init__(self, PathRecovery path, PathMtu mtu, bint is_client):
        cdef int space
        self.follow(path, mtu)
        self.is_client = is_client
        self.peer_validated = not is_client
        self.flight_start = -1
        self.initial = SentPackets()
        self.handshake = SentPackets()
        self.application = SentPackets()
        for space in range(SPACES):
            self.largest_acked[space] = -1
            self.skipped[space] = -1

    cdef int follow(self, PathRecovery path, PathMtu mtu) except -1:
        # Packets take *path* from now on (RFC 9000 Section 9.4).
        self.mtu = mtu
        self.pto_count = 0                   # that nothing came back was another address's doing
        if path is self.path:
            self.probes[2] = 1               # and the window may be full of what was lost there
            return 0
        if self.path is not None:
            self.path.in_flight = self.bytes_in_flight
            path.rtt.max_ack_delay = self.rtt.max_ack_delay
            if self.others is None:
                self.others = []
            self.others.append(self.path)
            self.leave(path)
        self.path = path
        self.rtt = path.rtt
        self.congestion = path.congestion
        self.pacer = path.pacer
        self.ecn = path.ecn
        self.slot = path.slot
        self.bytes_in_flight = path.in_flight
        return 0

    cdef int join(self, PathRecovery path) except -1:
        # Packets may be under way on *path*, though another is in use.
        if self.others is None:
            self.others = []
        if path not in self.others and path is not self.path:
            self.others.append(path)
        return 0

    cdef int leave(self, PathRecovery path) except -1:
        # Nothing is asked of *path* any more, or it comes into use.
        if self.others is not None and path in self.others:
            self.others.remove(path)
        return 0

    cdef PathRecovery of(self, uint8_t slot):
        # That of another path than the one in use, None when it is forgotten.
        cdef PathRecovery path
        if self.others is not None:
            for path in self.others:
                if path.slot == slot:
                    return path
        return None

    cdef SentPackets sent(self, int space):
        # None when the keys of *space* are gone.
        return self.application if space == 2 else self.initial if space == 0 else self.handshake

    cdef bint _awaits(self, int space) noexcept:
        # Whether ack-eliciting packets of *space* are in flight.
        cdef SentPackets s = self.sent(space)
        return s is not None and s.eliciting > 0

    cdef uint64_t outstanding(self) noexcept:
        # Packets of all spaces.
        cdef SentPackets s
        cdef uint64_t count = 0
        cdef int space
        for space in range(SPACES):
            s = self.sent(space)
            if s is not None:
                count += s.outstanding
        return count

    cdef void on_blocked(self) noexcept:
        # There is more to send, but the window is full, or would be if pacing had not held packets back:
        # what is in flight fills it (RFC 9002 Section 7.8).
        if 2 * self.bytes_in_flight >= self.congestion.window:
            self.limited_end = self.application.next

    cdef void start_batch(self) noexcept:
        # What is written from now on leaves with one codepoint.
        self.codepoint = self.ecn.codepoint(self.pto_count)

    cdef bint may_send(self, uint64_t size) noexcept:
        # Whether the window has room for a packet of *size*.
        return self.bytes_in_flight + size <= self.congestion.window

    cdef void on_app_limited(self) noexcept:
        # There is nothing more to send, though window and pacing would allow it.
        if self.congestion.rates is not None:
            self.congestion.rates.on_app_limited(self.bytes_in_flight)

    cdef int on_sent(self, int space, const PacketBuilder* p, uint32_t size, int64_t now) except -1:
        cdef PathRecovery path
        cdef uint8_t flags = 0
        if self.codepoint:
            flags = MARKED
            self.ecn.on_sent()
            self.ecn_counts[space].sent += 1
        self.sent(space).add(p, size, flags, now)
        if not p.in_flight:
            return 0
        if p.path == self.slot:
            self.congestion.on_sent(size, self.bytes_in_flight, now)
            if self.congestion.rates is not None:
                self.congestion.rates.on_sent(
                    self.sent(space).new_state(), size, self.bytes_in_flight, now
                )
            if self.flight_start < 0:
                self.flight_start = now
            self.bytes_in_flight += size
            self.pacer.on_sent(size)
        else:
            path = self.of(p.path)
            if path is not None:
                path.in_flight += size
        if p.ack_eliciting:
            self.last_eliciting[space] = now
            if self.probes[space] > 0:
                self.probes[space] -= 1
        return 0

    cdef int on_ack(
        self, int space, AckFrame* ack, int64_t delay, int64_t now, RecordHandler handler
    ) except -1:
        cdef SentPackets s = self.sent(space)
        cdef uint64_t i, end, start, gap = 0, length = 0, settled = s.outstanding
        cdef uint64_t position, oldest
        cdef int64_t largest_time = -1
        cdef NewlyAcked new = NewlyAcked(-1, 0, False, False)
        # In slow start the window would be full if it had not just grown (RFC 9002 Section 7.8).
        cdef bint limited = (
            2 * self.bytes_in_flight >= self.congestion.window and self.congestion.in_slow_start()
        )
        cdef SentPackets lost = self.lost if space == 2 else None
        cdef SentPacket* packet
        if ack.largest >= s.next:
            raise TransportError(
                TransportErrorCode.PROTOCOL_VIOLATION, "ACK of a packet that was not sent", ACK
            )
        position = s.find(ack.largest)
        if position < s.tail:
            packet = s.at(position)
            if packet.number == ack.largest and packet.flags & OUTSTANDING and packet.path == self.slot:
                largest_time = packet.time
        oldest = s.at(s.head).number if s.head < s.tail else s.next
        if lost is not None and lost.head < lost.tail:
            oldest = min(oldest, lost.at(lost.head).number)
        end = ack.largest + 1
        start = ack.largest - ack.first_range
        for i in range(ack.range_count + 1):
            if i:
                read_varint(&ack.ranges, &gap)
                read_varint(&ack.ranges, &length)
                end = start - gap - 1
                start = end - length - 1
            if <int64_t>start <= self.skipped[space] < <int64_t>end:
                raise TransportError(
                    TransportErrorCode.PROTOCOL_VIOLATION, "ACK of a skipped packet number", ACK
                )
            if end <= oldest:
                break
            if lost is not None and lost.head < lost.tail:
                self._arrived_late(start, end, max(ack.largest, <uint64_t>self.largest_acked[2]), now, handler)
            self._acked(space, start, end, now, limited, &new, handler)
        if settled == s.outstanding:
            return 0
        if <int64_t>ack.largest > self.largest_acked[space]:
            self.largest_acked[space] = ack.largest
            if self.ecn.on_ack(&self.ecn_counts[space], ack, new.marked, new.unmarked):
                self.congestion.on_congestion_experienced(new.newest, now)
        if self.trace is not None:
            self.trace.acked(space)
        if largest_time >= 0 and new.eliciting:
            if not self.rtt.has_sample:
                self.first_sample_time = now
            self.rtt.sample(
                now - largest_time, delay if space else 0, self.handshake_confirmed
            )
            self.congestion.on_rtt_sample(ack.largest, s.next, self.rtt)
        self._detect_lost(space, now, handler)
        if self.congestion.rates is not None:
            self.congestion.rates.finish(self.rtt.minimum)
        self.congestion.on_ack_done(self.bytes_in_flight, self.rtt, now)
        if self.congestion.rates is not None:
            self.congestion.rates.clear()
        if self.peer_validated or not self.is_client:
            self.pto_count = 0
        if self.bytes_in_flight == 0 and self.flight_start >= 0:
            self.flight_time += now - self.flight_start
            self.flight_start = -1
        s.trim()
        if lost is not None and lost.head < lost.tail:
            self._forget_lost(now)
        return 0

    cdef int _acked(
        self, int space, uint64_t start, uint64_t end, int64_t now, bint limited, NewlyAcked* new,
        RecordHandler handler
    ) except -1:
        cdef SentPackets s = self.sent(space)
        cdef uint64_t position
        cdef SentPacket* packet
        cdef SentPacket copy
        cdef int i
        for position in range(s.find(start), s.tail):
            packet = s.at(position)
            if packet.number >= end:
                break
            if not packet.flags & OUTSTANDING:
                continue
            copy = packet[0]
            s.settle(packet, ACKED)
            self.bytes_acked += copy.size
            if copy.path != self.slot:
                self._settle_elsewhere(&copy, False)
            else:
                self.bytes_in_flight -= copy.size
                if copy.flags & ELICITING:
                    new.eliciting = True
                if copy.time > new.newest:
                    new.newest = copy.time
                if copy.flags & MARKED:
                    new.marked += 1
                else:
                    new.unmarked = True
                if s.states != NULL and self.congestion.rates is not None:
                    self.congestion.rates.on_acked(
                        &s.states[position & s.packet_mask], copy.size, copy.time, now
                    )
                if copy.size > self.mtu.base:
                    self.mtu.on_packet_acked(copy.number, copy.size)
                self.congestion.on_acked(
                    copy.size, copy.time, limited or copy.number < self.limited_end, self.rtt, now
                )
            if self.trace is not None:
                self.trace.packet_acked(copy.number)
            for i in range(copy.frame_count):
                handler.record_acked(s.frame(&copy, i), space)
        return 0

    cdef int _arrived_late(
        self, uint64_t start, uint64_t end, uint64_t largest, int64_t now, RecordHandler handler
    ) except -1:
        # What of these packets was declared lost was not; *largest* is the largest acknowledged number.
        cdef SentPackets lost = self.lost
        cdef SentPacket* packet
        cdef SentPacket copy
        cdef uint64_t position
        cdef int i
        for position in range(lost.find(start), lost.tail):
            packet = lost.at(position)
            if packet.number >= end:
                break
            if not packet.flags & OUTSTANDING:
                continue
            copy = packet[0]
            lost.settle(packet, 0)
            self.spurious_lost += 1
            if self.trace is not None:
                self.trace.spurious_loss(2, copy.number)
            if copy.path == self.slot and self.path.reordering.on_spurious_loss(
                copy.number, largest - copy.number, now - copy.time, self.rtt
            ):
                self.congestion.on_spurious_loss(now)
            for i in range(copy.frame_count):
                handler.record_acked(lost.frame(&copy, i), 2)
        lost.trim()
        return 0

    cdef int _keep(self, SentPackets s, const SentPacket* p) except -1:
        # It is lost, as far as we know.
        if self.lost is None:
            self.lost = SentPackets()
        if self.lost.tail - self.lost.head >= MAX_LOST:
            self.lost.forget(self.lost.at(self.lost.head).time + 1)
        return self.lost.keep(s, p)

    cdef void _forget_lost(self, int64_t now) noexcept:
        if self.application.outstanding == 0:
            self.lost.clear()                # an idle connection does without
        else:
            self.lost.forget(now - LOST_PTOS * self.rtt.pto(True))

    cdef int _settle_elsewhere(self, const SentPacket* p, bint lost) except -1:
        # It went over another path: the window of this one is not concerned.
        cdef PathRecovery path = self.of(p.path)
        if path is not None:
            path.settle(p.size)
            path.packets_lost += lost
            path.bytes_lost += p.size if lost else 0
        return 0

    cdef int _lose(self, SentPackets s, SentPacket* p, int space, RecordHandler handler) except -1:
        cdef SentPacket copy = p[0]
        cdef int i
        s.settle(p, 0)
        self.packets_lost += 1
        self.bytes_lost += copy.size
        if self.trace is not None:
            self.trace.packet_lost(
                space, copy.number,
                self.largest_acked[space] < <int64_t>(copy.number + self.path.reordering.packets),
                copy.flags & MTU_PROBE,
            )
        if copy.path != self.slot:
            self._settle_elsewhere(&copy, True)
        else:
            self.bytes_in_flight -= copy.size
            self.path.packets_lost += 1
            self.path.bytes_lost += copy.size
            if not copy.flags & MTU_PROBE:
                if copy.size > self.mtu.base:
                    self.mtu.on_packet_lost(copy.number, copy.size)
                if copy.flags & MARKED:
                    self.ecn.on_lost()
        if space == 2 and not copy.flags & MTU_PROBE:
            self._keep(s, &copy)
        for i in range(copy.frame_count):
            handler.record_lost(s.frame(&copy, i), space)
        return 0

    cdef int _detect_lost(self, int space, int64_t now, RecordHandler handler) except -1:
        # RFC 9002 Section A.10.  Times and numbers grow together: the first survivor ends the search.
        cdef SentPackets s = self.sent(space)
        cdef Reordering reordering = self.path.reordering
        cdef int64_t delay = reordering.delay(self.rtt), newest = -1, time
        cdef int64_t run_start = -1, run = 0
        cdef uint64_t position, first = 0, count = 0
        cdef SentPacket* packet
        self.loss_time[space] = 0
        if self.largest_acked[space] < 0:
            return 0
        for position in range(s.head, s.find(self.largest_acked[space])):
            packet = s.at(position)
            if packet.flags & ACKED:
                run_start = -1
            if not packet.flags & OUTSTANDING:
                continue
            time = packet.time
            if time + delay > now and <uint64_t>self.largest_acked[space] < packet.number + reordering.packets:
                self.loss_time[space] = time + delay
                break
            if packet.flags & MTU_PROBE or packet.path != self.slot:
                self._lose(s, packet, space, handler)
                continue
            newest = time
            if count == 0:
                first = packet.number
            count += 1
            if s.states != NULL and self.congestion.rates is not None:
                self.congestion.rates.on_lost(&s.states[position & s.packet_mask], packet.size)
                self.congestion.on_packet_lost(packet.number, packet.size, now)
            if packet.flags & ELICITING and time > self.first_sample_time:
                if run_start < 0:
                    run_start = time
                run = max(run, time - run_start)
            self._lose(s, packet, space, handler)
        if newest < 0:
            return 0
        # What was lost of the handshake is not remembered, so nothing that it did will be undone.
        reordering.on_lost(first if space == 2 else <uint64_t>-1, count, newest, now)
        self.mtu.on_losses_known()
        self.congestion.on_lost(newest, now)
        if self.rtt.has_sample and run > PERSISTENT_CONGESTION_PTOS * self.rtt.pto(True):
            self.congestion.on_persistent_congestion()
            self.rtt.forget_minimum()
        return 0

    cdef int64_t _pto_deadline(self, int* which, int64_t now) noexcept:
        # RFC 9002 Section A.8, 0 for none.
        cdef int space
        cdef int64_t best = 0, deadline, backoff = <int64_t>1 << min(self.pto_count, MAX_PTO_BACKOFF)
        # Nothing waits for 0-RTT packets, or 1-RTT ones that the peer may have no keys for yet.
        if not self._awaits(0) and not self._awaits(1) and not (
            self.application.eliciting and self.handshake_confirmed
        ):
            if self.peer_validated or not self.is_client:
                return 0
            # The server may be blocked by the anti-amplification limit: keep asking.
            which[0] = 1 if self.has_handshake_keys else 0
            deadline = max(self.last_eliciting[0], self.last_eliciting[1])
            return deadline + self.rtt.pto(False) * backoff
        for space in range(SPACES):
            if not self._awaits(space):
                continue
            if space == 2 and not self.handshake_confirmed:
                break        # Section 6.2.1
            deadline = self.last_eliciting[space] + self.rtt.pto(space == 2) * backoff
            if best == 0 or deadline < best:
                best = deadline
                which[0] = space
        return best

    cdef int64_t next_timeout(self, int64_t now) noexcept:
        # When on_timeout is due, 0 for never.
        cdef int space
        cdef int64_t best = 0
        for space in range(SPACES):
            if self.loss_time[space] and (best == 0 or self.loss_time[space] < best):
                best = self.loss_time[space]
        if best:
            return best
        return self._pto_deadline(&space, now)

    cdef int on_timeout(self, int64_t now, RecordHandler handler) except -1:
        cdef int space = 0, which = -1
        cdef int64_t deadline
        for space in range(SPACES):
            if self.loss_time[space]:
                which = space
                if self.loss_time[space] <= now:
                    self._detect_lost(space, now, handler)
                    self.sent(space).trim()
        if which >= 0:
            return 0
        deadline = self._pto_deadline(&space, now)
        if deadline == 0 or deadline > now:
            return 0
        self.pto_count += 1
        # In the handshake a second loss would cost more than a second datagram.
        self.probes[space] = 1 if self.pto_count == 1 and self.handshake_confirmed else 2
        # The next one counts from here even if no probe can be sent, so that it cannot come at once.
        self.last_eliciting[space] = now
        self._probe(space, handler)
        for which in range(SPACES):
            # Section 6.2.4: the peer may have keys for only one of them.
            if which != space and self._awaits(which):
                self.probes[which] = 1
                self._probe(which, handler)
        return 0

    cdef int repeat_handshake(self, RecordHandler handler) except -1:
        # The peer sent its part again, so it misses ours: do not wait for the timer (Section 6.2.3).
        cdef int space
        if self.repeats == MAX_REPEATS or not (self._awaits(0) or self._awaits(1)):
            return 0
        self.repeats += 1
        for space in range(2):
            if self._awaits(space):
                self.probes[space] = 2
                self._probe(space, handler)
        return 0

    cdef int _probe(self, int space, RecordHandler handler) except -1:
        # Let probes carry what is oldest: give its frames back to their owners, the packet stays in flight.
        cdef SentPackets s = self.sent(space)
        cdef uint64_t position
        cdef SentPacket* packet
        cdef SentPacket copy
        cdef int i, left = self.probes[space]
        for position in range(s.head, s.tail):
            packet = s.at(position)
            if packet.flags & (OUTSTANDING | ELICITING | MTU_PROBE) != OUTSTANDING | ELICITING:
                continue
            copy = packet[0]
            for i in range(copy.frame_count):
                handler.record_lost(s.frame(&copy, i), space)
            left -= 1
            if left == 0:
                break
        return 0

    cdef int abandon(self, int space, RecordHandler handler) except -1:
        # The peer did not read what was sent in *space*, as it says: that goes back to its owners, and is no
        # sign of congestion.
        cdef SentPackets s = self.sent(space)
        cdef uint64_t position
        cdef SentPacket* packet
        cdef SentPacket copy
        cdef int i
        for position in range(s.head, s.tail):
            packet = s.at(position)
            if not packet.flags & OUTSTANDING:
                continue
            copy = packet[0]
            s.settle(packet, 0)
            if copy.path == self.slot:
                self.bytes_in_flight -= copy.size
            else:
                self._settle_elsewhere(&copy, False)
            for i in range(copy.frame_count):
                handler.record_lost(s.frame(&copy, i), space)
        s.trim()
        self.loss_time[space] = 0
        self.probes[space] = 0
        return 0

    cdef int discard(self, int space) except -1:
        # The keys of *space* are gone (RFC 9002 Section 6.4).
        if self.sent(space) is None:
            return 0
        self.start_over(space)
        if space == 0:
            self.initial = None
        elif space == 1:
            self.handshake = None
        return 0

    cdef int start_over(self, int space) except -1:
        # Nothing sent in *space* so far counts.
        cdef SentPackets s = self.sent(space)
        cdef uint64_t position
        cdef SentPacket* packet
        for position in range(s.head, s.tail):
            packet = s.at(position)
            if not packet.flags & OUTSTANDING:
                continue
            if packet.path == self.slot:
                self.bytes_in_flight -= packet.size
            else:
                self._settle_elsewhere(packet, False)
        s.clear()
        self.loss_time[space] = 0
        self.probes[space] = 0
        self.pto_count = 0
        return 0
