"""Answers to datagrams that belong to no connection (RFC 9000 Sections 6, 8.1.2 and 10.3).

There is at most one for a datagram, none is larger than it, and what is not sent at once is bounded: a
flood of spoofed datagrams gains nothing by them.
"""

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from cwt._core.crypto.aead cimport Packet, TAG_LENGTH
from cwt._core.keyring cimport Keyring
from cwt._core.versions cimport reserved_version
from cwt._core.wire.cursor cimport Writer, put_bytes, put_u32, put_u8, put_varint, put_varint_of, writer
from cwt._core.wire.frame cimport put_close
from cwt._core.wire.packet cimport (
    Header, INITIAL, MIN_RESET_SIZE, long_header_byte,
)
from cwt.hkdf cimport hmac_digest

from cwt._core.crypto.keys import retry_integrity_tag
from cwt._core.wire.packet import retry_without_tag, version_negotiation

cdef enum:
    MAX_QUEUE = 64           # answers that wait to be sent
    MAX_RESETS = 100         # stateless resets a second
    MAX_REFUSALS = 1000      # CONNECTION_CLOSE a second; each takes the derivation of Initial keys
    RESET_SIZE = 42
    MAX_REFUSAL = 128        # bytes of a packet with nothing but CONNECTION_CLOSE


@cython.final
cdef class Stateless:
    """Makes the answers and keeps them until they are sent; *reset_key* makes stateless reset tokens.

    Clients of other *versions* are told of these; and, with *grease*, of one that nobody has.
    """

    def __init__(self, random, bytes reset_key, tuple versions, bint grease):
        self.random = random
        self.versions = versions
        self.grease = grease
        self.reset_key = reset_key
        self.queue = []

    cdef bint _is_full(self) noexcept:
        return len(self.queue) >= MAX_QUEUE

    cdef int _count(self, int64_t now) noexcept:
        if now // 1_000_000_000 != self.second:
            self.second = now // 1_000_000_000
            self.resets = 0
            self.refusals = 0
        return 0

    cdef bytes reset_token(self, bytes cid):
        return hmac_digest("sha256", self.reset_key, cid)[:16]

    cdef int offer_versions(self, Header* header, object remote, object local) except -1:
        if self._is_full():
            return 0
        versions = (*self.versions, reserved_version(self.random)) if self.grease else self.versions
        self.queue.append((
            version_negotiation(
                header.scid[:header.scid_length], header.dcid[:header.dcid_length],
                versions, self.random(1)[0] & 0x7F,
            ), remote, local,
        ))
        return 0

    cdef int retry(self, Header* header, bytes cid, bytes token, object remote, object local) except -1:
        # The client is to come back with *token*, to *cid* (RFC 9000 Section 17.2.5).
        if self._is_full():
            return 0
        body = retry_without_tag(header.version, header.scid[:header.scid_length], cid, token)
        tag = retry_integrity_tag(header.version, header.dcid[:header.dcid_length], body)
        self.queue.append((body + tag, remote, local))
        return 0

    cdef int refuse(self, Header* header, uint64_t code, object remote, object local, int64_t now) except -1:
        # CONNECTION_CLOSE in an Initial packet, from a connection that there will never be.
        cdef uint8_t out[MAX_REFUSAL]
        cdef Writer w = writer(out, MAX_REFUSAL - TAG_LENGTH)
        cdef uint8_t* size
        cdef Packet packet
        cdef Keyring keys
        self._count(now)
        if self._is_full() or self.refusals >= MAX_REFUSALS:
            return 0
        self.refusals += 1
        put_u8(&w, long_header_byte(INITIAL, header.version, 1))
        put_u32(&w, header.version)
        put_u8(&w, <uint8_t>header.scid_length)
        put_bytes(&w, header.scid, header.scid_length)
        put_u8(&w, <uint8_t>header.dcid_length)
        put_bytes(&w, header.dcid, header.dcid_length)
        put_varint(&w, 0)                    # no token
        size = w.pos
        put_varint_of(&w, 0, 2)
        put_u8(&w, 0)                        # the packet number
        packet.header_length = <uint32_t>(w.pos - out)
        put_close(&w, False, code, 0, NULL, 0)
        packet.data = out
        packet.length = <uint32_t>(w.pos - out)
        packet.number = 0
        w = writer(size, 2)
        put_varint_of(&w, packet.length + TAG_LENGTH - (size + 2 - out), 2)
        keys = Keyring()
        keys.set_initial(header.version, header.dcid[:header.dcid_length], False)
        keys.seal(0, &packet, 1)
        self.queue.append((out[:packet.length + TAG_LENGTH], remote, local))
        return 0

    cdef int reset(
        self, const uint8_t* data, size_t length, size_t cid_length, object remote, object local, int64_t now
    ) except -1:
        # Smaller than what it answers, so that two endpoints cannot loop (RFC 9000 Section 10.3.3).
        cdef size_t size = min(length - 1, <size_t>RESET_SIZE)
        self._count(now)
        if size < MIN_RESET_SIZE or self.resets >= MAX_RESETS or self._is_full():
            return 0
        self.resets += 1
        noise = bytearray(self.random(size - 16))
        noise[0] = noise[0] & 0x3F | 0x40
        token = self.reset_token(data[1:1 + cid_length])
        self.queue.append((bytes(noise) + token, remote, local))
        return 0
