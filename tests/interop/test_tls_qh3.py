"""Our TLS against qh3's: its key exchange and AEAD are aws-lc's, its ClientHello is Chrome's."""

from __future__ import annotations

import ssl
from typing import Any

import pytest

pytest.importorskip("qh3")

from qh3 import tls as qh3

from cwt.tls import CipherSuite, Group
from cwt.tls.development import issue
from cwt.tls.groups import supported_groups
from tests.interop.tls_peer import Peer, exchange, same_secrets
from tests.tls.support import (
    CLIENT_PARAMETERS,
    SERVER_PARAMETERS,
    client_context,
    long_chain,
    root,
    server_context,
)

pytestmark = pytest.mark.interop
HYBRID = Group.X25519MLKEM768 in supported_groups()


def client_peer(**options: Any) -> Peer:
    options.setdefault("verify_mode", ssl.CERT_NONE)
    return Peer(qh3, qh3.Buffer, True, CLIENT_PARAMETERS, server_name="localhost", **options)


def server_peer() -> Peer:
    return Peer(qh3, qh3.Buffer, False, SERVER_PARAMETERS)


@pytest.mark.parametrize("group", [g for g in supported_groups() if g != Group.SECP384R1])
@pytest.mark.parametrize("suite", list(CipherSuite))
def test_our_client(group: Group, suite: CipherSuite) -> None:
    peer = server_peer()
    peer.use(issue(root(), ["localhost"]))
    context = client_context(groups=[group], cipher_suites=[suite], verify=lambda chain, name: None)
    client = context.handshake("localhost", CLIENT_PARAMETERS)
    client.start()
    exchange(client, peer)
    assert client.is_complete and peer.is_complete
    assert (client.group, client.cipher_suite, client.alpn) == (group, suite, b"h3")
    assert client.peer_transport_parameters == SERVER_PARAMETERS
    assert same_secrets(client, peer)


@pytest.mark.parametrize("group", [None, Group.X25519])
@pytest.mark.parametrize("kind", ["p256", "p384", "rsa"])
def test_our_server(group: Group | None, kind: str) -> None:
    context = server_context(
        issue(root(), ["localhost"], kind=kind), groups=None if group is None else [group]
    )
    server = context.handshake(SERVER_PARAMETERS)
    peer = client_peer(verify_mode=ssl.CERT_REQUIRED, cadata=root().cert_pem)
    peer.receive(b"")
    exchange(server, peer)
    assert server.is_complete and peer.is_complete
    best = Group.X25519MLKEM768 if HYBRID else Group.X25519
    assert server.group == (group or best)
    assert server.peer_transport_parameters == CLIENT_PARAMETERS
    assert same_secrets(server, peer)


def test_our_server_compresses_its_certificate() -> None:
    pytest.importorskip("brotli")
    server = server_context(long_chain()).handshake(SERVER_PARAMETERS)
    peer = client_peer(verify_mode=ssl.CERT_REQUIRED, cadata=root().cert_pem)
    peer.receive(b"")
    exchange(server, peer)
    assert server.is_complete and peer.is_complete
    [identity] = server._context.credentials.for_name(None)
    assert list(identity._compressed) == [2]
