"""Secrets to packet protection keys (RFC 9001 Sections 5.1, 5.2, 5.8 and 6)."""

cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from cwt._core.crypto.aead cimport (
    AES_128_GCM_SHA256, AES_256_GCM_SHA384, CHACHA20_POLY1305_SHA256, IV_LENGTH, TAG_LENGTH, Aead,
    HeaderProtection, Packet, make_aead, make_header_protection,
)
from cwt._core.crypto.protection cimport key_length
from cwt.hkdf cimport expand_label, extract

from typing import NamedTuple


class _Version(NamedTuple):
    # What a QUIC version fixes: salt of the Initial secrets, label prefix, key and nonce of the
    # Retry tag.
    salt: bytes
    label: bytes
    retry_key: bytes
    retry_nonce: bytes


# RFC 9001 Sections 5.1, 5.2 and 5.8; RFC 9369 Section 3.3.
cdef dict VERSIONS = {
    0x00000001: _Version(
        salt=bytes.fromhex("38762cf7f55934b34d179ae6a4c80cadccbb7f0a"),
        label=b"quic ",
        retry_key=bytes.fromhex("be0c690b9f66575a1d766b54e368c84e"),
        retry_nonce=bytes.fromhex("461599d35d632bf2239825bb"),
    ),
    0x6B3343CF: _Version(
        salt=bytes.fromhex("0dede3def700a6db819381be6e269dcbf9bd2ed9"),
        label=b"quicv2 ",
        retry_key=bytes.fromhex("8fb4b01b56ac48e260fbcbcead7ccc92"),
        retry_nonce=bytes.fromhex("d86969bc2d7c6d9990efb04a"),
    ),
}

cdef dict _retry_aeads = {}


cdef object version_of(uint32_t version):
    try:
        return VERSIONS[version]
    except KeyError:
        raise ValueError(f"0x{version:08x} is not a supported QUIC version") from None


cdef str hash_name(int cipher_suite):
    return "sha384" if cipher_suite == AES_256_GCM_SHA384 else "sha256"


@cython.final
@cython.no_gc
cdef class Key:
    """What protects the packets of one encryption level in one direction (RFC 9001 Section 5.1)."""

    cpdef Key updated(self):
        """The key of the next key phase; header protection stays (RFC 9001 Section 6.1)."""
        cdef bytes label = version_of(self.version).label + b"ku"
        cdef bytes secret = expand_label(
            hash_name(self.cipher_suite), self.secret, label, b"", len(self.secret)
        )
        return derive(self.cipher_suite, secret, self.version, self.header_protection)


cdef Key derive(
    int cipher_suite, bytes secret, uint32_t version, HeaderProtection header_protection
):
    cdef Key key = Key.__new__(Key)
    cdef str digest = hash_name(cipher_suite)
    cdef bytes label = version_of(version).label
    key.cipher_suite = cipher_suite
    key.version = version
    key.secret = secret
    key.aead = make_aead(
        cipher_suite,
        expand_label(digest, secret, label + b"key", b"", key_length(cipher_suite)),
        expand_label(digest, secret, label + b"iv", b"", IV_LENGTH),
    )
    key.header_protection = header_protection
    return key


cpdef Key make_key(int cipher_suite, bytes secret, uint32_t version):
    """The key of a traffic *secret*; ValueError for a cipher suite or version not supported."""
    cdef bytes hp = expand_label(
        hash_name(cipher_suite), secret, version_of(version).label + b"hp", b"",
        key_length(cipher_suite),
    )
    return derive(cipher_suite, secret, version, make_header_protection(cipher_suite, hp))


cpdef tuple initial_keys(uint32_t version, bytes destination_cid, bint is_client):
    """``(read, write)`` keys of Initial packets (RFC 9001 Section 5.2).

    *destination_cid* is the one in the client's first packet. ValueError for an unknown version.
    """
    cdef bytes secret = extract("sha256", version_of(version).salt, destination_cid)
    cdef Key client = make_key(
        AES_128_GCM_SHA256, expand_label("sha256", secret, b"client in", b"", 32), version
    )
    cdef Key server = make_key(
        AES_128_GCM_SHA256, expand_label("sha256", secret, b"server in", b"", 32), version
    )
    return (server, client) if is_client else (client, server)


cpdef bytes retry_integrity_tag(uint32_t version, bytes original_dcid, bytes retry_packet):
    """The 16 bytes that end a Retry packet (RFC 9001 Section 5.8).

    *original_dcid* is the destination connection id of the client's first packet, *retry_packet*
    the Retry packet without its tag.
    """
    cdef Aead aead = _retry_aeads.get(version)
    cdef bytes pseudo = bytes([len(original_dcid)]) + original_dcid + retry_packet
    # Nothing is encrypted: the pseudo-packet is associated data only, and the tag follows it.
    cdef bytearray buffer = bytearray(pseudo + bytes(TAG_LENGTH))
    cdef uint8_t* data = buffer
    cdef Packet packet
    if aead is None:
        known = version_of(version)
        aead = _retry_aeads[version] = make_aead(
            AES_128_GCM_SHA256, known.retry_key, known.retry_nonce
        )
    packet.data = data
    packet.header_length = <uint32_t>len(pseudo)
    packet.length = <uint32_t>len(pseudo)
    packet.number = 0
    packet.ok = False
    aead.seal(&packet, 1)
    return bytes(buffer[len(pseudo):])


cpdef uint64_t confidentiality_limit(int cipher_suite) except 0:
    """Packets that one key may protect (RFC 9001 Section 6.6)."""
    key_length(cipher_suite)
    # For ChaCha20-Poly1305 it is greater than the number of packets there can be.
    return <uint64_t>1 << (62 if cipher_suite == CHACHA20_POLY1305_SHA256 else 23)


cpdef uint64_t integrity_limit(int cipher_suite) except 0:
    """Packets of one connection that may fail authentication (RFC 9001 Section 6.6)."""
    key_length(cipher_suite)
    return <uint64_t>1 << (36 if cipher_suite == CHACHA20_POLY1305_SHA256 else 52)
