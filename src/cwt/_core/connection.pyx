"""One connection: joins the parts, keeps their time, and is their public face (RFC 9000)."""

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint32_t

from cwt._core.assembler cimport Assembler
from cwt._core.cid cimport LocalIds, RemoteIds
from cwt._core.closing cimport CLOSED, Closing, OPEN
from cwt._core.handshake cimport Handshake
from cwt._core.idle cimport IdleTimer
from cwt._core.intake cimport Intake, SHORT_CID_LENGTH
from cwt._core.keyring cimport MAX_BATCH, Keyring
from cwt._core.observer cimport Observer
from cwt._core.parameters cimport min_ack_delay, parameters_of
from cwt._core.paths cimport Paths
from cwt._core.qlog.trace cimport Trace
from cwt._core.recovery.ack_frequency cimport AckFrequency
from cwt._core.recovery.acks cimport AckTracker, AckTrackers
from cwt._core.recovery.loss cimport LossRecovery
from cwt._core.recovery.mtu cimport MAX_DATAGRAM
from cwt._core.stream.datagram cimport Datagrams
from cwt._core.stream.streams cimport Streams
from cwt._core.verbs cimport Verbs
from cwt._core.versions cimport Versions
from cwt._core.wire.packet cimport VERSION_1

from cwt._core.wire.params import encode_preferred_address
from cwt._types import SendInfo
from cwt.errors import HandshakeError, IdleTimeout, TransportError, TransportErrorCode

cdef enum:
    MAX_BATCH_BYTES = MAX_DATAGRAM


cdef uint32_t first_version(object config) except 0:
    # Of a client that does not know better.
    if config.initial_version is not None:
        return config.initial_version
    return VERSION_1 if VERSION_1 in config.versions else config.versions[0]


cdef object internal_error(object cause):
    # The reason goes to the peer: what failed, but not its text.
    error = TransportError(TransportErrorCode.INTERNAL_ERROR, type(cause).__name__)
    error.__cause__ = cause
    return error


cdef class Host:
    """What a connection needs of whoever drives it; this one drives a lone sans-IO connection.

    ``qlog``, when set, gives a new connection its log: ``qlog(config, original_destination, is_client)``
    returns the keyword arguments of ``Connection.set_qlog``, or None for no log.
    """

    def __init__(self, random):
        self.random = random

    cdef int wants_to_send(self, Connection connection) except -1:
        return 0

    cdef int has_news(self, Connection connection) except -1:
        return 0

    cdef int routes_changed(self, Connection connection) except -1:
        connection.local_ids.added = None
        connection.local_ids.removed = None
        connection.reset_token = connection.remote_ids.token
        return 0

    cdef tuple new_connection_id(self):
        return self.random(SHORT_CID_LENGTH), self.random(16)

    cdef bytes new_token(self, object remote, uint32_t version):
        return None                          # nobody would know it again


@cython.final
cdef class Connection(Verbs):
    """A QUIC connection without sockets or clocks.

    In, from the network: ``recv``.  In, from the clock: ``on_timeout``.  In, from the application: the
    ``stream_*`` and ``dgram_*`` verbs, ``open_stream`` and ``close``.  Out: ``send`` or ``send_batch``,
    ``timeout``, ``readable`` and ``writable``.  To look at: the properties.

    After any input, call ``send`` until it returns None, then ``timeout``.  ``now`` is monotonic seconds
    and never goes back.  What the peer does never raises: the connection closes with the right code, and
    ``termination`` says why.  Only misuse by the caller raises.
    """

    def __init__(
        self, bint is_client, make_tls, config, Host host, random, local, remote,
        bytes source_cid not None, bytes destination_cid not None, *,
        bytes original_destination=None, bytes retry_source=None, bytes reset_token=None,
        bint address_validated=False, uint32_t version=0,
    ):
        self.is_client = is_client
        self.config = config
        self.host = host
        self.random = random
        version = version or first_version(config)
        self.versions = Versions(is_client, config, version, random)
        original_destination = original_destination or destination_cid
        self.keys = Keyring()
        self.streams = Streams(is_client, config)
        self.datagrams = Datagrams(config)
        self.local_ids = LocalIds()
        self.remote_ids = RemoteIds(config.active_connection_id_limit)
        self.closing = Closing()
        self.paths = Paths(local, remote, is_client, address_validated, config, random)
        self.acks = AckTrackers(AckTracker(
            <int64_t>(config.max_ack_delay * 1e9), config.ack_delay_exponent,
            1000 * <int64_t>min_ack_delay(config),
        ))
        self.ack_frequency = AckFrequency()
        self.recovery = LossRecovery(self.paths.current.recovery, self.paths.current.mtu, is_client)
        self.idle = IdleTimer(
            <int64_t>(config.max_idle_timeout * 1e9), <int64_t>((config.keep_alive_interval or 0) * 1e9),
            is_client,
        )
        if reset_token is None:
            reset_token = random(16)
        self.local_ids.issue(source_cid, reset_token)
        self.remote_ids.start(destination_cid)
        self.keys.set_initial(version, retry_source or original_destination, is_client)
        self.intake = Intake(is_client, config.grease, original_destination, retry_source)
        self.make_tls = make_tls
        self.handshake = Handshake(self._new_tls(source_cid, reset_token), is_client)
        if not is_client:
            self.make_tls = None
        self._join_intake()
        self.assembler = self._make_assembler()
        if is_client:
            self.assembler.token = self.handshake.tls.take_token()
        self._install(self.handshake.start())
        if host.qlog is not None:
            log = host.qlog(config, original_destination, is_client)
            if log is not None:
                self.set_qlog(**log)
        self._begin_early()

    cdef int _join_intake(self) except -1:
        cdef Intake intake = self.intake
        intake.handshake = self.handshake
        intake.keys = self.keys
        intake.recovery = self.recovery
        intake.acks = self.acks
        intake.local_ids = self.local_ids
        intake.remote_ids = self.remote_ids
        intake.paths = self.paths
        intake.versions = self.versions
        self.paths.recovery = self.recovery
        self.paths.ack_frequency = self.ack_frequency
        self.paths.local_ids = self.local_ids
        self.paths.remote_ids = self.remote_ids
        self.paths.idle = self.idle
        return 0

    cdef object _new_tls(self, bytes source_cid, bytes reset_token):
        params = self._own_params(source_cid, reset_token)
        if self.is_client:
            tls = self.make_tls(self.versions.client_parameters(params))
        else:
            # The client's parameters decide the version, and that is in ours.
            self.versions.expect(params)
            tls = self.make_tls(self.versions.server_parameters)
            if tls.takes_early_data:
                tls.remembered_parameters = params.remembered()
        tls.original_version = tls.negotiated_version = self.versions.original
        return tls

    cdef int start_over(self) except -1:
        # With an ID of its own: the server may have a connection of the first attempt.
        cdef bytes destination = self.random(8)
        if self.early_params is not None:
            self._refuse_early()             # it was for the other version
        self.recovery.start_over(0)
        self.intake.original_destination = destination
        self.remote_ids.start(destination)
        self.keys.set_initial(self.versions.chosen, destination, True)
        self.assembler.token = b""           # RFC 9369 Section 5: it was for the other version
        self._install(self.handshake.start_over(self._new_tls(self.local_ids.first(), b"")))
        return self._begin_early()

    cdef Assembler _make_assembler(self):
        cdef Assembler assembler = Assembler(
            self.random, self.paths.current.mtu.size, self.is_client
        )
        assembler.handshake = self.handshake
        assembler.keys = self.keys
        assembler.recovery = self.recovery
        assembler.ack_frequency = self.ack_frequency
        assembler.acks = self.acks
        assembler.streams = self.streams
        assembler.datagrams = self.datagrams
        assembler.local_ids = self.local_ids
        assembler.remote_ids = self.remote_ids
        assembler.paths = self.paths
        assembler.closing = self.closing
        assembler.idle = self.idle
        return assembler

    def _own_params(self, source_cid, reset_token):
        params = parameters_of(self.config, self.random)
        params.initial_source_connection_id = source_cid
        if not self.is_client:
            params.original_destination_connection_id = self.intake.original_destination
            params.stateless_reset_token = reset_token
            params.preferred_address = self._preferred_address()
            params.retry_source_connection_id = self.intake.retry_source
        self.own_params = params
        return params

    def _preferred_address(self):
        config = self.config
        if config.preferred_address_v4 is None and config.preferred_address_v6 is None:
            return None
        cid, token = self.new_connection_id()
        self.local_ids.issue(cid, token, True)
        return encode_preferred_address(
            config.preferred_address_v4, config.preferred_address_v6, cid, token
        )

    def set_qlog(self, writer, title=None, description=None, level="base", *, wall_clock=None):
        """Write what happens from now on to *writer* as qlog (JSON-SEQ); None ends it.

        *writer* is called with bytes, or its ``write`` is, now and then and when the connection closes; when
        it raises, that is the end of the log and of nothing else.  *level* is "core", "base" or "extra", how
        important an event must be.  *wall_clock* says in RFC 3339 form when now is.  Best called before the
        first datagram.  ValueError when *level* is none of the three.
        """
        if self.trace is not None:
            self.trace.flush()
            self.trace = self.intake.trace = self.assembler.trace = self.recovery.trace = None
            self.observer = None
        if writer is not None:
            self._trace_to(writer, level, title, description, wall_clock)

    cdef int _trace_to(self, object writer, str level, str title, str description, str wall_clock) except -1:
        cdef Trace trace = Trace(
            writer, level, self.is_client, self.intake.original_destination, title, description, wall_clock
        )
        self.observer = Observer(trace)
        self.trace = self.intake.trace = self.assembler.trace = self.recovery.trace = trace
        return 0

    @property
    def qlog(self):
        """The qlog of this connection, for events of the layers above; None without one."""
        return self.trace

    cdef void _tick(self, int64_t now) noexcept:
        # The clock starts with the first call that tells the time.
        self.now = now
        if not self.started:
            self.started = True
            self.idle.last = self.started_at = now
            self.handshake_deadline = now + <int64_t>(<double>self.config.handshake_timeout * 1e9)
        self.datagrams.now = now
        if self.datagrams.undated:
            self.datagrams.date()
        if self.observer is not None:
            self.observer.begin(self, now)

    cdef int _wake(self) except -1:
        # The application did something that may have to be sent.
        if not self.send_listed and not self.processing:
            self.host.wants_to_send(self)
        return 0

    cdef int _tell(self) except -1:
        # Let the host know of news for the application.
        if (
            self.news or self.paths.news or self.datagrams.news
            or self.streams.readable_list or self.streams.writable_list
        ):
            self.news = False
            self.datagrams.news = False
            self.paths.news = False
            if not self.news_listed:
                self.host.has_news(self)
        if (
            self.local_ids.added is not None or self.local_ids.removed is not None
            or self.reset_token is not self.remote_ids.token
        ):
            self.host.routes_changed(self)
        return 0

    # In, from the network

    def recv(self, datagram, info, double now):
        """Take a received *datagram*; *info* is a RecvInfo, *now* in seconds.  Returns its length."""
        # Packets are opened in place; through a memoryview, because bytearray(5) is five zeros.
        cdef bytearray copy = bytearray(memoryview(datagram))
        cdef uint8_t* data = copy
        self.receive(
            data, len(copy), len(copy), info.from_, info.to, info.ecn, nanoseconds(now)
        )
        return len(copy)

    cdef int receive(
        self, uint8_t* data, size_t length, size_t segment_size, object remote, object local,
        int ecn, int64_t now
    ) except -1:
        """Datagrams of *segment_size* bytes in a row, the last perhaps shorter; read in place."""
        self._tick(now)
        if self.closing.state == CLOSED:
            return 0
        self.processing = True
        if self.trace is not None:
            self.trace.datagrams(False, length, segment_size, ecn)
        try:
            self.intake.receive(self, data, length, segment_size, remote, local, ecn, now)
        except TransportError as error:
            self._fail(error)
        except Exception as error:
            self._fail(internal_error(error))
        finally:
            self.processing = False
        if self.observer is not None:
            self.observer.look(self, now)
        if not self.send_listed:
            self.host.wants_to_send(self)
        self._tell()
        return 0

    cdef tuple new_connection_id(self):
        return self.host.new_connection_id()

    cdef bytes new_token(self):
        return self.host.new_token(self.paths.current.remote, self.versions.chosen)

    cdef int take_reset(self, int64_t now) except -1:
        # The host found a stateless reset that is for this connection.
        self._tick(now)
        if self.trace is not None:
            self.trace.reset_received(0)
        self.on_stateless_reset()
        if self.observer is not None:
            self.observer.look(self, now)
        self._wake()
        return self._tell()

    # Out, to the network

    def send(self, double now):
        """The next datagram as ``(bytes, SendInfo)``, or None when nothing is to be sent now."""
        cdef uint8_t buffer[MAX_BATCH_BYTES]
        cdef size_t segment = 0, size
        size = self.write_batch(buffer, MAX_BATCH_BYTES, 1, nanoseconds(now), &segment)
        if size == 0:
            return None
        return buffer[:size], SendInfo(self.paths.to, self.paths.from_, now, self.recovery.codepoint)

    def send_batch(self, double now):
        """``(bytes, segment_size, SendInfo)``: datagrams of *segment_size* in a row, the last perhaps
        shorter, fit for UDP_SEGMENT; or None."""
        cdef uint8_t buffer[MAX_BATCH_BYTES]
        cdef size_t segment = 0, size
        size = self.write_batch(buffer, MAX_BATCH_BYTES, MAX_BATCH, nanoseconds(now), &segment)
        if size == 0:
            return None
        return buffer[:size], segment, SendInfo(
            self.paths.to, self.paths.from_, now, self.recovery.codepoint
        )

    cdef size_t write_batch(
        self, uint8_t* out, size_t capacity, size_t most, int64_t now, size_t* segment_size
    ) except? 0:
        """Up to *most* datagrams of equal size, the last perhaps shorter, into *out*; their sum, 0 for none."""
        cdef size_t total = 0
        self._tick(now)
        try:
            total = self._write(out, capacity, most, now, segment_size)
        except TransportError as error:
            self._fail(error)
        except Exception as error:
            self._abandon(error)
        if self.observer is not None:
            self.trace.datagrams(True, total, segment_size[0], -1)
            self.observer.look(self, now)
        if self.streams.writable_list or self.news or self.datagrams.news or self.paths.news:
            self._tell()
        return total

    cdef size_t _write(
        self, uint8_t* out, size_t capacity, size_t most, int64_t now, size_t* segment_size
    ) except? 0:
        cdef size_t total = 0
        self._follow_mtu(now)
        if self.closing.state == OPEN and self.paths.busy:
            total = self.assembler.write_probe(out, capacity, now)
            segment_size[0] = total
            if total:
                return total
        self.paths.to = self.paths.current.remote
        self.paths.from_ = self.paths.current.local
        if self.closing.state == OPEN:
            total = self.assembler.write_batch(out, capacity, most, now, segment_size)
            if self.is_client and self.assembler.handshake_sent and self.keys.can_write(0):
                self._discard(0)             # RFC 9001 Section 4.9.1
        elif self.closing.state != CLOSED:
            total = self.assembler.write_close(out, min(capacity, self.assembler.datagram_size), now)
            segment_size[0] = total
            if self.closing.state == CLOSED:
                self.news = True
        return total

    cdef int _abandon(self, object error) except -1:
        # What we cannot send we cannot explain to the peer either; other connections go on.
        self.closing.finish(internal_error(error))
        self.news = True
        return 0

    # Time

    def timeout(self, double now):
        """Seconds until ``on_timeout`` is due, None for never; at or below 0 it is due now."""
        cdef int64_t at = self.next_timeout(nanoseconds(now))
        return at / 1e9 - now if at else None

    def on_timeout(self, double now):
        """Time has passed: deal with every timer that is due at *now* seconds."""
        self.timeout_at(nanoseconds(now))

    cdef int64_t next_timeout(self, int64_t now) noexcept:
        # Absolute nanoseconds, 0 for never.
        cdef int64_t best
        if self.closing.state == CLOSED or not self.started:
            return 0
        if self.closing.state != OPEN:
            return self.closing.deadline or now
        best = self.idle.next_timeout(self._pto())
        if not self.is_established:
            best = earlier(best, self.handshake_deadline)
        if self.assembler.may_send():
            best = earlier(best, self.recovery.next_timeout(now))
            best = earlier(best, self.assembler.pacing_at)
            best = earlier(best, self.paths.current.mtu.next_timeout(now))
            best = earlier(best, self.keys.next_timeout())
            # Of the handshake every packet is acknowledged at once.
            best = earlier(best, self.acks.application.next_timeout())
        return earlier(best, self.paths.timer)

    cdef int timeout_at(self, int64_t now) except -1:
        self._tick(now)
        if self.closing.state == CLOSED:
            return 0
        if self.closing.state != OPEN:
            self.closing.start_timer(now, self._pto())
            if now >= self.closing.deadline:
                self.closing.finish(self.closing.error)
                self.news = True
                if self.observer is not None:
                    self.observer.look(self, now)
                self._tell()
            return 0
        try:
            self._run_timers(now)
        except Exception as error:
            self._abandon(error)
        if self.observer is not None:
            self.observer.look(self, now)
        if not self.send_listed:
            self.host.wants_to_send(self)
        self._tell()
        return 0

    cdef int _run_timers(self, int64_t now) except -1:
        if self.idle.on_timeout(now, self._pto()):
            self.closing.finish(IdleTimeout("nothing was received for the idle timeout"))
            self.news = True
        elif not self.is_established and now >= self.handshake_deadline:
            self.closing.finish(HandshakeError(
                "the handshake did not complete in time; is the peer reachable over UDP?"
            ))
            self.news = True
        else:
            self.keys.on_timeout(now)
            if self.assembler.may_send():
                self.recovery.on_timeout(now, self)
            if not self.paths.on_timeout(now):
                self._fail(TransportError(TransportErrorCode.NO_VIABLE_PATH, "path validation failed"))
        return 0

    cdef int _fail(self, object error) except -1:
        # The only door from an error to CONNECTION_CLOSE.
        self.closing.close(False, error.code, error.reason, error.frame_type, error)
        self.news = True
        return 0


cdef int64_t earlier(int64_t a, int64_t b) noexcept nogil:
    # The smaller of two times of which 0 means never.
    if a == 0 or b == 0:
        return a + b
    return min(a, b)
