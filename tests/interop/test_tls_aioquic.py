"""Our TLS against aioquic's, both without I/O."""

from __future__ import annotations

import ssl
from typing import Any

import pytest

pytest.importorskip("aioquic")

from aioquic import tls as aio
from aioquic.buffer import Buffer

from cwt.tls import Alert, CipherSuite, Group, SessionCache
from cwt.tls.development import issue
from tests.interop.tls_peer import Peer, exchange, same_secrets
from tests.tls.support import (
    CLIENT_PARAMETERS,
    SERVER_PARAMETERS,
    client_context,
    root,
    server_context,
)

pytestmark = pytest.mark.interop


def client_peer(**options: Any) -> Peer:
    return Peer(aio, Buffer, True, CLIENT_PARAMETERS, server_name="localhost", **options)


def server_peer() -> Peer:
    return Peer(aio, Buffer, False, SERVER_PARAMETERS)


@pytest.mark.parametrize("suite", list(CipherSuite))
@pytest.mark.parametrize("kind", ["p256", "p384", "rsa", "ed25519"])
def test_our_client(suite: CipherSuite, kind: str) -> None:
    certificate = issue(root(), ["localhost"], kind=kind)
    peer = server_peer()
    peer.use(certificate)
    options: Any = {"cipher_suites": [suite]}
    options["verify"] = lambda chain, name: None
    client = client_context(**options).handshake("localhost", CLIENT_PARAMETERS)
    client.start()
    exchange(client, peer)
    assert client.is_complete and peer.is_complete
    assert (client.alpn, peer.context.alpn_negotiated) == (b"h3", "h3")
    assert client.cipher_suite == suite
    assert client.peer_transport_parameters == SERVER_PARAMETERS
    assert peer.context.received_extensions is not None
    assert (aio.ExtensionType.QUIC_TRANSPORT_PARAMETERS, CLIENT_PARAMETERS) in [
        (t, bytes(data)) for t, data in peer.context.received_extensions
    ]
    assert same_secrets(client, peer)


@pytest.mark.parametrize("group", [Group.X25519, Group.SECP256R1, Group.SECP384R1])
def test_our_client_with_each_group(group: Group) -> None:
    peer = server_peer()
    peer.use(issue(root(), ["localhost"]))
    context = client_context(groups=[group], verify=lambda chain, name: None)
    client = context.handshake("localhost", CLIENT_PARAMETERS)
    client.start()
    exchange(client, peer)
    assert client.is_complete and client.group == group
    assert same_secrets(client, peer)


def test_our_client_without_a_cache_gets_no_ticket() -> None:
    peer = server_peer()
    peer.use(issue(root(), ["localhost"]))
    tickets: list[Any] = []
    peer.context.new_session_ticket_cb = tickets.append
    context = client_context(verify=lambda chain, name: None)
    client = context.handshake("localhost", CLIENT_PARAMETERS)
    client.start()
    exchange(client, peer)
    assert client.is_complete and tickets == []


@pytest.mark.parametrize("suite", list(CipherSuite))
@pytest.mark.parametrize("group", [Group.X25519, Group.SECP256R1])
def test_our_client_resumes(suite: CipherSuite, group: Group) -> None:
    tickets: dict[bytes, Any] = {}
    certificate = issue(root(), ["localhost"])
    cache = SessionCache()
    for is_second in (False, True, True):
        peer = server_peer()
        peer.use(certificate)
        peer.context.new_session_ticket_cb = lambda ticket: tickets.update({ticket.ticket: ticket})
        peer.context.get_session_ticket_cb = tickets.get
        context = client_context(
            cipher_suites=[suite], groups=[group], verify=lambda _, __: None, session_cache=cache
        )
        client = context.handshake("localhost", CLIENT_PARAMETERS)
        client.start()
        exchange(client, peer)
        assert client.is_complete and peer.is_complete
        assert client.is_resumed == peer.context.session_resumed == is_second
        assert same_secrets(client, peer)


@pytest.mark.parametrize("name", ["certificate", "no certificate"])
def test_our_client_is_asked_for_a_certificate(name: str) -> None:
    peer = server_peer()
    peer.use(issue(root(), ["localhost"]))
    peer.context._request_client_certificate = True
    user = issue(root(), ["user"], client=True)
    options: Any = {"verify": lambda chain, name: None}
    if name == "certificate":
        options |= {"client_cert": user.cert_pem, "client_key": user.key_pem}
    client = client_context(**options).handshake("localhost", CLIENT_PARAMETERS)
    client.start()
    exchange(client, peer)
    assert client.is_complete and peer.is_complete
    assert same_secrets(client, peer)


@pytest.mark.parametrize("kind", ["p256", "p384", "rsa", "ed25519"])
@pytest.mark.parametrize("suite", list(CipherSuite))
def test_our_server(kind: str, suite: CipherSuite) -> None:
    certificate = issue(root(), ["localhost"], kind=kind)
    server = server_context(certificate, cipher_suites=[suite]).handshake(SERVER_PARAMETERS)
    peer = client_peer(cadata=root().cert_pem)
    peer.receive(b"")
    exchange(server, peer)
    assert server.is_complete and peer.is_complete
    assert (server.alpn, peer.context.alpn_negotiated) == (b"h3", "h3")
    assert server.server_name == "localhost"
    assert server.peer_transport_parameters == CLIENT_PARAMETERS
    assert same_secrets(server, peer)


@pytest.mark.parametrize("group", [Group.SECP256R1, Group.SECP384R1, Group.X25519])
def test_our_server_with_each_group(group: Group) -> None:
    server = server_context(groups=[group]).handshake(SERVER_PARAMETERS)
    peer = client_peer(verify_mode=ssl.CERT_NONE)
    peer.context._supported_groups = [aio.Group(group)]
    peer.receive(b"")
    exchange(server, peer)
    assert server.is_complete and server.group == group
    assert same_secrets(server, peer)


@pytest.mark.parametrize("kind", ["p256", "rsa"])
def test_our_server_asks_for_a_certificate(kind: str) -> None:
    server = server_context(client_ca=root().cert_pem).handshake(SERVER_PARAMETERS)
    peer = client_peer(verify_mode=ssl.CERT_NONE)
    user = issue(root(), ["user"], client=True, kind=kind)
    peer.use(user)
    peer.receive(b"")
    exchange(server, peer)
    assert server.is_complete and server.peer_certificates == list(user.chain)
    assert same_secrets(server, peer)


@pytest.mark.parametrize("suite", list(CipherSuite))
@pytest.mark.parametrize("group", [Group.X25519, Group.SECP256R1])
def test_our_server_resumes(suite: CipherSuite, group: Group) -> None:
    context = server_context(cipher_suites=[suite], groups=[group])
    tickets: list[Any] = []
    for is_second in (False, True, True):
        server = context.handshake(SERVER_PARAMETERS)
        peer = client_peer(verify_mode=ssl.CERT_NONE)
        peer.context._supported_groups = [aio.Group(group)]
        peer.context.session_ticket = tickets.pop() if tickets else None
        peer.context.new_session_ticket_cb = tickets.append
        peer.receive(b"")
        exchange(server, peer)
        assert server.is_complete and peer.is_complete
        assert server.is_resumed == peer.context.session_resumed == is_second
        assert same_secrets(server, peer)


def test_our_server_does_not_know_the_ticket() -> None:
    tickets: list[Any] = []
    for _ in range(2):
        server = server_context().handshake(SERVER_PARAMETERS)
        peer = client_peer(verify_mode=ssl.CERT_NONE)
        peer.context.session_ticket = tickets.pop() if tickets else None
        peer.context.new_session_ticket_cb = tickets.append
        peer.receive(b"")
        exchange(server, peer)
        assert server.is_complete and not server.is_resumed and not peer.context.session_resumed
        assert same_secrets(server, peer)


def test_our_server_without_a_common_protocol() -> None:
    server = server_context(alpn=[b"other"]).handshake(SERVER_PARAMETERS)
    peer = client_peer(verify_mode=ssl.CERT_NONE)
    peer.receive(b"")
    with pytest.raises(Alert) as info:
        exchange(server, peer)
    assert info.value.description == 120


def test_our_server_with_a_certificate_aioquic_refuses() -> None:
    server = server_context().handshake(SERVER_PARAMETERS)
    peer = client_peer(cadata=root().cert_pem)
    peer.receive(b"")
    with pytest.raises(aio.AlertBadCertificate):
        exchange(server, peer)
