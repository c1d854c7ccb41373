"""Public keys of peers without certificates (RFC 7250), and which ones are accepted."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from enum import IntEnum

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from cwt.errors import ConfigError
from cwt.tls.alerts import Alert, AlertDescription
from cwt.tls.callbacks import check_sync, consult
from cwt.tls.certificates import PemSource, public_key, read_pem, source_name

__all__ = ["CertificateType", "PublicKeySource", "PublicKeys", "VerifyKeyCallback", "parse_raw"]

PublicKeySource = PemSource | object
"""A public key: a PEM file, its content, DER (SubjectPublicKeyInfo), or one of ``cryptography``."""

VerifyKeyCallback = Callable[[bytes, str], object]
"""``verify(public_key_der, server_name)``: raises, or returns False, to refuse the key."""

_DER, _SPKI = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo


class CertificateType(IntEnum):
    """What a Certificate message has (RFC 7250 Section 7)."""

    X509 = 0
    RAW_PUBLIC_KEY = 2


class PublicKeys:
    """The keys that a peer may prove itself with: a set of them, or a callback that decides."""

    def __init__(self, keys: Sequence[PublicKeySource] | VerifyKeyCallback, setting: str) -> None:
        self._setting = setting
        self._callback: VerifyKeyCallback | None = None
        self._known: frozenset[bytes] = frozenset()
        if callable(keys):
            self._callback = check_sync(keys, setting)
            return
        if isinstance(keys, str | bytes | os.PathLike):
            keys = [keys]
        self._known = frozenset(_load(key, setting) for key in keys)

    def __bool__(self) -> bool:
        return self._callback is not None or bool(self._known)

    def check(self, spki: bytes, server_name: str) -> None:
        """Accept the key *spki* (DER) or raise :class:`Alert`."""
        if self._callback is not None:
            consult(self._callback, spki, server_name, setting=self._setting)
        elif spki not in self._known:
            raise Alert(
                AlertDescription.CERTIFICATE_UNKNOWN,
                f"the peer's public key is not among {self._setting}",
                certificate=True,
            )

    def check_certificate(self, der: bytes, server_name: str) -> None:
        """Accept a peer by the key in its certificate *der*, of which nothing else counts."""
        self.check(public_key(der).public_bytes(_DER, _SPKI), server_name)


def parse_raw(spki: bytes) -> object:
    """The key that the peer sent in the place of a certificate; Alert for what is none."""
    try:
        key = serialization.load_der_public_key(spki)
        is_spki = key.public_bytes(_DER, _SPKI) == spki
    except UnsupportedAlgorithm as error:
        raise Alert(
            AlertDescription.UNSUPPORTED_CERTIFICATE,
            f"the peer's public key cannot be used: {error}",
            certificate=True,
        ) from error
    except ValueError as error:
        raise _unreadable() from error
    if not is_spki:  # other forms of the same key would be other names of the same peer
        raise _unreadable()
    return key


def _unreadable() -> Alert:
    return Alert(
        AlertDescription.BAD_CERTIFICATE, "the peer's public key cannot be read", certificate=True
    )


def _load(source: PublicKeySource, setting: str) -> bytes:
    """The SubjectPublicKeyInfo of *source* in DER."""
    try:
        if isinstance(source, str | os.PathLike | bytes):
            data = read_pem(source, setting)
            is_pem = b"-----BEGIN" in data
            load = (
                serialization.load_pem_public_key if is_pem else serialization.load_der_public_key
            )
            key: object = load(data)
        else:
            key = source
        spki = getattr(key, "public_bytes", None)
        if spki is None:
            raise ValueError(f"{type(source).__name__} is no public key")
        return bytes(spki(_DER, _SPKI))
    except (TypeError, ValueError, UnsupportedAlgorithm) as error:
        name = source_name(source) if isinstance(source, str | os.PathLike | bytes) else "a value"
        raise ConfigError(
            f"{setting}: {name} has no public key ({error}); it must be PEM with "
            '"-----BEGIN PUBLIC KEY-----", DER, or a public key of cryptography: '
            "openssl pkey -in key.pem -pubout"
        ) from error
