"""Our TLS against OpenSSL's through its interface for QUIC stacks: both roles, and what few others have,
raw public keys (RFC 7250) and certificate compression (RFC 8879)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from cwt.tls import Alert, CipherSuite, Handshake
from cwt.tls.development import issue
from cwt.tls.messages import HandshakeType
from tests.interop.openssl_peer import OpenSslError, OpenSslPeer, library
from tests.interop.tls_peer import exchange
from tests.tls.support import (
    CLIENT_PARAMETERS,
    SERVER_PARAMETERS,
    client_context,
    leaf,
    long_chain,
    root,
    self_signed,
    server_context,
    spki,
    split,
)

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(library() is None, reason="no OpenSSL 3.5: pip install psycopg-binary"),
]

Make = Callable[..., OpenSslPeer]
ROOT = [root().certificate.public_bytes(Encoding.DER)]


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[OpenSslPeer] = []

    def make(is_client: bool, **options: Any) -> OpenSslPeer:
        parameters = CLIENT_PARAMETERS if is_client else SERVER_PARAMETERS
        made.append(OpenSslPeer(is_client, parameters, **options))
        return made[-1]

    yield make
    for peer in made:
        peer.close()


def trusting(**options: Any) -> Any:
    return client_context(verify=root().cert_pem, **options)


def finish(ours: Handshake, peer: OpenSslPeer) -> None:
    """The whole handshake, with the checks that hold for every one."""
    if ours.is_client:
        ours.start()
    else:
        peer.receive(b"")
    exchange(ours, peer)
    assert ours.is_complete and peer.is_complete
    mirrored = {(s.level, not s.is_write, s.secret) for s in ours.secrets()}
    assert mirrored == peer.secrets and len(mirrored) == 4
    own, other = CLIENT_PARAMETERS, SERVER_PARAMETERS
    if not ours.is_client:
        own, other = other, own
    assert ours.peer_transport_parameters == other
    assert peer.peer_transport_parameters == own
    for length in (1, 32, 255):
        exported = ours.export_keying_material(b"EXPORTER-test", b"context", length)
        assert exported == peer.export_keying_material(b"EXPORTER-test", b"context", length)
    empty = ours.export_keying_material(b"EXPORTER-test", b"", 32)
    assert empty == peer.export_keying_material(b"EXPORTER-test", b"", 32)


@pytest.mark.parametrize("kind", ["p256", "p384", "rsa", "ed25519"])
@pytest.mark.parametrize("suite", list(CipherSuite))
def test_our_client(make: Make, suite: CipherSuite, kind: str) -> None:
    peer = make(False)
    peer.use(issue(root(), ["localhost"], kind=kind))
    context = client_context(verify=lambda chain, name: None, cipher_suites=[suite])
    client = context.handshake("localhost", CLIENT_PARAMETERS)
    finish(client, peer)
    assert client.cipher_suite == suite


@pytest.mark.parametrize("kind", ["p256", "p384", "rsa", "ed25519"])
@pytest.mark.parametrize("suite", list(CipherSuite))
def test_our_server(make: Make, suite: CipherSuite, kind: str) -> None:
    peer = make(True, roots=ROOT, name="localhost")
    certificate = issue(root(), ["localhost"], kind=kind)
    server = server_context(certificate, cipher_suites=[suite]).handshake(SERVER_PARAMETERS)
    finish(server, peer)
    assert server.server_name == "localhost"
    assert peer.peer_certificate == certificate.chain[0]


# Certificates of clients.


@pytest.mark.parametrize("required", [True, False])
@pytest.mark.parametrize("with_certificate", [True, False])
def test_our_client_is_asked(make: Make, required: bool, with_certificate: bool) -> None:
    peer = make(False, roots=ROOT)
    peer.use(leaf())
    peer.verify(required=required)
    user = issue(root(), ["user"], client=True)
    options = {"client_cert": user.cert_pem, "client_key": user.key_pem} if with_certificate else {}
    client = trusting(**options).handshake("localhost", CLIENT_PARAMETERS)
    if required and not with_certificate:
        client.start()
        with pytest.raises(OpenSslError) as info:
            exchange(client, peer)
        assert info.value.alert == 116
        return
    finish(client, peer)
    assert peer.peer_certificate == (user.chain[0] if with_certificate else None)


@pytest.mark.parametrize("mode", ["required", "optional"])
@pytest.mark.parametrize("with_certificate", [True, False])
def test_our_server_asks(make: Make, mode: Any, with_certificate: bool) -> None:
    peer = make(True, roots=ROOT, name="localhost")
    user = issue(root(), ["user"], client=True)
    if with_certificate:
        peer.use(user)
    context = server_context(leaf(), client_ca=root().cert_pem, client_auth=mode)
    server = context.handshake(SERVER_PARAMETERS)
    if mode == "required" and not with_certificate:
        peer.receive(b"")
        with pytest.raises(Alert) as info:
            exchange(server, peer)
        assert info.value.description == 116
        return
    finish(server, peer)
    # OpenSSL adds the root that it knows.
    assert server.peer_certificates[:1] == (list(user.chain) if with_certificate else [])


# Raw public keys.


@pytest.mark.parametrize("kind", ["p256", "p384", "rsa", "ed25519"])
def test_raw_public_key_of_their_server(make: Make, kind: str) -> None:
    peer = make(False)
    certificate = leaf(kind)
    peer.use(certificate, with_chain=False)
    peer.certificate_types(server=b"\2")
    context = client_context(server_public_keys=[spki(certificate)])
    client = context.handshake("localhost", CLIENT_PARAMETERS)
    finish(client, peer)
    assert client.peer_public_key == spki(certificate)


@pytest.mark.parametrize("kind", ["p256", "p384", "rsa", "ed25519"])
@pytest.mark.parametrize("types", [b"\2", b"\2\0"])
def test_raw_public_key_of_our_server(make: Make, kind: str, types: bytes) -> None:
    peer = make(True, name="localhost")
    peer.certificate_types(server=types)
    peer.expect_key(spki(leaf(kind)))
    context = server_context(raw_public_key=leaf(kind).private_key)
    finish(context.handshake(SERVER_PARAMETERS), peer)
    assert peer.peer_public_key == spki(leaf(kind))


def test_raw_public_key_that_they_do_not_know(make: Make) -> None:
    peer = make(True, name="localhost")
    peer.certificate_types(server=b"\2")
    peer.expect_key(spki(leaf("ed25519")))
    server = server_context(raw_public_key=leaf().private_key).handshake(SERVER_PARAMETERS)
    peer.receive(b"")
    with pytest.raises(OpenSslError):
        exchange(server, peer)


def test_raw_public_key_of_our_client(make: Make) -> None:
    peer = make(False)
    peer.use(leaf())
    peer.certificate_types(client=b"\2\0")
    peer.expect_key(spki(self_signed()))
    context = trusting(raw_public_key=self_signed().key_pem)
    finish(context.handshake("localhost", CLIENT_PARAMETERS), peer)
    assert peer.peer_public_key == spki(self_signed())


def test_raw_public_key_of_their_client(make: Make) -> None:
    peer = make(True, roots=ROOT, name="localhost")
    peer.use(self_signed(), with_chain=False)
    peer.certificate_types(client=b"\2")
    context = server_context(leaf(), client_public_keys=[spki(self_signed())])
    server = context.handshake(SERVER_PARAMETERS)
    finish(server, peer)
    assert server.peer_public_key == spki(self_signed())


def test_raw_public_keys_both_ways(make: Make) -> None:
    peer = make(True, name="localhost")
    peer.use(self_signed(), with_chain=False)
    peer.certificate_types(client=b"\2", server=b"\2")
    peer.expect_key(spki(leaf()))
    context = server_context(
        certificate_chain=None,
        private_key=None,
        raw_public_key=leaf().private_key,
        client_public_keys=[spki(self_signed())],
    )
    server = context.handshake(SERVER_PARAMETERS)
    finish(server, peer)
    assert (peer.peer_public_key, server.peer_public_key) == (spki(leaf()), spki(self_signed()))


def test_their_client_wants_a_raw_public_key_of_a_server_that_has_none(make: Make) -> None:
    peer = make(True, name="localhost")
    peer.certificate_types(server=b"\2")
    peer.expect_key(spki(leaf()))
    server = server_context(leaf()).handshake(SERVER_PARAMETERS)
    peer.receive(b"")
    with pytest.raises(Alert) as info:
        exchange(server, peer)
    assert info.value.description == 43


# Compression.


def test_compressed_certificate_of_their_server(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = make(False)
    peer.use(long_chain())
    peer.compress_with([1], send=True)
    client = trusting(certificate_compression=["zlib"]).handshake("localhost", CLIENT_PARAMETERS)
    seen: list[int] = []
    original = type(client).receive

    def receive(tls: Handshake, level: int, data: bytes) -> None:
        if level == 2:
            seen.extend(message[0] for message in split(data))
        original(tls, level, data)

    monkeypatch.setattr(type(client), "receive", receive)
    finish(client, peer)
    assert HandshakeType.COMPRESSED_CERTIFICATE in seen
    assert client.peer_certificates == list(long_chain().chain)


def test_compressed_certificate_of_our_server(make: Make) -> None:
    peer = make(True, roots=ROOT, name="localhost")
    peer.compress_with([1])
    server = server_context(long_chain()).handshake(SERVER_PARAMETERS)
    finish(server, peer)
    assert peer.peer_certificate == long_chain().chain[0]
    [identity] = server._context.credentials.for_name(None)
    assert 1 in identity._compressed


def test_compressed_certificates_of_clients(make: Make) -> None:
    user = long_chain(client=True)
    peer = make(True, roots=ROOT, name="localhost")
    peer.use(user)
    peer.compress_with([1])  # it does so as it sends
    server = server_context(leaf(), client_ca=root().cert_pem).handshake(SERVER_PARAMETERS)
    finish(server, peer)
    assert server.peer_certificates[:2] == list(user.chain)
    peer = make(False, roots=ROOT)
    peer.use(leaf())
    peer.compress_with([1])
    context = trusting(client_cert=user.cert_pem, client_key=user.key_pem)
    finish(context.handshake("localhost", CLIENT_PARAMETERS), peer)
    assert peer.peer_certificate == user.chain[0]
    assert context.identity is not None and 1 in context.identity._compressed


# Resumption.


def resumed_by(make: Make, context: Any, prepare: Callable[[OpenSslPeer], None]) -> Any:
    """Our server's side of the second of two handshakes with a client of theirs."""
    session = None
    for is_second in (False, True):
        peer = make(True, roots=ROOT, name="localhost")
        prepare(peer)
        if session is not None:
            peer.resume(session)
        server = context.handshake(SERVER_PARAMETERS)
        finish(server, peer)
        assert server.is_resumed == peer.is_resumed == is_second
        session = None if is_second else peer.session()
    return server


def test_their_client_resumes(make: Make) -> None:
    resumed_by(make, server_context(leaf()), lambda peer: None)


def test_their_client_resumes_with_a_certificate(make: Make) -> None:
    user = issue(root(), ["user"], client=True)
    context = server_context(leaf(), client_ca=root().cert_pem)
    server = resumed_by(make, context, lambda peer: peer.use(user))
    assert server.peer_certificates[:1] == list(user.chain)


def test_their_client_resumes_with_a_raw_public_key(make: Make) -> None:
    def prepare(peer: OpenSslPeer) -> None:
        peer.use(self_signed(), with_chain=False)
        peer.certificate_types(client=b"\2")

    context = server_context(leaf(), client_public_keys=[spki(self_signed())])
    assert resumed_by(make, context, prepare).peer_public_key == spki(self_signed())
