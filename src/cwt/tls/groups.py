"""Key exchange groups (RFC 8446 Section 4.2.7, X25519MLKEM768 of RFC 10024)."""

from __future__ import annotations

from enum import IntEnum
from functools import cache
from typing import Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cwt.tls.alerts import Alert, AlertDescription

__all__ = ["Group", "KeyExchange", "generate", "respond", "supported_groups"]

_MLKEM_PUBLIC = 1184
_MLKEM_CIPHERTEXT = 1088


class Group(IntEnum):
    """Named groups that are implemented."""

    SECP256R1 = 0x0017
    SECP384R1 = 0x0018
    X25519 = 0x001D
    X25519MLKEM768 = 0x11EC


class KeyExchange(Protocol):
    """One side's ephemeral key: ``share`` for the peer, and the secret from the peer's share."""

    share: bytes

    def exchange(self, peer: bytes) -> bytes:
        """The shared secret; ValueError when *peer* is not a good share."""


class _X25519:
    def __init__(self) -> None:
        self._key = x25519.X25519PrivateKey.generate()
        self.share = self._key.public_key().public_bytes_raw()

    def exchange(self, peer: bytes) -> bytes:
        # An all-zero result is a ValueError (RFC 8446 Section 7.4.2).
        return self._key.exchange(x25519.X25519PublicKey.from_public_bytes(peer))


class _Ecdh:
    def __init__(self, curve: ec.EllipticCurve) -> None:
        self._curve = curve
        self._key = ec.generate_private_key(curve)
        self.share = self._key.public_key().public_bytes(
            Encoding.X962, PublicFormat.UncompressedPoint
        )

    def exchange(self, peer: bytes) -> bytes:
        if len(peer) != len(self.share) or peer[0] != 4:
            raise ValueError("not an uncompressed point")
        public = ec.EllipticCurvePublicKey.from_encoded_point(self._curve, peer)
        return self._key.exchange(ec.ECDH(), public)


class _X25519Mlkem768:
    """The client's side; a server answers with :func:`_encapsulate`."""

    def __init__(self) -> None:
        from cryptography.hazmat.primitives.asymmetric import mlkem

        self._mlkem = mlkem.MLKEM768PrivateKey.generate()
        self._x25519 = _X25519()
        self.share = self._mlkem.public_key().public_bytes_raw() + self._x25519.share

    def exchange(self, peer: bytes) -> bytes:
        if len(peer) != _MLKEM_CIPHERTEXT + 32:
            raise ValueError("not a ciphertext and a point")
        secret = self._mlkem.decapsulate(peer[:_MLKEM_CIPHERTEXT])
        return secret + self._x25519.exchange(peer[_MLKEM_CIPHERTEXT:])


def _encapsulate(peer: bytes) -> tuple[bytes, bytes]:
    from cryptography.hazmat.primitives.asymmetric import mlkem

    if len(peer) != _MLKEM_PUBLIC + 32:
        raise ValueError("not an encapsulation key and a point")
    public = mlkem.MLKEM768PublicKey.from_public_bytes(peer[:_MLKEM_PUBLIC])
    secret, ciphertext = public.encapsulate()
    key = _X25519()
    return ciphertext + key.share, secret + key.exchange(peer[_MLKEM_PUBLIC:])


@cache
def supported_groups() -> tuple[Group, ...]:
    """What the installed ``cryptography`` can do, best first: ML-KEM depends on its OpenSSL."""
    groups = (Group.X25519, Group.SECP256R1, Group.SECP384R1)
    try:
        _X25519Mlkem768()
    except (ImportError, UnsupportedAlgorithm):
        return groups
    return (Group.X25519MLKEM768, *groups)


def generate(group: int) -> KeyExchange:
    """A fresh key of *group*, which must be one of :func:`supported_groups`."""
    if group == Group.X25519MLKEM768:
        return _X25519Mlkem768()
    if group == Group.X25519:
        return _X25519()
    if group == Group.SECP256R1:
        return _Ecdh(ec.SECP256R1())
    if group == Group.SECP384R1:
        return _Ecdh(ec.SECP384R1())
    raise ValueError(f"group 0x{group:04x} is not implemented")


def complete(key: KeyExchange, peer: bytes) -> bytes:
    """The shared secret of a client that gets the server's share."""
    try:
        return key.exchange(peer)
    except ValueError as error:
        raise Alert(AlertDescription.ILLEGAL_PARAMETER, "the peer's key share is bad") from error


def respond(group: int, peer: bytes) -> tuple[bytes, bytes]:
    """The server's share and the shared secret for the client's share *peer*."""
    try:
        if group == Group.X25519MLKEM768:
            return _encapsulate(peer)
        key = generate(group)
        return key.share, key.exchange(peer)
    except ValueError as error:
        raise Alert(AlertDescription.ILLEGAL_PARAMETER, "the peer's key share is bad") from error
