"""Certificate chains like those of the runner: an authority, and a chain of any length to the server's."""

from __future__ import annotations

import datetime
import ipaddress
import random
import string
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

__all__ = ["write_chain"]

NAMES = ("localhost", "server", "server4", "server6", "server46")
_INFLATED = 20
"""Alternative names of 250 letters that make a long chain's leaf large, for the amplification limit."""


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, text)])


def _certificate(
    subject: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey,
    names: list[x509.GeneralName] | None,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=10))
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
    )
    if names is None:
        usage = dict.fromkeys(
            (
                "digital_signature",
                "content_commitment",
                "key_encipherment",
                "data_encipherment",
                "key_agreement",
                "crl_sign",
                "encipher_only",
                "decipher_only",
            ),
            False,
        )
        builder = builder.add_extension(x509.BasicConstraints(True, None), True).add_extension(
            x509.KeyUsage(key_cert_sign=True, **usage), True
        )
    else:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), False)
    return builder.sign(issuer_key, hashes.SHA256())


def write_chain(directory: Path, length: int = 1) -> None:
    """``ca.pem``, ``cert.pem`` with a chain of *length* certificates, leaf first, and ``priv.key``."""
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in NAMES]
    names += [x509.IPAddress(ipaddress.ip_address(text)) for text in ("127.0.0.1", "::1")]
    if length > 1:
        letters = random.Random(length)
        for _ in range(_INFLATED):
            names.append(x509.DNSName("".join(letters.choices(string.ascii_lowercase, k=250))))
    issuer_key = ec.generate_private_key(ec.SECP256R1())
    issuer = _name("runner root")
    root = _certificate("runner root", issuer_key, issuer, issuer_key, None)
    chain: list[x509.Certificate] = []
    for i in range(length):
        is_leaf = i == length - 1
        key = ec.generate_private_key(ec.SECP256R1())
        subject = "runner leaf" if is_leaf else f"runner intermediate {i + 1}"
        chain.insert(0, _certificate(subject, key, issuer, issuer_key, names if is_leaf else None))
        issuer, issuer_key = _name(subject), key
    pem = serialization.Encoding.PEM
    directory.joinpath("ca.pem").write_bytes(root.public_bytes(pem))
    directory.joinpath("cert.pem").write_bytes(b"".join(item.public_bytes(pem) for item in chain))
    directory.joinpath("priv.key").write_bytes(
        issuer_key.private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
