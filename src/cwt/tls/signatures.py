"""Signatures of CertificateVerify (RFC 8446 Sections 4.2.3 and 4.4.3)."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import cast

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from cwt.tls.alerts import Alert, AlertDescription

__all__ = ["OFFERED", "PrivateKey", "SignatureScheme", "choose", "schemes_for", "sign", "verify"]

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

SERVER_CONTEXT = b"TLS 1.3, server CertificateVerify"
CLIENT_CONTEXT = b"TLS 1.3, client CertificateVerify"


class SignatureScheme(IntEnum):
    """RFC 8446 Section 4.2.3."""

    RSA_PKCS1_SHA256 = 0x0401
    RSA_PKCS1_SHA384 = 0x0501
    RSA_PKCS1_SHA512 = 0x0601
    ECDSA_SECP256R1_SHA256 = 0x0403
    ECDSA_SECP384R1_SHA384 = 0x0503
    RSA_PSS_RSAE_SHA256 = 0x0804
    RSA_PSS_RSAE_SHA384 = 0x0805
    RSA_PSS_RSAE_SHA512 = 0x0806
    ED25519 = 0x0807


_ECDSA: dict[int, tuple[type[ec.EllipticCurve], ec.ECDSA]] = {
    SignatureScheme.ECDSA_SECP256R1_SHA256: (ec.SECP256R1, ec.ECDSA(hashes.SHA256())),
    SignatureScheme.ECDSA_SECP384R1_SHA384: (ec.SECP384R1, ec.ECDSA(hashes.SHA384())),
}
_PSS: dict[int, hashes.HashAlgorithm] = {
    SignatureScheme.RSA_PSS_RSAE_SHA256: hashes.SHA256(),
    SignatureScheme.RSA_PSS_RSAE_SHA384: hashes.SHA384(),
    SignatureScheme.RSA_PSS_RSAE_SHA512: hashes.SHA512(),
}

OFFERED = (
    SignatureScheme.ECDSA_SECP256R1_SHA256,
    SignatureScheme.ECDSA_SECP384R1_SHA384,
    SignatureScheme.ED25519,
    SignatureScheme.RSA_PSS_RSAE_SHA256,
    SignatureScheme.RSA_PSS_RSAE_SHA384,
    SignatureScheme.RSA_PSS_RSAE_SHA512,
    # Only for signatures inside certificates (RFC 8446 Section 4.2.3).
    SignatureScheme.RSA_PKCS1_SHA256,
    SignatureScheme.RSA_PKCS1_SHA384,
    SignatureScheme.RSA_PKCS1_SHA512,
)
"""What signature_algorithms says, best first."""


def schemes_for(key: object) -> tuple[SignatureScheme, ...]:
    """The schemes *key* can sign with, best first; none for keys TLS 1.3 has no use for."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return tuple(
            SignatureScheme(scheme)
            for scheme, (curve, _) in _ECDSA.items()
            if isinstance(key.curve, curve)
        )
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return (SignatureScheme.ED25519,)
    if isinstance(key, rsa.RSAPrivateKey):
        # EMSA-PSS needs room for the hash, a salt as long, and two bytes (RFC 8017 Section 9.1.1).
        room = (key.key_size + 6) // 8 - 2
        return tuple(SignatureScheme(s) for s, h in _PSS.items() if 2 * h.digest_size <= room)
    return ()


def choose(schemes: Sequence[int], offered: Sequence[int]) -> int:
    """The scheme of ours to sign with for a peer that takes those *offered*."""
    for scheme in schemes:
        if scheme in offered:
            return scheme
    raise Alert(
        AlertDescription.HANDSHAKE_FAILURE,
        "the peer takes no signature that our certificate's key can make; "
        "a certificate with an ECDSA P-256 or RSA key works with every peer",
    )


def _content(context: bytes, transcript_hash: bytes) -> bytes:
    return b" " * 64 + context + b"\0" + transcript_hash


def sign(key: PrivateKey, scheme: int, context: bytes, transcript_hash: bytes) -> bytes:
    """The signature of CertificateVerify; *scheme* is one of ``schemes_for(key)``."""
    content = _content(context, transcript_hash)
    # By the scheme: isinstance() of a class with abc.ABCMeta takes a microsecond.
    if scheme in _ECDSA:
        return cast("ec.EllipticCurvePrivateKey", key).sign(content, _ECDSA[scheme][1])
    if scheme in _PSS:
        return cast("rsa.RSAPrivateKey", key).sign(content, _pss(_PSS[scheme]), _PSS[scheme])
    return cast("ed25519.Ed25519PrivateKey", key).sign(content)


def verify(
    key: object, scheme: int, signature: bytes, context: bytes, transcript_hash: bytes
) -> None:
    """Check the peer's CertificateVerify against the public *key* of its certificate."""
    content = _content(context, transcript_hash)
    try:
        if scheme in _ECDSA and isinstance(key, ec.EllipticCurvePublicKey):
            curve, algorithm = _ECDSA[scheme]
            if isinstance(key.curve, curve):
                key.verify(signature, content, algorithm)
                return
        elif scheme in _PSS and isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, content, _pss(_PSS[scheme]), _PSS[scheme])
            return
        elif scheme == SignatureScheme.ED25519 and isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, content)
            return
    except (InvalidSignature, UnsupportedAlgorithm, ValueError) as error:
        raise Alert(
            AlertDescription.DECRYPT_ERROR, "the signature of CertificateVerify is wrong"
        ) from error
    raise Alert(
        AlertDescription.ILLEGAL_PARAMETER,
        f"CertificateVerify uses 0x{scheme:04x}, which was not offered or does not fit the key",
    )


def _pss(algorithm: hashes.HashAlgorithm) -> padding.PSS:
    return padding.PSS(mgf=padding.MGF1(algorithm), salt_length=algorithm.digest_size)
