"""HKDF as TLS 1.3 and QUIC use it (RFC 5869, RFC 8446 Section 7.1)."""

from __future__ import annotations

import hmac
from hashlib import new as new_hash

__all__ = ["expand_label", "extract"]


def extract(hash_name: str, salt: bytes, ikm: bytes) -> bytes:
    """HKDF-Extract (RFC 5869 Section 2.2); an empty *salt* stands for zeros."""
    return hmac.digest(salt or bytes(new_hash(hash_name).digest_size), ikm, hash_name)


def expand_label(hash_name: str, secret: bytes, label: bytes, context: bytes, length: int) -> bytes:
    """HKDF-Expand-Label (RFC 8446 Section 7.1): *label* without its "tls13 " prefix."""
    full = b"tls13 " + label
    info = length.to_bytes(2, "big") + bytes([len(full)]) + full + bytes([len(context)]) + context
    output = block = b""
    counter = 1
    while len(output) < length:
        block = hmac.digest(secret, block + info + bytes([counter]), hash_name)
        output += block
        counter += 1
    return output[:length]
