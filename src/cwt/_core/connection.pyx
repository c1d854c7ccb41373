"""One connection: joins the parts, keeps their time, and is their public face (RFC 9000)."""

cimport cython
from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from cwt._core.assembler cimport Assembler
from cwt._core.cid cimport LocalIds, RemoteIds
from cwt._core.closing cimport CLOSED, CLOSING, Closing, DRAINING, OPEN
from cwt._core.crypto.aead cimport TAG_LENGTH
from cwt._core.handshake cimport Handshake
from cwt._core.idle cimport IdleTimer
from cwt._core.intake cimport Intake, SHORT_CID_LENGTH
from cwt._core.keyring cimport MAX_BATCH, Keyring
from cwt._core.observer cimport Observer
from cwt._core.path cimport Path
from cwt._core.paths cimport Paths
from cwt._core.qlog.trace cimport Trace
from cwt._core.recovery.ack_frequency cimport AckFrequency
from cwt._core.recovery.acks cimport AckTracker, AckTrackers
from cwt._core.recovery.ecn cimport Ecn
from cwt._core.recovery.loss cimport LossRecovery
from cwt._core.recovery.mtu cimport MAX_DATAGRAM
from cwt._core.recovery.rtt cimport RttEstimator
from cwt._core.router cimport Router
from cwt._core.stream.datagram cimport DatagramFlow, Datagrams
from cwt._core.stream.flow cimport credit_left
from cwt._core.stream.streams cimport SendGroup, Streams
from cwt._core.versions cimport Versions
from cwt._core.wire.cursor cimport varint_length
from cwt._core.wire.frame cimport (
    DATA_BLOCKED, PATH_CHALLENGE, RESET_STREAM, STOP_SENDING, STREAMS_BLOCKED_BIDI, STREAMS_BLOCKED_UNI,
    STREAM_DATA_BLOCKED,
)
from cwt._core.wire.packet cimport VERSION_1

from cwt._core.wire.params import TransportParameters, encode_preferred_address
from cwt._types import DatagramStats, SendInfo, Stats
from cwt.errors import (
    ApplicationError, DatagramTooLarge, HandshakeError, IdleTimeout, MigrationError, TransportError,
    TransportErrorCode,
)

cdef enum:
    MAX_BATCH_BYTES = MAX_DATAGRAM


cdef uint32_t first_version(object config) except 0:
    # Of a client that does not know better.
    if config.initial_version is not None:
        return config.initial_version
    return VERSION_1 if VERSION_1 in config.versions else config.versions[0]


cdef uint64_t min_ack_delay(object config) except? 0:
    # Microseconds: event loops wake with about a millisecond's precision.
    return min(1000, int(config.max_ack_delay * 1000) * 1000)


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
cdef class Connection(Router):
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
        self.recovery.discard(0)
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
        config = self.config
        params = TransportParameters(
            initial_source_connection_id=source_cid,
            max_idle_timeout=int(config.max_idle_timeout * 1000),
            max_udp_payload_size=config.max_recv_udp_payload_size,
            initial_max_data=config.initial_max_data,
            initial_max_stream_data_bidi_local=config.initial_max_stream_data,
            initial_max_stream_data_bidi_remote=config.initial_max_stream_data,
            initial_max_stream_data_uni=config.initial_max_stream_data,
            initial_max_streams_bidi=config.initial_max_streams_bidi,
            initial_max_streams_uni=config.initial_max_streams_uni,
            ack_delay_exponent=config.ack_delay_exponent,
            max_ack_delay=int(config.max_ack_delay * 1000),
            active_connection_id_limit=config.active_connection_id_limit,
            max_datagram_frame_size=config.max_datagram_frame_size,
            disable_active_migration=config.disable_active_migration,
        )
        if not self.is_client:
            params.original_destination_connection_id = self.intake.original_destination
            params.stateless_reset_token = reset_token
            params.preferred_address = self._preferred_address()
            params.retry_source_connection_id = self.intake.retry_source
        if config.ack_frequency:
            params.min_ack_delay = params.early_min_ack_delay = min_ack_delay(config)
        if config.grease:
            noise = self.random(4)
            params.unknown[31 * (noise[0] << 8 | noise[1]) + 27] = noise[: noise[2] % 5]
            params.grease_quic_bit = True
        params.reset_stream_at = params.early_reset_stream_at = True
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

    # What is known

    @property
    def version(self):
        """The QUIC version in use, which may change while the handshake goes on (RFC 9368)."""
        return self.versions.chosen

    @property
    def application_proto(self):
        """The ALPN protocol that was agreed (RFC 7301), or None."""
        return self.handshake.tls.alpn

    @property
    def server_name(self):
        """The server name of the handshake (SNI), or None."""
        return self.handshake.tls.server_name

    @property
    def peer_cert_chain(self):
        """The peer's certificates in DER, leaf first."""
        return list(self.handshake.tls.peer_certificates)

    @property
    def peer_public_key(self):
        """The raw public key (DER) of a peer that has no certificate (RFC 7250), or None."""
        return self.handshake.tls.peer_public_key

    @property
    def peer_cert(self):
        """The peer's certificate in DER, or None."""
        chain = self.handshake.tls.peer_certificates
        return chain[0] if chain else None

    @property
    def tls(self):
        """The TLS handshake object."""
        return self.handshake.tls

    @property
    def can_open_streams(self):
        """Whether application data can be sent; a server can with its first flight ("0.5-RTT"), a client
        that has early data (0-RTT) at once."""
        return self.closing.state == OPEN and self.keys.can_write(2) and (
            self.peer_params is not None or self.early_params is not None
        )

    @property
    def is_confirmed(self):
        """Whether the handshake is confirmed (RFC 9001 Section 4.1.2)."""
        return self.handshake.confirmed

    @property
    def is_closed(self):
        """Whether the connection is over and can be forgotten."""
        return self.closing.state == CLOSED

    @property
    def is_draining(self):
        """Whether the connection is closing or draining (RFC 9000 Section 10.2)."""
        return self.closing.state == CLOSING or self.closing.state == DRAINING

    @property
    def is_resumed(self):
        """Whether a TLS session was resumed (RFC 8446 Section 2.2)."""
        return bool(self.handshake.tls.is_resumed)

    @property
    def is_in_early_data(self):
        """Whether 0-RTT is under way: a client can send before the server has decided of it, a server has
        accepted it and the handshake is not complete, so that it may be a replay (RFC 9001 Section 9.2)."""
        if self.is_client:
            return self.keys.write_early is not None
        return self.keys.read_early is not None and not self.handshake.complete

    @property
    def early_data_accepted(self):
        """Whether the server took 0-RTT; None when none was offered, or it has not decided.

        What a client wrote early and the server refused is sent again in 1-RTT, on the same streams.
        """
        return self.handshake.tls.early_data_accepted

    @property
    def early_data_reason(self):
        """Why 0-RTT was accepted or refused, in words; None when none was offered, or not yet."""
        return self.handshake.tls.early_data_reason

    @property
    def early_session_data(self):
        """A client's: what ``remember`` was given in the connection whose session 0-RTT is sent with."""
        return self.handshake.tls.early_session_data if self.is_client else b""

    def remember(self, bytes data not None):
        """Keep *data* with the sessions of this client connection, for 0-RTT with one of them.

        It is for what the application has to know of the server before that can say it, such as SETTINGS of
        HTTP/3 (RFC 9114 Section 7.2.4.2).  Does nothing without a session cache.
        """
        if self.is_client:
            self.handshake.tls.remember(data)

    def stream_early(self, uint64_t stream_id):
        """Whether some of what a server received on the stream came in 0-RTT.

        Until ``is_established`` it may be a replay of what another connection sent, by somebody who recorded
        that: nothing may be done then that does harm when it is done twice (RFC 8470).
        """
        return bool(self.streams.is_early(stream_id))

    @property
    def termination(self):
        """The exception that says why the connection ends or ended, or None."""
        return self.closing.error

    @property
    def peer_error(self):
        """``termination`` when the peer closed, else None."""
        return self.closing.error if getattr(self.closing.error, "remote", False) else None

    @property
    def local_error(self):
        """``termination`` when this side closed, else None."""
        return None if getattr(self.closing.error, "remote", True) else self.closing.error

    @property
    def local_address(self):
        """Our address on the path in use."""
        return self.paths.current.local

    @property
    def remote_address(self):
        """The peer's address on the path in use."""
        return self.paths.current.remote

    @property
    def source_id(self):
        """Our first connection ID still in use."""
        return self.local_ids.first()

    @property
    def destination_id(self):
        """The peer's connection ID in use."""
        return self.remote_ids.cid

    @property
    def peer_transport_parameters(self):
        """The peer's transport parameters (RFC 9000 Section 18), or None before they are known."""
        return self.peer_params

    @property
    def key_updates(self):
        """How many key updates there were (RFC 9001 Section 6)."""
        return self.keys.key_updates

    def stats(self):
        """Counters and estimates (a :class:`cwt.quic.Stats`)."""
        cdef RttEstimator rtt = self.recovery.rtt
        cdef Ecn ecn = self.recovery.ecn
        return Stats(
            self.assembler.packets_sent, self.packets_received, self.recovery.packets_lost,
            self.assembler.bytes_sent,
            self.intake.bytes_received, self.recovery.bytes_lost, self.recovery.bytes_acked,
            rtt.smoothed / 1e9, rtt.variation / 1e9, rtt.minimum / 1e9, rtt.latest / 1e9,
            self.recovery.congestion.window, self.recovery.bytes_in_flight, self.recovery.pto_count,
            self.datagrams.dropped_incoming, self.datagrams.outgoing.dropped, self.datagrams.lost,
            len(self.streams.by_id), self.paths.current.mtu.size, ecn.name(), ecn.sent, ecn.ce,
            self.acks.with_codepoint(0), self.acks.with_codepoint(1), self.acks.with_codepoint(2),
            self.intake.packets_dropped, self.assembler.packets_repeated,
            self.assembler.stream_bytes_repeated, self.datagrams.sent, self.datagrams.received,
            self.paths.slots + 1,
            self.streams.resets_sent, self._heard(RESET_STREAM),
            self.streams.stops_sent, self._heard(STOP_SENDING),
            self.streams.data_blocked_sent, self._heard(DATA_BLOCKED),
            self.streams.stream_data_blocked_sent, self._heard(STREAM_DATA_BLOCKED),
            self._heard(STREAMS_BLOCKED_BIDI), self._heard(STREAMS_BLOCKED_UNI),
            self._heard(PATH_CHALLENGE), self.assembler.times_limited, self.recovery.flight_time / 1e9,
            (self.established_at - self.started_at) / 1e9 if self.is_established else None,
            self.keys.key_updates, bool(self.handshake.tls.early_data_accepted),
            self.recovery.spurious_lost,
        )

    def path_stats(self):
        """A list of :class:`cwt.quic.PathStats`, that of the path in use first."""
        return self.paths.stats()

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
        cdef int space
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
            for space in range(3):
                best = earlier(best, self.acks.of(space).next_timeout())
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

    # The application's verbs

    def close(self, uint64_t code=0, str reason="", bint app=True):
        """Close the connection with *code* and *reason* (RFC 9000 Section 10.2).

        *app* False makes it a transport error code.  Closing twice does nothing.
        """
        if app:
            error = ApplicationError(code, reason, remote=False)
        else:
            error = TransportError(code, reason, remote=False)
        self.closing.close(app, code, reason, 0, error)
        self.news = True
        self._wake()
        self._tell()

    def open_stream(self, bint bidirectional=True):
        """The ID of a new stream, or None while the peer allows no more (RFC 9000 Section 4.6)."""
        stream_id = self.streams.open(bidirectional)
        if stream_id is None:
            self._wake()
        return stream_id

    def streams_available(self, bint bidirectional=True):
        """How many streams ``open_stream`` would give now."""
        return self.streams.available(bidirectional)

    def peer_streams_available(self, bint bidirectional=True):
        """How many streams the peer may open now, by the limit it was last told (RFC 9000 Section 4.6)."""
        return self.streams.peer_available(0 if bidirectional else 1)

    @property
    def send_capacity(self):
        """Bytes of new stream data that the peer's limit for the connection leaves (RFC 9000 Section 4.1)."""
        return credit_left(&self.streams.credit)

    def stream_send(self, uint64_t stream_id, data, bint fin=False):
        """Write *data* and, with *fin*, the end of the stream; returns the bytes taken.

        It may be short, then *fin* is not taken: wait for the stream in ``writable``.  Raises
        StreamStopped once the peer stopped reading, ValueError for a stream that cannot be written.
        """
        cdef Py_ssize_t taken = self.streams.write(stream_id, data, fin)
        if taken or fin:
            self._wake()
        return taken

    def stream_recv(self, uint64_t stream_id, size_t max_length=65536):
        """At most *max_length* bytes and whether the stream ended: ``(bytes, fin)``; None for nothing yet.

        Raises StreamReset once the peer abandoned the stream.
        """
        result = self.streams.read(stream_id, max_length)
        if result is not None:
            self._wake_for_credit()
        return result

    def stream_recv_into(self, uint64_t stream_id, buffer):
        """Like ``stream_recv``, into a writable *buffer*: ``(count, fin)`` or None."""
        cdef Py_buffer view
        cdef bint fin = False
        cdef Py_ssize_t count
        PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE)
        try:
            count = self.streams.read_into(stream_id, <uint8_t*>view.buf, view.len, &fin)
        finally:
            PyBuffer_Release(&view)
        if count < 0:
            return None
        self._wake_for_credit()
        return count, bool(fin)

    def stream_peek(self, uint64_t stream_id, size_t max_length):
        """At most *max_length* bytes of what ``stream_recv`` would give next, which still will.

        Empty when there is nothing, only the end or a reset.
        """
        return self.streams.peek(stream_id, max_length)

    cdef int _wake_for_credit(self) except -1:
        if self.streams.max_data_pending or self.streams.control or (
            self.streams.limit_pending[0] or self.streams.limit_pending[1]
        ):
            self._wake()
        return 0

    def stream_shutdown(self, uint64_t stream_id, int direction, uint64_t code=0, *, uint64_t reliable_size=0):
        """Stop reading (*direction* 0: STOP_SENDING) or abandon writing (1: RESET_STREAM) with *code*.

        The first *reliable_size* bytes that were written still reach the peer, before it learns of the end
        (draft-ietf-quic-reliable-stream-reset); where it does not know RESET_STREAM_AT, the reset waits
        until they are acknowledged.  A later call may lower it.  Raises ValueError when it is more than was
        written.
        """
        self.streams.shutdown(stream_id, direction == 1, code, reliable_size)
        self._wake()

    def stream_capacity(self, uint64_t stream_id):
        """Bytes ``stream_send`` would take now."""
        return self.streams.capacity(stream_id)

    def stream_credit(self, uint64_t stream_id):
        """Bytes of new data of the stream that the peer's limits let through now, its own and that of the
        connection (RFC 9000 Section 4.1); what was written and not sent counts against them."""
        return self.streams.send_credit(stream_id)

    def stream_acked(self, uint64_t stream_id):
        """Whether everything written to the stream, and its end if given, is acknowledged."""
        return bool(self.streams.acked(stream_id))

    def stream_priority(self, uint64_t stream_id, int urgency=3, bint incremental=True):
        """Send streams of lower *urgency* (0 to 7) first; *incremental* ones in turn, the others in the order
        of their IDs (RFC 9218 Section 10)."""
        self.streams.prioritize(stream_id, urgency, incremental)

    def send_group(self, int urgency=3):
        """A group whose streams are sent by their order (``stream_order``); it takes turns with other groups
        and streams of its *urgency* (0 to 7)."""
        return self.streams.make_group(urgency)

    def stream_order(self, uint64_t stream_id, SendGroup group or None, int64_t order=0):
        """Put a stream into *group* of this connection: there the highest *order* goes first, and streams of
        the same one take turns.  With None, and with ``stream_priority``, it leaves the group it is in."""
        self.streams.order(stream_id, group, order)

    def readable(self):
        """IDs of the streams with news to read since the last call."""
        return self.streams.take_readable()

    def writable(self):
        """IDs of the streams that take data again, were stopped, or became wholly acknowledged."""
        return self.streams.take_writable()

    def dgram_send(self, data, DatagramFlow flow=None):
        """Queue a datagram (RFC 9221), one of *flow* if given; False when the queue was full and its oldest
        one was dropped, or this one was refused (``datagram_drop``).

        Raises DatagramTooLarge when *data* does not fit a packet or the peer's limit.
        """
        cdef int64_t limit = self._dgram_limit(flow)
        cdef bint kept
        if <int64_t>len(data) > limit:
            raise DatagramTooLarge(len(data), max(limit, 0))
        kept = self.datagrams.send(data, flow)
        self._wake()
        return bool(kept)

    def dgram_send_many(self, datagrams, DatagramFlow flow=None):
        """Queue each of the iterable *datagrams*; returns for how many there was room, and raises, as
        ``dgram_send``."""
        cdef int64_t limit = self._dgram_limit(flow)
        cdef Py_ssize_t kept = 0
        try:
            for data in datagrams:
                if <int64_t>len(data) > limit:
                    raise DatagramTooLarge(len(data), max(limit, 0))
                kept += self.datagrams.send(data, flow)
        finally:
            self._wake()
        return kept

    @property
    def dgram_writable(self):
        """Whether there is room to spare for datagrams: False from when half of the send queue is taken
        until no more than a quarter is, which is news for the application."""
        return not self.datagrams.crowded

    def dgram_recv(self):
        """The oldest received datagram of no flow, or None."""
        return self.datagrams.recv()

    def dgram_flow(self, uint64_t id):
        """A queue of its own for received datagrams that begin with *id* as a varint, without it.

        Until its ``close``; ``dgram_ready`` tells of news.  ValueError when *id* has one already.
        """
        return self.datagrams.open(id)

    def dgram_stats(self):
        """What became of datagrams (a :class:`cwt.quic.DatagramStats`)."""
        cdef Datagrams datagrams = self.datagrams
        return DatagramStats(
            datagrams.sent, datagrams.received, datagrams.lost, datagrams.overflowed_outgoing(),
            datagrams.outgoing.expired, datagrams.too_large, datagrams.dropped_incoming,
            datagrams.expired_incoming,
        )

    def dgram_ready(self):
        """The flows that received something since the last call."""
        return self.datagrams.take_ready() if self.datagrams.ready else []

    def dgram_max_writable_len(self, DatagramFlow flow=None):
        """The largest datagram that can be sent now, as one of *flow* if given; 0 when the peer takes
        none."""
        return max(self._dgram_limit(flow), 0)

    cdef int64_t _dgram_limit(self, DatagramFlow flow) except? -1:
        # -1 when not even an empty one can be sent.
        cdef int64_t limit = min(self.peer_max_datagram_frame_size, <uint64_t>MAX_BATCH_BYTES), fits
        if limit < 2:
            return -1
        # Short header, longest packet number, tag, frame type.
        fits = self.paths.current.mtu.size - 1 - self.remote_ids.current.length - 4 - TAG_LENGTH - 1
        limit = min(limit - 1, fits)
        return limit if flow is None else limit - <int64_t>varint_length(flow.id)

    # Paths

    cdef Path _try_path(self, object local, object remote):
        cdef Path path
        if not self.is_client:
            raise MigrationError("only clients migrate; a server names a preferred_address")
        if self.closing.state != OPEN or not self.handshake.confirmed:
            raise MigrationError("the connection is not established, or ends")
        path = self.paths.try_path(local, remote)
        self._wake()
        return path

    def probe_path(self, local, remote=None):
        """A client: find out whether the peer is reached from *local* (RFC 9000 Section 8.2), without use of it
        yet.

        ``path_event_next`` tells what came of it.  *remote* is the server's address, its own or the one it
        prefers; None for the one in use.  Raises MigrationError when that must not be tried.
        """
        self._try_path(local, remote)

    def migrate(self, local, remote=None):
        """A client: use the path from *local*, once it is validated (RFC 9000 Section 9.2).

        That is at once after a ``probe_path`` that succeeded.  When validation fails, everything stays as
        it is.  ``path_event_next`` tells which.  Raises MigrationError as ``probe_path``.
        """
        cdef Path path = self._try_path(local, remote)
        self.paths.migrate(path, self.now)
        self._wake()
        self._tell()

    def path_event_next(self):
        """What happened to a path, the oldest :class:`cwt.quic.PathEvent` not taken yet; or None.

        A few are kept; then the oldest is dropped.
        """
        if not self.paths.events:
            return None
        return self.paths.events.pop(0)

    def paths_iter(self):
        """``(local, remote)`` of each path, the one in use first."""
        return iter([((<Path>path).local, (<Path>path).remote) for path in self.paths.all()])

    def is_path_validated(self, local, remote):
        """Whether the peer is known to be reached between these addresses."""
        cdef Path path = self.paths.find(remote, local)
        return path is not None and bool(path.validated)

    @property
    def source_ids(self):
        """Our connection IDs that the peer may use, oldest first; a driver routes by them."""
        return self.local_ids.all()

    @property
    def available_dcids(self):
        """How many connection IDs the peer gave us for other paths."""
        return self.remote_ids.unused()

    def initiate_key_update(self):
        """Use new keys from now on (RFC 9001 Section 6); False while the last update is unconfirmed."""
        if not self.handshake.confirmed:
            return False
        return bool(self.keys.update(self.recovery.application.next))

    def ping(self):
        """Ask the peer for an acknowledgement."""
        self.idle.ping_pending = True
        self._wake()

    def export_keying_material(self, bytes label not None, bytes context not None, size_t length):
        """Keying material of the TLS exporter (RFC 8446 Section 7.5)."""
        return self.handshake.tls.export_keying_material(label, context, length)


cdef int64_t earlier(int64_t a, int64_t b) noexcept nogil:
    # The smaller of two times of which 0 means never.
    if a == 0 or b == 0:
        return a + b
    return min(a, b)
