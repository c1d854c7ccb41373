from __future__ import annotations

import json
import re
from base64 import b64decode
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from cwt.errors import ConfigError
from cwt.tls.development import (
    certificate_authority,
    development_certificate,
    generate_key,
    issue,
)
from tests.tls.support import client_context, pair, run, server_context


def test_what_browsers_ask_of_a_hashed_certificate() -> None:
    before = datetime.now(UTC)
    made = development_certificate()
    certificate = x509.load_der_x509_certificate(made.chain[0])
    assert certificate.version is x509.Version.v3
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    assert end - start == timedelta(days=13)
    assert before - timedelta(hours=2) < start < before
    get = certificate.extensions.get_extension_for_class
    names = get(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert names.get_values_for_type(x509.IPAddress) == [ip_address("127.0.0.1"), ip_address("::1")]
    assert get(x509.BasicConstraints).value.ca is False
    assert list(get(x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert made.sha256 == sha256(made.chain[0]).digest()
    assert development_certificate().sha256 != made.sha256


@pytest.mark.parametrize("days", [0, -1, 14, 30])
def test_days_that_browsers_refuse(days: float) -> None:
    with pytest.raises(ConfigError, match="below 14"):
        development_certificate(days=days)


def test_names() -> None:
    made = issue(None, ["B\u00fccher.example", "[::1]", "*.w.example"])
    extensions = x509.load_der_x509_certificate(made.chain[0]).extensions
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["xn--bcher-kva.example", "*.w.example"]
    assert names.get_values_for_type(x509.IPAddress) == [ip_address("::1")]
    with pytest.raises(ConfigError, match="at least one"):
        issue(None, [])


def test_javascript() -> None:
    made = development_certificate()
    url = 'https://localhost:4433/a"b'
    script = made.javascript(url)
    assert script.startswith(f"new WebTransport({json.dumps(url)}, ")
    [value] = re.findall(r'atob\("([^"]+)"\)', script)
    assert b64decode(value) == made.sha256
    assert 'algorithm: "sha-256"' in script and script.endswith("}]})")


def test_write(tmp_path: Path) -> None:
    made = development_certificate()
    for _ in range(2):
        cert_path, key_path = made.write(tmp_path / "new")
    assert cert_path.read_bytes() == made.cert_pem
    assert key_path.read_bytes() == made.key_pem
    assert key_path.stat().st_mode & 0o777 == 0o600
    server = server_context(
        certificate_chain=None, private_key=None, certfile=cert_path, keyfile=key_path
    )
    sides = pair(client_context(server_certificate_hashes=[made.sha256]), server)
    run(*sides)
    assert sides[0].is_complete


def test_the_key_is_not_shown() -> None:
    assert "PRIVATE" not in repr(development_certificate())


def test_chains() -> None:
    root = certificate_authority("root", kind="rsa")
    middle = certificate_authority("middle", parent=root)
    made = issue(middle, ["a.example"], kind="ed25519")
    subjects = [x509.load_der_x509_certificate(der).subject.rfc4514_string() for der in made.chain]
    assert subjects == ["CN=a.example", "CN=middle"]
    x509.load_der_x509_certificate(made.chain[0]).verify_directly_issued_by(middle.certificate)
    middle.certificate.verify_directly_issued_by(root.certificate)
    assert made.cert_pem.count(b"BEGIN CERTIFICATE") == 2


def test_unknown_kind_of_key() -> None:
    with pytest.raises(ConfigError, match="ed25519"):
        generate_key("dsa")
