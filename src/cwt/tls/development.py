"""Certificates for development and tests; none of them is for production."""

from __future__ import annotations

import json
import os
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cwt.errors import ConfigError
from cwt.tls.names import normalize, parse_ip_address
from cwt.tls.signatures import PrivateKey

__all__ = [
    "CertificateAuthority",
    "DevelopmentCertificate",
    "certificate_authority",
    "development_certificate",
    "generate_key",
    "issue",
]

_BACKDATED = timedelta(hours=1)
"""How long before now certificates begin, for peers whose clock is behind."""


@dataclass(frozen=True, kw_only=True)
class DevelopmentCertificate:
    """A certificate with its key, in the forms that servers, clients and browsers take."""

    chain: tuple[bytes, ...]
    """DER certificates, leaf first, without the root."""
    private_key: PrivateKey

    @property
    def cert_pem(self) -> bytes:
        """The chain as PEM."""
        return b"".join(
            x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM) for der in self.chain
        )

    @property
    def key_pem(self) -> bytes:
        """The private key as PEM (PKCS #8), not encrypted."""
        return self.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    @property
    def sha256(self) -> bytes:
        """What ``server_certificate_hashes`` and browsers pin: the hash of the leaf's DER."""
        return sha256(self.chain[0]).digest()

    def javascript(self, url: str) -> str:
        """The expression with which a browser connects to *url*."""
        value = b64encode(self.sha256).decode("ascii")
        return (
            f"new WebTransport({json.dumps(url)}, {{serverCertificateHashes: [{{\n"
            '  algorithm: "sha-256",\n'
            f'  value: Uint8Array.from(atob("{value}"), c => c.charCodeAt(0))\n'
            "}]})"
        )

    def write(self, directory: str | os.PathLike[str]) -> tuple[Path, Path]:
        """Write ``cert.pem`` and ``key.pem`` to *directory*, and give their paths."""
        folder = Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        cert_path, key_path = folder / "cert.pem", folder / "key.pem"
        cert_path.write_bytes(self.cert_pem)
        key_path.unlink(missing_ok=True)
        file = os.open(key_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(file, "wb") as stream:
            stream.write(self.key_pem)
        return cert_path, key_path


@dataclass(frozen=True, kw_only=True)
class CertificateAuthority:
    """A root or intermediate authority of :func:`certificate_authority`."""

    certificate: x509.Certificate
    private_key: PrivateKey
    issuers: tuple[bytes, ...] = ()
    """What leaves of an intermediate send along: its own certificate and those up to the root."""

    @property
    def cert_pem(self) -> bytes:
        """The certificate as PEM: what ``verify`` and ``client_ca`` take, once in a file."""
        return self.certificate.public_bytes(Encoding.PEM)


def development_certificate(
    hostnames: Sequence[str] = ("localhost", "127.0.0.1", "::1"),
    days: float = 13,
    now: datetime | None = None,
) -> DevelopmentCertificate:
    """A self-signed ECDSA P-256 certificate that browsers accept by its hash.

    *days* is how long it is valid, less than 14 for browsers to take it; *now* the time it is made.
    ConfigError when there is no name or *days* is not from 0 to 14.
    """
    if not 0 < days < 14:
        raise ConfigError(f"days must be above 0 and below 14, not {days}; browsers refuse more")
    return issue(None, hostnames, days=days, now=now)


def generate_key(kind: str = "p256") -> PrivateKey:
    """A private key: "p256", "p384", "rsa" (2048 bits) or "ed25519"."""
    if kind == "p256":
        return ec.generate_private_key(ec.SECP256R1())
    if kind == "p384":
        return ec.generate_private_key(ec.SECP384R1())
    if kind == "rsa":
        return rsa.generate_private_key(65537, 2048)
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    raise ConfigError(f'a key is "p256", "p384", "rsa" or "ed25519", not {kind!r}')


def certificate_authority(
    name: str = "cwt test root",
    *,
    kind: str = "p256",
    parent: CertificateAuthority | None = None,
    days: float = 30,
    now: datetime | None = None,
) -> CertificateAuthority:
    """A root authority, or with *parent* an intermediate one."""
    key = generate_key(kind)
    builder = _builder(name, key, parent, days, now)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    builder = builder.add_extension(_key_usage(authority=True), critical=True)
    certificate = _sign(builder, key, parent)
    if parent is None:
        return CertificateAuthority(certificate=certificate, private_key=key)
    issuers = (certificate.public_bytes(Encoding.DER), *parent.issuers)
    return CertificateAuthority(certificate=certificate, private_key=key, issuers=issuers)


def issue(
    authority: CertificateAuthority | None,
    hostnames: Sequence[str] = ("localhost", "127.0.0.1", "::1"),
    *,
    kind: str = "p256",
    client: bool = False,
    days: float = 13,
    now: datetime | None = None,
) -> DevelopmentCertificate:
    """A leaf for *hostnames* (also IP addresses) from *authority*; self-signed with None.

    It is for a server, or with *client* for a client.
    """
    if not hostnames:
        raise ConfigError("a certificate needs at least one host name")
    key = generate_key(kind)
    names = [_general_name(name) for name in hostnames]
    usage = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
    builder = _builder(hostnames[0], key, authority, days, now)
    builder = builder.add_extension(
        x509.BasicConstraints(ca=False, path_length=None), critical=True
    )
    builder = builder.add_extension(_key_usage(authority=False), critical=True)
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    certificate = _sign(builder, key, authority)
    issuers = () if authority is None else authority.issuers
    chain = (certificate.public_bytes(Encoding.DER), *issuers)
    return DevelopmentCertificate(chain=chain, private_key=key)


def _builder(
    name: str,
    key: PrivateKey,
    issuer: CertificateAuthority | None,
    days: float,
    now: datetime | None,
) -> x509.CertificateBuilder:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    issuer_key = key if issuer is None else issuer.private_key
    start = (now or datetime.now(UTC)).replace(microsecond=0) - _BACKDATED
    builder = x509.CertificateBuilder(
        subject_name=subject,
        issuer_name=subject if issuer is None else issuer.certificate.subject,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=start,
        not_valid_after=start + timedelta(days=days),
    )
    builder = builder.add_extension(
        x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
    )
    return builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False
    )


def _sign(
    builder: x509.CertificateBuilder, key: PrivateKey, issuer: CertificateAuthority | None
) -> x509.Certificate:
    signer = key if issuer is None else issuer.private_key
    algorithm = None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(signer, algorithm)


def _general_name(name: str) -> x509.GeneralName:
    normal = normalize(name)
    address = parse_ip_address(normal)
    return x509.DNSName(normal) if address is None else x509.IPAddress(address)


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
