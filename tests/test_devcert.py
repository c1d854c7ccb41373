"""Development certificates keep to the rules of browsers."""

from __future__ import annotations

import datetime
import hashlib
import ipaddress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from cwt import devcert
from cwt.errors import ConfigError


def test_browsers_would_take_it() -> None:
    made = devcert.create(days=devcert.MAX_DAYS)
    certificate = x509.load_pem_x509_certificate(made.certificate)
    lifetime = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert lifetime <= datetime.timedelta(days=14)
    now = datetime.datetime.now(datetime.UTC)
    assert certificate.not_valid_before_utc < now < certificate.not_valid_after_utc
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert isinstance(key.curve, ec.SECP256R1)


def test_the_key_and_hash_belong_to_it() -> None:
    made = devcert.create()
    certificate = x509.load_pem_x509_certificate(made.certificate)
    key = serialization.load_pem_private_key(made.private_key, None)
    assert key.public_key() == certificate.public_key()
    der = certificate.public_bytes(serialization.Encoding.DER)
    assert made.sha256 == hashlib.sha256(der).digest()
    assert made.not_after == certificate.not_valid_after_utc


def test_names_and_addresses() -> None:
    made = devcert.create(["example.com", "10.1.2.3", "::1", "bücher.example"])
    certificate = x509.load_pem_x509_certificate(made.certificate)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["example.com", "xn--bcher-kva.example"]
    assert names.get_values_for_type(x509.IPAddress) == [
        ipaddress.ip_address("10.1.2.3"),
        ipaddress.ip_address("::1"),
    ]


def test_javascript() -> None:
    made = devcert.create()
    line = made.javascript("https://127.0.0.1:4433/")
    assert line.startswith("new WebTransport('https://127.0.0.1:4433/', {serverCertificateHashes")
    assert ", ".join(map(str, made.sha256)) in line


@pytest.mark.parametrize("days", [0, 15])
def test_days_out_of_range(days: int) -> None:
    with pytest.raises(ConfigError, match="14"):
        devcert.create(days=days)


@pytest.mark.parametrize("hostnames", [[], [""], ["a" * 70 + ".example"]])
def test_bad_names(hostnames: list[str]) -> None:
    with pytest.raises(ConfigError, match="name"):
        devcert.create(hostnames)


def test_the_private_key_is_not_shown() -> None:
    assert "PRIVATE" not in repr(devcert.create())
