"""What a packet protection back end provides (RFC 9001 Sections 5.3 and 5.4)."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.limits cimport INT_MAX
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy


cdef int key_length(int cipher_suite) except -1:
    if cipher_suite == AES_128_GCM_SHA256:
        return 16
    if cipher_suite == AES_256_GCM_SHA384 or cipher_suite == CHACHA20_POLY1305_SHA256:
        return 32
    raise ValueError(f"cipher suite 0x{cipher_suite:04x} is not one that QUIC can use here")


cdef int check_key(int cipher_suite, bytes key) except -1:
    cdef int expected = key_length(cipher_suite)
    if len(key) != expected:
        raise ValueError(
            f"a key of cipher suite 0x{cipher_suite:04x} has {expected} bytes, not {len(key)}"
        )
    return 0


cdef int check_packet(const Packet* packet) except -1:
    # A packet to seal; on opening, a short one is the peer's doing and just not authentic.
    if packet.header_length > packet.length or packet.length > INT_MAX - TAG_LENGTH:
        raise ValueError(f"no packet: header {packet.header_length} of {packet.length} bytes")
    return 0


cdef class Aead:
    """Seals and opens packets with one key and IV (RFC 9001 Section 5.3).

    Python reaches it through :meth:`seal_batch` and :meth:`open_batch`; the core calls ``seal`` and
    ``open``.
    """

    def __cinit__(self, int cipher_suite, bytes key not None, bytes iv not None):
        check_key(cipher_suite, key)
        if len(iv) != IV_LENGTH:
            raise ValueError(f"an IV has {IV_LENGTH} bytes, not {len(iv)}")
        memcpy(self.iv, PyBytes_AS_STRING(iv), IV_LENGTH)

    cdef int seal(self, Packet* packets, size_t count) except -1:
        raise NotImplementedError

    cdef int open(self, Packet* packets, size_t count) except -1:
        raise NotImplementedError

    def seal_batch(self, buffer, size_t packet_size, size_t header_length, uint64_t number):
        """Seal the packets that lie back to back in the writable *buffer*, as in a GSO batch.

        Every packet takes *packet_size* bytes, the last one maybe fewer: header, plaintext and 16
        bytes of room for the tag. *number* is the packet number of the first; each next has one
        more. ValueError for sizes that do not fit.
        """
        run_batch(self, buffer, packet_size, header_length, number, True)

    def open_batch(self, buffer, size_t packet_size, size_t header_length, uint64_t number):
        """Open packets as :meth:`seal_batch` leaves them; the list tells which are authentic."""
        return run_batch(self, buffer, packet_size, header_length, number, False)


cdef list run_batch(
    Aead aead, object buffer, size_t size, size_t header_length, uint64_t number, bint sealing
):
    cdef Py_buffer view
    cdef Packet* packets = NULL
    cdef size_t total, count, i
    if not size:
        raise ValueError("a packet has at least one byte")
    PyObject_GetBuffer(buffer, &view, PyBUF_SIMPLE | PyBUF_WRITABLE)
    try:
        total = view.len
        count = (total + size - 1) // size
        packets = <Packet*>calloc(count or 1, sizeof(Packet))
        if packets == NULL:
            raise MemoryError
        for i in range(count):
            packets[i].data = <uint8_t*>view.buf + i * size
            packets[i].length = <uint32_t>min(size, total - i * size)
            packets[i].header_length = <uint32_t>header_length
            packets[i].number = number + i
            if packets[i].length < header_length + TAG_LENGTH:
                raise ValueError("a packet has no room for its header and the tag")
            if sealing:
                packets[i].length -= TAG_LENGTH
        if sealing:
            aead.seal(packets, count)
            return []
        aead.open(packets, count)
        return [packets[i].ok != 0 for i in range(count)]
    finally:
        free(packets)
        PyBuffer_Release(&view)


cdef class HeaderProtection:
    """Makes header protection masks with one key (RFC 9001 Section 5.4)."""

    def __cinit__(self, int cipher_suite, bytes key not None):
        check_key(cipher_suite, key)

    cdef int mask(self, const uint8_t* samples, uint8_t* masks, size_t count) except -1:
        raise NotImplementedError

    def masks(self, bytes samples not None):
        """The 5-byte mask of each 16-byte sample in *samples*; ValueError when one is cut short."""
        cdef size_t count = len(samples) // SAMPLE_LENGTH
        cdef bytes output = PyBytes_FromStringAndSize(NULL, len(samples))
        if count * SAMPLE_LENGTH != <size_t>len(samples):
            raise ValueError(f"samples have {SAMPLE_LENGTH} bytes each")
        self.mask(
            <const uint8_t*>PyBytes_AS_STRING(samples), <uint8_t*>PyBytes_AS_STRING(output), count
        )
        return [
            output[i * SAMPLE_LENGTH:i * SAMPLE_LENGTH + MASK_LENGTH] for i in range(count)
        ]
