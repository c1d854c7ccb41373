"""AEAD and header protection in batches (RFC 9001 Sections 5.3 and 5.4)."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef enum:
    TAG_LENGTH = 16
    SAMPLE_LENGTH = 16

cdef struct Packet:
    uint8_t* data            # first byte of the header; the packet is protected in place
    uint32_t header_length   # bytes of the header, packet number included (the associated data)
    uint32_t length          # seal: header + plaintext, TAG_LENGTH bytes of room follow; open: header + ciphertext + tag
    uint64_t number          # full packet number
    bint ok                  # open: whether it was authentic


cdef class Aead:
    # One key and IV.
    cdef int seal(self, Packet* packets, size_t count) except -1
    cdef int open(self, Packet* packets, size_t count) except -1


cdef class HeaderProtection:
    # samples: count x 16 bytes; masks: count x 16 bytes of room, of which the first 5 of each count.
    cdef int mask(self, const uint8_t* samples, uint8_t* masks, size_t count) except -1


cdef Aead make_aead(int cipher_suite, bytes key, bytes iv)
cdef HeaderProtection make_header_protection(int cipher_suite, bytes key)
