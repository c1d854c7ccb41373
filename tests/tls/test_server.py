from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cwt.tls import Alert, AlertDescription, Group, Level
from cwt.tls.groups import generate, supported_groups
from cwt.tls.messages import (
    Certificate,
    CertificateVerify,
    ClientHello,
    HandshakeType,
    HelloRetryRequest,
    ServerHello,
    pack,
)
from tests.tls.support import (
    CLIENT_PARAMETERS,
    HELLOS,
    client_context,
    client_hello,
    deliver,
    leaf,
    pair,
    refuses,
    root,
    run,
    self_signed,
    server_context,
    server_flight,
    split,
)

PROTOCOL_VIOLATION = 0x0A
KEY_UPDATE = bytes.fromhex("1800000101")
END_OF_EARLY_DATA = bytes.fromhex("05000000")


def hello(**changes: Any) -> bytes:
    """The ClientHello of our client with *changes*."""
    client, _ = pair()
    return replace(client_hello(client), **changes).pack()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"alpn": (b"dummy",)}, AlertDescription.NO_APPLICATION_PROTOCOL),
        ({"alpn": None}, AlertDescription.NO_APPLICATION_PROTOCOL),
        ({"transport_parameters": None}, AlertDescription.MISSING_EXTENSION),
        (
            {"transport_parameters": None, "other": ((0xFFA5, CLIENT_PARAMETERS),)},
            AlertDescription.MISSING_EXTENSION,
        ),
        ({"key_shares": None}, AlertDescription.MISSING_EXTENSION),
        ({"supported_groups": None}, AlertDescription.MISSING_EXTENSION),
        ({"signature_algorithms": None}, AlertDescription.MISSING_EXTENSION),
        ({"supported_versions": None}, AlertDescription.PROTOCOL_VERSION),
        ({"supported_versions": (0x0303, 0x0A0A)}, AlertDescription.PROTOCOL_VERSION),
        ({"cipher_suites": (0x1304, 0x00FF)}, AlertDescription.HANDSHAKE_FAILURE),
        ({"supported_groups": (0x0A0A,), "key_shares": ()}, AlertDescription.HANDSHAKE_FAILURE),
        ({"signature_algorithms": (0x0807, 0x0A0A)}, AlertDescription.HANDSHAKE_FAILURE),
        ({"compression_methods": b"\1\0"}, AlertDescription.ILLEGAL_PARAMETER),
        ({"cookie": b"made up"}, AlertDescription.ILLEGAL_PARAMETER),
        ({"supported_groups": (Group.SECP256R1,)}, AlertDescription.ILLEGAL_PARAMETER),
        ({"key_shares": ((Group.X25519, bytes(32)),)}, AlertDescription.ILLEGAL_PARAMETER),
        (
            {"key_shares": ((Group.X25519, bytes(32)), (Group.X25519, bytes(32)))},
            AlertDescription.ILLEGAL_PARAMETER,
        ),
    ],
)
def test_refused_client_hello(changes: dict[str, Any], expected: int) -> None:
    _, server = pair()
    alert = refuses(server, Level.INITIAL, hello(**changes))
    assert (alert.description, alert.transport_code) == (expected, None)
    assert server.output() == [] and server.secrets() == []


def test_compatibility_mode_is_a_protocol_violation() -> None:
    _, server = pair()
    alert = refuses(server, Level.INITIAL, hello(session_id=bytes(32)))
    assert alert.transport_code == PROTOCOL_VIOLATION


def test_grease_and_unknown_values_are_ignored() -> None:
    client, server = pair()
    first = client_hello(client)
    assert first.supported_groups and first.key_shares and first.signature_algorithms
    assert first.alpn and first.supported_versions
    message = replace(
        first,
        cipher_suites=(0x0A0A, *first.cipher_suites),
        supported_groups=(0x1A1A, *first.supported_groups),
        key_shares=((0x1A1A, b"\0"), *first.key_shares),
        signature_algorithms=(0x2A2A, *first.signature_algorithms),
        supported_versions=(0x3A3A, *first.supported_versions),
        alpn=(b"\x4a\x4a", *first.alpn),
        other=((0x5A5A, b""), (0x6A6A, b"\0"), (28, b"\x40\0"), (45, b"\1\1")),
        certificate_compression=(0x7A7A,),
    )
    server.receive(Level.INITIAL, message.pack())
    assert server.alpn == b"h3" and len(server.output()) == 2


@pytest.mark.parametrize("name", HELLOS)
def test_browsers(name: str) -> None:
    client_hello_bytes = HELLOS[name]
    for size in (1, 1000):
        _, server = pair()
        for start in range(0, len(client_hello_bytes), size):
            server.receive(Level.INITIAL, client_hello_bytes[start : start + size])
        assert server.group == supported_groups()[0] and server.alpn == b"h3"
        assert [level for level, _ in server.output()] == [Level.INITIAL, Level.HANDSHAKE]


def test_parameters_are_known_with_the_client_hello() -> None:
    _, server = pair()
    assert server.peer_transport_parameters is None
    server.receive(Level.INITIAL, hello())
    assert server.peer_transport_parameters == CLIENT_PARAMETERS


def test_our_preference_decides() -> None:
    client, server = pair(
        client_context(alpn=[b"a", b"b"], cipher_suites=[0x1303, 0x1302]),
        server_context(alpn=[b"b", b"a"], cipher_suites=[0x1302, 0x1303]),
    )
    run(client, server)
    assert (server.alpn, server.cipher_suite) == (b"b", 0x1302)
    assert client.alpn == b"b"


# Messages that have no place.


@pytest.mark.parametrize("message", [KEY_UPDATE, END_OF_EARLY_DATA, pack(2, b""), pack(0, b"")])
def test_unexpected_message(message: bytes) -> None:
    client, server = pair()
    assert refuses(server, Level.INITIAL, message).description == 10
    client, server = pair()
    client.start()
    deliver(client, server)
    alert = refuses(server, Level.HANDSHAKE, message)
    assert (alert.description, alert.transport_code) == (10, None)
    client, server = pair()
    run(client, server)
    assert refuses(server, Level.APPLICATION, message).description == 10


def test_an_unexpected_message_is_not_waited_for() -> None:
    _, server = pair()
    assert refuses(server, Level.INITIAL, b"\x18").description == 10


def test_a_message_has_at_most_64_kib() -> None:
    _, server = pair()
    server.receive(Level.INITIAL, b"\1\1\0\0" + bytes(1000))
    _, server = pair()
    alert = refuses(server, Level.INITIAL, b"\1\1\0\1")
    assert alert.description == AlertDescription.DECODE_ERROR


def test_data_behind_the_last_message_of_a_level_is_a_violation() -> None:
    _, server = pair()
    alert = refuses(server, Level.INITIAL, hello() + b"\1")
    assert alert.transport_code == PROTOCOL_VIOLATION


@pytest.mark.parametrize("level", [Level.INITIAL, Level.EARLY, Level.APPLICATION])
def test_data_of_a_wrong_level_is_a_violation(level: Level) -> None:
    client, server = pair()
    client.start()
    deliver(client, server)
    assert refuses(server, level, b"\x14").transport_code == PROTOCOL_VIOLATION


# Finished.


def test_wrong_finished() -> None:
    client, server = pair()
    client.start()
    deliver(client, server)
    deliver(server, client)
    [(level, finished)] = client.output()
    forged = finished[:-1] + bytes([finished[-1] ^ 1])
    assert refuses(server, level, forged).description == AlertDescription.DECRYPT_ERROR
    assert not server.is_complete


@pytest.mark.parametrize("size", [0, 31, 33])
def test_finished_of_a_wrong_length(size: int) -> None:
    client, server = pair()
    client.start()
    deliver(client, server)
    alert = refuses(server, Level.HANDSHAKE, pack(HandshakeType.FINISHED, bytes(size)))
    assert alert.description == AlertDescription.DECODE_ERROR


def test_application_keys_to_read_come_with_finished_only() -> None:
    client, server = pair()
    client.start()
    deliver(client, server)
    assert (Level.APPLICATION, False) not in [(s.level, s.is_write) for s in server.secrets()]


# HelloRetryRequest.


def retried() -> tuple[ClientHello, ClientHello, Any]:
    """First and second ClientHello, and the server that waits for the second."""
    client, server = pair(
        client_context(groups=[Group.X25519, Group.SECP256R1]),
        server_context(groups=[Group.SECP256R1]),
    )
    first = client_hello(client)
    server.receive(Level.INITIAL, first.pack())
    deliver(server, client)
    [(_, second)] = client.output()
    return first, ClientHello.parse(second[4:]), server


@pytest.mark.parametrize("size", [None, 1])
def test_hello_retry_request(size: int | None) -> None:
    client, server = pair(
        client_context(groups=[Group.X25519, Group.SECP384R1], cipher_suites=[0x1302]),
        server_context(groups=[Group.SECP256R1, Group.SECP384R1]),
    )
    client.start()
    deliver(client, server, size)
    assert server.secrets() == []
    [(level, data)] = server.output()
    retry = ServerHello.parse(data[4:])
    assert isinstance(retry, HelloRetryRequest) and retry.selected_group == Group.SECP384R1
    client.receive(level, data)
    while deliver(client, server, size) or deliver(server, client, size):
        pass
    assert client.is_complete and server.is_complete
    assert client.group == server.group == Group.SECP384R1
    assert {s.secret for s in client.secrets()} == {s.secret for s in server.secrets()}


def test_retried_hello_is_taken() -> None:
    _, second, server = retried()
    server.receive(Level.INITIAL, second.pack())
    assert len(server.output()) == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"random": bytes(32)},
        {"server_name": "other.example"},
        {"alpn": (b"h3", b"x")},
        {"cipher_suites": (0x1301,)},
        {"transport_parameters": b""},
        {"signature_algorithms": (0x0403,)},
        {"supported_groups": (Group.SECP256R1,)},
        {"cookie": b"never given"},
        {"key_shares": ()},
    ],
)
def test_retried_hello_must_not_change(changes: dict[str, Any]) -> None:
    _, second, server = retried()
    alert = refuses(server, Level.INITIAL, replace(second, **changes).pack())
    assert alert.description == AlertDescription.ILLEGAL_PARAMETER


def test_retried_hello_needs_the_share_asked_for() -> None:
    first, second, server = retried()
    again = replace(second, key_shares=first.key_shares)
    assert refuses(server, Level.INITIAL, again.pack()).description == 47
    _, second, server = retried()
    assert second.key_shares
    both = (*second.key_shares, (Group.X25519, generate(Group.X25519).share))
    assert refuses(server, Level.INITIAL, replace(second, key_shares=both).pack()).description == 47


# Certificates of clients.


def mutual(**client_options: Any) -> tuple[Any, Any]:
    return pair(client_context(**client_options), server_context(client_ca=root().cert_pem))


@pytest.mark.parametrize("kind", ["p256", "p384", "rsa", "ed25519"])
def test_client_certificate(kind: str) -> None:
    certificate = leaf_for_client(kind)
    client, server = mutual(client_cert=certificate.cert_pem, client_key=certificate.key_pem)
    run(client, server)
    assert server.is_complete
    assert server.peer_certificates == list(certificate.chain)
    assert server._expected == ()


def leaf_for_client(kind: str) -> Any:
    from cwt.tls.development import issue

    return issue(root(), ["user"], kind=kind, client=True)


def test_client_without_certificate() -> None:
    client, server = mutual()
    with pytest.raises(Alert) as info:
        run(client, server)
    assert info.value.description == AlertDescription.CERTIFICATE_REQUIRED
    assert info.value.certificate and not server.is_complete


def test_client_with_a_certificate_of_another_authority() -> None:
    stranger = self_signed()
    client, server = mutual(client_cert=stranger.cert_pem, client_key=stranger.key_pem)
    with pytest.raises(Alert) as info:
        run(client, server)
    assert info.value.certificate


def test_client_with_a_server_certificate() -> None:
    wrong = leaf()
    client, server = mutual(client_cert=wrong.cert_pem, client_key=wrong.key_pem)
    with pytest.raises(Alert, match="clientAuth") as info:
        run(client, server)
    assert info.value.certificate


def client_flight() -> tuple[Any, list[bytes]]:
    """A server, and the messages a client with a certificate answers it."""
    certificate = leaf_for_client("p256")
    client, server = mutual(client_cert=certificate.cert_pem, client_key=certificate.key_pem)
    hello_message, flight = server_flight(client, server)
    client.receive(Level.INITIAL, hello_message)
    client.receive(Level.HANDSHAKE, b"".join(flight))
    [(_, data)] = client.output()
    return server, split(data)


def test_client_certificate_needs_its_proof() -> None:
    server, (certificate, _, finished) = client_flight()
    alert = refuses(server, Level.HANDSHAKE, certificate + finished)
    assert alert.description == AlertDescription.UNEXPECTED_MESSAGE


def test_client_certificate_cannot_be_skipped() -> None:
    server, (_, _, finished) = client_flight()
    assert refuses(server, Level.HANDSHAKE, finished).description == 10


def test_client_certificate_with_the_proof_of_another() -> None:
    server, (certificate, verify, _) = client_flight()
    signature = CertificateVerify.parse(verify[4:])
    forged = replace(signature, signature=signature.signature[:-2] + b"\0\1").pack()
    alert = refuses(server, Level.HANDSHAKE, certificate + forged)
    assert alert.description == AlertDescription.DECRYPT_ERROR


def test_client_certificate_with_a_context() -> None:
    server, (certificate, _, _) = client_flight()
    changed = replace(Certificate.parse(certificate[4:]), context=b"c").pack()
    assert refuses(server, Level.HANDSHAKE, changed).description == 47


def test_a_certificate_that_nobody_asked_for() -> None:
    client, server = pair()
    client.start()
    deliver(client, server)
    alert = refuses(server, Level.HANDSHAKE, Certificate(chain=self_signed().chain).pack())
    assert alert.description == AlertDescription.UNEXPECTED_MESSAGE
