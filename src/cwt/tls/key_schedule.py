"""The TLS 1.3 key schedule (RFC 8446 Sections 4.4.1 and 7)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

from cwt.hkdf import expand_label, extract, hmac_digest
from cwt.tls.messages import HandshakeType, pack

__all__ = ["CipherSuite", "KeySchedule", "export", "hash_length", "same_hash", "ticket_psk"]


class CipherSuite(IntEnum):
    """RFC 8446 Appendix B.4."""

    TLS_AES_128_GCM_SHA256 = 0x1301
    TLS_AES_256_GCM_SHA384 = 0x1302
    TLS_CHACHA20_POLY1305_SHA256 = 0x1303


class _Hash(NamedTuple):
    """The hash function of a cipher suite, and what follows from it alone."""

    name: str
    new: Callable[..., hashlib._Hash]
    length: int
    empty: bytes
    """Hash of nothing."""
    early_secret: bytes
    """The early secret of a handshake without a PSK."""
    zeros: bytes


def _hash(name: str, new: Callable[..., hashlib._Hash]) -> _Hash:
    length = new().digest_size
    zeros = bytes(length)
    return _Hash(name, new, length, new().digest(), extract(name, b"", zeros), zeros)


_SHA256 = _hash("sha256", hashlib.sha256)
_SHA384 = _hash("sha384", hashlib.sha384)
_HASHES: dict[int, _Hash] = {
    CipherSuite.TLS_AES_128_GCM_SHA256: _SHA256,
    CipherSuite.TLS_AES_256_GCM_SHA384: _SHA384,
    CipherSuite.TLS_CHACHA20_POLY1305_SHA256: _SHA256,
}


def same_hash(cipher_suite: int, other: int) -> bool:
    """Whether a PSK of one of the suites can be used with the other (RFC 8446 Section 4.2.11)."""
    return _HASHES[cipher_suite] is _HASHES.get(other)


def hash_length(cipher_suite: int) -> int:
    """Bytes of the suite's hash."""
    return _HASHES[cipher_suite].length


class KeySchedule:
    """The chain of secrets of one handshake, and its transcript hash."""

    __slots__ = ("_hash", "_secret", "_transcript", "cipher_suite")

    def __init__(self, cipher_suite: int) -> None:
        self.cipher_suite = cipher_suite
        self._hash = _HASHES[cipher_suite]
        self._transcript = self._hash.new()
        self._secret = self._hash.early_secret

    def add(self, message: bytes) -> None:
        """Append a whole handshake message to the transcript."""
        self._transcript.update(message)

    def restart(self) -> None:
        """Put a message_hash in the place of the first ClientHello (RFC 8446 Section 4.4.1)."""
        digest = self._transcript.digest()
        self._transcript = self._hash.new(pack(HandshakeType.MESSAGE_HASH, digest))

    def transcript_hash(self) -> bytes:
        return self._transcript.digest()

    def binder(self, psk: bytes, hello: bytes) -> bytes:
        """The binder of *psk* in a ClientHello; *hello* ends before its binders (Section 4.2.11.2)."""
        transcript = self._transcript.copy()
        transcript.update(hello)
        secret = extract(self._hash.name, b"", psk)
        key = self._expand(secret, b"res binder", self._hash.empty)
        key = self._expand(key, b"finished", b"")
        return hmac_digest(self._hash.name, key, transcript.digest())

    def resume(self, psk: bytes) -> None:
        """Begin with *psk*; call before :meth:`extract`."""
        self._secret = extract(self._hash.name, b"", psk)

    def extract(self, input_secret: bytes | None = None) -> None:
        """Step to the handshake secret with the exchanged one, to the master secret with None."""
        salt = self._expand(self._secret, b"derived", self._hash.empty)
        ikm = self._hash.zeros if input_secret is None else input_secret
        self._secret = extract(self._hash.name, salt, ikm)

    def derive(self, label: bytes) -> bytes:
        """Derive-Secret of the current secret over the transcript so far."""
        return self._expand(self._secret, label, self._transcript.digest())

    def verify_data(self, traffic_secret: bytes) -> bytes:
        """The content of a side's Finished (RFC 8446 Section 4.4.4)."""
        key = self._expand(traffic_secret, b"finished", b"")
        return hmac_digest(self._hash.name, key, self._transcript.digest())

    def _expand(self, secret: bytes, label: bytes, context: bytes) -> bytes:
        return expand_label(self._hash.name, secret, label, context, self._hash.length)


def ticket_psk(cipher_suite: int, resumption_secret: bytes, nonce: bytes) -> bytes:
    """The PSK of a ticket with *nonce* (RFC 8446 Section 4.6.1)."""
    digest = _HASHES[cipher_suite]
    return expand_label(digest.name, resumption_secret, b"resumption", nonce, digest.length)


def export(
    cipher_suite: int, exporter_secret: bytes, label: bytes, context: bytes, length: int
) -> bytes:
    """TLS-Exporter (RFC 8446 Section 7.5)."""
    digest = _HASHES[cipher_suite]
    secret = expand_label(digest.name, exporter_secret, label, digest.empty, digest.length)
    hashed = digest.new(context).digest()
    return expand_label(digest.name, secret, b"exporter", hashed, length)
