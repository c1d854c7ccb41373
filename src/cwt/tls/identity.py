"""What a side proves itself with: a certificate chain or a raw public key, and the private key.

``cryptography.x509`` takes long to import: it is imported where it is used.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import cast

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from cwt.errors import ConfigError
from cwt.tls import compression
from cwt.tls.certificates import PemSource, read_pem, source_name
from cwt.tls.messages import Certificate
from cwt.tls.signatures import PrivateKey, schemes_for

__all__ = ["Identity", "IdentitySource", "load_identities"]

_WORTH_COMPRESSING = 1000
"""Bytes: what is shorter, a self-signed certificate for example, fits into one packet in any case."""

MAX_CHAIN_LENGTH = 60000
"""Bytes of a chain of our own: what fits into one Certificate message that peers accept."""


class Identity:
    """A certificate chain, or a raw public key (RFC 7250), with the private key that belongs to it.

    Made by :meth:`load`, :meth:`from_der` or :meth:`raw`; it never changes.
    """

    __slots__ = ("_compressed", "_source", "is_raw", "key", "message", "schemes")

    def __init__(self, chain: Sequence[bytes], key: object, *, is_raw: bool) -> None:
        schemes = schemes_for(key)
        if not schemes:
            raise ConfigError(
                f"a private key of type {type(key).__name__} cannot be used; "
                "take ECDSA P-256 or P-384, RSA, or Ed25519"
            )
        self.key = cast("PrivateKey", key)
        self.schemes = tuple(map(int, schemes))
        """What the key can sign with, best first."""
        self.is_raw = is_raw
        """Whether this is a raw public key, with no certificate."""
        self.message = Certificate(chain=tuple(chain)).pack()
        """The whole Certificate message (RFC 8446 Section 4.4.2), without a request context."""
        self._compressed: dict[int, bytes] = {}
        self._source: tuple[PemSource, PemSource | None, bytes | None] | None = None

    @classmethod
    def load(
        cls, certfile: PemSource, keyfile: PemSource | None = None, password: bytes | None = None
    ) -> Identity:
        """From PEM files or their content: the chain, leaf first, and the key.

        Without *keyfile* both are in *certfile*.  *password* is for a key that is encrypted.  Raises
        ConfigError when there is no such pair in them.
        """
        from cryptography import x509

        pem = read_pem(certfile, "the certificate file")
        try:
            chain = x509.load_pem_x509_certificates(pem)
        except ValueError as error:
            raise ConfigError(
                f"{source_name(certfile)} has no certificate in PEM form ({error}); "
                'it must have "-----BEGIN CERTIFICATE-----", the leaf first'
            ) from error
        key_pem = pem if keyfile is None else read_pem(keyfile, "the key file")
        key = _load_key(key_pem, certfile if keyfile is None else keyfile, password)
        der = [certificate.public_bytes(serialization.Encoding.DER) for certificate in chain]
        identity = cls.from_der(der, key)
        identity._source = (certfile, keyfile, password)
        return identity

    @classmethod
    def from_der(cls, chain: Sequence[bytes], private_key: object) -> Identity:
        """From DER certificates, leaf first, and a private key of ``cryptography`` for the leaf.

        Raises ConfigError when the two do not fit each other or cannot be used.
        """
        if not chain:
            raise ConfigError("the certificate chain is empty")
        if sum(map(len, chain)) > MAX_CHAIN_LENGTH:
            raise ConfigError(
                f"the certificate chain has more than {MAX_CHAIN_LENGTH} bytes; "
                "it must be the leaf and its intermediates, not a bundle of roots"
            )
        identity = cls(chain, private_key, is_raw=False)
        from cryptography import x509

        try:
            leaf_key = x509.load_der_x509_certificate(chain[0]).public_key()
        except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
            raise ConfigError(f"the certificate cannot be read: {error}") from error
        if leaf_key != identity.key.public_key():
            raise ConfigError(
                "the private key does not belong to the first certificate; "
                "check that the files are a pair and the chain starts with the leaf"
            )
        return identity

    @classmethod
    def raw(cls, private_key: PemSource | object, password: bytes | None = None) -> Identity:
        """A raw public key: *private_key* is a PEM file, its content, or a key of ``cryptography``.

        Raises ConfigError when there is no such key.
        """
        source = private_key if isinstance(private_key, str | bytes | os.PathLike) else None
        if source is not None:
            private_key = _load_key(read_pem(source, "the key file"), source, password)
        public = getattr(private_key, "public_key", None)
        if public is None:
            raise ConfigError(
                f"a raw public key is made from a private key, not {type(private_key).__name__}"
            )
        spki = public().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        identity = cls([spki], private_key, is_raw=True)
        if source is not None:
            identity._source = (source, None, password)
        return identity

    def reloaded(self) -> Identity:
        """What its files have now; itself when it came from none."""
        if self._source is None:
            return self
        if self.is_raw:
            return Identity.raw(self._source[0], self._source[2])
        return Identity.load(*self._source)

    def message_for(self, algorithm: int | None) -> bytes:
        """The Certificate message, compressed with *algorithm* where that is worth the peer's time."""
        if algorithm is None or len(self.message) < _WORTH_COMPRESSING:
            return self.message
        message = self._compressed.get(algorithm)
        if message is None:
            message = min(self.message, compression.compress(algorithm, self.message), key=len)
            self._compressed[algorithm] = message
        return message


IdentitySource = Identity | tuple[PemSource, PemSource | None]
"""An :class:`Identity`, or certfile and keyfile as in :meth:`Identity.load`."""


def load_identities(sources: IdentitySource | Sequence[IdentitySource]) -> tuple[Identity, ...]:
    """One of them, or a list of several for one name; ConfigError for anything else."""
    found = []
    for source in sources if isinstance(sources, list) else [sources]:
        if isinstance(source, Identity):
            found.append(source)
        elif isinstance(source, tuple) and len(source) == 2:
            found.append(Identity.load(*source))
        else:
            raise ConfigError(
                "a certificate is given as (certfile, keyfile), as an Identity, or as a list of "
                f"those, not as {type(source).__name__}"
            )
        if found[-1].is_raw:
            raise ConfigError("a raw public key is given as raw_public_key, it has no host name")
    if not found:
        raise ConfigError("a list of certificates is empty")
    return tuple(found)


def _load_key(pem: bytes, source: PemSource, password: bytes | None) -> object:
    name = source_name(source)
    try:
        return serialization.load_pem_private_key(pem, password)
    except TypeError as error:
        if password is not None:
            raise ConfigError(f"the private key in {name} is not encrypted: no password") from error
        raise ConfigError(
            f"the private key in {name} is encrypted; give Identity.load() its password, "
            "or decrypt it first: openssl pkey -in key.pem -out plain.pem"
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        if password is not None:
            raise ConfigError(
                f"{name} has no private key in PEM form, or one with another password"
            ) from error
        raise ConfigError(
            f"{name} has no private key in PEM form; give the key's file as keyfile"
        ) from error
