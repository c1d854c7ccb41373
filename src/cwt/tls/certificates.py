"""Certificates in files (RFC 7468) and of peers (RFC 5280).

``cryptography.x509`` takes long to import: it is imported where it is used.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cryptography.exceptions import UnsupportedAlgorithm

from cwt.errors import ConfigError
from cwt.tls.alerts import Alert, AlertDescription

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

__all__ = ["PemSource", "parse", "public_key", "read_pem", "source_name"]

PemSource = str | os.PathLike[str] | bytes
"""A path to a PEM file, or its content as bytes."""


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


def source_name(source: PemSource) -> str:
    """*source* in the text of an error."""
    return "the given PEM" if isinstance(source, bytes) else repr(os.fspath(source))


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


def public_key(der: bytes) -> CertificatePublicKeyTypes:
    """The public key of the peer's certificate *der*."""
    try:
        return parse([der])[0].public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Alert(
            AlertDescription.UNSUPPORTED_CERTIFICATE,
            f"the key in the peer's certificate cannot be used: {error}",
            certificate=True,
        ) from error
