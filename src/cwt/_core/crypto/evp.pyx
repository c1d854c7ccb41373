"""Packet protection by the EVP functions of the libcrypto the interpreter has loaded.

Nothing of OpenSSL is needed to build or is bundled: the functions are looked up at import, and
whoever ships the interpreter's libcrypto ships its fixes. Importing this module raises ImportError
where there is none to be found. The environment variable ``CWT_LIBCRYPTO`` names the file of another
one: OpenSSL from 3.2 on is about twice as fast as 3.0 where the processor has AVX-512 and VAES.
"""

import os

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from libc.limits cimport INT_MAX
from libc.stdint cimport uint8_t

from cwt._core.crypto.protection cimport (
    AES_128_GCM_SHA256, AES_256_GCM_SHA384, CHACHA20_POLY1305_SHA256, IV_LENGTH, MASK_LENGTH,
    SAMPLE_LENGTH, TAG_LENGTH, Aead, HeaderProtection, Packet, check_packet, make_nonce,
)

cdef extern from *:
    """
    #if defined(_WIN32)
    static void *cwt_dlopen(const char *path, int loaded) { (void)path; (void)loaded; return 0; }
    static void *cwt_dlsym(void *handle, const char *name) { (void)handle; (void)name; return 0; }
    #else
    #include <dlfcn.h>
    static void *cwt_dlopen(const char *path, int loaded) {
        return dlopen(path, RTLD_NOW | RTLD_LOCAL | (loaded ? RTLD_NOLOAD : 0));
    }
    static void *cwt_dlsym(void *handle, const char *name) { return dlsym(handle, name); }
    #endif
    """
    void* cwt_dlopen(const char* path, int loaded)
    void* cwt_dlsym(void* handle, const char* name)

# Opaque-pointer API, the same since OpenSSL 1.1.0; every int is 1 for success (openssl/evp.h).
ctypedef void* Context
ctypedef const void* Cipher
ctypedef const void* (*GetCipher)() noexcept nogil

cdef enum:
    EVP_CTRL_AEAD_GET_TAG = 0x10
    EVP_CTRL_AEAD_SET_TAG = 0x11

cdef struct Functions:
    Context (*context_new)() noexcept nogil
    void (*context_free)(Context) noexcept nogil
    int (*control)(Context, int, int, void*) noexcept nogil
    int (*set_padding)(Context, int) noexcept nogil
    int (*init)(
        Context, Cipher, void*, const uint8_t* key, const uint8_t* iv, int encrypt
    ) noexcept nogil
    int (*update)(Context, uint8_t* out, int* out_length, const uint8_t*, int) noexcept nogil
    int (*final)(Context, uint8_t* out, int* out_length) noexcept nogil
    void (*clear_errors)() noexcept nogil
    const char* (*version)(int) noexcept nogil
    GetCipher aes_128_gcm
    GetCipher aes_256_gcm
    GetCipher aes_128_ecb
    GetCipher aes_256_ecb
    GetCipher chacha20
    GetCipher chacha20_poly1305

cdef Functions evp


cdef class EvpError(Exception):
    """libcrypto refused an operation that does not depend on the packet's contents."""


cdef int failed(str what) except -1:
    # Errors left in libcrypto's queue would be taken for their own by others on this thread (ssl).
    evp.clear_errors()
    raise EvpError(f"libcrypto failed to {what}")


cdef void* symbol(void* library, const char* name) except NULL:
    cdef void* address = cwt_dlsym(library, name)
    if address == NULL:
        raise ImportError(f"libcrypto exports no {name.decode()}")
    return address


cdef int resolve(void* library) except -1:
    evp.context_new = <Context (*)() noexcept nogil>symbol(library, b"EVP_CIPHER_CTX_new")
    evp.context_free = <void (*)(Context) noexcept nogil>symbol(library, b"EVP_CIPHER_CTX_free")
    evp.control = <int (*)(Context, int, int, void*) noexcept nogil>symbol(
        library, b"EVP_CIPHER_CTX_ctrl")
    evp.set_padding = <int (*)(Context, int) noexcept nogil>symbol(
        library, b"EVP_CIPHER_CTX_set_padding")
    evp.init = <int (*)(
        Context, Cipher, void*, const uint8_t*, const uint8_t*, int
    ) noexcept nogil>symbol(library, b"EVP_CipherInit_ex")
    evp.update = <int (*)(
        Context, uint8_t*, int*, const uint8_t*, int
    ) noexcept nogil>symbol(library, b"EVP_CipherUpdate")
    evp.final = <int (*)(Context, uint8_t*, int*) noexcept nogil>symbol(
        library, b"EVP_CipherFinal_ex")
    evp.clear_errors = <void (*)() noexcept nogil>symbol(library, b"ERR_clear_error")
    evp.version = <const char* (*)(int) noexcept nogil>symbol(library, b"OpenSSL_version")
    evp.aes_128_gcm = <GetCipher>symbol(library, b"EVP_aes_128_gcm")
    evp.aes_256_gcm = <GetCipher>symbol(library, b"EVP_aes_256_gcm")
    evp.aes_128_ecb = <GetCipher>symbol(library, b"EVP_aes_128_ecb")
    evp.aes_256_ecb = <GetCipher>symbol(library, b"EVP_aes_256_ecb")
    evp.chacha20 = <GetCipher>symbol(library, b"EVP_chacha20")
    evp.chacha20_poly1305 = <GetCipher>symbol(library, b"EVP_chacha20_poly1305")
    return 0


def _find():
    # A search through the handle of _hashlib covers the libcrypto it is linked with, whatever its
    # name.
    cdef void* library
    reasons = []
    if "CWT_LIBCRYPTO" in os.environ:
        candidates = [(os.environ["CWT_LIBCRYPTO"], False)]
    else:
        candidates = [("libcrypto.so.3", False)]
        try:
            from _hashlib import __file__ as hashlib_path
            candidates.insert(0, (hashlib_path, True))
        except ImportError:
            reasons.append("this interpreter has no _hashlib module of its own")
    for path, loaded in candidates:
        library = cwt_dlopen(path.encode(), loaded)
        if library == NULL:
            reasons.append(f"{path} cannot be opened")
            continue
        try:
            resolve(library)
        except ImportError as error:
            reasons.append(f"{path}: {error}")
            continue
        return evp.version(0).decode()
    raise ImportError("no libcrypto with EVP functions was found: " + "; ".join(reasons))


library_version = _find()
"""Name and version of the libcrypto in use, as it says them itself."""


cdef Cipher aead_cipher(int cipher_suite) noexcept:
    if cipher_suite == AES_128_GCM_SHA256:
        return evp.aes_128_gcm()
    if cipher_suite == AES_256_GCM_SHA384:
        return evp.aes_256_gcm()
    return evp.chacha20_poly1305()


cdef Cipher mask_cipher(int cipher_suite) noexcept:
    if cipher_suite == AES_128_GCM_SHA256:
        return evp.aes_128_ecb()
    if cipher_suite == AES_256_GCM_SHA384:
        return evp.aes_256_ecb()
    return evp.chacha20()


cdef Context keyed_context(Cipher cipher, bytes key, bint encrypt) except NULL:
    cdef Context context = evp.context_new()
    if context == NULL:
        raise MemoryError
    if cipher == NULL or evp.init(
        context, cipher, NULL, <const uint8_t*>PyBytes_AS_STRING(key), NULL, encrypt
    ) != 1:
        evp.context_free(context)
        failed("set a key")
    return context


@cython.final
cdef class EvpAead(Aead):
    """An AEAD key with one EVP context for each direction, made when first used."""

    cdef int cipher_suite
    cdef bytes key
    cdef Context sealing
    cdef Context opening

    def __cinit__(self, int cipher_suite, bytes key not None, bytes iv not None):
        self.cipher_suite = cipher_suite
        self.key = key

    def __dealloc__(self):
        if self.sealing != NULL:
            evp.context_free(self.sealing)
        if self.opening != NULL:
            evp.context_free(self.opening)

    cdef int seal(self, Packet* packets, size_t count) except -1:
        cdef size_t i
        if self.sealing == NULL:
            self.sealing = keyed_context(aead_cipher(self.cipher_suite), self.key, True)
        for i in range(count):
            check_packet(&packets[i])
            if not seal_packet(self.sealing, self.iv, &packets[i]):
                failed("seal a packet")
        return 0

    cdef int open(self, Packet* packets, size_t count) except -1:
        cdef size_t i
        cdef Packet* packet
        for i in range(count):
            packets[i].ok = False
        if self.opening == NULL:
            self.opening = keyed_context(aead_cipher(self.cipher_suite), self.key, False)
        for i in range(count):
            packet = &packets[i]
            if packet.length > INT_MAX or packet.header_length > packet.length or (
                packet.length - packet.header_length < TAG_LENGTH
            ):
                continue
            if not open_packet(self.opening, self.iv, packet):
                failed("open a packet")
        return 0


cdef bint seal_packet(Context context, const uint8_t* iv, Packet* packet) noexcept nogil:
    cdef uint8_t[IV_LENGTH] nonce
    cdef uint8_t* payload = packet.data + packet.header_length
    cdef int length = <int>(packet.length - packet.header_length)
    cdef int done = 0
    cdef int rest = 0
    make_nonce(iv, packet.number, nonce)
    if evp.init(context, NULL, NULL, NULL, nonce, -1) != 1:
        return False
    if packet.header_length and evp.update(
        context, NULL, &done, packet.data, <int>packet.header_length
    ) != 1:
        return False
    done = 0
    if length and evp.update(context, payload, &done, payload, length) != 1:
        return False
    if evp.final(context, payload + done, &rest) != 1 or done + rest != length:
        return False
    return evp.control(context, EVP_CTRL_AEAD_GET_TAG, TAG_LENGTH, payload + length) == 1


cdef bint open_packet(Context context, const uint8_t* iv, Packet* packet) noexcept nogil:
    # False for an error of libcrypto; a packet that is not authentic just stays not ok.
    cdef uint8_t[IV_LENGTH] nonce
    cdef uint8_t* payload = packet.data + packet.header_length
    cdef int length = <int>(packet.length - packet.header_length) - TAG_LENGTH
    cdef int done = 0
    cdef int rest = 0
    make_nonce(iv, packet.number, nonce)
    if evp.init(context, NULL, NULL, NULL, nonce, -1) != 1:
        return False
    if evp.control(context, EVP_CTRL_AEAD_SET_TAG, TAG_LENGTH, payload + length) != 1:
        return False
    if packet.header_length and evp.update(
        context, NULL, &done, packet.data, <int>packet.header_length
    ) != 1:
        return False
    done = 0
    if length and evp.update(context, payload, &done, payload, length) != 1:
        return False
    if evp.final(context, payload + done, &rest) == 1:
        packet.ok = done + rest == length
        return packet.ok
    evp.clear_errors()
    return True


@cython.final
cdef class EvpHeaderProtection(HeaderProtection):
    """A header protection key with its EVP context."""

    cdef bint is_stream
    cdef Context context

    def __cinit__(self, int cipher_suite, bytes key not None):
        self.is_stream = cipher_suite == CHACHA20_POLY1305_SHA256
        self.context = keyed_context(mask_cipher(cipher_suite), key, True)
        if not self.is_stream and evp.set_padding(self.context, 0) != 1:
            failed("switch padding off")

    def __dealloc__(self):
        if self.context != NULL:
            evp.context_free(self.context)

    cdef int mask(self, const uint8_t* samples, uint8_t* masks, size_t count) except -1:
        cdef int done = 0
        cdef size_t i
        cdef uint8_t[MASK_LENGTH] zeros = [0, 0, 0, 0, 0]
        if count > INT_MAX // SAMPLE_LENGTH:
            raise ValueError("more samples than one call takes")
        if not self.is_stream:
            if count and (
                evp.update(self.context, masks, &done, samples, <int>count * SAMPLE_LENGTH) != 1
                or done != <int>count * SAMPLE_LENGTH
            ):
                failed("make masks")
            return 0
        for i in range(count):
            # The 16-byte IV of libcrypto's ChaCha20 is counter and nonce, just as the sample is.
            if evp.init(self.context, NULL, NULL, NULL, samples + i * SAMPLE_LENGTH, -1) != 1 or (
                evp.update(self.context, masks + i * SAMPLE_LENGTH, &done, zeros, MASK_LENGTH) != 1
            ):
                failed("make a mask")
        return 0
