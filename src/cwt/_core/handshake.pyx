"""The cryptographic handshake: CRYPTO streams, TLS and HANDSHAKE_DONE (RFC 9001 Section 4)."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport uint8_t, uint64_t

from cwt._core.stream.recv cimport ReassemblyBuffer
from cwt._core.stream.send cimport SendBuffer
from cwt._core.wire.cursor cimport put_u8, put_varint, room, varint_length
from cwt._core.wire.frame cimport (
    CRYPTO, DataFrame, FrameRecord, HANDSHAKE_DONE, PacketBuilder, can_record, record,
)

from cwt.errors import TransportError, TransportErrorCode

cdef enum:
    MAX_POST_HANDSHAKE = 65536       # bytes of CRYPTO after the handshake

# TLS encryption levels are 0 Initial, 1 0-RTT, 2 Handshake, 3 application.
cdef int[3] LEVEL_OF_SPACE = [0, 2, 3]
cdef int[4] SPACE_OF_LEVEL = [0, 3, 1, 2]


@cython.final
cdef class CryptoStream:
    """CRYPTO frames of one packet number space, both ways (RFC 9000 Section 19.6)."""

    def __init__(self):
        self.incoming = ReassemblyBuffer()
        self.outgoing = SendBuffer()

    cdef bint wants_to_send(self) noexcept:
        cdef SendBuffer out = self.outgoing
        return out.sent < out.end or out.lost is not None and out.lost.count > 0

    cdef bint write(self, PacketBuilder* p) noexcept:
        # CRYPTO frames while there is room; whether something was written.
        cdef SendBuffer out = self.outgoing
        cdef uint64_t offset, length
        cdef size_t header
        cdef bint written = False
        while self.wants_to_send() and can_record(p):
            if out.lost is not None and out.lost.count:
                offset = out.lost.items[0].start
                length = out.lost.items[0].end - offset
            else:
                offset = out.sent
                length = out.end - offset
            header = 1 + varint_length(offset) + 2
            if room(&p.w) < header + 1:
                break
            length = min(length, room(&p.w) - header)
            put_u8(&p.w, CRYPTO)
            put_varint(&p.w, offset)
            put_varint(&p.w, length)
            out.copy(offset, p.w.pos, <size_t>length)
            p.w.pos += length
            record(p, CRYPTO, 0, offset, length, False)
            if offset == out.sent:
                out.sent += length
            else:
                try:
                    out.lost.subtract(offset, offset + length)
                    p.repeats = True
                except MemoryError:
                    break
            written = True
        return written


@cython.final
cdef class Handshake:
    """Feeds CRYPTO bytes to TLS and sends what it answers.

    ``start`` and ``on_crypto`` return the traffic secrets that became known, for the keyring.  A TLS alert
    is raised as TransportError(CRYPTO_ERROR + alert) (RFC 9001 Section 4.8).
    """

    def __init__(self, tls, bint is_client):
        self.tls = tls
        self.is_client = is_client

    cdef CryptoStream existing(self, int space):
        return self.application if space == 2 else self.initial if space == 0 else self.handshake

    cdef CryptoStream stream(self, int space):
        # Made when first used: after the handshake a connection needs none.
        cdef CryptoStream stream = self.existing(space)
        if stream is not None:
            return stream
        stream = CryptoStream()
        if space == 2:
            stream.incoming.offset = stream.incoming.contiguous = self.application_read
            stream.outgoing.base = stream.outgoing.sent = stream.outgoing.end = self.application_sent
            self.application = stream
        elif space == 0:
            self.initial = stream
        else:
            self.handshake = stream
        return stream

    cdef void discard(self, int space) noexcept:
        """The keys of *space* are gone (RFC 9001 Section 4.9)."""
        if space == 0:
            self.initial = None
        else:
            self.handshake = None

    cdef void _rest(self) noexcept:
        # Tickets come and go seldom: in between, two offsets are all that is kept.
        cdef CryptoStream stream = self.application
        if stream is not None and stream.outgoing.base == stream.outgoing.end and (
            stream.incoming.available() == 0
            and (stream.incoming.ahead is None or stream.incoming.ahead.count == 0)
        ):
            self.application_read = stream.incoming.offset
            self.application_sent = stream.outgoing.end
            self.application = None

    cdef list start(self):
        self.tls.start()
        return self._drain()

    cdef list start_over(self, object tls):
        """Begin again with *tls*: nothing was heard of the peer yet."""
        self.tls = tls
        self.initial = None
        return self.start()

    cdef list on_crypto(self, int space, DataFrame* frame):
        cdef ReassemblyBuffer incoming = self.stream(space).incoming
        cdef bytes data
        cdef list secrets
        if frame.offset + frame.length > incoming.offset + MAX_CRYPTO_BUFFER:
            raise TransportError(
                TransportErrorCode.CRYPTO_BUFFER_EXCEEDED, "too much CRYPTO data", CRYPTO
            )
        if frame.offset + frame.length > incoming.contiguous:
            self.news += 1
        incoming.insert(frame.offset, frame.data, <size_t>frame.length)
        if incoming.available() == 0:
            self._rest()
            return []
        data = incoming.read(incoming.available())
        if self.complete:
            self.consumed += len(data)
            if self.consumed > MAX_POST_HANDSHAKE:
                raise TransportError(
                    TransportErrorCode.CRYPTO_BUFFER_EXCEEDED, "too much CRYPTO data", CRYPTO
                )
        try:
            self.tls.receive(LEVEL_OF_SPACE[space], data)
        except Exception as alert:
            code = getattr(alert, "transport_code", None)
            description = getattr(alert, "description", None)
            if code is None:
                if description is None:
                    raise
                code = TransportErrorCode.CRYPTO_ERROR + description
            raise TransportError(code, str(alert), CRYPTO) from alert
        secrets = self._drain()
        self._rest()
        return secrets

    cdef list _drain(self):
        # Secrets as (space, is_write, cipher suite, secret), 3 for the space of 0-RTT; CRYPTO bytes go to
        # their streams.
        cdef bytes data
        cdef int level
        for level, data in self.tls.output():
            self.stream(SPACE_OF_LEVEL[level]).outgoing.append(
                None, <const uint8_t*>PyBytes_AS_STRING(data), len(data)
            )
        if self.tls.is_complete and not self.complete:
            self.complete = True
            if not self.is_client:
                self.done_pending = True
        return [
            (SPACE_OF_LEVEL[secret.level], secret.is_write, secret.cipher_suite, secret.secret)
            for secret in self.tls.secrets()
        ]

    cdef bint wants_to_send(self, int space) noexcept:
        cdef CryptoStream stream = self.existing(space)
        return stream is not None and stream.wants_to_send() or space == 2 and self.done_pending

    cdef bint write(self, int space, PacketBuilder* p) noexcept:
        cdef CryptoStream stream = self.existing(space)
        cdef bint written = False
        if space == 2 and self.done_pending and can_record(p) and put_u8(&p.w, HANDSHAKE_DONE):
            record(p, HANDSHAKE_DONE, 0, 0, 0, False)
            self.done_pending = False
            written = True
        return stream is not None and stream.write(p) or written

    cdef int on_acked(self, int space, const FrameRecord* r) except -1:
        cdef CryptoStream stream = self.existing(space)
        if r.type == CRYPTO and stream is not None:
            stream.outgoing.acknowledge(r.offset, r.offset + r.length)
            self._rest()
        return 0

    cdef int on_lost(self, int space, const FrameRecord* r) except -1:
        cdef CryptoStream stream = self.existing(space)
        if r.type == HANDSHAKE_DONE:
            self.done_pending = True
        elif stream is not None:
            stream.outgoing.lose(r.offset, r.offset + r.length)
        return 0

    cdef int confirm(self) except -1:
        # RFC 9001 Section 4.1.2.
        self.confirmed = True
        return 0

    def restart(self):
        """Send the first flight again from its start, after a Retry packet (RFC 9000 Section 17.2.5.3)."""
        self.initial.outgoing.lose(0, self.initial.outgoing.sent)
