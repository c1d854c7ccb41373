"""What received packets mean: frames to their owners, and the course of the handshake (RFC 9000)."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from cwt._core.closing cimport CLOSING, OPEN
from cwt._core.intake cimport EARLY, PacketHandler, SHORT_CID_LENGTH
from cwt._core.keyring cimport Opened
from cwt._core.qlog.trace cimport DROP_DUPLICATE
from cwt._core.recovery.acks cimport AckTracker
from cwt._core.recovery.mtu cimport MAX_DATAGRAM, PathMtu
from cwt._core.tokens cimport GivenToken
from cwt._core.wire.cursor cimport Reader, read_bytes, read_varint, reader
from cwt._core.wire.frame cimport (
    ACK, ACK_ECN, ACK_FREQUENCY, APPLICATION_CLOSE, AckFrame, AckFrequencyFrame, CRYPTO, CloseFrame,
    DATAGRAM, DATAGRAM_WITH_LENGTH, DATA_BLOCKED, DataFrame, FrameRecord, HANDSHAKE_DONE, IMMEDIATE_ACK, MAX_DATA,
    MAX_STREAMS_BIDI, MAX_STREAMS_UNI, MAX_STREAM_DATA, NEW_CONNECTION_ID, NEW_TOKEN, NewConnectionId, PADDING,
    PATH_CHALLENGE, PATH_RESPONSE, PING, RESET_STREAM, RESET_STREAM_AT, RETIRE_CONNECTION_ID, STOP_SENDING, STREAM,
    STREAMS_BLOCKED_BIDI, STREAMS_BLOCKED_UNI, STREAM_DATA_BLOCKED, StreamControl,
    TRANSPORT_CLOSE, read_ack, read_ack_frequency, read_close, read_crypto, read_datagram,
    read_new_connection_id, read_new_token, read_pair, read_reset_stream, read_stop_sending, read_stream, read_type,
)

from cwt._core.wire.params import ABSENT, TransportParameters
from cwt.errors import (
    ApplicationError, HandshakeError, StatelessReset, TransportError, TransportErrorCode,
)

cdef enum:
    ANY = 7                  # of the packet number spaces 1 Initial, 2 Handshake, 4 application
    IN_EARLY = 8             # in 0-RTT packets, too

# Milliseconds; a peer that says more means never, and nanoseconds of it must not overflow.
cdef uint64_t MAX_IDLE_TIMEOUT = <uint64_t>1 << 40

# In which packet number spaces a frame may come (RFC 9000 Section 12.4), by type.
cdef uint8_t[ACK_FREQUENCY + 1] ALLOWED
memset(ALLOWED, 0, sizeof(ALLOWED))
for _type in (PADDING, PING, ACK, ACK_ECN, CRYPTO, TRANSPORT_CLOSE):
    ALLOWED[_type] = ANY
for _type in (
    RESET_STREAM, RESET_STREAM_AT, STOP_SENDING, NEW_TOKEN, *range(STREAM, 0x20), DATAGRAM, DATAGRAM_WITH_LENGTH,
    ACK_FREQUENCY,
):
    if _type != TRANSPORT_CLOSE:
        ALLOWED[_type] = 4
for _type in range(ACK_FREQUENCY + 1):
    if ALLOWED[_type] and _type not in (
        ACK, ACK_ECN, ACK_FREQUENCY, CRYPTO, HANDSHAKE_DONE, IMMEDIATE_ACK, NEW_TOKEN, PATH_RESPONSE,
        RETIRE_CONNECTION_ID,
    ):
        ALLOWED[_type] |= IN_EARLY

# Control frames whose number is told: where a connection keeps it, by type; 0 for the other types.
cdef uint8_t[ACK_FREQUENCY + 1] COUNTER
memset(COUNTER, 0, sizeof(COUNTER))
COUNTED = (
    RESET_STREAM, STOP_SENDING, DATA_BLOCKED, STREAM_DATA_BLOCKED, STREAMS_BLOCKED_BIDI, STREAMS_BLOCKED_UNI,
    PATH_CHALLENGE,
)
for _index, _type in enumerate(COUNTED, 1):
    COUNTER[_type] = _index
COUNTER[<int>RESET_STREAM_AT] = COUNTER[<int>RESET_STREAM]


cdef object encoding_error(uint64_t type):
    return TransportError(TransportErrorCode.FRAME_ENCODING_ERROR, "malformed frame", type)


cdef object unknown_frame(uint64_t type):
    return TransportError(TransportErrorCode.FRAME_ENCODING_ERROR, "unknown frame type", type)


cdef object violation(str text, uint64_t type=0):
    return TransportError(TransportErrorCode.PROTOCOL_VIOLATION, text, type)


cdef class Router(PacketHandler):
    """The components of a connection, and who of them gets which frame.

    What a packet carried goes back to the component that wrote it when it is acknowledged or lost.
    """

    cdef uint32_t _heard(self, int type) noexcept:
        # How many frames of *type*, one that is COUNTED, were received.
        return self.controls[COUNTER[type]]

    cdef int64_t _pto(self) noexcept:
        return self.recovery.rtt.pto(self.handshake.confirmed)

    cdef int on_packet(
        self, int space, Opened* opened, object remote, object local, int ecn, int64_t now
    ) except -1:
        # An authentic packet.
        cdef AckTracker acks = self.acks.of(space)
        cdef bint eliciting = False, probing = True, newest
        cdef uint64_t news = self.handshake.news, id = 0
        if acks.is_duplicate(opened.number):
            if self.trace is not None:
                self.trace.packet_dropped(opened.header, opened.length, DROP_DUPLICATE)
            return 0
        if self.trace is not None:
            self.trace.packet_received(
                opened.header, opened.payload - opened.header, opened.length, opened.number
            )
        if space == 2 and not self.intake.early:
            memcpy(&id, self.intake.packet_destination, sizeof(id))
            if self.paths.reading is not self.paths.current and not self.paths.admits(id):
                return 0
        self.packets_received += 1
        self.idle.on_received(now)
        if self.closing.state != OPEN:
            self.closing.on_packet()
            if self.closing.state == CLOSING:
                self._process_closed(opened)
            return 0
        newest = <int64_t>opened.number > acks.largest
        self._process_payload(space, opened, now, &eliciting, &probing)
        acks.on_packet(opened.number, eliciting, ecn, now)
        if space != 2 and eliciting and news == self.handshake.news:
            self.recovery.repeat_handshake(self)
        if space == 2 and not self.intake.early:
            self.paths.on_packet(id, newest and not probing, now)
        if self.handshake.complete or space != 2:
            self._advance(now)
        return 0

    cdef _process_closed(self, Opened* opened):
        # While closing only the peer's own CONNECTION_CLOSE matters.
        cdef Reader r = reader(opened.payload, opened.length)
        cdef uint64_t type
        cdef CloseFrame close
        if read_type(&r, &type) and type in (TRANSPORT_CLOSE, APPLICATION_CLOSE):
            if read_close(&r, type, &close):
                self.closing.drain(self.closing.error)

    cdef int on_handshake_packet(self) except -1:
        if self.keys.can_read(0):
            self._discard(0)
        return 0

    cdef int on_stateless_reset(self) except -1:
        self.closing.drain(StatelessReset(
            "the peer has lost the state of this connection (stateless reset); connect again"
        ))
        self.news = True
        return 0

    cdef int _follow_mtu(self, int64_t now) except -1:
        # What the path takes may have changed, and so may the path.
        cdef PathMtu mtu = self.paths.current.mtu
        if self.handshake.confirmed and self.paths.current.validated:
            mtu.start(now)
        if mtu.size != self.assembler.datagram_size:
            self.assembler.set_datagram_size(mtu.size)
        return 0

    cdef int on_retry(self, bytes token) except -1:
        self.assembler.token = token
        self.recovery.start_over(0)
        self.handshake.restart()
        if self.early_params is not None:
            self.recovery.abandon(2, self)   # the server has not kept 0-RTT packets
        return 0

    cdef int on_versions(self, list versions) except -1:
        if self.versions.react(versions):
            return self.start_over()
        listed = ", ".join([f"0x{version:08x}" for version in versions])
        self.closing.finish(HandshakeError(
            f"the server speaks none of our QUIC versions, but {listed or 'none at all'}",
            TransportErrorCode.VERSION_NEGOTIATION_ERROR,
        ))
        self.news = True
        return 0

    cdef int start_over(self) except -1:
        # Another attempt, in another version; who has what TLS needs does it.
        raise NotImplementedError

    # Frames

    cdef int _process_payload(
        self, int space, Opened* opened, int64_t now, bint* eliciting, bint* probing
    ) except -1:
        cdef Reader r = reader(opened.payload, opened.length)
        cdef uint64_t type
        cdef DataFrame data
        cdef int kind = IN_EARLY if self.intake.early else 1 << space
        if opened.length == 0:
            raise violation("a packet without frames")
        while r.pos < r.end:
            if not read_type(&r, &type):
                raise encoding_error(0)
            if type == PADDING:
                while r.pos < r.end and r.pos[0] == 0:
                    r.pos += 1
                continue
            if type > ACK_FREQUENCY or ALLOWED[type] == 0:
                raise unknown_frame(type)
            if not ALLOWED[type] & kind:
                raise violation("the frame is not allowed in this packet", type)
            if type != ACK and type != ACK_ECN and type != TRANSPORT_CLOSE and type != APPLICATION_CLOSE:
                eliciting[0] = True
            if type != NEW_CONNECTION_ID and type != PATH_CHALLENGE and type != PATH_RESPONSE:
                probing[0] = False
            if STREAM <= type <= 0x0F:
                if not read_stream(&r, type, &data):
                    raise encoding_error(type)
                self.streams.on_stream(&data)
                if self.intake.early:
                    self.streams.mark_early(data.stream_id)
            else:
                self._on_frame(space, type, &r, now)
            if self.closing.state != OPEN:
                return 0
        return 0

    cdef int _on_frame(self, int space, uint64_t type, Reader* r, int64_t now) except -1:
        cdef AckFrame ack
        cdef DataFrame data
        cdef CloseFrame close
        cdef int64_t delay
        if type == ACK or type == ACK_ECN:
            if not read_ack(r, type, &ack):
                raise encoding_error(type)
            delay = self._ack_delay(ack.delay)
            self.recovery.on_ack(space, &ack, delay, now, self)
            if space == 2:
                self.keys.on_acked(ack.largest)
                self.ack_frequency.update(self.recovery.congestion, self.recovery.rtt, now)
            elif space == 1:
                self.recovery.peer_validated = True
        elif type == PING:
            pass
        elif type == CRYPTO:
            if not read_crypto(r, &data):
                raise encoding_error(type)
            self._on_crypto(space, &data)
        elif type == DATAGRAM or type == DATAGRAM_WITH_LENGTH:
            if not read_datagram(r, type, &data):
                raise encoding_error(type)
            self.datagrams.on_datagram(&data)
        elif type == TRANSPORT_CLOSE or type == APPLICATION_CLOSE:
            if not read_close(r, type, &close):
                raise encoding_error(type)
            self._on_close(&close)
        elif type == ACK_FREQUENCY or type == IMMEDIATE_ACK:
            self._on_ack_request(type, r)
        else:
            self._on_control(type, r, now)
        return 0

    cdef int64_t _ack_delay(self, uint64_t encoded) noexcept:
        # Nanoseconds, with the exponent of the peer.
        cdef int exponent = 3
        if self.peer_params is not None:
            exponent = self.peer_params.ack_delay_exponent
        return <int64_t>(min(encoded, <uint64_t>1 << 30) << exponent) * 1000

    cdef int _on_ack_request(self, uint64_t type, Reader* r) except -1:
        # How the peer wants to be acknowledged, if we said that it may ask.
        cdef AckFrequencyFrame frame
        if not self.config.ack_frequency:
            raise unknown_frame(type)
        if type == IMMEDIATE_ACK:
            self.acks.application.immediate = True
            return 0
        if not read_ack_frequency(r, &frame):
            raise encoding_error(type)
        return self.acks.application.on_ack_frequency(
            &frame, self.ack_frequency.supported and self.ack_frequency.early
        )

    cdef int _on_control(self, uint64_t type, Reader* r, int64_t now) except -1:
        # Frames of 1-RTT packets, each to its owner.
        cdef StreamControl control
        cdef NewConnectionId new_cid
        cdef DataFrame data
        cdef uint64_t a = 0, b = 0
        cdef const uint8_t* raw = NULL
        cdef bint ok
        self.controls[COUNTER[type]] += 1
        if type == RESET_STREAM or type == RESET_STREAM_AT:
            ok = read_reset_stream(r, type, &control)
            if ok:
                self.streams.on_reset_stream(&control)
        elif type == STOP_SENDING:
            ok = read_stop_sending(r, &control)
            if ok:
                self.streams.on_stop_sending(&control)
        elif type == MAX_DATA:
            ok = read_varint(r, &a)
            if ok:
                self.streams.on_max_data(a)
        elif type == MAX_STREAM_DATA or type == STREAM_DATA_BLOCKED:
            ok = read_pair(r, &a, &b)
            if ok and type == MAX_STREAM_DATA:
                self.streams.on_max_stream_data(a, b)
            elif ok:
                self.streams.on_stream_data_blocked(a)
        elif type == MAX_STREAMS_BIDI or type == MAX_STREAMS_UNI:
            ok = read_varint(r, &a)
            if ok:
                self.streams.on_max_streams(type == MAX_STREAMS_UNI, a)
                self.news = True
        elif type == STREAMS_BLOCKED_BIDI or type == STREAMS_BLOCKED_UNI:
            ok = read_varint(r, &a)
            if ok:
                self.streams.on_streams_blocked(type == STREAMS_BLOCKED_UNI, a)
        elif type == DATA_BLOCKED:
            ok = read_varint(r, &a)
        elif type == NEW_CONNECTION_ID:
            ok = read_new_connection_id(r, &new_cid)
            if ok:
                self.remote_ids.on_new_connection_id(&new_cid)
                self.paths.on_ids_changed()
        elif type == RETIRE_CONNECTION_ID:
            ok = read_varint(r, &a)
            if ok:
                self.local_ids.on_retire_connection_id(a, self.intake.packet_destination, SHORT_CID_LENGTH)
                self._issue_ids()
        elif type == PATH_CHALLENGE:
            ok = read_bytes(r, 8, &raw)
            if ok:
                self.paths.on_path_challenge(raw[:8])
        elif type == PATH_RESPONSE:
            ok = read_bytes(r, 8, &raw)
            if ok:
                self.paths.on_path_response(raw[:8], now)
                if self.paths.address_changed and not self.is_client:
                    self._give_token()       # Section 9.3
                self.paths.address_changed = False
        elif type == HANDSHAKE_DONE:
            ok = True
            if not self.is_client:
                raise violation("a client sent HANDSHAKE_DONE", type)
            if not self.handshake.complete:
                raise violation("HANDSHAKE_DONE before the handshake was", type)
            self._confirm()
        else:
            ok = read_new_token(r, &data)
            if ok and not self.is_client:
                raise violation("a client sent NEW_TOKEN", type)
            if ok:
                self.handshake.tls.put_token(data.data[:data.length], self.versions.chosen)
        if not ok:
            raise encoding_error(type)
        return 0

    cdef int _on_close(self, CloseFrame* frame) except -1:
        reason = frame.reason[:frame.reason_length].decode("utf-8", "replace")
        if frame.application:
            error = ApplicationError(frame.code, reason, remote=True)
        else:
            error = TransportError(frame.code, reason, frame.frame_type, remote=True)
        self.closing.drain(error)
        self.news = True
        return 0

    # The handshake

    cdef int _on_crypto(self, int space, DataFrame* data) except -1:
        cdef list secrets = self.handshake.on_crypto(space, data)
        if space == 0 and not self.is_client and self.keys.write_initial.version != self.versions.chosen:
            self.keys.move_initial(
                self.versions.chosen, self.intake.retry_source or self.intake.original_destination
            )
        self._install(secrets)
        if self.early_params is not None and self.handshake.tls.early_data_accepted is False:
            self._refuse_early()
        return 0

    cdef int _install(self, list secrets) except -1:
        self.handshake.tls.negotiated_version = self.versions.chosen
        for space, is_write, cipher_suite, secret in secrets:
            self.keys.install(
                space, is_write, cipher_suite, secret,
                self.versions.original if space == EARLY else self.versions.chosen,
            )
            if space == 1 and is_write:
                self.recovery.has_handshake_keys = True
            elif space == 2 and is_write:
                self.keys.write_phase_start = self.recovery.application.next
        return 0

    # 0-RTT (RFC 9001 Section 4.6)

    cdef int _begin_early(self) except -1:
        # A client that offers it may send at once, within the limits of the connection before.
        if self.keys.write_early is None:
            return 0
        try:
            params = TransportParameters.parse(self.handshake.tls.early_parameters, False)
        except TransportError:
            self.keys.write_early = None     # from a file that was tampered with: nothing is sent early
            return 0
        self.early_params = params
        self.streams.set_peer_limits(params)
        self._apply_datagram_limits(params)
        return 0

    cdef int _apply_datagram_limits(self, object params) except -1:
        self.datagrams.peer_max_frame_size = params.max_datagram_frame_size
        self.peer_max_datagram_frame_size = params.max_datagram_frame_size
        return self.paths.set_mtu_limit(min(<uint64_t>params.max_udp_payload_size, <uint64_t>MAX_DATAGRAM))

    cdef int _refuse_early(self) except -1:
        # The server did: all of it is sent again, from the start of each stream, when that can be in 1-RTT.
        self.early_params = None
        self.keys.write_early = None
        self.recovery.abandon(2, self)
        self.streams.on_early_refused()
        self.news = True
        return 0

    cdef int _check_early(self, object params) except -1:
        # RFC 9000 Section 7.4.1: limits that 0-RTT relied on must hold.
        lowered = params.lowered(self.early_params)
        self.early_params = None
        self.news = True
        if lowered is not None:
            raise violation(f"{lowered} is lower than the one remembered for the 0-RTT that was accepted")
        return 0

    cdef int _advance(self, int64_t now) except -1:
        # What follows from the progress of TLS.
        if self.handshake.confirmed and not self.intake.undecryptable:
            return 0
        if self.peer_params is None and self.handshake.tls.peer_transport_parameters is not None:
            self._apply_peer_params()
        if self.handshake.complete and not self.is_established:
            self.is_established = True
            self.established_at = now
            self.news = True
            self._issue_ids()
            if not self.is_client:
                self._confirm()
                self._give_token()
        if self.intake.undecryptable and (
            self.keys.can_read(1) and not self.handshake.complete
            or self.keys.can_read(2) and self.handshake.complete
        ):
            self.intake.replay(self, now)
        return 0

    cdef int _apply_peer_params(self) except -1:
        params = self.versions.take_peer_params() or TransportParameters.parse(
            bytes(self.handshake.tls.peer_transport_parameters), not self.is_client
        )
        self.handshake.tls.peer_transport_parameters = None      # not kept in two forms
        self.versions.check(params)
        self._authenticate_cids(params)
        if self.config.grease and params.grease_quic_bit:
            self.assembler.noise = int.from_bytes(self.random(8), "big") | 1
        if self.early_params is not None:
            self._check_early(params)
        if self.is_client:
            self.handshake.tls.remembered_parameters = params.remembered()
        self.handshake.tls.negotiated_version = self.versions.chosen
        self.peer_params = params
        self.streams.set_peer_limits(params)
        self.idle.negotiate(<int64_t>min(params.max_idle_timeout, MAX_IDLE_TIMEOUT) * 1_000_000)
        self.recovery.rtt.max_ack_delay = <int64_t>params.max_ack_delay * 1_000_000
        self.local_ids.set_peer_limit(params.active_connection_id_limit)
        self._apply_datagram_limits(params)
        self.paths.peer_stays = params.disable_active_migration
        if params.preferred_address is not None:
            self.paths.set_preferred(params.preferred_address)
        self._enable_ack_frequency()
        if params.stateless_reset_token is not None:
            self.remote_ids.set_token(params.stateless_reset_token)
        self.news = True
        return 0

    cdef int _enable_ack_frequency(self) except -1:
        # In the form the peer speaks, rather the newer one.
        params = self.peer_params
        early = params.min_ack_delay == ABSENT
        minimum = params.early_min_ack_delay if early else params.min_ack_delay
        if self.config.ack_frequency and minimum != ABSENT:
            self.ack_frequency.enable(
                <int64_t>minimum * 1000, <int64_t>params.max_ack_delay * 1_000_000, early
            )
        return 0

    def _authenticate_cids(self, params):
        # Section 7.3.
        wrong = params.initial_source_connection_id != self.intake.peer_source
        if self.is_client:
            wrong = (
                wrong or params.original_destination_connection_id != self.intake.original_destination
                or params.retry_source_connection_id != self.intake.retry_source
            )
        if wrong:
            raise TransportError(
                TransportErrorCode.TRANSPORT_PARAMETER_ERROR, "connection IDs do not match the handshake"
            )

    cdef int _issue_ids(self) except -1:
        while self.local_ids.wanted():
            cid, token = self.new_connection_id()
            self.local_ids.issue(cid, token)
        return 0

    cdef tuple new_connection_id(self):
        # A connection ID and its stateless reset token; whoever drives the connection has them.
        raise NotImplementedError

    cdef bytes new_token(self):
        # For the client to prove its present address with next time (Section 8.1.3); or None.
        raise NotImplementedError

    cdef int _give_token(self) except -1:
        cdef bytes token = self.new_token()
        if token is not None:
            if self.given_token is None:
                self.given_token = self.assembler.given_token = GivenToken()
            self.given_token.give(token)
        return 0

    cdef int _confirm(self) except -1:
        if self.handshake.confirmed:
            return 0
        self.handshake.confirm()
        self.keys.prepare()
        self.make_tls = None
        self.own_params = None
        self.recovery.handshake_confirmed = True
        self.recovery.peer_validated = True
        if self.is_client:
            self.paths.on_confirmed()
        if self.keys.can_read(0):
            self._discard(0)
        self._discard(1)
        return 0

    cdef int _discard(self, int space) except -1:
        self.keys.discard(space)
        self.handshake.discard(space)
        self.recovery.discard(space)
        self.acks.discard(space)
        return 0

    # Ownership of what packets carried

    cdef int record_acked(self, const FrameRecord* r, int space) except -1:
        cdef AckTracker acks
        if r.type == STREAM or r.type == RESET_STREAM or r.type == RESET_STREAM_AT:
            self.streams.on_acked(r)
        elif r.type == ACK:
            acks = self.acks.of(space)
            if acks is not None:             # its keys may have gone with this very packet
                acks.on_acked(r.id)
        elif r.type == CRYPTO:
            self.handshake.on_acked(space, r)
        elif r.type == PADDING:
            self.recovery.mtu.on_probe_acked(r.id)
        elif r.type == ACK_FREQUENCY:
            self.ack_frequency.on_acked(r, self.recovery.rtt)
        elif r.type == RETIRE_CONNECTION_ID:
            self.remote_ids.on_acked(r)
        elif r.type == NEW_TOKEN:
            self.given_token.on_acked()
        return 0

    cdef int record_lost(self, const FrameRecord* r, int space) except -1:
        if STREAM == r.type or RESET_STREAM <= r.type <= STOP_SENDING or (
            MAX_DATA <= r.type <= STREAMS_BLOCKED_UNI or r.type == RESET_STREAM_AT
        ):
            self.streams.on_lost(r)
        elif r.type == CRYPTO or r.type == HANDSHAKE_DONE:
            self.handshake.on_lost(space, r)
        elif r.type == NEW_CONNECTION_ID:
            self.local_ids.on_lost(r)
        elif r.type == RETIRE_CONNECTION_ID:
            self.remote_ids.on_lost(r)
        elif r.type == NEW_TOKEN:
            self.given_token.on_lost()
        elif r.type == DATAGRAM:
            self.datagrams.lost += r.length
        elif r.type == PADDING:
            self.recovery.mtu.on_probe_lost(r.id)
        elif r.type == ACK_FREQUENCY:
            self.ack_frequency.on_lost(r)
        return 0
