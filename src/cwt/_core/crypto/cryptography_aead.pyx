"""Packet protection by the ``cryptography`` package: works wherever cwt does, at more cost per
packet."""

cimport cython
from cpython.buffer cimport PyBuffer_FillInfo
from libc.stdint cimport uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from cwt._core.crypto.protection cimport (
    CHACHA20_POLY1305_SHA256, IV_LENGTH, MASK_LENGTH, SAMPLE_LENGTH, TAG_LENGTH, Aead,
    HeaderProtection, Packet, check_packet, make_nonce,
)

from cryptography import __version__ as _cryptography_version
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.backends.openssl.backend import backend as _openssl
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.ciphers.algorithms import AES, ChaCha20
from cryptography.hazmat.primitives.ciphers.modes import ECB

library_version = f"cryptography {_cryptography_version} ({_openssl.openssl_version_text()})"
"""Versions of ``cryptography`` and of the OpenSSL inside it."""

cdef enum:
    # Masks made per call; update_into wants a block less one byte of room more than it fills.
    MASK_BATCH = 64
    BLOCK_LENGTH = 16


@cython.final
cdef class Window:
    # Memory as a buffer object that is pointed elsewhere for every packet: no Python object per
    # packet.
    cdef uint8_t* data
    cdef Py_ssize_t length
    cdef bint readonly

    def __getbuffer__(self, Py_buffer* view, int flags):
        PyBuffer_FillInfo(view, self, self.data, self.length, self.readonly, flags)


cdef Window window(bint readonly):
    cdef Window self = Window.__new__(Window)
    self.readonly = readonly
    return self


@cython.final
cdef class CryptographyAead(Aead):
    """An AEAD object of ``cryptography``, with the windows and scratch memory it works through."""

    cdef object encrypt_into
    cdef object decrypt_into
    cdef Window nonce
    cdef Window source
    cdef Window header
    cdef Window target
    cdef uint8_t[IV_LENGTH] nonce_bytes
    cdef uint8_t* scratch
    cdef size_t scratch_length

    def __cinit__(self, int cipher_suite, bytes key not None, bytes iv not None):
        cipher = ChaCha20Poly1305 if cipher_suite == CHACHA20_POLY1305_SHA256 else AESGCM
        aead = cipher(key)
        self.encrypt_into = aead.encrypt_into
        self.decrypt_into = aead.decrypt_into
        self.nonce = window(True)
        self.nonce.data = self.nonce_bytes
        self.nonce.length = IV_LENGTH
        self.source = window(True)
        self.header = window(True)
        self.target = window(False)

    def __dealloc__(self):
        free(self.scratch)

    cdef int reserve(self, size_t length) except -1:
        cdef uint8_t* scratch
        if length > self.scratch_length:
            scratch = <uint8_t*>malloc(length)
            if scratch == NULL:
                raise MemoryError
            free(self.scratch)
            self.scratch = scratch
            self.scratch_length = length
        return 0

    cdef int seal(self, Packet* packets, size_t count) except -1:
        cdef size_t i, length
        cdef Packet* packet
        cdef uint8_t* payload
        for i in range(count):
            packet = &packets[i]
            check_packet(packet)
            payload = packet.data + packet.header_length
            length = packet.length - packet.header_length
            # The plaintext is copied aside: input and output of encrypt_into must not overlap.
            self.reserve(length or 1)
            memcpy(self.scratch, payload, length)
            make_nonce(self.iv, packet.number, self.nonce_bytes)
            point(self.source, self.scratch, length)
            point(self.header, packet.data, packet.header_length)
            point(self.target, payload, length + TAG_LENGTH)
            self.encrypt_into(self.nonce, self.source, self.header, self.target)
        return 0

    cdef int open(self, Packet* packets, size_t count) except -1:
        cdef size_t i, length
        cdef Packet* packet
        cdef uint8_t* payload
        for i in range(count):
            packets[i].ok = False
        for i in range(count):
            packet = &packets[i]
            if packet.header_length > packet.length or (
                packet.length - packet.header_length < TAG_LENGTH
            ):
                continue
            payload = packet.data + packet.header_length
            length = packet.length - packet.header_length - TAG_LENGTH
            self.reserve(length or 1)
            make_nonce(self.iv, packet.number, self.nonce_bytes)
            point(self.source, payload, length + TAG_LENGTH)
            point(self.header, packet.data, packet.header_length)
            point(self.target, self.scratch, length)
            try:
                self.decrypt_into(self.nonce, self.source, self.header, self.target)
            except InvalidTag:
                continue
            memcpy(payload, self.scratch, length)
            packet.ok = True
        return 0


cdef void point(Window self, uint8_t* data, size_t length) noexcept:
    self.data = data
    self.length = length


@cython.final
cdef class CryptographyHeaderProtection(HeaderProtection):
    """AES-ECB over many samples in one call, or ChaCha20 with a new nonce for each."""

    cdef object encryptor
    cdef object update_into
    cdef bint is_stream
    cdef Window source
    cdef Window target
    cdef uint8_t[MASK_BATCH * SAMPLE_LENGTH + BLOCK_LENGTH - 1] scratch

    def __cinit__(self, int cipher_suite, bytes key not None):
        self.is_stream = cipher_suite == CHACHA20_POLY1305_SHA256
        if self.is_stream:
            self.encryptor = Cipher(ChaCha20(key, bytes(SAMPLE_LENGTH)), None).encryptor()
        else:
            self.encryptor = Cipher(AES(key), ECB()).encryptor()
        self.update_into = self.encryptor.update_into
        self.source = window(True)
        self.target = window(False)
        point(self.target, self.scratch, sizeof(self.scratch))

    cdef int mask(self, const uint8_t* samples, uint8_t* masks, size_t count) except -1:
        cdef size_t i, length
        cdef uint8_t[MASK_LENGTH] zeros = [0, 0, 0, 0, 0]
        if self.is_stream:
            for i in range(count):
                point(self.source, <uint8_t*>samples + i * SAMPLE_LENGTH, SAMPLE_LENGTH)
                self.encryptor.reset_nonce(self.source)
                point(self.source, zeros, MASK_LENGTH)
                self.update_into(self.source, self.target)
                memcpy(masks + i * SAMPLE_LENGTH, self.scratch, MASK_LENGTH)
            return 0
        for i in range(0, count, MASK_BATCH):
            length = min(count - i, <size_t>MASK_BATCH) * SAMPLE_LENGTH
            point(self.source, <uint8_t*>samples + i * SAMPLE_LENGTH, length)
            self.update_into(self.source, self.target)
            memcpy(masks + i * SAMPLE_LENGTH, self.scratch, length)
        return 0
