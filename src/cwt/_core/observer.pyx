"""What changed in a connection since its log last looked (draft-ietf-quic-qlog-quic-events)."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memset

from cwt._core.closing cimport CLOSING, DRAINING, OPEN
from cwt._core.intake cimport EARLY
from cwt._core.path cimport Path
from cwt._core.qlog.frames cimport write_error
from cwt._core.qlog.text cimport Text
from cwt._core.qlog.trace cimport BASE, CORE, EXTRA, Trace
from cwt._core.recovery.congestion cimport CongestionController
from cwt._core.recovery.loss cimport LossRecovery
from cwt._core.recovery.rtt cimport GRANULARITY, RttEstimator
from cwt._core.router cimport Router

from cwt._core.wire.params import ABSENT
from cwt.errors import (
    ApplicationError, HandshakeError, IdleTimeout, StatelessReset, TransportError,
    TransportErrorCode,
)

cdef enum:
    MAX_TUPLES = 64
    SPACES = 4               # with the one of the keys of 0-RTT

cdef uint64_t NEVER = <uint64_t>-1

# Transport parameters that qlog knows by the names they have here.
_INTEGERS = (
    "max_idle_timeout", "max_udp_payload_size", "ack_delay_exponent", "max_ack_delay",
    "active_connection_id_limit", "initial_max_data", "initial_max_stream_data_bidi_local",
    "initial_max_stream_data_bidi_remote", "initial_max_stream_data_uni", "initial_max_streams_bidi",
    "initial_max_streams_uni", "max_datagram_frame_size",
)
_CONNECTION_IDS = (
    "original_destination_connection_id", "initial_source_connection_id", "retry_source_connection_id",
)
_STATES = ("slow_start", "congestion_avoidance")     # of controllers that do not tell of recovery themselves
_FLAGS = ("disable_active_migration", "grease_quic_bit", "reset_stream_at")
_CIPHERS = {0x1301: "AES_128_GCM_SHA256", 0x1302: "AES_256_GCM_SHA384", 0x1303: "CHACHA20_POLY1305_SHA256"}


@cython.final
cdef class Observer:
    """Turns the state of a connection into events, after each batch that it received or wrote.

    The components know nothing of it: they are looked at and compared with what was told before.
    """

    def __init__(self, Trace trace not None):
        self.trace = trace
        self.tuples = {}
        self.congestion = "slow_start"
        self.recovery_ends = NEVER
        memset(&self.last, 0, sizeof(Metrics))

    cdef void begin(self, Router connection, int64_t now) noexcept:
        """Before anything happens at *now*."""
        self.trace.now = now
        if self.begun or self.trace.write is None:
            return
        self.begun = True
        try:
            self._begin(connection)
        except Exception as error:
            self.trace.fail(error)

    cdef void look(self, Router connection, int64_t now) noexcept:
        """After it."""
        if self.trace.write is None:
            return
        self.trace.now = now
        try:
            self._look(connection)
        except Exception as error:
            self.trace.fail(error)

    cdef int _begin(self, Router connection) except -1:
        cdef Text out = self.trace.out
        cdef Path path = connection.paths.current
        self.path = path
        self.path_validated = path.validated
        self.tuples[path.local, path.remote] = ""
        self.mtu = path.mtu.size
        if self.trace.wants(BASE):
            self.trace.begin("quic:connection_started")
            put_endpoint(out, "local", path.local, connection.local_ids.first())
            put_endpoint(out, "remote", path.remote, connection.remote_ids.cid)
            self.trace.end()
        self._version(connection)
        self._state("attempted")
        self.local_id = connection.local_ids.first()
        self.remote_id = connection.remote_ids.cid
        self._handshake(connection)
        self._keys(connection)
        return self._recovery_set(connection)

    cdef int _look(self, Router connection) except -1:
        if self.state != "handshake_confirmed":
            self._handshake(connection)
        self._keys(connection)
        self._paths(connection)
        self._ids(connection)
        self._congestion(connection)
        self._ecn(connection)
        self._metrics(connection)
        self._timer(connection)
        if connection.closing.state != OPEN:
            self._closed(connection)
        return 0

    # The handshake

    cdef int _handshake(self, Router connection) except -1:
        cdef Text out = self.trace.out
        if connection.versions.chosen != self.version:
            self._version(connection)
        if not self.told_own and connection.own_params is not None:
            self.told_own = True
            self._params(connection.own_params, b"local", connection)
        if not self.told_peer and connection.peer_params is not None:
            self.told_peer = True
            self._params(connection.peer_params, b"remote", connection)
        if not self.told_early and connection.early_params is not None:
            self.told_early = True
            self._restored(connection.early_params)
        alpn = connection.handshake.tls.alpn
        if not self.told_alpn and alpn is not None:
            self.told_alpn = True
            self.trace.http3 = alpn == b"h3" or alpn.startswith(b"h3-")
            if self.trace.wants(CORE):
                self.trace.begin("quic:alpn_information")
                out.open("chosen_alpn")
                out.hex("byte_value", <const uint8_t*>PyBytes_AS_STRING(alpn), len(alpn))
                out.string("string_value", alpn.decode("utf-8", "replace"))
                out.put("}")
                self.trace.end()
        if self.state == "attempted" and connection.keys.can_write(1):
            self._state("handshake_started")
        if self.state in ("attempted", "handshake_started") and connection.handshake.complete:
            self._state("handshake_complete")
        if self.state == "handshake_complete" and connection.handshake.confirmed:
            self._state("handshake_confirmed")
        return 0

    cdef int _version(self, Router connection) except -1:
        cdef Text out = self.trace.out
        self.version = connection.versions.chosen
        if not self.trace.wants(CORE):
            return 0
        self.trace.begin("quic:version_information")
        out.open_list("client_versions" if connection.is_client else "server_versions")
        for version in connection.versions.supported:
            out.string(NULL, f"{version:08x}")
        out.put("]")
        out.string("chosen_version", f"{self.version:08x}")
        self.trace.end()
        return 0

    cdef int _state(self, str new) except -1:
        cdef Text out = self.trace.out
        if self.trace.wants(BASE):
            self.trace.begin("quic:connection_state_updated")
            if self.state is not None:
                out.string("old", self.state)
            out.string("new", new)
            self.trace.end()
        self.state = new
        return 0

    cdef int _params(self, object params, bytes initiator, Router connection) except -1:
        cdef Text out = self.trace.out
        if initiator == b"local":
            self.trace.own_exponent = params.ack_delay_exponent
        else:
            self.trace.peer_exponent = params.ack_delay_exponent
        if not self.trace.wants(CORE):
            return 0
        self.trace.begin("quic:parameters_set")
        out.word("initiator", initiator)
        cipher = _CIPHERS.get(connection.handshake.tls.cipher_suite)
        if initiator == b"remote" and cipher is not None:
            out.string("tls_cipher", cipher)
        for name in _CONNECTION_IDS:
            value = getattr(params, name)
            if value is not None:
                out.hex(name.encode(), <const uint8_t*>PyBytes_AS_STRING(value), len(value))
        for name in _INTEGERS:
            out.number(name.encode(), getattr(params, name))
        for name in _FLAGS:
            out.flag(name.encode(), getattr(params, name, False))
        if params.min_ack_delay != ABSENT:
            out.number("min_ack_delay", params.min_ack_delay)
        self.trace.end()
        return 0

    cdef int _restored(self, object params) except -1:
        # What 0-RTT keeps to of an earlier connection.
        cdef Text out = self.trace.out
        if not self.trace.wants(BASE):
            return 0
        self.trace.begin("quic:parameters_restored")
        for name in _INTEGERS:
            if not name.startswith("ack_delay") and name != "max_ack_delay":
                out.number(name.encode(), getattr(params, name))
        self.trace.end()
        return 0

    # Keys

    cdef int _keys(self, Router connection) except -1:
        # A bit for each direction and packet number space: those of 1-RTT change, but stay.
        cdef unsigned int now = 0, changed
        cdef int space, direction
        for space in range(3):
            now |= <unsigned int>connection.keys.can_read(space) << 2 * space
            now |= <unsigned int>connection.keys.can_write(space) << 2 * space + 1
        now |= <unsigned int>(connection.keys.read_early is not None) << 2 * EARLY
        now |= <unsigned int>(connection.keys.write_early is not None) << 2 * EARLY + 1
        changed = now ^ self.keys
        if changed:
            for space in range(SPACES):
                for direction in range(2):
                    if changed >> 2 * space + direction & 1:
                        self._key(
                            "quic:key_updated" if now >> 2 * space + direction & 1 else "quic:key_discarded",
                            connection.is_client == (direction == 1), space, "tls",
                        )
            self.keys = now
        if connection.keys.key_updates != self.key_updates:
            self._key_update(connection)
        return 0

    cdef int _key(self, const char* event, bint is_client, int space, const char* trigger) except -1:
        cdef Text out = self.trace.out
        if not self.trace.wants(BASE):
            return 0
        self.trace.begin(event)
        if space == 0:
            out.word("key_type", "client_initial_secret" if is_client else "server_initial_secret")
        elif space == EARLY:
            out.word("key_type", "client_0rtt_secret")
        elif space == 1:
            out.word("key_type", "client_handshake_secret" if is_client else "server_handshake_secret")
        else:
            out.word("key_type", "client_1rtt_secret" if is_client else "server_1rtt_secret")
            out.number("key_phase", self.key_updates)
        out.word("trigger", trigger)
        self.trace.end()
        return 0

    cdef int _key_update(self, Router connection) except -1:
        # One of our own is unanswered when nothing has come in the new phase.
        cdef bint local = connection.keys.read_phase_start == NEVER
        cdef bint is_client
        self.key_updates = connection.keys.key_updates
        for is_client in (True, False):
            self._key("quic:key_updated", is_client, 2, "local_update" if local else "remote_update")
        return 0

    # Paths

    cdef int _paths(self, Router connection) except -1:
        cdef Text out = self.trace.out
        cdef Path path = connection.paths.current
        cdef const char* new = NULL
        if path.mtu.size != self.mtu:
            if self.trace.wants(EXTRA):
                self.trace.begin("quic:mtu_updated")
                out.number("old", self.mtu)
                out.number("new", path.mtu.size)
                self.trace.end()
            self.mtu = path.mtu.size
        if path is not self.path:
            # Validated before: the peer is back where it was.
            new = "migration_complete" if path.validated else "migration_started"
            if (path.local, path.remote) in self.tuples and path.validated:
                new = "migration_abandoned"
        elif path.validated and not self.path_validated and self.tuples.get((path.local, path.remote)) != "":
            new = "migration_complete"
        self.path_validated = path.validated
        if new == NULL:
            return 0
        self.path = path
        identity = self.tuples.get((path.local, path.remote))
        if identity is None:
            identity = str(len(self.tuples))
            if len(self.tuples) < MAX_TUPLES:
                self.tuples[path.local, path.remote] = identity
            if self.trace.wants(BASE):
                self.trace.begin("quic:tuple_assigned")
                out.string("tuple_id", identity)
                put_endpoint(out, "tuple_remote", path.remote, connection.remote_ids.cid)
                put_endpoint(out, "tuple_local", path.local, None)
                self.trace.end()
        if self.trace.wants(EXTRA):
            self.trace.begin("quic:migration_state_updated")
            out.word("new", new)
            out.string("tuple_id", identity)
            put_endpoint(out, "tuple_remote", path.remote, None)
            put_endpoint(out, "tuple_local", path.local, None)
            self.trace.end()
        return 0

    cdef int _ids(self, Router connection) except -1:
        cdef bytes local = connection.local_ids.first(), remote = connection.remote_ids.cid
        if remote != self.remote_id:
            put_id_update(self.trace, "remote", self.remote_id, remote)
            self.remote_id = remote
        if local != self.local_id:
            put_id_update(self.trace, "local", self.local_id, local)
            self.local_id = local
        return 0

    # Recovery

    cdef int _recovery_set(self, Router connection) except -1:
        cdef Text out = self.trace.out
        cdef LossRecovery recovery = connection.recovery
        self.controller = recovery.congestion
        self.recovery_start = recovery.congestion.recovery_start
        if not self.trace.wants(BASE):
            return 0
        self.trace.begin("quic:recovery_parameters_set")
        out.number("reordering_threshold", 3)
        out.key("time_threshold")
        out.put("1.125")
        out.number("timer_granularity", GRANULARITY // 1_000_000)
        out.duration("initial_rtt", recovery.rtt.initial)
        out.number("max_datagram_size", recovery.congestion.max_datagram_size)
        out.number("initial_congestion_window", recovery.congestion.window)
        out.number("minimum_congestion_window", 2 * recovery.congestion.max_datagram_size)
        out.number("persistent_congestion_threshold", 3)
        out.string("congestion_controller", type(recovery.congestion).__name__.lower())
        self.trace.end()
        return 0

    cdef int _congestion(self, Router connection) except -1:
        # The recovery period ends when a packet sent in it is acknowledged (RFC 9002 Section 7.3.2).
        cdef LossRecovery recovery = connection.recovery
        cdef CongestionController congestion = recovery.congestion
        cdef Text out = self.trace.out
        cdef str state
        if congestion is not self.controller:
            self._recovery_set(connection)
            self.recovery_ends = NEVER
        if congestion.recovery_start != self.recovery_start:
            # Earlier than before: the reduction was undone, and the period with it.
            self.recovery_ends = (
                recovery.application.next if congestion.recovery_start > self.recovery_start else NEVER
            )
            self.recovery_start = congestion.recovery_start
        state = getattr(congestion, "state", None)
        if self.recovery_ends != NEVER and recovery.largest_acked[2] < <int64_t>self.recovery_ends:
            if state is None or state in _STATES:
                state = "recovery"
        else:
            self.recovery_ends = NEVER
        if state is None:
            state = "slow_start" if congestion.in_slow_start() else "congestion_avoidance"
        if state == self.congestion:
            return 0
        if self.trace.wants(BASE):
            self.trace.begin("quic:congestion_state_updated")
            out.string("old", self.congestion)
            out.string("new", state)
            self.trace.end()
        self.congestion = state
        return 0

    cdef int _ecn(self, Router connection) except -1:
        cdef Text out = self.trace.out
        cdef str state
        if not self.trace.wants(EXTRA):
            return 0
        state = connection.recovery.ecn.name()
        if state == self.ecn:
            return 0
        if state != "off":
            self.trace.begin("quic:ecn_state_updated")
            if self.ecn not in (None, "off"):
                out.string("old", self.ecn)
            out.string("new", state)
            self.trace.end()
        self.ecn = state
        return 0

    cdef void _metrics(self, Router connection) noexcept:
        # Those that changed.
        cdef LossRecovery recovery = connection.recovery
        cdef CongestionController congestion = recovery.congestion
        cdef RttEstimator rtt = recovery.rtt
        cdef Text out = self.trace.out
        cdef Metrics new = self.last
        cdef size_t start, begun
        if rtt.has_sample:
            new.minimum = rtt.minimum
            new.smoothed = rtt.smoothed
            new.latest = rtt.latest
            new.variation = rtt.variation
        new.pto_count = recovery.pto_count
        new.window = congestion.window
        new.in_flight = recovery.bytes_in_flight
        new.threshold = congestion.slow_start_threshold
        new.packets = recovery.outstanding()
        new.rate = congestion.pacing_rate(rtt)
        if not self.trace.wants(CORE):
            return
        start = out.length
        self.trace.begin("quic:recovery_metrics_updated")
        begun = out.length
        if new.minimum != self.last.minimum:
            out.duration("min_rtt", new.minimum)
        if new.smoothed != self.last.smoothed:
            out.duration("smoothed_rtt", new.smoothed)
        if new.latest != self.last.latest:
            out.duration("latest_rtt", new.latest)
        if new.variation != self.last.variation:
            out.duration("rtt_variance", new.variation)
        if new.pto_count != self.last.pto_count:
            out.number("pto_count", new.pto_count)
        if new.window != self.last.window:
            out.number("congestion_window", new.window)
        if new.in_flight != self.last.in_flight:
            out.number("bytes_in_flight", new.in_flight)
        if new.threshold != self.last.threshold and new.threshold != NEVER:
            out.number("ssthresh", new.threshold)
        if new.packets != self.last.packets:
            out.number("packets_in_flight", new.packets)
        if new.rate != self.last.rate:
            out.number("pacing_rate", 8 * new.rate)
        self.last = new
        if out.length == begun:
            out.length = start                   # nothing to tell
        else:
            self.trace.end()

    cdef int _timer(self, Router connection) except -1:
        # The loss detection timer (RFC 9002 Appendix A.8).
        cdef LossRecovery recovery = connection.recovery
        cdef Text out = self.trace.out
        cdef int64_t at
        cdef bint is_pto
        if not self.trace.wants(EXTRA):
            return 0
        at = recovery.next_timeout(self.trace.now)
        is_pto = not (recovery.loss_time[0] or recovery.loss_time[1] or recovery.loss_time[2])
        if at == self.timer:
            return 0
        self.trace.begin("quic:timer_updated")
        if at == 0 or self.timer and self.timer <= self.trace.now:
            out.word("timer_type", "pto" if self.timer_is_pto else "loss_timeout")
            out.word("event_type", "expired" if self.timer <= self.trace.now else "cancelled")
            self.trace.end()
            if at:
                self.trace.begin("quic:timer_updated")
        if at:
            out.word("timer_type", "pto" if is_pto else "loss_timeout")
            out.word("event_type", "set")
            out.duration("delta", at - self.trace.now)
            self.trace.end()
        self.timer = at
        self.timer_is_pto = is_pto
        return 0

    # The end

    cdef int _closed(self, Router connection) except -1:
        cdef str new
        cdef int state = connection.closing.state
        new = "closing" if state == CLOSING else "draining" if state == DRAINING else "closed"
        if new == self.state:
            return 0
        if self.state not in ("closing", "draining") and self.trace.wants(BASE):
            put_close(self.trace, connection.closing.error)
        self._state(new)
        self.trace.flush()
        return 0


cdef int put_endpoint(Text out, const char* name, object address, bytes cid) except -1:
    # TupleEndpointInfo of (host, port); an address that is no such pair, as in a test, is left out.
    out.open(name)
    if isinstance(address, tuple) and len(address) >= 2 and isinstance(address[0], str):
        six = ":" in address[0]
        out.string("ip_v6" if six else "ip_v4", address[0])
        out.number("port_v6" if six else "port_v4", address[1])
    if cid is not None:
        out.open_list("connection_ids")
        out.hex(NULL, <const uint8_t*>PyBytes_AS_STRING(cid), len(cid))
        out.put("]")
    out.put("}")
    return 0


cdef int put_id_update(Trace trace, const char* initiator, bytes old, bytes new) except -1:
    if not trace.wants(BASE):
        return 0
    trace.begin("quic:connection_id_updated")
    trace.out.word("initiator", initiator)
    trace.out.hex("old", <const uint8_t*>PyBytes_AS_STRING(old), len(old))
    trace.out.hex("new", <const uint8_t*>PyBytes_AS_STRING(new), len(new))
    trace.end()
    return 0


cdef int put_close(Trace trace, object error) except -1:
    cdef const char* trigger = "error"
    cdef Text out = trace.out
    trace.begin("quic:connection_closed")
    if isinstance(error, (ApplicationError, TransportError)):
        out.word("initiator", "remote" if error.remote else "local")
        application = isinstance(error, ApplicationError)
        write_error(
            out, "application_error" if application else "connection_error", application, error.code,
            trace.http3,
        )
        if error.reason:
            out.string("reason", error.reason)
        if application or error.code == TransportErrorCode.NO_ERROR:
            trigger = "application"
    else:
        if isinstance(error, IdleTimeout):
            trigger = "idle_timeout"
        elif isinstance(error, StatelessReset):
            trigger = "stateless_reset"
        elif isinstance(error, HandshakeError) and (
            getattr(error, "code", None) == TransportErrorCode.VERSION_NEGOTIATION_ERROR
        ):
            trigger = "version_mismatch"
        out.word("initiator", "remote" if isinstance(error, StatelessReset) else "local")
        if error is not None:
            out.string("reason", str(error))
    out.word("trigger", trigger)
    trace.end()
    return 0
