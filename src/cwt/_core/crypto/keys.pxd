"""Secrets to packet protection keys (RFC 9001 Sections 5.1, 5.2, 5.8 and 6)."""

from cwt._core.crypto.aead cimport Aead, HeaderProtection


cdef class Key:
    # What protects packets of one level in one direction.
    cdef readonly int cipher_suite
    cdef readonly unsigned int version
    cdef readonly bytes secret
    cdef Aead aead
    cdef HeaderProtection header_protection

    cpdef Key updated(self)     # the next key phase: new AEAD key, same header protection (Section 6.1)
