from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from cwt.errors import ConfigError
from cwt.tls import Alert, AlertDescription, Identity, Level, ServerContext
from cwt.tls.development import DevelopmentCertificate, issue
from cwt.tls.messages import Certificate, HandshakeType
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
    split,
)


@cache
def named(name: str, kind: str = "p256") -> DevelopmentCertificate:
    return issue(root(), [name], kind=kind)


def pems(certificate: DevelopmentCertificate) -> tuple[bytes, bytes]:
    return certificate.cert_pem, certificate.key_pem


def served(context: ServerContext, name: str, signatures: Any = None) -> bytes:
    """The certificate that *context* has for a client that takes *signatures*."""
    client, server = pair(
        client_context(verify=lambda chain, name: None, certificate_compression=[]), context, name
    )
    hello = client_hello(client)
    if signatures:
        hello = replace(hello, signature_algorithms=signatures)
    server.receive(Level.INITIAL, hello.pack())
    (_, _), (_, flight) = server.output()
    [message] = [message for message in split(flight) if message[0] == HandshakeType.CERTIFICATE]
    return Certificate.parse(message[4:]).chain[0]


def refused(context: ServerContext, name: str) -> int:
    client, server = pair(client_context(), context, name)
    return refuses(server, Level.INITIAL, client_hello(client).pack()).description


# Several certificates for one name.

ECDSA, RSA = (0x0403,), (0x0804,)


def test_the_first_certificate_whose_signatures_the_client_takes() -> None:
    ours, other = named("localhost"), named("localhost", "rsa")
    context = ServerContext(
        alpn=[b"h3"], certfile=ours.cert_pem, keyfile=ours.key_pem, certificates=[pems(other)]
    )
    assert served(context, "localhost") == ours.chain[0]
    assert served(context, "localhost", ECDSA) == ours.chain[0]
    assert served(context, "localhost", RSA) == other.chain[0]
    assert served(context, "localhost", (*RSA, *ECDSA)) == ours.chain[0]
    client, server = pair(client_context(), context)
    hello = replace(client_hello(client), signature_algorithms=(0x0807,))
    assert refuses(server, Level.INITIAL, hello.pack()).description == 40


def test_certificates_alone() -> None:
    identity = Identity.from_der(leaf().chain, leaf().private_key)
    context = ServerContext(alpn=[b"h3"], certificates=[identity])
    assert served(context, "a.example") == leaf().chain[0]


def test_several_certificates_for_one_name() -> None:
    ours, other = named("b.example"), named("b.example", "rsa")
    context = server_context(sni={"b.example": [pems(ours), pems(other)]})
    assert served(context, "b.example", RSA) == other.chain[0]
    assert served(context, "b.example", ECDSA) == ours.chain[0]
    assert served(context, "a.example") == self_signed().chain[0]


def test_handshake_with_each(caplog: pytest.LogCaptureFixture) -> None:
    context = server_context(sni={"b.example": [pems(named("b.example", "rsa"))]})
    client, server = pair(client_context(verify=root().cert_pem), context, "b.example")
    run(client, server)
    assert client.is_complete and server.is_complete


# No certificate for the rest.


def test_names_without_a_certificate_are_refused() -> None:
    context = ServerContext(alpn=[b"h3"], sni={"b.example": pems(named("b.example"))})
    assert served(context, "b.example") == named("b.example").chain[0]
    assert refused(context, "c.example") == AlertDescription.UNRECOGNIZED_NAME
    assert refused(context, "127.0.0.1") == AlertDescription.UNRECOGNIZED_NAME


# The callback.


def test_callback() -> None:
    asked: list[str] = []
    ours = named("b.example")
    identity = Identity.from_der(ours.chain, ours.private_key)

    def sni(name: str) -> Any:
        asked.append(name)
        return {
            "b.example": identity,
            "c.example": pems(named("c.example")),
            "d.example": [pems(named("d.example")), pems(named("d.example", "rsa"))],
        }.get(name)

    context = server_context(sni=sni)
    assert served(context, "B.Example.") == ours.chain[0]
    assert served(context, "c.example") == named("c.example").chain[0]
    assert served(context, "d.example", RSA) == named("d.example", "rsa").chain[0]
    assert served(context, "e.example") == self_signed().chain[0]
    assert asked == ["b.example", "c.example", "d.example", "e.example"]
    assert served(context, "127.0.0.1") == self_signed().chain[0]
    assert len(asked) == 4


def test_callback_alone() -> None:
    names = {"b.example": pems(named("b.example"))}
    context = ServerContext(alpn=[b"h3"], sni=names.get)
    assert served(context, "b.example") == named("b.example").chain[0]
    assert refused(context, "c.example") == AlertDescription.UNRECOGNIZED_NAME
    assert refused(context, "127.0.0.1") == AlertDescription.UNRECOGNIZED_NAME


def test_callback_that_refuses() -> None:
    names = {"b.example": pems(named("b.example"))}
    context = server_context(sni=names.__getitem__)
    assert refused(context, "c.example") == AlertDescription.UNRECOGNIZED_NAME
    assert served(context, "b.example") == named("b.example").chain[0]


async def asynchronous(name: str) -> Any:
    return None


@pytest.mark.parametrize(
    "sni",
    [
        lambda name: 1 / 0,
        lambda name: ("missing.pem", None),
        lambda name: "cert.pem",
        lambda name: {},
        lambda name: asynchronous(name),
    ],
)
def test_callback_that_fails(sni: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert refused(server_context(sni=sni), "b.example") == AlertDescription.INTERNAL_ERROR
    assert "sni() failed for b.example" in caplog.text


def test_async_callback() -> None:
    with pytest.raises(ConfigError, match="async"):
        server_context(sni=asynchronous)


def test_answers_are_read_once(tmp_path: Path) -> None:
    files = named("b.example").write(tmp_path)
    context = server_context(sni=lambda name: files)
    assert served(context, "b.example") == named("b.example").chain[0]
    for path in files:
        path.unlink()
    assert served(context, "b.example") == named("b.example").chain[0]
    named("c.example").write(tmp_path)
    context.reload()
    assert served(context, "b.example") == named("c.example").chain[0]


def test_callback_cache_is_bounded() -> None:
    context = server_context(sni=lambda name: [Identity.from_der(leaf().chain, leaf().private_key)])
    for number in range(1100):
        context.credentials.for_name(f"host-{number}")
    assert len(context.credentials._answers) == 1024


# Reading the files again.


def test_reload_reads_every_certificate(tmp_path: Path) -> None:
    paths = {}
    for kind in ("default", "extra", "named", "raw"):
        paths[kind] = leaf("rsa" if kind == "extra" else "p256").write(tmp_path / kind)
    context = ServerContext(
        alpn=[b"h3"],
        certfile=paths["default"][0],
        keyfile=paths["default"][1],
        certificates=[Identity.load(*paths["extra"])],
        sni={"b.example": paths["named"]},
        raw_public_key=paths["raw"][1],
    )
    new = {
        "default": named("localhost"),
        "extra": named("localhost", "rsa"),
        "named": named("b.example"),
        "raw": named("c.example"),
    }
    for kind, certificate in new.items():
        certificate.write(tmp_path / kind)
    assert served(context, "localhost") == leaf("p256").chain[0]
    context.reload()
    assert served(context, "localhost") == new["default"].chain[0]
    assert served(context, "localhost", RSA) == new["extra"].chain[0]
    assert served(context, "b.example") == new["named"].chain[0]
    client, server = pair(
        client_context(server_public_keys=[new["raw"].private_key.public_key()]), context
    )
    run(client, server)
    assert client.peer_public_key


@pytest.mark.parametrize("broken", ["default", "named", "raw", "ca"])
def test_an_error_in_one_file_changes_nothing(tmp_path: Path, broken: str) -> None:
    kinds = ("default", "named", "raw")
    paths = {kind: leaf().write(tmp_path / kind) for kind in kinds}
    authority = tmp_path / "ca.pem"
    authority.write_bytes(root().cert_pem)
    context = ServerContext(
        alpn=[b"h3"],
        certfile=paths["default"][0],
        keyfile=paths["default"][1],
        sni={"b.example": paths["named"]},
        raw_public_key=paths["raw"][1],
        client_ca=authority,
    )
    for kind in kinds:
        named("localhost").write(tmp_path / kind)
    (authority if broken == "ca" else paths[broken][1]).write_bytes(b"")
    before = context.verifier
    with pytest.raises(ConfigError):
        context.reload()
    assert context.verifier is before
    assert served(context, "localhost") == leaf().chain[0]
    assert served(context, "b.example") == leaf().chain[0]


def test_reload_reads_client_ca(tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"
    authority.write_bytes(named("old").cert_pem)
    context = server_context(client_ca=authority)
    user = issue(root(), ["user"], client=True)
    options = {"client_cert": user.cert_pem, "client_key": user.key_pem}
    with pytest.raises(Alert):
        run(*pair(client_context(**options), context))
    authority.write_bytes(root().cert_pem)
    context.reload()
    client, server = pair(client_context(**options), context)
    run(client, server)
    assert server.is_complete


def test_tickets_stay_good(tmp_path: Path) -> None:
    from cwt.tls import SessionCache

    cert_path, key_path = leaf().write(tmp_path)
    context = ServerContext(alpn=[b"h3"], certfile=cert_path, keyfile=key_path)
    ours = client_context(verify=root().cert_pem, session_cache=SessionCache())
    run(*pair(ours, context))
    named("localhost").write(tmp_path)
    context.reload()
    client, server = pair(ours, context)
    run(client, server)
    assert client.is_resumed and server.is_resumed
