from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed448
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    PublicFormat,
)

from cwt.errors import ConfigError
from cwt.tls.identity import Identity, load_identities
from cwt.tls.messages import Certificate
from tests.tls.support import leaf, long_chain, self_signed


def chain(identity: Identity) -> tuple[bytes, ...]:
    """The certificates that a peer is sent."""
    return Certificate.parse(identity.message[4:]).chain


def test_files(tmp_path: Path) -> None:
    certificate = leaf()
    cert_path, key_path = certificate.write(tmp_path)
    for source in ((cert_path, key_path), (str(cert_path), certificate.key_pem)):
        identity = Identity.load(*source)
        assert chain(identity) == certificate.chain
        assert identity.key.public_key() == certificate.private_key.public_key()


def test_one_file_for_both() -> None:
    certificate = leaf("rsa")
    identity = Identity.load(certificate.key_pem + certificate.cert_pem, None)
    assert chain(identity) == certificate.chain


def test_chain_keeps_its_order() -> None:
    pem = leaf().cert_pem + self_signed().cert_pem
    assert chain(Identity.load(pem, leaf().key_pem)) == (*leaf().chain, *self_signed().chain)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.pem.*No such file"):
        Identity.load(tmp_path / "missing.pem", None)


@pytest.mark.parametrize(
    "pem", [b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_no_certificate(pem: bytes) -> None:
    with pytest.raises(ConfigError, match="BEGIN CERTIFICATE"):
        Identity.load(pem, leaf().key_pem)


def test_no_key() -> None:
    with pytest.raises(ConfigError, match="no private key"):
        Identity.load(leaf().cert_pem, None)


def test_encrypted_key() -> None:
    pem = leaf().private_key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    )
    with pytest.raises(ConfigError, match="openssl pkey"):
        Identity.load(leaf().cert_pem, pem)
    assert chain(Identity.load(leaf().cert_pem, pem, b"secret")) == leaf().chain
    with pytest.raises(ConfigError, match="another password"):
        Identity.load(leaf().cert_pem, pem, b"guess")
    with pytest.raises(ConfigError, match="is not encrypted"):
        Identity.load(leaf().cert_pem, leaf().key_pem, b"secret")


def test_key_of_another_certificate() -> None:
    with pytest.raises(ConfigError, match="does not belong"):
        Identity.load(leaf().cert_pem, self_signed().key_pem)


def test_key_of_no_use() -> None:
    with pytest.raises(ConfigError, match="Ed448PrivateKey"):
        Identity.from_der(leaf().chain, ed448.Ed448PrivateKey.generate())


def test_chain_that_is_none() -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        Identity.from_der([b"0"], leaf().private_key)


def test_chain_that_is_empty_or_too_long() -> None:
    with pytest.raises(ConfigError, match="empty"):
        Identity.from_der([], leaf().private_key)
    with pytest.raises(ConfigError, match="60000 bytes"):
        Identity.from_der([*leaf().chain, bytes(60000)], leaf().private_key)


def test_raw_public_key(tmp_path: Path) -> None:
    key = leaf().private_key
    _, path = leaf().write(tmp_path)
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    for source in (key, leaf().key_pem, path, str(path)):
        identity = Identity.raw(source)
        assert identity.is_raw and chain(identity) == (spki,)
    for bad in (leaf().cert_pem, tmp_path / "missing", 7, ed448.Ed448PrivateKey.generate()):
        with pytest.raises(ConfigError):
            Identity.raw(bad)


def test_reloaded(tmp_path: Path) -> None:
    cert_path, key_path = leaf().write(tmp_path)
    loaded, raw = Identity.load(cert_path, key_path), Identity.raw(key_path)
    self_signed().write(tmp_path)
    assert chain(loaded.reloaded()) == self_signed().chain
    assert raw.reloaded().key.public_key() == self_signed().private_key.public_key()
    assert chain(loaded) == leaf().chain
    made = Identity.from_der(leaf().chain, leaf().private_key)
    assert made.reloaded() is made


def test_compressed_once() -> None:
    certificate = long_chain()
    identity = Identity.from_der(certificate.chain, certificate.private_key)
    assert identity.message_for(None) == identity.message
    message = identity.message_for(1)
    assert len(message) < len(identity.message) and message[0] == 25
    assert identity.message_for(1) is message


def test_not_compressed_when_that_is_of_no_use() -> None:
    small = Identity.from_der(leaf().chain, leaf().private_key)
    assert small.message_for(1) is small.message
    noise = Identity([random.Random(1).randbytes(2000)], leaf().private_key, is_raw=False)
    assert noise.message_for(1) is noise.message


@pytest.mark.parametrize("bad", ["cert.pem", ("a", "b", "c"), None, [], [3]])
def test_sources_that_are_none(bad: Any) -> None:
    with pytest.raises(ConfigError):
        load_identities(bad)
    with pytest.raises(ConfigError, match="raw_public_key"):
        load_identities(Identity.raw(leaf().private_key))
