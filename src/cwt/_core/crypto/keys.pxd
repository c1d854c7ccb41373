"""Secrets to packet protection keys (RFC 9001 Sections 5.1, 5.2, 5.8 and 6)."""

from libc.stdint cimport uint32_t, uint64_t

from cwt._core.crypto.aead cimport Aead, HeaderProtection


cdef class Key:
    # What protects packets of one level in one direction.
    cdef readonly int cipher_suite
    cdef readonly uint32_t version
    cdef readonly bytes secret
    cdef readonly Aead aead
    cdef readonly HeaderProtection header_protection

    # The next key phase: new AEAD key, same header protection (RFC 9001 Section 6.1).
    cpdef Key updated(self)

cpdef Key make_key(int cipher_suite, bytes secret, uint32_t version)
cpdef tuple initial_keys(uint32_t version, bytes destination_cid, bint is_client)
cpdef bytes retry_integrity_tag(uint32_t version, bytes original_dcid, bytes retry_packet)
cpdef uint64_t confidentiality_limit(int cipher_suite) except 0
cpdef uint64_t integrity_limit(int cipher_suite) except 0
