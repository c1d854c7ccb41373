"""HKDF as TLS 1.3 and QUIC use it (RFC 5869, RFC 8446 Section 7.1).

A handshake derives some forty secrets, each a hash of a few dozen bytes: HMAC is two calls of the hash
here, which is half the price of ``hmac.digest`` and its lookups.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t
from libc.string cimport memcpy, memset

from hashlib import sha256, sha384

cdef object _sha256 = sha256
cdef object _sha384 = sha384

cdef enum:
    SHA256_BLOCK = 64
    SHA384_BLOCK = 128
    SHA256_LENGTH = 32
    SHA384_LENGTH = 48
    MAX_INFO = 2 + 1 + 255 + 1 + 255 + 1      # HkdfLabel and the counter


cdef bytes keyed(size_t block_size, uint8_t pad, bytes key, const uint8_t* data, size_t length):
    # The input of one of HMAC's two hashes: the padded key, then *data* (RFC 2104).
    cdef bytes message = PyBytes_FromStringAndSize(NULL, block_size + length)
    cdef uint8_t* out = <uint8_t*>PyBytes_AS_STRING(message)
    cdef const uint8_t* source = <const uint8_t*>PyBytes_AS_STRING(key)
    cdef size_t i, key_length = PyBytes_GET_SIZE(key)
    memset(out, pad, block_size)
    for i in range(key_length):
        out[i] ^= source[i]
    memcpy(out + block_size, data, length)
    return message


cdef bytes mac(str hash_name, bytes key, const uint8_t* data, size_t length):
    cdef bint is_sha256 = hash_name == "sha256"
    cdef size_t block_size = SHA256_BLOCK if is_sha256 else SHA384_BLOCK
    cdef object hash_of = _sha256 if is_sha256 else _sha384
    cdef bytes digest
    if not is_sha256 and hash_name != "sha384":
        raise ValueError(f"no hash {hash_name!r}: sha256 and sha384 are the ones of TLS 1.3")
    if <size_t>PyBytes_GET_SIZE(key) > block_size:
        key = hash_of(key).digest()
    digest = hash_of(keyed(block_size, 0x36, key, data, length)).digest()
    return hash_of(
        keyed(block_size, 0x5C, key, <const uint8_t*>PyBytes_AS_STRING(digest), len(digest))
    ).digest()


cpdef bytes hmac_digest(str hash_name, bytes key, bytes message):
    """HMAC (RFC 2104); ValueError for a hash other than "sha256" and "sha384"."""
    return mac(hash_name, key, <const uint8_t*>PyBytes_AS_STRING(message), len(message))


cpdef bytes extract(str hash_name, bytes salt, bytes ikm):
    """HKDF-Extract (RFC 5869 Section 2.2); an empty *salt* stands for zeros."""
    return hmac_digest(hash_name, salt, ikm)


cpdef bytes expand_label(
    str hash_name, bytes secret, bytes label, bytes context, Py_ssize_t length
):
    """HKDF-Expand-Label (RFC 8446 Section 7.1): *label* without its "tls13 " prefix.

    ValueError when *label* or *context* is longer than 249 or 255 bytes, or *length* is out of range.
    """
    cdef size_t hash_length = SHA256_LENGTH if hash_name == "sha256" else SHA384_LENGTH
    cdef size_t label_length = len(label), context_length = len(context), info_length
    cdef uint8_t info[MAX_INFO]
    cdef bytes block, output
    if label_length > 249 or context_length > 255 or not 0 <= length <= <Py_ssize_t>(255 * hash_length):
        raise ValueError("HKDF-Expand-Label: label, context or length is too long")
    info[0] = <uint8_t>(length >> 8)
    info[1] = <uint8_t>(length & 0xFF)
    info[2] = <uint8_t>(6 + label_length)
    memcpy(info + 3, b"tls13 ", 6)
    memcpy(info + 9, <const char*>PyBytes_AS_STRING(label), label_length)
    info[9 + label_length] = <uint8_t>context_length
    memcpy(info + 10 + label_length, <const char*>PyBytes_AS_STRING(context), context_length)
    info_length = 10 + label_length + context_length
    info[info_length] = 1
    output = block = mac(hash_name, secret, info, info_length + 1)
    while len(output) < length:
        info[info_length] += 1
        block = hmac_digest(hash_name, secret, block + info[:info_length + 1])
        output += block
    return output[:length]
