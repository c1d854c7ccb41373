from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa

from cwt.tls import Alert, AlertDescription
from cwt.tls.development import generate_key
from cwt.tls.signatures import (
    CLIENT_CONTEXT,
    OFFERED,
    SERVER_CONTEXT,
    SignatureScheme,
    choose,
    schemes_for,
    sign,
    verify,
)

DIGEST = bytes(range(32))
KEYS = {kind: generate_key(kind) for kind in ("p256", "p384", "rsa", "ed25519")}
CASES = [(kind, scheme) for kind, key in KEYS.items() for scheme in schemes_for(key)]


def alert(*arguments: object) -> int:
    with pytest.raises(Alert) as info:
        verify(*arguments)  # type: ignore[arg-type]
    return info.value.description


def test_every_kind_of_key_has_a_scheme() -> None:
    assert {kind for kind, _ in CASES} == set(KEYS)
    assert len(CASES) == 6


@pytest.mark.parametrize(("kind", "scheme"), CASES)
def test_sign_and_verify(kind: str, scheme: SignatureScheme) -> None:
    key = KEYS[kind]
    signature = sign(key, scheme, SERVER_CONTEXT, DIGEST)
    public = key.public_key()
    verify(public, scheme, signature, SERVER_CONTEXT, DIGEST)
    wrong = AlertDescription.DECRYPT_ERROR
    assert alert(public, scheme, signature, CLIENT_CONTEXT, DIGEST) == wrong
    assert alert(public, scheme, signature, SERVER_CONTEXT, DIGEST[::-1]) == wrong
    assert alert(public, scheme, signature[:-1], SERVER_CONTEXT, DIGEST) == wrong
    assert alert(public, scheme, b"", SERVER_CONTEXT, DIGEST) == wrong
    for other in OFFERED:
        if other not in schemes_for(key):
            found = alert(public, other, signature, SERVER_CONTEXT, DIGEST)
            assert found == AlertDescription.ILLEGAL_PARAMETER


def test_pkcs1_is_offered_for_certificates_and_refused_in_certificate_verify() -> None:
    assert SignatureScheme.RSA_PKCS1_SHA256 in OFFERED
    public = KEYS["rsa"].public_key()
    found = alert(public, SignatureScheme.RSA_PKCS1_SHA256, bytes(256), SERVER_CONTEXT, DIGEST)
    assert found == AlertDescription.ILLEGAL_PARAMETER


def test_choose() -> None:
    assert choose(schemes_for(KEYS["rsa"]), (0x0806, 0x0804)) == SignatureScheme.RSA_PSS_RSAE_SHA256
    assert choose(schemes_for(KEYS["p256"]), OFFERED) == SignatureScheme.ECDSA_SECP256R1_SHA256
    with pytest.raises(Alert) as info:
        choose(schemes_for(KEYS["p384"]), (0x0403, 0x0804))
    assert info.value.description == AlertDescription.HANDSHAKE_FAILURE
    assert "P-256" in info.value.reason


def test_keys_of_no_use() -> None:
    assert schemes_for(ed448.Ed448PrivateKey.generate()) == ()
    assert schemes_for(ec.generate_private_key(ec.SECP521R1())) == ()
    assert schemes_for("key") == ()


def test_a_small_rsa_key_has_no_room_for_large_hashes() -> None:
    key = rsa.generate_private_key(65537, 1024)
    assert schemes_for(key) == (
        SignatureScheme.RSA_PSS_RSAE_SHA256,
        SignatureScheme.RSA_PSS_RSAE_SHA384,
    )
    for scheme in schemes_for(key):
        sign(key, scheme, SERVER_CONTEXT, DIGEST)
