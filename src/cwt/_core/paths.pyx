"""The paths of a connection: which is in use, and moves between them (RFC 9000 Section 9)."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport int64_t, uint8_t, uint64_t

from cwt._core.cid cimport Entry
from cwt._core.path cimport MAX_RESPONSES, Path
from cwt._core.recovery.controllers cimport new_controller
from cwt._core.recovery.ecn cimport Ecn
from cwt._core.recovery.mtu cimport MAX_DATAGRAM, PathMtu
from cwt._core.recovery.pacer cimport Pacer
from cwt._core.recovery.path cimport NO_SLOT, PathRecovery
from cwt._core.recovery.rtt cimport RttEstimator
from cwt._core.wire.cursor cimport put_bytes, put_u8, room
from cwt._core.wire.frame cimport (
    PATH_CHALLENGE, PATH_RESPONSE, PING, PacketBuilder, can_record, record,
)
from cwt._core.wire.packet cimport Cid

from cwt._core.wire.params import parse_preferred_address
from cwt._types import PathEvent, PathEventKind, PathState, PathStats
from cwt.errors import MigrationError, TransportError, TransportErrorCode

cdef enum:
    CHALLENGE_LENGTH = 8
    LEAST = 64               # bytes that a packet with a PATH_CHALLENGE or PATH_RESPONSE takes, at most

cdef object NEW = PathEventKind.NEW
cdef object VALIDATED = PathEventKind.VALIDATED
cdef object FAILED = PathEventKind.FAILED
cdef object CLOSED = PathEventKind.CLOSED
cdef object MIGRATED = PathEventKind.MIGRATED
cdef object PEER_MIGRATED = PathEventKind.PEER_MIGRATED
cdef object REUSED = PathEventKind.REUSED_SOURCE_CONNECTION_ID


cdef bint same_host(object a, object b) except -1:
    if a is None or b is None:
        return a is b
    return a[0] == b[0] and (a[1] == b[1] or a[0] not in ("0.0.0.0", "::"))


cdef int put_data(PacketBuilder* p, uint64_t type, bytes data) except -1:
    put_u8(&p.w, <uint8_t>type)
    put_bytes(&p.w, <const uint8_t*>PyBytes_AS_STRING(data), CHALLENGE_LENGTH)
    record(p, <uint8_t>type, 0, 0, 0, False)
    return 0


@cython.final
cdef class Paths:
    """The path in use, the one to fall back on, and those that are being tried.

    Each has a connection ID of the peer for itself, so that nobody can tell that they are of one connection
    (Section 9.5); where the network and not the peer changed an address, and there is no other, it stays.
    """

    def __init__(self, local, remote, bint is_client, bint validated, config, random):
        self.is_client = is_client
        self.config = config
        self.random = random
        self.datagram_size = min(<size_t>config.max_udp_payload_size, <size_t>MAX_DATAGRAM)
        if config.mtu_discovery:
            self.mtu_limit = min(<size_t>config.mtu_discovery_limit, <size_t>MAX_DATAGRAM)
        self.handshake_local = local
        self.handshake_remote = remote
        self.current = Path(
            local, remote, validated or is_client, not (validated or is_client), self._new_mtu(),
            self._new_recovery(<int64_t>(<double>config.initial_rtt * 1e9)),
        )
        self.current.was_used = True
        self.current.sequence = 0

    cdef PathMtu _new_mtu(self):
        # Nothing is known of the MTU of another path (Section 14.3).
        return PathMtu(self.datagram_size, self.mtu_limit, self.mtu_limit > 0)

    cdef PathRecovery _new_recovery(self, int64_t initial_rtt):
        return PathRecovery(
            RttEstimator(initial_rtt), new_controller(self.config, self.datagram_size),
            Pacer(self.config.pacing), Ecn(self.config.ecn), self.slots,
        )

    cdef int set_mtu_limit(self, size_t limit) except -1:
        # The peer takes no larger datagrams (Section 18.2).
        self.datagram_size = min(self.datagram_size, limit)
        self.mtu_limit = min(self.mtu_limit, limit)
        return self.current.mtu.set_limit(limit)

    cdef list all(self):
        # The one in use first.
        return [self.current, *(self.others or ())]

    # Where a datagram belongs

    cdef Path find(self, object remote, object local):
        # The path between these addresses, or None.
        if remote is self.seen_source and local is self.seen_destination and self.seen is not None:
            return self.seen
        cdef Path path = self._look(remote, local)
        self.seen_source = remote
        self.seen_destination = local
        self.seen = path
        return path

    cdef Path _look(self, object remote, object local):
        # An address of ours that is not known in full must not hide one that is.
        cdef Path path
        if not self.others:
            return self.current if self.current.is_at(remote, local) else None
        path = self.exactly(remote, local)
        if path is not None:
            return path
        for path in self.all():
            if path.local is not None and path.is_at(remote, local):
                return path
        for path in self.all():
            if path.is_at(remote, local):
                return path
        return None

    cdef Path exactly(self, object remote, object local):
        cdef Path path
        for path in self.all():
            if remote == path.remote and local == path.local:
                return path
        return None

    cdef bint knows(self, object remote) except -1:
        # Whether the peer may send from there.
        return any([(<Path>path).remote == remote for path in self.all()])

    cdef int on_datagram(self, object remote, object local, size_t size) except -1:
        # Only what comes from an address lets us send to it (Section 8.1).  Servers do not move, so what a
        # client receives at an address it has not heard of is on the path in use.
        cdef Path path = self.find(remote, local)
        if path is None and self.is_client:
            path = self.current
        if path is not None:
            path.received += size
        self.reading = path
        self.source = remote
        self.destination = local
        self.datagram_length = size
        return 0

    cdef bint admits(self, uint64_t id) except -1:
        # Whether a packet to our connection ID *id* is read although it came over another path.  Whoever
        # moves takes another connection ID; a NAT does not, and nobody can be blamed for that.
        if not self.config.disable_active_migration or self.current.peer_id in (0, id):
            return True
        return self.destination != self.handshake_local  # Section 18.2: our preferred address

    # The set of paths

    cdef Path open(self, object local, object remote):
        # Another path, not validated; None when there are too many already.
        cdef Path path
        if not self._make_room():
            return None
        path = Path(
            local, remote, False, not self.is_client, self._new_mtu(), self._recovery_for(local, remote)
        )
        self.others.append(path)
        self.recovery.join(path.recovery)
        self.seen = None
        self.tell(NEW, path)
        return path

    cdef bint _make_room(self) except -1:
        # At the expense of the oldest that was not validated, or of the oldest.
        cdef Path path
        if self.others is None:
            self.others = []
        if len(self.others) < MAX_PATHS - 1:
            return True
        for validated in (False, True):
            for path in self.others:
                if path is not self.previous and path.validated == validated:
                    self._drop(path, CLOSED)
                    return True
        return False

    cdef PathRecovery _recovery_for(self, object local, object remote):
        # Where no more than a port changes, what was learnt holds (Section 9.4).
        cdef PathRecovery used
        if same_host(remote, self.current.remote) and same_host(local, self.current.local):
            return self.current.recovery
        used = self.current.recovery
        self.slots += 1
        while self.slots == NO_SLOT or any([self.slots == (<Path>other).recovery.slot for other in self.all()]):
            self.slots += 1
        return self._new_recovery(used.rtt.initial)

    cdef int _drop(self, Path path, object event) except -1:
        # Forget a path that is not in use.
        self.others.remove(path)
        self.seen = None
        if self.previous is path:
            self.previous = None
        if self.reading is path:
            self.reading = None
        self._release(path)
        if not any([(<Path>other).recovery is path.recovery for other in self.all()]):
            self.recovery.leave(path.recovery)
        if event is not None:
            self.tell(event, path)
        return self._note()

    cdef int _release(self, Path path) except -1:
        # Its connection ID was for it alone (Section 5.1.2).
        if path.sequence >= 0 and not any(
            [(<Path>other).sequence == path.sequence for other in self.all() if other is not path]
        ):
            self.remote_ids.release(path.sequence)
        path.sequence = -1
        return 0

    cdef int use(self, Path path, int64_t now) except -1:
        # Everything takes *path* from now on; the caller has seen to it that it has a connection ID.
        cdef Path old = self.current
        cdef Entry* entry
        self.others.remove(path)
        self.others.append(old)
        if old.validated:
            self.previous = old
        elif self.previous is path:
            self.previous = None
        self.current = path
        path.was_used = True
        path.wanted = False
        self.idle.ping_pending = self.idle.ping_pending or self.is_client    # so that the server follows
        path.close_at = 0
        self.seen = None
        entry = self.remote_ids.find(path.sequence)
        if entry != NULL:
            self.remote_ids.use(entry)
        path.mtu.attach(self.recovery.application.next)
        if path.recovery is not self.recovery.path:
            self.ack_frequency.reset()
        self.recovery.follow(path.recovery, path.mtu)
        if path.validated:
            path.stop_validation()
            self._retire_others(now)
        return self._note()

    cdef int _retire_others(self, int64_t now) except -1:
        # The path in use is known to work: those before it are kept for what is still under way on them.
        cdef Path path
        if self.others is not None:
            for path in self.others:
                if path.was_used and path.close_at == 0:
                    path.close_at = now + 3 * self.recovery.rtt.pto(True)
        return 0

    # Connection IDs

    cdef bint _get_cid(self, Path path) except -1:
        # Have *path* have a connection ID of the peer; False while there is none for it.
        cdef Entry* entry
        cdef Path other
        if path.sequence >= 0:
            return True
        if self.remote_ids.current.length == 0:
            path.sequence = self.remote_ids.sequence
            return True
        entry = self.remote_ids.take()
        if entry != NULL:
            path.sequence = entry.sequence
            return True
        if self.is_client or path.peer_id == 0:
            return False
        for other in self.all():
            if other is not path and other.peer_id == path.peer_id and other.sequence >= 0:
                path.sequence = other.sequence       # Section 9.5: the peer has not moved by itself
                return True
        return False

    cdef bint cid(self, Path path, Cid* cid) noexcept:
        cdef Entry* entry = self.remote_ids.find(path.sequence)
        if entry == NULL:
            return False
        cid[0] = entry.cid
        return True

    cdef int on_ids_changed(self) except -1:
        # The peer issued connection IDs, and perhaps retired some.
        cdef Path path
        self.current.sequence = self.remote_ids.sequence
        if self.others is not None:
            for path in self.others:
                if path.sequence >= 0 and self.remote_ids.find(path.sequence) == NULL:
                    path.sequence = -1
        return self._note()

    cdef int _note_peer_id(self, Path path, uint64_t id) except -1:
        # The connection ID of ours that the peer uses on *path*.
        cdef Path other
        if path.peer_id == 0:
            for other in self.all():
                if other is not path and other.peer_id == id:
                    self._push(PathEvent(
                        REUSED, path.local, path.remote, self.local_ids.sequence_of(id),
                        (other.local, other.remote),
                    ))
                    break
        path.peer_id = id
        return 0

    # What comes in

    cdef int on_packet(self, uint64_t id, bint moved, int64_t now) except -1:
        # A 1-RTT packet of the datagram being read was to our connection ID *id*; *moved*: it is the newest
        # that is more than a probe, so that a client is where it came from (Section 9.2).
        cdef Path path = self.reading
        if path is None:
            if not moved or self.is_client:
                return 0
            path = self._open_reading()
            if path is None:
                return 0
        path.packets_received += 1
        if path is self.current:
            path.peer_id = id
            return 0
        self._note_peer_id(path, id)
        if moved and not self.is_client:
            self._follow(path, now)
        return 0

    cdef Path _open_reading(self):
        # The path of the datagram being read, which is not known yet.
        cdef Path path = self.open(self.destination, self.source)
        if path is not None:
            path.received = self.datagram_length
            self.reading = path
        return path

    cdef int _follow(self, Path path, int64_t now) except -1:
        # To the peer's new address, sending little until it has answered there.
        cdef Path old = self.current
        if not self._get_cid(path):
            return 0                         # until the peer gives us one for it
        if not path.validated and not same_host(path.local, old.local):
            # Section 9.6.2: to our preferred address only when the client is known to be there.
            path.wanted = True
            return self.validate(path)
        self.use(path, now)
        if not path.validated:
            self.validate(path)
        if old.validated:
            self.validate(old)               # Section 9.3.3: was this the peer's will?
        return self.tell(PEER_MIGRATED, path)

    cdef int on_path_challenge(self, bytes data) except -1:
        # To be answered where it came from (Section 8.2.2).  What a flood adds beyond a few is dropped.
        cdef Path path = self.reading
        if path is None:
            path = self._open_reading()
            if path is None:
                return 0
        if path.responses is None:
            path.responses = []
        if len(path.responses) < MAX_RESPONSES:
            path.responses.append(data)
        if not path.validated:
            self.validate(path)
        return self._note()

    cdef int on_path_response(self, bytes data, int64_t now) except -1:
        # It validates the path of its challenge, whichever it came over (Section 8.2.3).
        cdef Path path
        cdef bint known
        for path in self.all():
            known = path.validated
            if not path.on_path_response(data, now):
                continue
            if path.validated and not known:
                self.tell(VALIDATED, path)
                self.address_changed = path.remote[0] != self.handshake_remote[0]
                if path is self.current:
                    self._retire_others(now)
                elif path.wanted and self._get_cid(path):
                    self.use(path, now)
                    self.tell(MIGRATED if self.is_client else PEER_MIGRATED, path)
            return self._note()
        return 0

    # Time

    cdef int validate(self, Path path) except -1:
        path.start_validation()
        return self._note()

    cdef int64_t _timeout(self) noexcept:
        # How long validation may take (Section 8.2.4).
        cdef RttEstimator rtt = self.recovery.rtt
        return 3 * (max(rtt.pto(False), 3 * rtt.initial) + rtt.max_ack_delay)

    cdef int _note(self) except -1:
        # What is asked most often.
        cdef Path path
        cdef int64_t at
        self.timer = self.current.next_timeout()
        self.busy = False
        if self.others is not None:
            for path in self.others:
                at = path.next_timeout()
                if at and (self.timer == 0 or at < self.timer):
                    self.timer = at
                if path.challenge_due or path.responses:
                    self.busy = True
        return 0

    cdef bint on_timeout(self, int64_t now) except -1:
        # Whether there is a path left.
        cdef Path path
        cdef bint viable = True
        if self.timer == 0 or now < self.timer:
            return True
        for path in self.all():
            if path.deadline and now >= path.deadline:
                viable = self._fail(path, now)
            elif path.close_at and now >= path.close_at and path is not self.current:
                self._drop(path, CLOSED)
            elif path.challenge_at and now >= path.challenge_at:
                path.challenge_due = True
                path.challenge_at = 0
        self._note()
        return viable

    cdef bint _fail(self, Path path, int64_t now) except -1:
        # The peer did not answer on *path*.
        path.stop_validation()
        if path is self.previous and not self.current.validated:
            return True                      # it has been there once, which is more than of any other
        self.tell(FAILED, path)
        if path is self.current:
            if self.previous is None or not self._get_cid(self.previous):
                return False
            self.use(self.previous, now)     # Section 9.3.2
        self._drop(path, None)
        return True

    # What goes out

    cdef bint wants_to_send(self) noexcept:
        # On the path in use.
        return self.current.challenge_due or self.current.responses is not None

    cdef Path due(self, int64_t now):
        # Another path that has something to send and may; None for none.
        cdef Path path
        for path in self.others:
            if (path.challenge_due or path.responses) and path.allowance() >= LEAST:
                if self._get_cid(path):
                    return path
        return None

    cdef bint write(self, Path path, PacketBuilder* p, int64_t now) except -1:
        # Whether something was written; such a datagram is padded (Section 8.2).
        cdef bint written = False
        while path.responses is not None and can_record(p) and room(&p.w) > CHALLENGE_LENGTH:
            put_data(p, PATH_RESPONSE, path.responses.pop(0))
            written = True
            if not path.responses:
                path.responses = None
        if written and path is self.current and can_record(p) and put_u8(&p.w, PING):
            record(p, PING, 0, 0, 0, False)  # Section 9.3.3: this is where we are
        if path.challenge_due and can_record(p) and room(&p.w) > CHALLENGE_LENGTH:
            data = self.random(CHALLENGE_LENGTH)
            put_data(p, PATH_CHALLENGE, data)
            path.on_challenge_sent(data, now, self._timeout())
            written = True
        if written:
            self._note()
        return written

    # A client's moves

    cdef int set_preferred(self, bytes value) except -1:
        # preferred_address of the server (Section 9.6.1): of the kind that works already.
        v4, v6, cid, token = parse_preferred_address(value)
        if self.remote_ids.current.length == 0:
            raise TransportError(
                TransportErrorCode.TRANSPORT_PARAMETER_ERROR, "a preferred address without connection IDs"
            )
        self.remote_ids.set_preferred(cid, token)
        self.preferred = v6 if ":" in self.current.remote[0] else v4
        return 0

    cdef int on_confirmed(self) except -1:
        cdef Path path
        if self.preferred is None or not self.config.use_preferred_address:
            return 0
        path = self.open(self.current.local, self.preferred)
        path.wanted = True
        return self.validate(path)

    cdef Path try_path(self, object local, object remote):
        # The path between these addresses, validated or being so; MigrationError when that must not be.
        cdef Path path
        local = self.current.local if local is None else tuple(local)
        remote = self.current.remote if remote is None else tuple(remote)
        path = self.exactly(remote, local)
        if path is None:
            if remote != self.preferred and not self.knows(remote):
                raise MigrationError("a server is only at the addresses it told us of")
            if self.peer_stays and remote == self.handshake_remote:
                raise MigrationError("the server asked not to migrate (disable_active_migration)")
            path = self.open(local, remote)
        if not path.validated:
            self.validate(path)
        return path

    cdef int migrate(self, Path path, int64_t now) except -1:
        # To *path*, at once if it is known to work, else as soon as it is (Section 9.2).
        cdef Path other
        for other in self.others or ():
            other.wanted = False
        if path is self.current:
            return 0
        if path.validated and self._get_cid(path):
            self.use(path, now)
            return self.tell(MIGRATED, path)
        path.wanted = True
        return 0

    # For the application

    cdef list stats(self):
        cdef list found = []
        cdef Path path
        cdef PathRecovery recovery
        cdef RttEstimator rtt
        for path in self.all():
            recovery = path.recovery
            rtt = recovery.rtt
            active = path is self.current
            found.append(PathStats(
                path.local, path.remote, PathState(path.state), active, path.packets_received,
                path.packets_sent, recovery.packets_lost, path.received, path.sent, recovery.bytes_lost,
                rtt.smoothed / 1e9, rtt.variation / 1e9, rtt.minimum / 1e9, rtt.maximum / 1e9,
                recovery.congestion.window,
                self.recovery.bytes_in_flight if recovery is self.recovery.path else recovery.in_flight,
                path.mtu.size,
                recovery.congestion.rates.rate if recovery.congestion.rates is not None else 0.0,
            ))
        return found

    cdef int tell(self, object kind, Path path) except -1:
        return self._push(PathEvent(kind, path.local, path.remote))

    cdef int _push(self, object event) except -1:
        # The oldest is dropped when nobody takes them: they are made by whoever sends us packets.
        if self.events is None:
            self.events = []
        elif len(self.events) >= MAX_EVENTS:
            self.events.pop(0)
        self.events.append(event)
        self.news = True
        return 0
