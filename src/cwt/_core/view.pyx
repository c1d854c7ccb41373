"""What is known of a connection: what can only be looked at (RFC 9000)."""

from libc.stdint cimport uint64_t

from cwt._core.closing cimport CLOSED, CLOSING, DRAINING, OPEN
from cwt._core.path cimport Path
from cwt._core.recovery.ecn cimport Ecn
from cwt._core.recovery.rtt cimport RttEstimator
from cwt._core.router cimport Router
from cwt._core.stream.datagram cimport Datagrams
from cwt._core.stream.flow cimport credit_left
from cwt._core.wire.frame cimport (
    DATA_BLOCKED, PATH_CHALLENGE, RESET_STREAM, STOP_SENDING, STREAMS_BLOCKED_BIDI, STREAMS_BLOCKED_UNI,
    STREAM_DATA_BLOCKED,
)

from cwt._types import DatagramStats, Stats


cdef class View(Router):
    """The properties of a connection, and its statistics."""

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

    def dgram_stats(self):
        """What became of datagrams (a :class:`cwt.quic.DatagramStats`)."""
        cdef Datagrams datagrams = self.datagrams
        return DatagramStats(
            datagrams.sent, datagrams.received, datagrams.lost, datagrams.overflowed_outgoing(),
            datagrams.outgoing.expired, datagrams.too_large, datagrams.dropped_incoming,
            datagrams.expired_incoming,
        )

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
