"""Client certificates: when they are asked for, and who decides about them."""

from __future__ import annotations

from typing import Any

import pytest

from cwt.errors import ConfigError
from cwt.tls import Alert, AlertDescription, Level
from cwt.tls.development import issue
from cwt.tls.messages import Certificate, CertificateRequest
from tests.tls.support import (
    client_context,
    deliver,
    pair,
    refuses,
    root,
    run,
    self_signed,
    server_context,
    server_flight,
    split,
)


def user() -> dict[str, Any]:
    certificate = issue(root(), ["user"], client=True)
    return {"client_cert": certificate.cert_pem, "client_key": certificate.key_pem}


def mutual(client: dict[str, Any], **server: Any) -> tuple[Any, Any]:
    return pair(client_context(**client), server_context(**server))


def fails(client: dict[str, Any], **server: Any) -> Alert:
    with pytest.raises(Alert) as info:
        run(*mutual(client, **server))
    return info.value


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"client_auth": "optional"}, "client_ca"),
        ({"client_auth": "maybe", "client_ca": root().cert_pem}, "maybe"),
        ({"client_ca": b""}, "client_ca"),
        ({"client_public_keys": [b"0"]}, "client_public_keys"),
    ],
)
def test_settings_that_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        server_context(**options)


def test_required() -> None:
    options = {"client_ca": root().cert_pem}
    client, server = mutual(user(), **options)
    run(client, server)
    assert server.is_complete and len(server.peer_certificates) == 1
    assert fails({}, **options).description == AlertDescription.CERTIFICATE_REQUIRED


def test_optional() -> None:
    options = {"client_ca": root().cert_pem, "client_auth": "optional"}
    client, server = mutual(user(), **options)
    run(client, server)
    assert len(server.peer_certificates) == 1
    client, server = mutual({}, **options)
    run(client, server)
    assert client.is_complete and server.is_complete and server.peer_certificates == []
    stranger = {"client_cert": self_signed().cert_pem, "client_key": self_signed().key_pem}
    assert fails(stranger, **options).certificate


def test_optional_certificate_cannot_be_without_its_proof() -> None:
    client, server = mutual(user(), client_ca=root().cert_pem, client_auth="optional")
    hello, flight = server_flight(client, server)
    client.receive(Level.INITIAL, hello)
    client.receive(Level.HANDSHAKE, b"".join(flight))
    [(_, data)] = client.output()
    certificate, verify, finished = split(data)
    assert refuses(server, Level.HANDSHAKE, certificate + finished).description == 10
    client, server = mutual({}, client_ca=root().cert_pem, client_auth="optional")
    client.start()
    deliver(client, server)
    server.output()
    assert refuses(server, Level.HANDSHAKE, Certificate().pack() + verify).description == 10


def test_the_answer_cannot_be_left_out() -> None:
    client, server = mutual({}, client_ca=root().cert_pem, client_auth="optional")
    hello, flight = server_flight(client, server)
    client.receive(Level.INITIAL, hello)
    client.receive(Level.HANDSHAKE, b"".join(flight))
    [(_, data)] = client.output()
    _, finished = split(data)
    assert refuses(server, Level.HANDSHAKE, finished).description == 10


# Callbacks.


def test_callback_alone() -> None:
    seen: list[Any] = []
    stranger = {"client_cert": self_signed().cert_pem, "client_key": self_signed().key_pem}
    options = {"verify_client": lambda chain, name: seen.append((chain, name))}
    client, server = mutual(stranger, **options)
    run(client, server)
    assert seen == [(list(self_signed().chain), "localhost")]
    assert server.peer_certificates == list(self_signed().chain)
    assert fails({}, **options).description == AlertDescription.CERTIFICATE_REQUIRED


def test_callback_after_client_ca() -> None:
    seen: list[Any] = []
    options = {
        "verify_client": lambda chain, name: seen.append(chain),
        "client_ca": root().cert_pem,
    }
    stranger = {"client_cert": self_signed().cert_pem, "client_key": self_signed().key_pem}
    assert fails(stranger, **options).certificate and seen == []
    run(*mutual(user(), **options))
    assert len(seen) == 1


def raising(chain: list[bytes], name: str) -> None:
    raise LookupError("in no group")


def test_callback_that_refuses() -> None:
    alert = fails(user(), verify_client=raising)
    assert alert.description == AlertDescription.BAD_CERTIFICATE and alert.certificate
    assert isinstance(alert.__cause__, LookupError)
    assert "in no group" not in str(alert)  # which the client reads
    assert fails(user(), verify_client=lambda chain, name: False).description == 42


def test_callback_that_chooses_the_alert() -> None:
    def denying(chain: list[bytes], name: str) -> None:
        raise Alert(AlertDescription.ACCESS_DENIED, "not today")

    alert = fails(user(), verify_client=denying)
    assert alert.description == AlertDescription.ACCESS_DENIED and alert.certificate


async def asynchronous(chain: list[bytes], name: str) -> bool:
    return False


def test_async_callbacks_do_not_let_everybody_in() -> None:
    for options in ({"verify_client": asynchronous}, {"client_public_keys": asynchronous}):
        with pytest.raises(ConfigError, match="async"):
            server_context(**options)
    with pytest.raises(ConfigError, match="async"):
        client_context(verify=asynchronous)
    alert = fails(user(), verify_client=lambda chain, name: asynchronous(chain, name))
    assert alert.description == AlertDescription.INTERNAL_ERROR


def test_certificate_of_no_use_to_the_server_is_left_out() -> None:
    options: dict[str, Any] = {"client_ca": root().cert_pem, "client_auth": "optional"}
    client, server = mutual(user(), **options)
    hello, flight = server_flight(client, server)
    client.receive(Level.INITIAL, hello)
    request = CertificateRequest(signature_algorithms=(0x0807,))
    client.receive(Level.HANDSHAKE, flight[0] + request.pack())
    client._answer(client._request)
    [(_, data)] = client.output()
    assert data == Certificate().pack()
