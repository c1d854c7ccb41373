"""AEAD and header protection in batches, by the chosen back end (RFC 9001 Sections 5.3 and 5.4)."""

from cwt._core.crypto.protection cimport (
    AES_128_GCM_SHA256, AES_256_GCM_SHA384, CHACHA20_POLY1305_SHA256, IV_LENGTH, MASK_LENGTH,
    SAMPLE_LENGTH, TAG_LENGTH, Aead, HeaderProtection, Packet,
)

cdef Aead make_aead(int cipher_suite, bytes key, bytes iv)
cdef HeaderProtection make_header_protection(int cipher_suite, bytes key)
