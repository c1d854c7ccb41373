"""Certificates and private keys in files (RFC 7468) and in messages (RFC 5280).

``cryptography.x509`` takes long to import: it is imported where it is used.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from cwt.errors import ConfigError
from cwt.tls.alerts import Alert, AlertDescription
from cwt.tls.messages import Certificate
from cwt.tls.signatures import PrivateKey, schemes_for

if TYPE_CHECKING:
    from cryptography import x509

__all__ = [
    "Identity",
    "PemSource",
    "load_identity",
    "make_identity",
    "parse",
    "public_key",
    "read_pem",
]

PemSource = str | os.PathLike[str] | bytes
"""A path to a PEM file, or its content as bytes."""

MAX_CHAIN_LENGTH = 60000
"""Bytes of a chain of our own: what fits into one Certificate message that peers accept."""


class Identity(NamedTuple):
    """A certificate chain with the leaf's private key, in the form that handshakes need."""

    key: PrivateKey
    schemes: tuple[int, ...]
    """What the key can sign with, best first."""
    message: bytes
    """The whole Certificate message (RFC 8446 Section 4.4.2), without a request context."""


def read_pem(source: PemSource, setting: str) -> bytes:
    """The content of *source*; *setting* names it in the error."""
    if isinstance(source, bytes):
        return source
    try:
        with open(source, "rb") as file:
            return file.read()
    except OSError as error:
        raise ConfigError(
            f"{setting} {os.fspath(source)!r} cannot be read: {error.strerror}"
        ) from error


def load_identity(certfile: PemSource, keyfile: PemSource | None) -> Identity:
    """Certificate chain and key from PEM; without *keyfile* both are in *certfile*."""
    from cryptography import x509

    pem = read_pem(certfile, "the certificate file")
    try:
        chain = x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise ConfigError(
            f"{_name(certfile)} has no certificate in PEM form ({error}); "
            'it must have "-----BEGIN CERTIFICATE-----", the leaf first'
        ) from error
    key_source = certfile if keyfile is None else keyfile
    key = _load_key(pem if keyfile is None else read_pem(keyfile, "the key file"), key_source)
    der = [certificate.public_bytes(serialization.Encoding.DER) for certificate in chain]
    return make_identity(der, key)


def _load_key(pem: bytes, source: PemSource) -> object:
    try:
        return serialization.load_pem_private_key(pem, None)
    except TypeError as error:
        raise ConfigError(
            f"the private key in {_name(source)} is encrypted; "
            "decrypt it first: openssl pkey -in key.pem -out plain.pem"
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(
            f"{_name(source)} has no private key in PEM form; give the key's file as keyfile"
        ) from error


def _name(source: PemSource) -> str:
    return "the given PEM" if isinstance(source, bytes) else repr(os.fspath(source))


def make_identity(chain: Sequence[bytes], key: object) -> Identity:
    """An identity from DER certificates, leaf first, and a private key that must fit the leaf."""
    if not chain:
        raise ConfigError("the certificate chain is empty")
    if sum(map(len, chain)) > MAX_CHAIN_LENGTH:
        raise ConfigError(
            f"the certificate chain has more than {MAX_CHAIN_LENGTH} bytes; "
            "it must be the leaf and its intermediates, not a bundle of roots"
        )
    schemes = schemes_for(key)
    if not schemes:
        raise ConfigError(
            f"a private key of type {type(key).__name__} cannot be used; "
            "take ECDSA P-256 or P-384, RSA, or Ed25519"
        )
    from cryptography import x509

    try:
        leaf_key = x509.load_der_x509_certificate(chain[0]).public_key()
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise ConfigError(f"the certificate cannot be read: {error}") from error
    if leaf_key != key.public_key():  # type: ignore[attr-defined]
        raise ConfigError(
            "the private key does not belong to the first certificate; "
            "check that the files are a pair and the chain starts with the leaf"
        )
    message = Certificate(chain=tuple(chain)).pack()
    return Identity(key, tuple(map(int, schemes)), message)  # type: ignore[arg-type]


def parse(chain: Sequence[bytes]) -> list[x509.Certificate]:
    """The peer's certificates; Alert for those that are none."""
    from cryptography import x509

    try:
        return [x509.load_der_x509_certificate(der) for der in chain]
    except (ValueError, x509.InvalidVersion) as error:
        raise Alert(
            AlertDescription.BAD_CERTIFICATE,
            f"a certificate of the peer cannot be read: {error}",
            certificate=True,
        ) from error


def public_key(der: bytes) -> object:
    """The public key of the peer's certificate *der*."""
    try:
        return parse([der])[0].public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Alert(
            AlertDescription.UNSUPPORTED_CERTIFICATE,
            f"the key in the peer's certificate cannot be used: {error}",
            certificate=True,
        ) from error
