"""Development certificates: what a browser accepts by its hash (W3C WebTransport, custom
certificate requirements)."""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cwt.errors import ConfigError

__all__ = ["HOSTNAMES", "MAX_DAYS", "DevelopmentCertificate", "create"]

MAX_DAYS = 14
"""Browsers refuse a certificate by hash that is valid for longer."""
HOSTNAMES = ("localhost", "127.0.0.1", "::1")
_SKEW = datetime.timedelta(hours=1)


@dataclass(frozen=True, kw_only=True)
class DevelopmentCertificate:
    """A self-signed ECDSA P-256 certificate with its key, in PEM."""

    certificate: bytes
    private_key: bytes = field(repr=False)
    sha256: bytes
    """The hash browsers and ``server_certificate_hashes`` take: of the certificate in DER."""
    hostnames: tuple[str, ...]
    not_after: datetime.datetime

    def javascript(self, url: str) -> str:
        """The JavaScript that opens a session to ``url`` trusting this certificate."""
        value = ", ".join(map(str, self.sha256))
        return (
            f"new WebTransport({url!r}, {{serverCertificateHashes: "
            f'[{{algorithm: "sha-256", value: new Uint8Array([{value}])}}]}})'
        )


def create(hostnames: Sequence[str] = HOSTNAMES, days: int = 13) -> DevelopmentCertificate:
    """A fresh certificate for ``hostnames`` (DNS names or IP addresses), valid for ``days``.

    Raises ConfigError when browsers would refuse the result: more than 14 days, or no name.
    """
    if not 1 <= days <= MAX_DAYS:
        raise ConfigError(
            f"days must be from 1 to {MAX_DAYS}, not {days}: browsers refuse a certificate by hash "
            "that is valid for longer"
        )
    if not hostnames:
        raise ConfigError("a certificate needs at least one host name")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "cwt development certificate")])
    # One hour of slack for the clock of the other side, inside the 14 days.
    not_before = datetime.datetime.now(datetime.UTC).replace(microsecond=0) - _SKEW
    not_after = not_before + datetime.timedelta(days=days)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(x509.SubjectAlternativeName([_general_name(h) for h in hostnames]), False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
        .sign(key, hashes.SHA256())
    )
    return DevelopmentCertificate(
        certificate=certificate.public_bytes(serialization.Encoding.PEM),
        private_key=key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
        sha256=hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).digest(),
        hostnames=tuple(hostnames),
        not_after=not_after,
    )


def _general_name(hostname: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(hostname.strip("[]")))
    except ValueError:
        pass
    try:
        encoded = hostname.encode("idna").decode()
    except UnicodeError:
        encoded = ""
    if not encoded:
        raise ConfigError(f"{hostname!r} is neither a host name nor an IP address")
    return x509.DNSName(encoded)
