"""What a packet protection back end provides (RFC 9001 Sections 5.3 and 5.4)."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef enum:
    IV_LENGTH = 12
    TAG_LENGTH = 16
    SAMPLE_LENGTH = 16
    MASK_LENGTH = 5          # bytes of a mask that header protection uses

cdef enum:
    # TLS cipher suites (RFC 8446 Section B.4).
    AES_128_GCM_SHA256 = 0x1301
    AES_256_GCM_SHA384 = 0x1302
    CHACHA20_POLY1305_SHA256 = 0x1303

cdef struct Packet:
    uint8_t* data            # first byte of the header; the packet is protected in place
    uint32_t header_length   # bytes of the header, packet number included (the associated data)
    uint32_t length          # seal: header + plaintext, room for a tag follows; open: all of it
    uint64_t number          # full packet number
    bint ok                  # open: whether it was authentic; else its plaintext must not be used


cdef class Aead:
    # One key and IV. Not to be used by two threads at once.
    cdef uint8_t[IV_LENGTH] iv

    cdef int seal(self, Packet* packets, size_t count) except -1
    cdef int open(self, Packet* packets, size_t count) except -1


cdef class HeaderProtection:
    # samples: count x SAMPLE_LENGTH bytes; masks: the same room, each mask is its first
    # MASK_LENGTH.
    cdef int mask(self, const uint8_t* samples, uint8_t* masks, size_t count) except -1


cdef inline void make_nonce(const uint8_t* iv, uint64_t number, uint8_t* nonce) noexcept nogil:
    # RFC 9001 Section 5.3: the IV xor the packet number in network byte order, padded on the left.
    cdef int i
    for i in range(IV_LENGTH - 8):
        nonce[i] = iv[i]
    for i in range(8):
        nonce[IV_LENGTH - 8 + i] = iv[IV_LENGTH - 8 + i] ^ <uint8_t>(number >> (56 - 8 * i))


cdef int key_length(int cipher_suite) except -1
cdef int check_key(int cipher_suite, bytes key) except -1
cdef int check_packet(const Packet* packet) except -1
