"""Received datagrams: packets, their protection, and what precedes the handshake (RFC 9000 Section 12)."""

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memcmp, memcpy

from cwt._core.crypto.aead cimport SAMPLE_LENGTH
from cwt._core.keyring cimport MAX_BATCH, Opened
from cwt._core.qlog.trace cimport (
    DROP_DECRYPTION, DROP_GENERAL, DROP_INVALID, DROP_KEY, DROP_REJECTED, DROP_UNSUPPORTED, Drop,
)
from cwt._core.recovery.sent cimport RecordHandler
from cwt._core.wire.packet cimport (
    HANDSHAKE, Header, INITIAL, MIN_INITIAL_SIZE, MIN_RESET_SIZE, ONE_RTT, RETRY, RETRY_TAG_LENGTH,
    VERSION_NEGOTIATION, ZERO_RTT, cid_equal, parse_header,
)

from cwt._core.crypto.keys import retry_integrity_tag
from cwt.errors import TransportError, TransportErrorCode

cdef enum:
    MAX_UNDECRYPTABLE = 16          # packets: a first flight of 0-RTT may overtake its ClientHello
    MAX_UNDECRYPTABLE_BYTES = 24576


cdef class PacketHandler(RecordHandler):
    """What becomes of received packets: the connection."""

    cdef int on_packet(
        self, int space, Opened* opened, object remote, object local, int ecn, int64_t now
    ) except -1:
        return 0

    cdef int on_handshake_packet(self) except -1:
        return 0

    cdef int on_stateless_reset(self) except -1:
        return 0

    cdef int on_retry(self, bytes token) except -1:
        return 0

    cdef int on_versions(self, list versions) except -1:
        return 0


@cython.final
cdef class Intake:
    """Opens the packets of received datagrams and hands them to the connection.

    Packets whose keys are not known yet are kept, within bounds.
    """

    def __init__(
        self, bint is_client, bint any_bit, bytes original_destination, bytes retry_source=None
    ):
        self.is_client = is_client
        self.any_bit = any_bit
        self.original_destination = original_destination
        self.retry_source = retry_source

    cdef int receive(
        self, PacketHandler handler, uint8_t* data, size_t length, size_t segment_size, object remote, object local,
        int ecn, int64_t now
    ) except -1:
        # Datagrams of *segment_size* bytes in a row, the last perhaps shorter; read in place.
        # Runs of short-header packets share one computation of their header masks.
        cdef uint8_t samples[MAX_BATCH * SAMPLE_LENGTH]
        cdef uint8_t masks[MAX_BATCH * SAMPLE_LENGTH]
        cdef size_t size, offset = 0, run, end, i
        if self.server is not None and remote is not self.server and not self.paths.knows(remote):
            # Section 9: servers do not move.
            return self._drop(data, length, DROP_REJECTED)
        while offset < length:
            run = 0
            end = offset
            while end < length and run < MAX_BATCH and not data[end] & 0x80 and self.keys.can_read(2):
                size = min(segment_size, length - end)
                if size < 1 + SHORT_CID_LENGTH + 4 + SAMPLE_LENGTH:
                    break
                memcpy(
                    &samples[run * SAMPLE_LENGTH], data + end + 1 + SHORT_CID_LENGTH + 4,
                    SAMPLE_LENGTH,
                )
                run += 1
                end += size
            if run == 0:
                size = min(segment_size, length - offset)
                self._count(remote, local, size)
                self._datagram(handler, data + offset, size, remote, local, ecn, now)
                offset += size
                continue
            self.keys.mask(2, samples, masks, run)
            for i in range(run):
                size = min(segment_size, length - offset)
                self._count(remote, local, size)
                self._short(
                    handler, data + offset, size, &masks[i * SAMPLE_LENGTH], remote, local, ecn, now
                )
                offset += size
        return 0

    cdef int _count(self, object remote, object local, size_t size) except -1:
        self.bytes_received += size
        self.datagram_length = size
        return self.paths.on_datagram(remote, local, size)

    cdef int _datagram(
        self, PacketHandler handler, uint8_t* data, size_t length, object remote, object local, int ecn, int64_t now
    ) except -1:
        # One datagram of one or more coalesced packets (Section 12.2).
        cdef Header header
        cdef uint8_t mask[SAMPLE_LENGTH]
        cdef size_t whole = length, destination_length = 0
        cdef const uint8_t* destination = NULL
        while length:
            if not parse_header(data, length, SHORT_CID_LENGTH, &header):
                return self._drop(data, length, DROP_INVALID)
            if destination == NULL:
                destination = header.dcid
                destination_length = header.dcid_length
            elif header.dcid_length != destination_length or (
                memcmp(header.dcid, destination, destination_length) != 0
            ):
                return self._drop(data, length, DROP_GENERAL)    # Section 12.2
            if header.type == ONE_RTT:
                if not self.keys.can_read(2):
                    return self._keep(data, length, remote, local, ecn)
                if length < header.number_offset + 4 + SAMPLE_LENGTH:
                    return self._check_reset(handler, data, length)
                self.keys.mask(2, data + header.number_offset + 4, mask, 1)
                return self._short(handler, data, length, mask, remote, local, ecn, now)
            if header.type == VERSION_NEGOTIATION:
                return self._on_version_negotiation(handler, &header)
            if not data[0] & 0x40 and not self.any_bit:
                return self._drop(data, length, DROP_INVALID)
            if header.version != self.versions.chosen and not self._may_be_ours(&header):
                return self._drop(data, length, DROP_UNSUPPORTED)
            if header.type == RETRY:
                return self._on_retry(handler, data, length, &header)
            if header.type == INITIAL and not self.is_client and whole < MIN_INITIAL_SIZE:
                return self._drop(data, length, DROP_INVALID)    # Section 14.1
            self._long(handler, data, &header, remote, local, ecn, now)
            data += header.end
            length -= header.end
        return 0

    cdef int _short(
        self, PacketHandler handler, uint8_t* data, size_t length, const uint8_t* mask, object remote, object local,
        int ecn, int64_t now
    ) except -1:
        cdef Opened opened
        cdef int result
        if not data[0] & 0x40 and not self.any_bit:
            return self._drop(data, length, DROP_INVALID)
        if not self.is_client and not self.handshake.complete:
            # RFC 9001 Section 5.7: not before the client's Finished.
            return self._keep(data, length, remote, local, ecn)
        result = self.keys.open(
            2, data, length, 1 + SHORT_CID_LENGTH, mask, self.acks.application.largest + 1, &opened
        )
        if result == 0:
            return self._check_reset(handler, data, length)
        if result == 2:
            if not self.handshake.complete or (
                self.keys.key_updates and self.keys.write_phase_start == self.recovery.application.next
            ):
                raise TransportError(TransportErrorCode.KEY_UPDATE_ERROR, "a key update came too early")
            self.keys._rotate(opened.number, self.recovery.application.next)
        if self.keys.has_old():
            self.keys.retire(opened.number, now, self.recovery.rtt.pto(True))
        self.packet_destination = data + 1
        return handler.on_packet(2, &opened, remote, local, ecn, now)

    cdef int _long(
        self, PacketHandler handler, uint8_t* data, Header* header, object remote, object local, int ecn, int64_t now
    ) except -1:
        cdef Opened opened
        cdef uint8_t mask[SAMPLE_LENGTH]
        cdef int space = 0 if header.type == INITIAL else 1
        if header.type == ZERO_RTT:
            return self._early(handler, data, header, remote, local, ecn, now)
        if header.type == INITIAL and self.is_client and header.token_length:
            return self._drop(data, header.end, DROP_INVALID)    # Section 17.2.2
        if self.peer_source is not None and header.scid[:header.scid_length] != self.peer_source:
            return self._drop(data, header.end, DROP_INVALID)    # Section 7.2
        if not self.keys.can_read(space):
            if space == 1 and not self.handshake.complete:
                return self._keep(data, header.end, remote, local, ecn)
            return self._drop(data, header.end, DROP_KEY)
        if header.end < header.number_offset + 4 + SAMPLE_LENGTH:
            return self._drop(data, header.end, DROP_INVALID)
        if space == 0 and not self._select_initial(header.version):
            return self._drop(data, header.end, DROP_KEY)
        self.keys.mask(space, data + header.number_offset + 4, mask, 1)
        if not self.keys.open(
            space, data, header.end, header.number_offset, mask, self.acks.of(space).largest + 1, &opened
        ):
            return self._drop(data, header.end, DROP_DECRYPTION)
        if self.is_client:
            self.server = remote
            if header.version != self.versions.chosen:
                self.versions.chosen = header.version
                self.keys.settle_initial()
        if self.peer_source is None:
            self.peer_source = header.scid[:header.scid_length]
            self.remote_ids.start(self.peer_source)
        handler.on_packet(space, &opened, remote, local, ecn, now)
        if space == 1 and not self.is_client:
            # The client has our Handshake keys: it is where it says it is (Section 8.1).
            if self.paths.reading is self.paths.current:
                self.paths.current.set_validated()
            handler.on_handshake_packet()
        return 0

    cdef bint _may_be_ours(self, Header* header) except -1:
        # A long header of another version than the one in use (RFC 9369 Section 4.1).
        if not self.is_client:
            return header.version == self.versions.original and (
                header.type == INITIAL or header.type == ZERO_RTT
            )
        return (header.type == INITIAL or header.type == HANDSHAKE) and (
            self.handshake.news == 0 and self.versions.may_move_to(header.version)
        )

    cdef bint _select_initial(self, uint32_t version) except -1:
        return self.keys.select_initial(
            version, (self.retry_source or self.original_destination) if self.is_client else None
        )

    cdef int _early(
        self, PacketHandler handler, uint8_t* data, Header* header, object remote, object local, int ecn, int64_t now
    ) except -1:
        # A 0-RTT packet (RFC 9001 Section 4.6).  The server's Handshake keys come with its decision: before
        # them it may be too early to judge, after them a packet without a key is one that was refused.
        cdef Opened opened
        cdef uint8_t mask[SAMPLE_LENGTH]
        if self.is_client or header.version != self.versions.original:
            return self._drop(data, header.end, DROP_UNSUPPORTED)    # RFC 9369 Section 4.1
        if not self.keys.can_read(EARLY):
            if not self.keys.can_read(1) and not self.handshake.complete:
                return self._keep(data, header.end, remote, local, ecn)
            return self._drop(data, header.end, DROP_KEY)
        if header.scid[:header.scid_length] != self.peer_source or (
            header.end < header.number_offset + 4 + SAMPLE_LENGTH
        ):
            return self._drop(data, header.end, DROP_INVALID)
        self.keys.on_timeout(now)
        if not self.keys.can_read(EARLY):
            return self._drop(data, header.end, DROP_KEY)
        self.keys.mask(EARLY, data + header.number_offset + 4, mask, 1)
        if not self.keys.open(
            EARLY, data, header.end, header.number_offset, mask, self.acks.application.largest + 1, &opened
        ):
            return self._drop(data, header.end, DROP_DECRYPTION)
        self.early = True
        try:
            handler.on_packet(2, &opened, remote, local, ecn, now)
        finally:
            self.early = False
        return 0

    cdef int _keep(self, uint8_t* data, size_t length, object remote, object local, int ecn) except -1:
        # For when its keys are known; bounded.
        if self.undecryptable is None:
            self.undecryptable = []
        if len(self.undecryptable) >= MAX_UNDECRYPTABLE or (
            self.undecryptable_bytes + length > MAX_UNDECRYPTABLE_BYTES
        ):
            return self._drop(data, length, DROP_KEY)
        self.undecryptable_bytes += length
        self.undecryptable.append((data[:length], remote, local, ecn))
        if self.trace is not None:
            self.trace.packet_buffered(data, length)
        return 0

    cdef int _drop(self, const uint8_t* data, size_t length, Drop trigger) except -1:
        # A packet that means nothing to us.
        self.packets_dropped += 1
        if self.trace is not None:
            self.trace.packet_dropped(data, length, trigger)
        return 0

    cdef int replay(self, PacketHandler handler, int64_t now) except -1:
        cdef list kept
        cdef bytearray copy
        cdef uint8_t* raw
        if not self.undecryptable:
            return 0
        kept, self.undecryptable = self.undecryptable, None
        self.undecryptable_bytes = 0
        for data, remote, local, ecn in kept:
            copy = bytearray(data)
            raw = copy
            self.datagram_length = len(copy)
            self.paths.on_datagram(remote, local, 0)
            self._datagram(handler, raw, len(copy), remote, local, ecn, now)
        return 0

    cdef int _check_reset(self, PacketHandler handler, const uint8_t* data, size_t length) except -1:
        # An undecryptable packet that ends with a token of the peer's (Section 10.3.1).
        if length >= MIN_RESET_SIZE and self.remote_ids.is_reset_token(data + length - 16):
            if self.trace is not None:
                self.trace.reset_received(length)
            return handler.on_stateless_reset()
        return self._drop(data, length, DROP_DECRYPTION)

    cdef int _on_retry(
        self, PacketHandler handler, const uint8_t* data, size_t length, Header* header
    ) except -1:
        # RFC 9000 Section 17.2.5.2, RFC 9001 Section 5.8.
        cdef bytes packet = data[:length]
        if not self.is_client or self.peer_source is not None or self.retry_source is not None:
            return 0
        if header.token_length == 0 or retry_integrity_tag(
            header.version, self.original_destination, packet[:length - RETRY_TAG_LENGTH]
        ) != packet[length - RETRY_TAG_LENGTH:]:
            return 0
        if self.trace is not None:
            self.trace.retry_received(data, length)
        self.retry_source = header.scid[:header.scid_length]
        self.remote_ids.start(self.retry_source)
        self.keys.set_initial(header.version, self.retry_source, True)
        return handler.on_retry(header.token[:header.token_length])

    cdef int _on_version_negotiation(self, PacketHandler handler, Header* header) except -1:
        # Section 6.2: only before anything else was heard, and never when our version is listed.
        # RFC 9368 Section 2.1: only once.
        cdef list versions
        if not self.is_client or self.versions.reacted or self.peer_source is not None or self.retry_source is not None:
            return 0
        if not cid_equal(
            &self.remote_ids.current, header.scid, header.scid_length
        ) or header.dcid[:header.dcid_length] != self.local_ids.first():
            return 0
        versions = [
            int.from_bytes(header.token[i:i + 4], "big")
            for i in range(0, header.token_length // 4 * 4, 4)
        ]
        if self.versions.chosen in versions:
            return 0
        if self.trace is not None:
            self.trace.versions_received(versions)
        return handler.on_versions(versions)
