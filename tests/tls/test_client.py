from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cwt.tls import AlertDescription, Group, Level
from cwt.tls.client import MAX_TICKETS, ClientHandshake
from cwt.tls.messages import (
    Certificate,
    CertificateRequest,
    CertificateVerify,
    EncryptedExtensions,
    HandshakeType,
    HelloRetryRequest,
    NewSessionTicket,
    ServerHello,
    pack,
)
from tests.tls.support import (
    client_context,
    client_hello,
    deliver,
    pair,
    refuses,
    run,
    self_signed,
    server_context,
    server_flight,
)

PROTOCOL_VIOLATION = 0x0A
TICKET = NewSessionTicket(lifetime=7200, age_add=1, nonce=b"\0", ticket=b"ticket")


# ClientHello.


def test_client_hello() -> None:
    client, _ = pair(server_name="LocalHost.")
    hello = client_hello(client)
    assert hello.server_name == "localhost"
    assert hello.supported_versions == (0x0304,)
    assert hello.session_id == b"" and hello.compression_methods == b"\0"
    assert hello.cipher_suites == (0x1301, 0x1302, 0x1303)
    shares = [group for group, _ in hello.key_shares or ()]
    assert shares == [
        g for g in (Group.X25519MLKEM768, Group.X25519) if g in (hello.supported_groups or ())
    ]


@pytest.mark.parametrize("name", ["127.0.0.1", "::1", "[::1]"])
def test_addresses_are_no_server_names(name: str) -> None:
    client, server = pair(server_name=name)
    assert client_hello(client).server_name is None
    client, server = pair(server_name=name)
    run(client, server)
    assert server.is_complete and server.server_name is None


def test_randomness_is_injected() -> None:
    client, _ = pair(client_context(random=lambda length: b"\x42" * length))
    assert client_hello(client).random == b"\x42" * 32


# ServerHello.


def server_hello(client: Any, **changes: Any) -> bytes:
    """The answer of our server to *client*, with *changes*."""
    _, server = pair()
    client.start()
    deliver(client, server)
    hello = ServerHello.parse(server.output()[0][1][4:])
    return replace(hello, **changes).pack()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"supported_version": None}, AlertDescription.PROTOCOL_VERSION),
        ({"supported_version": 0x0303}, AlertDescription.ILLEGAL_PARAMETER),
        ({"session_id": b"x"}, AlertDescription.ILLEGAL_PARAMETER),
        ({"compression_method": 1}, AlertDescription.ILLEGAL_PARAMETER),
        ({"cipher_suite": 0x1304}, AlertDescription.ILLEGAL_PARAMETER),
        ({"key_share": None}, AlertDescription.MISSING_EXTENSION),
        ({"key_share": (Group.SECP256R1, b"\4" + bytes(64))}, AlertDescription.ILLEGAL_PARAMETER),
        ({"key_share": (Group.X25519, bytes(32))}, AlertDescription.ILLEGAL_PARAMETER),
        ({"key_share": (Group.X25519, bytes(31))}, AlertDescription.ILLEGAL_PARAMETER),
        ({"other": ((16, b"\0\3\2h3"),)}, AlertDescription.ILLEGAL_PARAMETER),
        ({"other": ((41, b"\0\0"),)}, AlertDescription.UNSUPPORTED_EXTENSION),
        ({"other": ((0x0A0A, b""),)}, AlertDescription.UNSUPPORTED_EXTENSION),
    ],
)
def test_refused_server_hello(changes: dict[str, Any], expected: int) -> None:
    client, _ = pair()
    alert = refuses(client, Level.INITIAL, server_hello(client, **changes))
    assert (alert.description, alert.transport_code) == (expected, None)
    assert client.secrets() == []


def test_data_behind_server_hello_is_a_violation() -> None:
    client, _ = pair()
    data = server_hello(client) + b"\x08"
    assert refuses(client, Level.INITIAL, data).transport_code == PROTOCOL_VIOLATION


# HelloRetryRequest.


def test_cookie_is_echoed() -> None:
    client, _ = pair()
    first = client_hello(client)
    retry = HelloRetryRequest(cipher_suite=0x1301, cookie=b"cookie", selected_group=Group.SECP256R1)
    client.receive(Level.INITIAL, retry.pack())
    second = client_hello_again(client)
    assert second.cookie == b"cookie"
    assert [group for group, _ in second.key_shares] == [Group.SECP256R1]
    assert replace(second, cookie=None, key_shares=first.key_shares) == first


def test_a_cookie_alone_keeps_the_key_shares() -> None:
    client, _ = pair()
    first = client_hello(client)
    client.receive(Level.INITIAL, HelloRetryRequest(cipher_suite=0x1301, cookie=b"c").pack())
    assert client_hello_again(client) == replace(first, cookie=b"c")


def client_hello_again(client: Any) -> Any:
    from cwt.tls.messages import ClientHello

    [(level, data)] = client.output()
    assert level == Level.INITIAL
    return ClientHello.parse(data[4:])


RETRY = HelloRetryRequest(cipher_suite=0x1301, selected_group=Group.SECP256R1)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"selected_group": None}, AlertDescription.ILLEGAL_PARAMETER),
        ({"selected_group": Group.X25519}, AlertDescription.ILLEGAL_PARAMETER),
        ({"selected_group": 0x0A0A}, AlertDescription.ILLEGAL_PARAMETER),
        ({"cipher_suite": 0x1304}, AlertDescription.ILLEGAL_PARAMETER),
        ({"supported_version": None}, AlertDescription.PROTOCOL_VERSION),
        ({"session_id": b"x"}, AlertDescription.ILLEGAL_PARAMETER),
        ({"other": ((0x0A0A, b""),)}, AlertDescription.UNSUPPORTED_EXTENSION),
    ],
)
def test_refused_retry(changes: dict[str, Any], expected: int) -> None:
    client, _ = pair()
    client.start()
    client.output()
    alert = refuses(client, Level.INITIAL, replace(RETRY, **changes).pack())
    assert alert.description == expected


def test_second_retry() -> None:
    client, _ = pair()
    client.start()
    client.receive(Level.INITIAL, RETRY.pack())
    again = replace(RETRY, selected_group=Group.SECP384R1).pack()
    assert refuses(client, Level.INITIAL, again).description == 10


@pytest.mark.parametrize(
    "changes", [{"cipher_suite": 0x1302}, {"key_share": (Group.X25519, bytes(32))}]
)
def test_server_hello_must_fit_the_retry(changes: dict[str, Any]) -> None:
    client, server = pair(server=server_context(groups=[Group.SECP256R1]))
    client.start()
    deliver(client, server)
    deliver(server, client)
    deliver(client, server)
    hello = ServerHello.parse(server.output()[0][1][4:])
    changed = replace(hello, **changes).pack()  # type: ignore[arg-type]
    assert refuses(client, Level.INITIAL, changed).description == 47


# EncryptedExtensions.


def after_server_hello(**options: Any) -> tuple[Any, list[bytes]]:
    """A client with handshake keys, and the messages that are meant for it."""
    client, server = pair(client_context(**options))
    hello, flight = server_flight(client, server)
    client.receive(Level.INITIAL, hello)
    return client, flight


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"alpn": None}, AlertDescription.NO_APPLICATION_PROTOCOL),
        ({"alpn": (b"other",)}, AlertDescription.ILLEGAL_PARAMETER),
        ({"alpn": (b"h3", b"h3")}, AlertDescription.ILLEGAL_PARAMETER),
        ({"transport_parameters": None}, AlertDescription.MISSING_EXTENSION),
        (
            {"transport_parameters": None, "other": ((0xFFA5, b""),)},
            AlertDescription.UNSUPPORTED_EXTENSION,
        ),
        ({"other": ((42, b""),)}, AlertDescription.UNSUPPORTED_EXTENSION),
        ({"other": ((51, b"\0\x1d"),)}, AlertDescription.ILLEGAL_PARAMETER),
        ({"other": ((43, b"\3\4"),)}, AlertDescription.ILLEGAL_PARAMETER),
        ({"other": ((0x0A0A, b""),)}, AlertDescription.UNSUPPORTED_EXTENSION),
    ],
)
def test_refused_encrypted_extensions(changes: dict[str, Any], expected: int) -> None:
    client, flight = after_server_hello()
    message = replace(EncryptedExtensions.parse(flight[0][4:]), **changes).pack()
    assert refuses(client, Level.HANDSHAKE, message).description == expected


def test_server_name_is_acknowledged_only_where_it_was_sent() -> None:
    client, server = pair(server_name="127.0.0.1")
    hello, flight = server_flight(client, server)
    client.receive(Level.INITIAL, hello)
    extensions = EncryptedExtensions.parse(flight[0][4:])
    assert not extensions.server_name_used
    changed = replace(extensions, server_name_used=True).pack()
    assert refuses(client, Level.HANDSHAKE, changed).description == 110


# The server's certificate.


def test_order_of_the_flight() -> None:
    """Each message in the place of every other one is unexpected, a missing CertificateVerify too."""
    _, flight = after_server_hello()
    for position in range(len(flight)):
        for other in range(len(flight)):
            client, messages = after_server_hello()
            for message in messages[:position]:
                client.receive(Level.HANDSHAKE, message)
            if position == other:
                client.receive(Level.HANDSHAKE, messages[other])
            else:
                assert refuses(client, Level.HANDSHAKE, messages[other]).description == 10


def test_certificate_of_nobody() -> None:
    client, flight = after_server_hello()
    client.receive(Level.HANDSHAKE, flight[0])
    alert = refuses(client, Level.HANDSHAKE, Certificate().pack())
    assert alert.description == AlertDescription.DECODE_ERROR


@pytest.mark.parametrize(
    ("der", "expected"),
    [
        (b"\x30\x80", AlertDescription.BAD_CERTIFICATE),
        (b"\x30" * 3000, AlertDescription.BAD_CERTIFICATE),
        (b"\x30\x82\xff\xff" * 5000, AlertDescription.BAD_CERTIFICATE),
    ],
)
def test_certificate_that_is_none(der: bytes, expected: int) -> None:
    client, flight = after_server_hello(verify=lambda chain, name: None)
    client.receive(Level.HANDSHAKE, flight[0])
    alert = refuses(client, Level.HANDSHAKE, Certificate(chain=(der,)).pack())
    assert (alert.description, alert.certificate) == (expected, True)


def test_certificate_with_extensions_or_context() -> None:
    client, flight = after_server_hello()
    client.receive(Level.HANDSHAKE, flight[0])
    der = self_signed().chain[0]
    entry = len(der).to_bytes(3, "big") + der + b"\0\4\0\5\0\0"
    body = b"\0" + len(entry).to_bytes(3, "big") + entry
    alert = refuses(client, Level.HANDSHAKE, pack(HandshakeType.CERTIFICATE, body))
    assert alert.description == AlertDescription.UNSUPPORTED_EXTENSION
    client, flight = after_server_hello()
    client.receive(Level.HANDSHAKE, flight[0])
    changed = Certificate(context=b"x", chain=self_signed().chain).pack()
    assert refuses(client, Level.HANDSHAKE, changed).description == 47


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"signature": b""}, AlertDescription.DECRYPT_ERROR),
        ({"signature": bytes(70)}, AlertDescription.DECRYPT_ERROR),
        ({"algorithm": 0x0804}, AlertDescription.ILLEGAL_PARAMETER),
        ({"algorithm": 0x0401}, AlertDescription.ILLEGAL_PARAMETER),
        ({"algorithm": 0x0203}, AlertDescription.ILLEGAL_PARAMETER),
    ],
)
def test_refused_certificate_verify(changes: dict[str, Any], expected: int) -> None:
    client, flight = after_server_hello()
    client.receive(Level.HANDSHAKE, flight[0] + flight[1])
    message = replace(CertificateVerify.parse(flight[2][4:]), **changes).pack()
    assert refuses(client, Level.HANDSHAKE, message).description == expected


def test_wrong_finished() -> None:
    client, flight = after_server_hello()
    client.receive(Level.HANDSHAKE, b"".join(flight[:-1]))
    forged = flight[-1][:-1] + bytes([flight[-1][-1] ^ 1])
    assert refuses(client, Level.HANDSHAKE, forged).description == AlertDescription.DECRYPT_ERROR
    assert not client.is_complete
    assert all(secret.level == Level.HANDSHAKE for secret in client.secrets())


def test_data_behind_finished_is_a_violation() -> None:
    client, flight = after_server_hello()
    alert = refuses(client, Level.HANDSHAKE, b"".join(flight) + b"\4")
    assert alert.transport_code == PROTOCOL_VIOLATION


# CertificateRequest.


def test_certificate_request_without_a_certificate_gets_an_empty_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client, flight = after_server_hello()
    request = CertificateRequest(signature_algorithms=(0x0403,))
    # The transcript differs from the server's then: only what is sent for it is looked at.
    client.receive(Level.HANDSHAKE, flight[0] + request.pack())
    monkeypatch.setattr(ClientHandshake, "_read_finished", lambda *arguments: None)
    monkeypatch.setattr(ClientHandshake, "_read_certificate_verify", lambda *arguments: None)
    client.receive(Level.HANDSHAKE, b"".join(flight[1:]))
    [(_, data)] = client.output()
    assert data.startswith(Certificate().pack())


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (CertificateRequest(signature_algorithms=None), AlertDescription.MISSING_EXTENSION),
        (
            CertificateRequest(context=b"x", signature_algorithms=(0x0403,)),
            AlertDescription.ILLEGAL_PARAMETER,
        ),
    ],
)
def test_refused_certificate_request(request_: CertificateRequest, expected: int) -> None:
    client, flight = after_server_hello()
    alert = refuses(client, Level.HANDSHAKE, flight[0] + request_.pack())
    assert alert.description == expected


def test_two_certificate_requests() -> None:
    client, flight = after_server_hello()
    request = CertificateRequest(signature_algorithms=(0x0403,)).pack()
    assert refuses(client, Level.HANDSHAKE, flight[0] + request * 2).description == 10


# After the handshake.


def complete() -> Any:
    client, server = pair()
    run(client, server)
    return client


@pytest.mark.parametrize("size", [None, 1])
def test_tickets_are_taken(size: int | None) -> None:
    client = complete()
    data = (
        TICKET.pack()
        + replace(TICKET, max_early_data_size=0xFFFFFFFF, other=((0x0A0A, b""),)).pack()
    )
    for start in range(0, len(data), size or len(data)):
        client.receive(Level.APPLICATION, data[start : start + (size or len(data))])
    assert client.output() == []


def test_ticket_with_a_limit_for_early_data_is_a_violation() -> None:
    message = replace(TICKET, max_early_data_size=16384).pack()
    assert refuses(complete(), Level.APPLICATION, message).transport_code == PROTOCOL_VIOLATION


def test_tickets_without_end() -> None:
    client = complete()
    client.receive(Level.APPLICATION, TICKET.pack() * MAX_TICKETS)
    assert refuses(client, Level.APPLICATION, TICKET.pack()).description == 10


def test_key_update_and_others_are_unexpected() -> None:
    for message in (bytes.fromhex("1800000101"), bytes.fromhex("05000000"), pack(20, bytes(32))):
        alert = refuses(complete(), Level.APPLICATION, message)
        assert (alert.description, alert.transport_code) == (10, None)


def test_certificate_request_after_the_handshake_is_a_violation() -> None:
    message = CertificateRequest(context=b"x", signature_algorithms=(0x0403,)).pack()
    alert = refuses(complete(), Level.APPLICATION, message)
    assert alert.transport_code == PROTOCOL_VIOLATION
