"""Address validation tokens: made, judged, and carried by NEW_TOKEN (RFC 9000 Section 8.1).

A token is sealed with AES-128-GCM under a key of its own, derived from a secret and 16 random bytes, so any
number of them may be made with one secret.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from cwt._core.crypto.aead cimport (
    AES_128_GCM_SHA256, IV_LENGTH, TAG_LENGTH, Aead, Packet, make_aead,
)
from cwt._core.wire.cursor cimport put_bytes, put_u8, put_varint, room, varint_length
from cwt._core.wire.frame cimport NEW_TOKEN as NEW_TOKEN_FRAME, PacketBuilder, can_record, record
from cwt.hkdf cimport expand_label

from cwt.errors import ConfigError

cdef enum:
    NAME_LENGTH = 4
    SALT_LENGTH = 16
    SECRET_LENGTH = 32
    HEAD_LENGTH = 13
    MAX_TOKEN = 256
    FILTER_BYTES = 1 << 17
    FILTER_ITEMS = 1 << 16   # of which four bits each are set: 1 token in 400 is thought to be used

RETRY_LIFETIME = 15.0
"""Seconds for which the token of a Retry packet is good."""

NEW_TOKEN_LIFETIME = 86400.0
"""Seconds for which the token of a NEW_TOKEN frame is good."""

cdef double _RETRY_LIFETIME = RETRY_LIFETIME
cdef double _NEW_TOKEN_LIFETIME = NEW_TOKEN_LIFETIME


@cython.final
cdef class Filter:
    """A Bloom filter of random strings: their own bytes say which bits they set."""

    def __init__(self):
        self.bits = bytearray(FILTER_BYTES)

    cdef bint add(self, const uint8_t* salt) noexcept:
        cdef uint8_t* bits = self.bits
        cdef uint32_t index
        cdef int i
        for i in range(4):
            index = (salt[3 * i] << 16 | salt[3 * i + 1] << 8 | salt[3 * i + 2]) & (8 * FILTER_BYTES - 1)
            bits[index >> 3] |= 1 << (index & 7)
        self.count += 1
        return self.count >= FILTER_ITEMS

    cdef bint has(self, const uint8_t* salt) noexcept:
        cdef const uint8_t* bits = self.bits
        cdef uint32_t index
        cdef int i
        for i in range(4):
            index = (salt[3 * i] << 16 | salt[3 * i + 1] << 8 | salt[3 * i + 2]) & (8 * FILTER_BYTES - 1)
            if not bits[index >> 3] & 1 << (index & 7):
                return False
        return True


cdef bytes host_of(object address):
    return b"" if address is None else str(address[0]).encode()


cdef bytes short(bytes data):
    # With its length before it.
    return bytes([len(data)]) + data


@cython.final
cdef class AddressTokens:
    """Makes and judges the tokens of Retry packets and NEW_TOKEN frames.

    *secrets*, of 32 bytes each, are for processes that take each other's tokens, now and after a restart:
    the first one seals, all of them open.  Without any, one comes from *random*.  Times are Unix times in
    seconds.  Raises ConfigError for a secret of another length.
    """

    def __init__(self, secrets=(), *, random):
        self.random = random
        self.secrets = {}
        for secret in secrets or [random(SECRET_LENGTH)]:
            if len(secret) != SECRET_LENGTH:
                raise ConfigError(f"each secret for tokens must have {SECRET_LENGTH} bytes, not {len(secret)}")
            secret = bytes(secret)
            self.secrets[expand_label("sha256", secret, b"token name", b"", NAME_LENGTH)] = secret
        self.name = next(iter(self.secrets))

    cdef bytes _seal(self, bytes plain):
        cdef bytearray token
        cdef Packet packet
        cdef Aead aead
        cdef bytes salt = self.random(SALT_LENGTH)
        aead = aead_for(self.secrets[self.name], salt)
        token = bytearray(self.name + salt + plain + bytes(TAG_LENGTH))
        packet.data = token
        packet.header_length = NAME_LENGTH + SALT_LENGTH
        packet.length = <uint32_t>(len(token) - TAG_LENGTH)
        packet.number = 0
        packet.ok = False
        aead.seal(&packet, 1)
        return bytes(token)

    cdef bytes _open(self, bytes token):
        # None for one that is not ours.
        cdef bytearray copy
        cdef Packet packet
        cdef Aead aead
        if not NAME_LENGTH + SALT_LENGTH + TAG_LENGTH <= len(token) <= MAX_TOKEN:
            return None
        secret = self.secrets.get(token[:NAME_LENGTH])
        if secret is None:
            return None
        aead = aead_for(secret, token[NAME_LENGTH:NAME_LENGTH + SALT_LENGTH])
        copy = bytearray(token)
        packet.data = copy
        packet.header_length = NAME_LENGTH + SALT_LENGTH
        packet.length = <uint32_t>len(copy)
        packet.number = 0
        packet.ok = False
        aead.open(&packet, 1)
        if not packet.ok:
            return None
        return bytes(copy[NAME_LENGTH + SALT_LENGTH:len(copy) - TAG_LENGTH])

    cpdef bytes retry_token(
        self, object address, bytes original_dcid, bytes retry_scid, uint32_t version, double now
    ):
        """For a Retry packet with Source Connection ID *retry_scid*, to a client at *address* whose first
        Initial packet was for *original_dcid*."""
        return self._seal(
            head(RETRY, now, version) + short(original_dcid) + short(retry_scid) + endpoint_of(address)
        )

    cpdef bytes new_token(self, object address, uint32_t version, double now):
        """For a NEW_TOKEN frame to a client at the host of *address*, whatever its port will be."""
        return self._seal(head(NEW_TOKEN, now, version) + host_of(address))

    cpdef tuple open(self, bytes token, object address, bytes dcid, uint32_t version, double now):
        """``(kind, original_dcid)`` of the *token* in an Initial packet of *version* from *address* to
        *dcid*.

        RETRY and NEW_TOKEN prove the address; the original Destination Connection ID is known for RETRY
        only.  INVALID is the token of a Retry that went elsewhere, is too old or was used before.
        """
        cdef bytes plain = self._open(token), rest
        cdef double age
        cdef bint same
        if plain is None or len(plain) < HEAD_LENGTH:
            return UNKNOWN, b""
        # Clocks of several machines may differ a little.
        age = now - int.from_bytes(plain[1:9], "big") / 1000
        same = int.from_bytes(plain[9:HEAD_LENGTH], "big") == version
        rest = plain[HEAD_LENGTH:]
        if plain[0] == RETRY:
            original, rest = rest[1:1 + rest[0]], rest[1 + rest[0]:]
            if same and -2 <= age <= _RETRY_LIFETIME and not self.is_spent(token) and (
                rest == short(dcid) + endpoint_of(address)
            ):
                return RETRY, original
            return INVALID, b""
        if plain[0] == NEW_TOKEN and same and rest == host_of(address) and (
            -2 <= age <= _NEW_TOKEN_LIFETIME and now - age >= self.not_before and not self.is_spent(token)
        ):
            return NEW_TOKEN, b""
        return UNKNOWN, b""

    cdef bint is_spent(self, bytes token) except -1:
        cdef const uint8_t* salt = <const uint8_t*>PyBytes_AS_STRING(token) + NAME_LENGTH
        return (self.used is not None and self.used.has(salt)) or (
            self.used_before is not None and self.used_before.has(salt)
        )

    cpdef int spend(self, bytes token, double now) except -1:
        """*token*, which ``open`` took, has served its purpose: it is not taken again in this process.

        What is remembered is bounded: when it becomes too much, tokens made before the part that is
        forgotten was closed are taken for used.
        """
        cdef bint full
        if self.used is None:
            self.used = Filter()
            self.used_since = now
        full = self.used.add(<const uint8_t*>PyBytes_AS_STRING(token) + NAME_LENGTH)
        if full or now - self.used_since >= _NEW_TOKEN_LIFETIME:
            if self.used_before is not None:
                self.not_before = self.used_since
            self.used_before = self.used
            self.used = None
        return 0


cdef Aead aead_for(bytes secret, bytes salt):
    return make_aead(
        AES_128_GCM_SHA256, expand_label("sha256", secret, b"token key", salt, 16),
        expand_label("sha256", secret, b"token iv", salt, IV_LENGTH),
    )


cdef bytes head(int kind, double now, uint32_t version):
    # A token is for the version of the connection that got it (RFC 9369 Section 5).
    return bytes([kind]) + (<object><uint64_t>(now * 1000)).to_bytes(8, "big") + (
        (<object>version).to_bytes(4, "big")
    )


cdef bytes endpoint_of(object address):
    return host_of(address) + b" %d" % (0 if address is None else address[1])


@cython.final
cdef class GivenToken:
    """The NEW_TOKEN frame that a server owes its client (RFC 9000 Section 19.7)."""

    cdef int give(self, bytes token) except -1:
        self.token = token
        self.pending = True
        return 0

    cdef bint write(self, PacketBuilder* p) noexcept:
        # Whether everything was written.
        cdef size_t length
        if not self.pending:
            return True
        length = len(self.token)
        if not can_record(p) or room(&p.w) < 1 + varint_length(length) + length:
            return False
        put_u8(&p.w, NEW_TOKEN_FRAME)
        put_varint(&p.w, length)
        put_bytes(&p.w, <const uint8_t*>PyBytes_AS_STRING(self.token), length)
        record(p, NEW_TOKEN_FRAME, 0, 0, 0, False)
        self.pending = False
        return True

    cdef void on_acked(self) noexcept:
        self.token = None
        self.pending = False                 # it may have been given back for a probe

    cdef void on_lost(self) noexcept:
        self.pending = self.token is not None
