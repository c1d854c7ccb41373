from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cwt.errors import ConfigError
from cwt.tls import Alert, AlertDescription, Level
from cwt.tls.messages import Certificate, EncryptedExtensions
from cwt.tls.public_keys import PublicKeys, parse_raw
from tests.tls.support import (
    client_context,
    client_hello,
    leaf,
    pair,
    refuses,
    root,
    run,
    self_signed,
    server_context,
    server_flight,
    spki,
)

SERVER = spki(self_signed())


def accepts(keys: Any, key: bytes = SERVER) -> bool:
    try:
        PublicKeys(keys, "keys").check(key, "")
    except Alert as alert:
        assert alert.certificate
        return False
    return True


def test_forms_of_a_key(tmp_path: Path) -> None:
    public = self_signed().private_key.public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    path = tmp_path / "server.pub"
    path.write_bytes(pem)
    for source in (SERVER, pem, path, str(path), public):
        assert accepts([source])
        assert accepts([spki(leaf()), source])
        assert not accepts([source], spki(leaf()))
    assert accepts(str(path)) and accepts(pem)
    assert not PublicKeys([], "keys")


@pytest.mark.parametrize(
    "bad", [b"", b"0", self_signed().cert_pem, self_signed().key_pem, "missing.pub", 7, None]
)
def test_no_key(bad: Any) -> None:
    with pytest.raises(ConfigError, match="keys"):
        PublicKeys([bad], "keys")


def test_callback() -> None:
    seen: list[Any] = []
    PublicKeys(lambda key, name: seen.append((key, name)), "keys").check(SERVER, "a.example")
    assert seen == [(SERVER, "a.example")]
    assert not accepts(lambda key, name: False)
    assert not accepts(lambda key, name: {}[name])


def test_keys_of_peers_that_cannot_be_read() -> None:
    key = rsa.generate_private_key(65537, 2048).public_key()
    pkcs1 = key.public_bytes(Encoding.DER, PublicFormat.PKCS1)
    for bad in (b"", b"0", SERVER[:-1], SERVER + b"\0", pkcs1, self_signed().chain[0]):
        with pytest.raises(Alert) as info:
            parse_raw(bad)
        assert info.value.certificate
    assert parse_raw(SERVER) == self_signed().private_key.public_key()


# Servers.


def raw_server(**options: Any) -> Any:
    return server_context(
        certificate_chain=None,
        private_key=None,
        raw_public_key=self_signed().private_key,
        **options,
    )


def fails(client: Any, server: Any) -> Alert:
    with pytest.raises(Alert) as info:
        run(client, server)
    return info.value


@pytest.mark.parametrize("kind", ["p256", "p384", "rsa", "ed25519"])
def test_raw_public_key_of_a_server(kind: str) -> None:
    certificate = leaf(kind)
    server = server_context(raw_public_key=certificate.key_pem)
    client, serving = pair(client_context(server_public_keys=[spki(certificate)]), server)
    run(client, serving)
    assert client.is_complete and serving.is_complete
    assert client.peer_public_key == spki(certificate)
    assert client.peer_certificates == []


def test_what_is_offered_and_answered() -> None:
    client, server = pair(client_context(server_public_keys=[SERVER]), raw_server())
    _, flight = server_flight(client, server)
    extensions = EncryptedExtensions.parse(flight[0][4:])
    assert extensions.server_certificate_type == 2
    assert extensions.client_certificate_type is None
    assert Certificate.parse(flight[1][4:]).chain == (SERVER,)
    hello = client_hello(pair(client_context(server_public_keys=[SERVER]))[0])
    assert hello.server_certificate_types == b"\2\0" and hello.client_certificate_types is None
    hello = client_hello(pair()[0])
    assert hello.server_certificate_types is hello.client_certificate_types is None


def test_key_that_is_not_known() -> None:
    alert = fails(*pair(client_context(server_public_keys=[spki(leaf())]), raw_server()))
    assert alert.description == AlertDescription.CERTIFICATE_UNKNOWN and alert.certificate


def test_certificate_is_taken_for_its_key() -> None:
    client, server = pair(client_context(server_public_keys=[SERVER]))
    run(client, server)
    assert client.peer_certificates == list(self_signed().chain)
    assert client.peer_public_key is None
    alert = fails(*pair(client_context(server_public_keys=[SERVER]), server_context(leaf())))
    assert alert.description == AlertDescription.CERTIFICATE_UNKNOWN


def test_client_that_wants_a_certificate() -> None:
    alert = fails(*pair(client_context(), raw_server()))
    assert alert.description == AlertDescription.UNSUPPORTED_CERTIFICATE
    client, server = pair(client_context(), server_context(raw_public_key=leaf().key_pem))
    run(client, server)
    assert client.peer_certificates == list(self_signed().chain)


def answered(types: bytes, server: Any) -> int | None:
    """The server_certificate_type for a client that can process *types*."""
    from dataclasses import replace

    client, serving = pair(client_context(), server)
    hello = replace(client_hello(client), server_certificate_types=types)
    serving.receive(Level.INITIAL, hello.pack())
    (_, _), (_, flight) = serving.output()
    length = int.from_bytes(flight[1:4], "big")
    return EncryptedExtensions.parse(flight[4 : 4 + length]).server_certificate_type


def test_the_client_decides_between_the_kinds_a_server_has() -> None:
    both = server_context(raw_public_key=leaf().key_pem)
    assert answered(b"\2\0", both) == 2
    assert answered(b"\0\2", both) == 0
    assert answered(b"\1\2", both) == 2
    assert answered(b"\2\0", server_context()) == 0
    for types, server in ((b"\1", both), (b"\2", server_context()), (b"\0", raw_server())):
        with pytest.raises(Alert) as info:
            answered(types, server)
        assert info.value.description == AlertDescription.UNSUPPORTED_CERTIFICATE


def test_no_signature_in_common() -> None:
    from dataclasses import replace

    client, server = pair(client_context(server_public_keys=[SERVER]), raw_server())
    hello = replace(client_hello(client), signature_algorithms=(0x0807,))
    assert refuses(server, Level.INITIAL, hello.pack()).description == 40


def changed_answer(change: dict[str, Any], **options: Any) -> int:
    """The alert for a server's EncryptedExtensions with *change*."""
    from dataclasses import replace

    client, server = pair(client_context(**options))
    hello, flight = server_flight(client, server)
    client.receive(Level.INITIAL, hello)
    extensions = replace(EncryptedExtensions.parse(flight[0][4:]), **change)
    return refuses(client, Level.HANDSHAKE, extensions.pack()).description


def test_answers_that_were_not_offered() -> None:
    assert changed_answer({"server_certificate_type": 2}) == 110
    assert changed_answer({"client_certificate_type": 0}) == 110
    keys = {"server_public_keys": [SERVER]}
    assert changed_answer({"server_certificate_type": 1}, **keys) == 47
    assert changed_answer({"client_certificate_type": 2}, **keys) == 110
    raw = {"raw_public_key": leaf().key_pem}
    assert changed_answer({"client_certificate_type": 0}, **raw) == 47


def test_certificate_messages_that_are_no_raw_key() -> None:
    for chain, description in (
        ((SERVER, SERVER), AlertDescription.ILLEGAL_PARAMETER),
        ((self_signed().chain[0],), AlertDescription.BAD_CERTIFICATE),
        ((), AlertDescription.DECODE_ERROR),
    ):
        client, server = pair(client_context(server_public_keys=[SERVER]), raw_server())
        hello, flight = server_flight(client, server)
        client.receive(Level.INITIAL, hello)
        changed = flight[0] + Certificate(chain=chain).pack()
        assert refuses(client, Level.HANDSHAKE, changed).description == description


# Clients.


def mutual(client: dict[str, Any], **server: Any) -> tuple[Any, Any]:
    return pair(client_context(**client), server_context(**server))


def test_raw_public_key_of_a_client() -> None:
    user = leaf("ed25519")
    client, server = mutual({"raw_public_key": user.key_pem}, client_public_keys=[spki(user)])
    run(client, server)
    assert server.is_complete and client.is_complete
    assert server.peer_public_key == spki(user) and server.peer_certificates == []


def test_raw_public_keys_both_ways() -> None:
    user = leaf("ed25519")
    context = client_context(raw_public_key=user.key_pem, server_public_keys=[SERVER])
    client, server = pair(context, raw_server(client_public_keys=[spki(user)]))
    run(client, server)
    assert client.peer_public_key == SERVER and server.peer_public_key == spki(user)


def test_client_key_that_is_not_known() -> None:
    alert = fails(*mutual({"raw_public_key": leaf().key_pem}, client_public_keys=[SERVER]))
    assert alert.description == AlertDescription.CERTIFICATE_UNKNOWN


def test_client_certificate_is_taken_for_its_key() -> None:
    user = leaf()
    certificate = {"client_cert": user.cert_pem, "client_key": user.key_pem}
    client, server = mutual(certificate, client_public_keys=[spki(user)])
    run(client, server)
    assert server.peer_certificates == list(user.chain)
    alert = fails(*mutual(certificate, client_public_keys=[SERVER]))
    assert alert.description == AlertDescription.CERTIFICATE_UNKNOWN


def test_with_client_ca_a_certificate_must_be_from_there() -> None:
    user = self_signed()
    certificate = {"client_cert": user.cert_pem, "client_key": user.key_pem}
    keys = [spki(user)]
    alert = fails(*mutual(certificate, client_public_keys=keys, client_ca=root().cert_pem))
    assert alert.certificate
    client, server = mutual(
        {"raw_public_key": user.key_pem}, client_public_keys=keys, client_ca=root().cert_pem
    )
    run(client, server)
    assert server.peer_public_key == spki(user)


def test_client_without_a_key_where_one_is_asked_for() -> None:
    assert fails(*mutual({}, client_public_keys=[SERVER])).description == 116
    client, server = mutual({}, client_public_keys=[SERVER], client_auth="optional")
    run(client, server)
    assert server.is_complete and server.peer_public_key is None


def test_server_that_takes_certificates_only() -> None:
    raw = {"raw_public_key": leaf().key_pem}
    alert = fails(*mutual(raw, client_ca=root().cert_pem))
    assert alert.description == AlertDescription.UNSUPPORTED_CERTIFICATE


def test_client_with_both_shows_what_the_server_takes() -> None:
    from cwt.tls.development import issue

    user = issue(root(), ["user"], client=True)
    both = {
        "raw_public_key": leaf().key_pem,
        "client_cert": user.cert_pem,
        "client_key": user.key_pem,
    }
    client, server = mutual(both, client_ca=root().cert_pem)
    run(client, server)
    assert server.peer_certificates == list(user.chain)
    client, server = mutual(both, client_public_keys=[spki(leaf())])
    run(client, server)
    assert server.peer_public_key == spki(leaf())


def test_proof_of_another_key() -> None:
    context = raw_server()
    client, server = pair(client_context(server_public_keys=[spki(leaf())]), context)
    hello, flight = server_flight(client, server)
    client.receive(Level.INITIAL, hello)
    changed = [flight[0], Certificate(chain=(spki(leaf()),)).pack(), *flight[2:]]
    alert = refuses(client, Level.HANDSHAKE, b"".join(changed))
    assert alert.description == AlertDescription.DECRYPT_ERROR
