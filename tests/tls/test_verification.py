from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from cwt.errors import ConfigError
from cwt.tls import Alert, AlertDescription, verification
from cwt.tls.development import (
    DevelopmentCertificate,
    certificate_authority,
    development_certificate,
    issue,
)
from tests.tls.support import client_context, leaf, pair, root, run, self_signed, server_context

NOW = datetime(2030, 6, 1, 12, tzinfo=UTC)


@cache
def authority() -> Any:
    return certificate_authority("test root", now=NOW - timedelta(days=5), days=60)


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    path.write_bytes(authority().cert_pem)
    return path


def check(
    certificate: DevelopmentCertificate,
    name: str = "a.example",
    *,
    now: datetime = NOW,
    **options: Any,
) -> None:
    """What a client with *options* does with *certificate*, as a server would send it."""
    context = client_context(now=lambda: now, **options)
    context.verifier.check(list(certificate.chain), name)


def refused(certificate: DevelopmentCertificate, name: str = "a.example", **options: Any) -> Alert:
    with pytest.raises(Alert) as info:
        check(certificate, name, **options)
    assert info.value.certificate
    assert info.value.reason
    return info.value


def hand_made(
    *extensions: x509.ExtensionType,
    issuer: Any = None,
    name: str = "a.example",
    days: float = 10,
) -> DevelopmentCertificate:
    """A leaf with just these *extensions*."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder(
        subject_name=subject,
        issuer_name=issuer.certificate.subject if issuer else subject,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=NOW - timedelta(days=1),
        not_valid_after=NOW - timedelta(days=1) + timedelta(days=days),
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    signed = builder.sign(issuer.private_key if issuer else key, hashes.SHA256())
    return DevelopmentCertificate(chain=(signed.public_bytes(Encoding.DER),), private_key=key)


# Roots that the user names.


@pytest.mark.parametrize(
    "name", ["a.example", "x.w.example", "127.0.0.1", "::1", "[::1]", "A.Example."]
)
def test_names_that_are_covered(ca: Path, name: str) -> None:
    from cwt.tls.names import normalize

    hosts = ["a.example", "*.w.example", "127.0.0.1", "::1"]
    check(issue(authority(), hosts, now=NOW), normalize(name), verify=ca)


@pytest.mark.parametrize(
    ("hosts", "name"),
    [
        (["a.example"], "b.example"),
        (["a.example"], "x.a.example"),
        (["*.a.example"], "a.example"),
        (["*.a.example"], "x.y.a.example"),
        (["127.0.0.1"], "127.0.0.2"),
        (["1.example"], "127.0.0.1"),
        (["*.example"], "127.0.0.1"),
        (["::1"], "::2"),
        (["a.example"], "a.example.evil"),
    ],
)
def test_names_that_are_not_covered(ca: Path, hosts: list[str], name: str) -> None:
    alert = refused(issue(authority(), hosts, now=NOW), name, verify=ca)
    assert alert.description == AlertDescription.BAD_CERTIFICATE
    assert f"is for {hosts[0]}" in alert.reason and name in alert.reason


def test_partial_wildcards_do_not_count(ca: Path) -> None:
    bad = hand_made(x509.SubjectAlternativeName([x509.DNSName("a*.example")]), issuer=authority())
    refused(bad, "ab.example", verify=ca)


def test_the_common_name_does_not_count(ca: Path) -> None:
    alert = refused(hand_made(issuer=authority()), verify=ca)
    assert "common name" in alert.reason and "subjectAltName DNS:a.example" in alert.reason


def test_expired(ca: Path) -> None:
    certificate = issue(authority(), ["a.example"], now=NOW, days=2)
    alert = refused(certificate, verify=ca, now=NOW + timedelta(days=3))
    assert alert.description == AlertDescription.CERTIFICATE_EXPIRED
    assert "expired on 2030-06-03 11:00:00 UTC" in alert.reason


def test_not_yet_valid(ca: Path) -> None:
    certificate = issue(authority(), ["a.example"], now=NOW)
    alert = refused(certificate, verify=ca, now=NOW - timedelta(days=1))
    assert "not valid before" in alert.reason and "clock" in alert.reason


def test_self_signed(ca: Path) -> None:
    certificate = issue(None, ["a.example"], now=NOW)
    alert = refused(certificate, verify=ca)
    assert alert.description == AlertDescription.UNKNOWN_CA
    assert "self-signed" in alert.reason and certificate.sha256.hex() in alert.reason


def test_self_signed_and_named_as_root(tmp_path: Path) -> None:
    certificate = issue(None, ["a.example"], now=NOW)
    path = tmp_path / "cert.pem"
    path.write_bytes(certificate.cert_pem)
    check(certificate, verify=str(path))
    refused(certificate, "b.example", verify=path)


def test_other_authority(ca: Path) -> None:
    other = certificate_authority("other root", now=NOW)
    alert = refused(issue(other, ["a.example"], now=NOW), verify=ca)
    assert alert.description == AlertDescription.UNKNOWN_CA
    assert "CN=other root" in alert.reason and "ca.pem" in alert.reason


def test_same_name_other_key(ca: Path) -> None:
    impostor = certificate_authority("test root", now=NOW)
    refused(issue(impostor, ["a.example"], now=NOW), verify=ca)


def test_intermediate(ca: Path) -> None:
    middle = certificate_authority("middle", parent=authority(), now=NOW, kind="p384")
    certificate = issue(middle, ["a.example"], now=NOW, kind="rsa")
    assert len(certificate.chain) == 2
    check(certificate, verify=ca)
    alone = DevelopmentCertificate(chain=certificate.chain[:1], private_key=certificate.private_key)
    assert "intermediate" in refused(alone, verify=ca).reason


def test_a_leaf_is_no_authority(ca: Path) -> None:
    trusted = issue(authority(), ["a.example"], now=NOW)
    fake = certificate_authority("x", now=NOW)
    forged = issue(
        type(fake)(
            certificate=x509.load_der_x509_certificate(trusted.chain[0]),
            private_key=trusted.private_key,
            issuers=trusted.chain,
        ),
        ["b.example"],
        now=NOW,
    )
    refused(forged, "b.example", verify=ca)


def test_certificate_for_clients_only(ca: Path) -> None:
    certificate = issue(authority(), ["a.example"], now=NOW, client=True)
    assert "serverAuth" in refused(certificate, verify=ca).reason


def test_tutorial_certificates_are_fine(tmp_path: Path) -> None:
    """No key usage, no key identifiers: what many guides make."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "guide")])
    builder = x509.CertificateBuilder(
        subject_name=subject,
        issuer_name=subject,
        public_key=key.public_key(),
        serial_number=1,
        not_valid_before=NOW - timedelta(days=1),
        not_valid_after=NOW + timedelta(days=3650),
    ).add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    certificate = builder.sign(key, hashes.SHA256())
    path = tmp_path / "ca.pem"
    path.write_bytes(b"A comment\n" + certificate.public_bytes(Encoding.PEM))
    issuer = type(authority())(certificate=certificate, private_key=key)
    san = x509.SubjectAlternativeName([x509.DNSName("a.example")])
    check(hand_made(san, issuer=issuer, days=3000), verify=path)


def test_a_whole_handshake(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_bytes(root().cert_pem)
    context = client_context(verify=path)
    for name in ("a.example", "127.0.0.1"):
        client, server = pair(context, server_context(leaf()), name)
        run(client, server)
        assert client.is_complete and server.is_complete
    client, server = pair(context, server_context(leaf()), "b.example")
    with pytest.raises(Alert, match=r"is for localhost, a\.example, 127\.0\.0\.1, not for 'b"):
        run(client, server)


# The system's roots.


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch, ca: Path) -> Any:
    monkeypatch.setenv("SSL_CERT_FILE", str(ca))
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    verification._system_roots.cache_clear()
    yield
    verification._system_roots.cache_clear()


def test_system_roots(system: None) -> None:
    check(issue(authority(), ["a.example"], now=NOW), verify=True)
    refused(issue(authority(), ["a.example"], now=NOW), "b.example", verify=True)
    other = certificate_authority("other root", now=NOW)
    refused(issue(other, ["a.example"], now=NOW), verify=True)


def test_system_roots_are_used_strictly(system: None) -> None:
    san = x509.SubjectAlternativeName([x509.DNSName("a.example")])
    refused(hand_made(san, issuer=authority()), verify=True)


def test_this_systems_own_roots_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    bundles = list(verification._system_bundles())
    if not bundles:
        pytest.skip("this system has no roots")
    assert len(list(verification._parse_bundle(b"".join(bundles)))) > 10


def test_a_self_signed_certificate_from_openssl_req(system: None) -> None:
    """Such a certificate says that it is an authority, which the strict policy dislikes first."""
    san = x509.SubjectAlternativeName([x509.DNSName("a.example")])
    made = hand_made(san, x509.BasicConstraints(ca=True, path_length=None))
    assert "self-signed" in refused(made, verify=True).reason
    check(made, verify=made.cert_pem)


def test_directory_of_roots(monkeypatch: pytest.MonkeyPatch, ca: Path, system: None) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    monkeypatch.setenv("SSL_CERT_DIR", str(ca.parent))
    (ca.parent / "folder").mkdir()
    (ca.parent / "note.txt").write_text("no certificate")
    check(issue(authority(), ["a.example"], now=NOW), verify=True)


def test_directory_of_authorities(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="directory"):
        client_context(verify=tmp_path)
    (tmp_path / "one.pem").write_bytes(certificate_authority("other", now=NOW).cert_pem)
    (tmp_path / "two.pem").write_bytes(authority().cert_pem.rstrip())
    (tmp_path / "readme").write_text("none\n")
    (tmp_path / "more").mkdir()
    certificate = issue(authority(), ["a.example"], now=NOW)
    check(certificate, verify=tmp_path)
    check(certificate, verify=str(tmp_path))


def test_a_named_file_of_roots_that_is_missing(
    monkeypatch: pytest.MonkeyPatch, ca: Path, system: None, caplog: pytest.LogCaptureFixture
) -> None:
    """Other roots are not taken in its place."""
    monkeypatch.setenv("SSL_CERT_FILE", str(ca.parent / "missing.pem"))
    assert "SSL_CERT_FILE" in refused(issue(None, ["a.example"], now=NOW), verify=True).reason
    assert "missing.pem" in caplog.text


def test_certifi_where_the_system_has_nothing(
    monkeypatch: pytest.MonkeyPatch, ca: Path, system: None
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    monkeypatch.setattr(verification, "_system_files", lambda: iter(()))
    monkeypatch.setitem(sys.modules, "certifi", SimpleNamespace(where=lambda: str(ca)))
    check(issue(authority(), ["a.example"], now=NOW), verify=True)


def test_bundles_may_have_entries_that_cannot_be_read() -> None:
    bad = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    [found] = verification._parse_bundle(b"text\n" + bad + authority().cert_pem + bad)
    assert found == authority().certificate


def test_key_of_a_kind_that_is_not_accepted() -> None:
    other = certificate_authority("ed", kind="ed25519", now=NOW)
    alert = refused(issue(other, ["a.example"], now=NOW), verify=other.cert_pem)
    assert alert.description == AlertDescription.UNSUPPORTED_CERTIFICATE
    assert "callable as verify" in alert.reason


def test_advice_to_a_server_names_its_setting() -> None:
    context = server_context(client_ca=authority().cert_pem, now=lambda: NOW)
    assert context.verifier is not None
    with pytest.raises(Alert, match=r'client_ca="cert\.pem"') as info:
        context.verifier.check(issue(None, ["user"], client=True, now=NOW).chain, "")
    assert "server_certificate_hashes" not in info.value.reason


def test_no_roots_at_all(monkeypatch: pytest.MonkeyPatch, system: None) -> None:
    monkeypatch.setattr(verification, "_system_bundles", lambda: iter(()))
    assert "ca-certificates" in refused(issue(None, ["a.example"], now=NOW), verify=True).reason


# Hashes.


def pinned(certificate: DevelopmentCertificate, **options: Any) -> None:
    check(certificate, server_certificate_hashes=[bytes(32), certificate.sha256], **options)


@pytest.mark.parametrize("kind", ["p256", "p384"])
def test_hash(kind: str) -> None:
    pinned(issue(None, ["other.example"], now=NOW, kind=kind))
    pinned(issue(None, ["a.example"], now=NOW, kind=kind, days=14), verify=False)


def test_hash_of_another_certificate() -> None:
    certificate = issue(None, ["a.example"], now=NOW)
    alert = refused(certificate, server_certificate_hashes=[bytes(32)])
    assert alert.description == AlertDescription.CERTIFICATE_UNKNOWN
    assert certificate.sha256.hex() in alert.reason


def test_a_hash_replaces_the_other_ways_to_trust(ca: Path) -> None:
    trusted = issue(authority(), ["a.example"], now=NOW)
    for verify in (True, False, ca, lambda chain, name: None):
        refused(trusted, verify=verify, server_certificate_hashes=[bytes(32)])


@pytest.mark.parametrize(
    ("options", "now", "reason"),
    [
        ({"kind": "rsa"}, NOW, "RSA"),
        ({"kind": "ed25519"}, NOW, "ECDSA P-256"),
        ({"days": 14.01}, NOW, "14.01 days"),
        ({"days": 30}, NOW, "at most 14"),
        ({}, NOW + timedelta(days=13), "expired"),
        ({}, NOW - timedelta(hours=2), "not valid before"),
    ],
)
def test_refused_hash(options: dict[str, Any], now: datetime, reason: str) -> None:
    certificate = issue(None, ["a.example"], now=NOW, **options)
    alert = refused(certificate, server_certificate_hashes=[certificate.sha256], now=now)
    assert reason in alert.reason


def test_hash_of_a_version_1_certificate() -> None:
    certificate = x509.load_der_x509_certificate(hand_made().chain[0])
    version_3 = b"\xa0\x03\x02\x01\x02"
    _, _, content = certificate.tbs_certificate_bytes.partition(version_3)
    algorithm = bytes.fromhex("300a06082a8648ce3d040302")
    # The signature does not fit any more, which does not matter for a hash.
    der = wrap(wrap(content) + algorithm + wrap(b"\0" + certificate.signature, 0x03))
    assert x509.load_der_x509_certificate(der).version is x509.Version.v1
    fake = DevelopmentCertificate(chain=(der,), private_key=self_signed().private_key)
    alert = refused(fake, server_certificate_hashes=[fake.sha256])
    assert "X.509v3" in alert.reason


def wrap(content: bytes, tag: int = 0x30) -> bytes:
    """A DER value."""
    length = len(content)
    size = (length.bit_length() + 7) // 8
    header = (
        bytes([length]) if length < 0x80 else bytes([0x80 | size]) + length.to_bytes(size, "big")
    )
    return bytes([tag]) + header + content


@pytest.mark.parametrize("value", [b"", bytes(31), bytes(64), b"a" * 20])
def test_hashes_have_32_bytes(value: bytes) -> None:
    with pytest.raises(ConfigError, match="SHA-256"):
        client_context(server_certificate_hashes=[value])


# Callbacks, and no check.


def test_callback() -> None:
    calls: list[Any] = []
    certificate = leaf()
    context = client_context(verify=lambda chain, name: calls.append((chain, name)))
    client, server = pair(context, server_context(certificate), "a.example")
    run(client, server)
    assert calls == [(list(certificate.chain), "a.example")]


def test_callback_that_refuses() -> None:
    def raising(chain: list[bytes], name: str) -> None:
        raise LookupError("not on the list")

    alert = refused(self_signed(), verify=raising)
    assert alert.description == AlertDescription.BAD_CERTIFICATE and alert.certificate
    assert "not on the list" not in alert.reason  # which the peer reads
    assert isinstance(alert.__cause__, LookupError)
    refused(self_signed(), verify=lambda chain, name: False)
    check(self_signed(), verify=lambda chain, name: True)


def test_no_verification_is_loud(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "cwt"):
        check(issue(None, ["b.example"], days=1000), verify=False)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "verify=False" in caplog.text


@pytest.mark.parametrize("verify", [None, 1, 2.5, object()])
def test_verify_of_a_wrong_kind(verify: Any) -> None:
    with pytest.raises(ConfigError, match="verify must be"):
        client_context(verify=verify)


def test_verify_of_a_bad_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        client_context(verify=tmp_path / "missing.pem")
    (tmp_path / "empty.pem").write_text("no certificate here")
    for source in (tmp_path / "empty.pem", b"ca.pem"):
        with pytest.raises(ConfigError, match="BEGIN CERTIFICATE"):
            client_context(verify=source)


def test_verify_with_the_content_of_a_file() -> None:
    check(issue(authority(), ["a.example"], now=NOW), verify=authority().cert_pem)


# Clients' certificates.


def test_client_verifier() -> None:
    context = server_context(client_ca=authority().cert_pem, now=lambda: NOW)
    assert context.verifier is not None
    good = issue(authority(), ["user"], client=True, now=NOW)
    context.verifier.check(good.chain, "")
    for bad in (
        issue(authority(), ["user"], now=NOW),
        issue(None, ["user"], client=True, now=NOW),
        issue(authority(), ["user"], client=True, now=NOW - timedelta(days=20)),
        development_certificate(now=NOW),
    ):
        with pytest.raises(Alert) as info:
            context.verifier.check(bad.chain, "")
        assert info.value.certificate


def test_client_certificate_without_names_is_fine() -> None:
    context = server_context(client_ca=authority().cert_pem, now=lambda: NOW)
    assert context.verifier is not None
    context.verifier.check(hand_made(issuer=authority()).chain, "")
