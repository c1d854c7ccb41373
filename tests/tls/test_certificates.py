from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed448
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)

from cwt.errors import ConfigError
from cwt.tls import Alert
from cwt.tls.certificates import Identity, load_identity, make_identity, parse, public_key
from cwt.tls.messages import Certificate
from tests.tls.support import leaf, self_signed


def chain(identity: Identity) -> tuple[bytes, ...]:
    """The certificates that a peer is sent."""
    return Certificate.parse(identity.message[4:]).chain


def test_files(tmp_path: Path) -> None:
    certificate = leaf()
    cert_path, key_path = certificate.write(tmp_path)
    for source in ((cert_path, key_path), (str(cert_path), certificate.key_pem)):
        identity = load_identity(*source)
        assert chain(identity) == certificate.chain
        assert identity.key.public_key() == certificate.private_key.public_key()


def test_one_file_for_both() -> None:
    certificate = leaf("rsa")
    identity = load_identity(certificate.key_pem + certificate.cert_pem, None)
    assert chain(identity) == certificate.chain


def test_chain_keeps_its_order() -> None:
    pem = leaf().cert_pem + self_signed().cert_pem
    assert chain(load_identity(pem, leaf().key_pem)) == (*leaf().chain, *self_signed().chain)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.pem.*No such file"):
        load_identity(tmp_path / "missing.pem", None)


@pytest.mark.parametrize(
    "pem", [b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_no_certificate(pem: bytes) -> None:
    with pytest.raises(ConfigError, match="BEGIN CERTIFICATE"):
        load_identity(pem, leaf().key_pem)


def test_no_key() -> None:
    with pytest.raises(ConfigError, match="no private key"):
        load_identity(leaf().cert_pem, None)


def test_encrypted_key() -> None:
    pem = leaf().private_key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    )
    with pytest.raises(ConfigError, match="openssl pkey"):
        load_identity(leaf().cert_pem, pem)


def test_key_of_another_certificate() -> None:
    with pytest.raises(ConfigError, match="does not belong"):
        load_identity(leaf().cert_pem, self_signed().key_pem)


def test_key_of_no_use() -> None:
    with pytest.raises(ConfigError, match="Ed448PrivateKey"):
        make_identity(leaf().chain, ed448.Ed448PrivateKey.generate())


def test_chain_that_is_none() -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        make_identity([b"0"], leaf().private_key)


def test_chain_that_is_empty_or_too_long() -> None:
    with pytest.raises(ConfigError, match="empty"):
        make_identity([], leaf().private_key)
    with pytest.raises(ConfigError, match="60000 bytes"):
        make_identity([*leaf().chain, bytes(60000)], leaf().private_key)


def test_certificates_of_peers() -> None:
    assert parse(leaf().chain)[0].subject.rfc4514_string() == "CN=localhost"
    assert public_key(leaf().chain[0]) == leaf().private_key.public_key()
    version = leaf().chain[0].replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x09")
    for bad in (b"", b"0", leaf().chain[0][:-1], leaf().chain[0] + b"\0", version):
        with pytest.raises(Alert) as info:
            public_key(bad)
        assert info.value.certificate
