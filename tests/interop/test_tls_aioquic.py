"""Our TLS against aioquic's, both without I/O."""

from __future__ import annotations

import ssl
from typing import Any

import pytest

pytest.importorskip("aioquic")

from aioquic import tls as aio
from aioquic.buffer import Buffer
from cryptography import x509

from cwt.tls import Alert, CipherSuite, Group, Handshake, Level
from cwt.tls.development import DevelopmentCertificate, issue
from tests.tls.support import (
    CLIENT_PARAMETERS,
    SERVER_PARAMETERS,
    client_context,
    root,
    server_context,
)

pytestmark = pytest.mark.interop

EPOCHS = {
    aio.Epoch.INITIAL: Level.INITIAL,
    aio.Epoch.HANDSHAKE: Level.HANDSHAKE,
    aio.Epoch.ONE_RTT: Level.APPLICATION,
}


class Peer:
    """aioquic's side, with the shape of ours."""

    def __init__(self, is_client: bool, parameters: bytes, **options: Any) -> None:
        self.context = aio.Context(is_client=is_client, alpn_protocols=["h3"], **options)
        self.context.handshake_extensions = [
            (aio.ExtensionType.QUIC_TRANSPORT_PARAMETERS, parameters)
        ]
        self.secrets: set[tuple[int, bool, bytes]] = set()
        self.context.update_traffic_key_cb = self.install
        self.buffers = {epoch: Buffer(capacity=1 << 16) for epoch in EPOCHS}

    def install(self, direction: Any, epoch: Any, suite: Any, secret: bytes) -> None:
        self.secrets.add((EPOCHS[epoch], direction == aio.Direction.ENCRYPT, secret))

    def use(self, certificate: DevelopmentCertificate) -> None:
        chain = [x509.load_der_x509_certificate(der) for der in certificate.chain]
        self.context.certificate, self.context.certificate_chain = chain[0], chain[1:]
        self.context.certificate_private_key = certificate.private_key  # type: ignore[assignment]

    def receive(self, data: bytes) -> None:
        self.context.handle_message(data, self.buffers)

    def output(self) -> list[tuple[int, bytes]]:
        taken = [
            (EPOCHS[epoch], buffer.data) for epoch, buffer in self.buffers.items() if buffer.data
        ]
        self.buffers = {epoch: Buffer(capacity=1 << 16) for epoch in EPOCHS}
        return taken


def exchange(ours: Handshake, peer: Peer) -> None:
    while True:
        output = ours.output()
        for _, data in output:
            peer.receive(data)
        answer = peer.output()
        for level, data in answer:
            ours.receive(level, data)
        if not output and not answer:
            return


def same_secrets(ours: Handshake, peer: Peer) -> bool:
    mirrored = {(s.level, not s.is_write, s.secret) for s in ours.secrets()}
    return mirrored == peer.secrets and len(mirrored) == 4


@pytest.mark.parametrize("suite", list(CipherSuite))
@pytest.mark.parametrize("kind", ["p256", "p384", "rsa", "ed25519"])
def test_our_client(suite: CipherSuite, kind: str) -> None:
    certificate = issue(root(), ["localhost"], kind=kind)
    peer = Peer(False, SERVER_PARAMETERS)
    peer.use(certificate)
    options: Any = {"cipher_suites": [suite]}
    options["verify"] = lambda chain, name: None
    client = client_context(**options).handshake("localhost", CLIENT_PARAMETERS)
    client.start()
    exchange(client, peer)
    assert client.is_complete and peer.context.state == aio.State.SERVER_POST_HANDSHAKE
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
    peer = Peer(False, SERVER_PARAMETERS)
    peer.use(issue(root(), ["localhost"]))
    context = client_context(groups=[group], verify=lambda chain, name: None)
    client = context.handshake("localhost", CLIENT_PARAMETERS)
    client.start()
    exchange(client, peer)
    assert client.is_complete and client.group == group
    assert same_secrets(client, peer)


def test_our_client_takes_tickets() -> None:
    peer = Peer(False, SERVER_PARAMETERS)
    peer.use(issue(root(), ["localhost"]))
    tickets: list[Any] = []
    peer.context.new_session_ticket_cb = tickets.append
    context = client_context(verify=lambda chain, name: None)
    client = context.handshake("localhost", CLIENT_PARAMETERS)
    client.start()
    # aioquic makes a ticket only for clients that offer PSK modes, which ours does not.
    exchange(client, peer)
    assert client.is_complete and tickets == []


@pytest.mark.parametrize("name", ["certificate", "no certificate"])
def test_our_client_is_asked_for_a_certificate(name: str) -> None:
    peer = Peer(False, SERVER_PARAMETERS)
    peer.use(issue(root(), ["localhost"]))
    peer.context._request_client_certificate = True
    user = issue(root(), ["user"], client=True)
    options: Any = {"verify": lambda chain, name: None}
    if name == "certificate":
        options |= {"client_cert": user.cert_pem, "client_key": user.key_pem}
    client = client_context(**options).handshake("localhost", CLIENT_PARAMETERS)
    client.start()
    exchange(client, peer)
    assert client.is_complete and peer.context.state == aio.State.SERVER_POST_HANDSHAKE
    assert same_secrets(client, peer)


@pytest.mark.parametrize("kind", ["p256", "p384", "rsa", "ed25519"])
@pytest.mark.parametrize("suite", list(CipherSuite))
def test_our_server(kind: str, suite: CipherSuite) -> None:
    certificate = issue(root(), ["localhost"], kind=kind)
    server = server_context(certificate, cipher_suites=[suite]).handshake(SERVER_PARAMETERS)
    peer = Peer(True, CLIENT_PARAMETERS, server_name="localhost", cadata=root().cert_pem)
    peer.receive(b"")
    exchange(server, peer)
    assert server.is_complete and peer.context.state == aio.State.CLIENT_POST_HANDSHAKE
    assert (server.alpn, peer.context.alpn_negotiated) == (b"h3", "h3")
    assert server.server_name == "localhost"
    assert server.peer_transport_parameters == CLIENT_PARAMETERS
    assert same_secrets(server, peer)


@pytest.mark.parametrize("group", [Group.SECP256R1, Group.SECP384R1, Group.X25519])
def test_our_server_with_each_group(group: Group) -> None:
    server = server_context(groups=[group]).handshake(SERVER_PARAMETERS)
    peer = Peer(True, CLIENT_PARAMETERS, server_name="localhost", verify_mode=ssl.CERT_NONE)
    peer.context._supported_groups = [aio.Group(group)]
    peer.receive(b"")
    exchange(server, peer)
    assert server.is_complete and server.group == group
    assert same_secrets(server, peer)


@pytest.mark.parametrize("kind", ["p256", "rsa"])
def test_our_server_asks_for_a_certificate(kind: str) -> None:
    server = server_context(client_ca=root().cert_pem).handshake(SERVER_PARAMETERS)
    peer = Peer(True, CLIENT_PARAMETERS, server_name="localhost", verify_mode=ssl.CERT_NONE)
    user = issue(root(), ["user"], client=True, kind=kind)
    peer.use(user)
    peer.receive(b"")
    exchange(server, peer)
    assert server.is_complete and server.peer_certificates == list(user.chain)
    assert same_secrets(server, peer)


def test_our_server_without_a_common_protocol() -> None:
    server = server_context(alpn=[b"other"]).handshake(SERVER_PARAMETERS)
    peer = Peer(True, CLIENT_PARAMETERS, server_name="localhost", verify_mode=ssl.CERT_NONE)
    peer.receive(b"")
    with pytest.raises(Alert) as info:
        exchange(server, peer)
    assert info.value.description == 120


def test_our_server_with_a_certificate_aioquic_refuses() -> None:
    server = server_context().handshake(SERVER_PARAMETERS)
    peer = Peer(True, CLIENT_PARAMETERS, server_name="localhost", cadata=root().cert_pem)
    peer.receive(b"")
    with pytest.raises(aio.AlertBadCertificate):
        exchange(server, peer)
