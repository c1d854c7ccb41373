"""The TLS 1.3 key schedule (RFC 8446 Sections 4.4.1 and 7)."""

from __future__ import annotations

import hashlib
from enum import IntEnum

from cwt.hkdf import expand_label, extract, hmac_digest
from cwt.tls.messages import HandshakeType, pack

__all__ = ["CipherSuite", "KeySchedule"]


class CipherSuite(IntEnum):
    """RFC 8446 Appendix B.4."""

    TLS_AES_128_GCM_SHA256 = 0x1301
    TLS_AES_256_GCM_SHA384 = 0x1302
    TLS_CHACHA20_POLY1305_SHA256 = 0x1303


HASH_NAMES = {
    CipherSuite.TLS_AES_128_GCM_SHA256: "sha256",
    CipherSuite.TLS_AES_256_GCM_SHA384: "sha384",
    CipherSuite.TLS_CHACHA20_POLY1305_SHA256: "sha256",
}


class KeySchedule:
    """The chain of secrets of one handshake, and its transcript hash."""

    def __init__(self, cipher_suite: int) -> None:
        self.cipher_suite = cipher_suite
        self.hash_name = HASH_NAMES[CipherSuite(cipher_suite)]
        self._transcript = hashlib.new(self.hash_name)
        self.hash_length = self._transcript.digest_size
        self._secret = extract(self.hash_name, b"", bytes(self.hash_length))

    def add(self, message: bytes) -> None:
        """Append a whole handshake message to the transcript."""
        self._transcript.update(message)

    def restart(self) -> None:
        """Put a message_hash in the place of the first ClientHello (RFC 8446 Section 4.4.1)."""
        digest = self._transcript.digest()
        self._transcript = hashlib.new(self.hash_name)
        self._transcript.update(pack(HandshakeType.MESSAGE_HASH, digest))

    def transcript_hash(self) -> bytes:
        return self._transcript.digest()

    def extract(self, input_secret: bytes | None = None) -> None:
        """Step to the handshake secret with the exchanged one, to the master secret with None."""
        salt = self._expand(self._secret, b"derived", hashlib.new(self.hash_name).digest())
        ikm = bytes(self.hash_length) if input_secret is None else input_secret
        self._secret = extract(self.hash_name, salt, ikm)

    def derive(self, label: bytes) -> bytes:
        """Derive-Secret of the current secret over the transcript so far."""
        return self._expand(self._secret, label, self.transcript_hash())

    def verify_data(self, traffic_secret: bytes) -> bytes:
        """The content of a side's Finished (RFC 8446 Section 4.4.4)."""
        key = self._expand(traffic_secret, b"finished", b"")
        return hmac_digest(self.hash_name, key, self.transcript_hash())

    def export(self, exporter_secret: bytes, label: bytes, context: bytes, length: int) -> bytes:
        """TLS-Exporter (RFC 8446 Section 7.5)."""
        empty = hashlib.new(self.hash_name).digest()
        secret = self._expand(exporter_secret, label, empty)
        digest = hashlib.new(self.hash_name, context).digest()
        return expand_label(self.hash_name, secret, b"exporter", digest, length)

    def _expand(self, secret: bytes, label: bytes, context: bytes) -> bytes:
        return expand_label(self.hash_name, secret, label, context, self.hash_length)
