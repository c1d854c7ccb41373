"""Two handshakes joined in memory."""

from __future__ import annotations

import json
from base64 import b64decode
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cwt.tls import (
    Alert,
    ClientContext,
    ClientHandshake,
    Handshake,
    Level,
    ServerContext,
    ServerHandshake,
)
from cwt.tls.development import (
    CertificateAuthority,
    DevelopmentCertificate,
    certificate_authority,
    development_certificate,
    issue,
)
from cwt.tls.messages import ClientHello

_VECTORS = Path(__file__).parents[1] / "vectors"
HELLOS = {
    name: b64decode(value)
    for name, value in json.loads((_VECTORS / "client_hellos.json").read_text()).items()
}
"""ClientHellos of Chromium 156 and Firefox 153 for WebTransport."""
TRACES = json.loads((_VECTORS / "rfc8448.json").read_text())
"""Messages and secrets of RFC 8448 in hexadecimal."""

CLIENT_PARAMETERS = b"\x01\x02\x67\x10"
SERVER_PARAMETERS = b"\x01\x02\x4e\x20"


@cache
def self_signed() -> DevelopmentCertificate:
    return development_certificate()


@cache
def root() -> CertificateAuthority:
    return certificate_authority()


@cache
def leaf(kind: str = "p256") -> DevelopmentCertificate:
    return issue(root(), ["localhost", "a.example", "127.0.0.1"], kind=kind)


@cache
def long_chain(*, client: bool = False) -> DevelopmentCertificate:
    """A leaf with an intermediate authority, long enough to be worth compressing."""
    middle = certificate_authority("cwt test intermediate", parent=root())
    names = ["localhost", *(f"host-{number}.department.example" for number in range(20))]
    return issue(middle, names, client=client)


def spki(certificate: DevelopmentCertificate) -> bytes:
    """The certificate's public key in DER."""
    return certificate.private_key.public_key().public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )


def client_context(**options: Any) -> ClientContext:
    options.setdefault("alpn", [b"h3"])
    if not {"verify", "server_public_keys"} & options.keys():
        options.setdefault("server_certificate_hashes", [self_signed().sha256])
    return ClientContext(**options)


def server_context(
    certificate: DevelopmentCertificate | None = None, **options: Any
) -> ServerContext:
    certificate = certificate or self_signed()
    options.setdefault("alpn", [b"h3"])
    options.setdefault("certificate_chain", certificate.chain)
    options.setdefault("private_key", certificate.private_key)
    return ServerContext(**options)


def pair(
    client: ClientContext | None = None,
    server: ServerContext | None = None,
    server_name: str = "localhost",
) -> tuple[ClientHandshake, ServerHandshake]:
    return (
        (client or client_context()).handshake(server_name, CLIENT_PARAMETERS),
        (server or server_context()).handshake(SERVER_PARAMETERS),
    )


def deliver(sender: Handshake, receiver: Handshake, size: int | None = None) -> bool:
    """Hand over what *sender* has, in pieces of *size* bytes; False when it had nothing."""
    output = sender.output()
    for level, data in output:
        step = size or len(data)
        for start in range(0, len(data), step):
            receiver.receive(level, data[start : start + step])
    return bool(output)


def run(client: Handshake, server: Handshake, size: int | None = None) -> None:
    """The whole handshake."""
    client.start()
    server.start()
    run_on(client, server, size)


def run_on(client: Handshake, server: Handshake, size: int | None = None) -> None:
    """The rest of a handshake that has begun."""
    while deliver(client, server, size) or deliver(server, client, size):
        pass


def split(data: bytes) -> list[bytes]:
    """The handshake messages in *data*, whole."""
    messages = []
    while data:
        end = 4 + int.from_bytes(data[1:4], "big")
        messages.append(data[:end])
        data = data[end:]
    return messages


def client_hello(client: Handshake) -> ClientHello:
    """What *client* sends first."""
    client.start()
    [(level, data)] = client.output()
    assert level == Level.INITIAL
    return ClientHello.parse(data[4:])


def server_flight(client: Handshake, server: Handshake) -> tuple[bytes, list[bytes]]:
    """ServerHello, and the messages behind it, up to the server's Finished."""
    client.start()
    deliver(client, server)
    (_, hello), (_, flight) = server.output()
    return hello, split(flight)


def refuses(receiver: Handshake, level: int, data: bytes) -> Alert:
    """The alert that *receiver* raises for *data*."""
    with pytest.raises(Alert) as info:
        receiver.receive(level, data)
    return info.value
