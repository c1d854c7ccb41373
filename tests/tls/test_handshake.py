from __future__ import annotations

import pytest

from cwt.tls import Alert, AlertDescription, CipherSuite, Group, Level
from cwt.tls.groups import supported_groups
from tests.tls.support import (
    CLIENT_PARAMETERS,
    SERVER_PARAMETERS,
    client_context,
    deliver,
    leaf,
    pair,
    run,
    self_signed,
    server_context,
)

ALL_GROUPS = supported_groups()


def test_both_sides_agree() -> None:
    client, server = pair()
    run(client, server)
    assert client.is_complete and server.is_complete
    assert client.alpn == server.alpn == b"h3"
    assert client.server_name == server.server_name == "localhost"
    assert client.cipher_suite == server.cipher_suite == CipherSuite.TLS_AES_128_GCM_SHA256
    assert client.group == server.group == ALL_GROUPS[0]
    assert client.peer_transport_parameters == SERVER_PARAMETERS
    assert server.peer_transport_parameters == CLIENT_PARAMETERS
    assert client.peer_certificates == list(self_signed().chain)
    assert server.peer_certificates == []


def test_secrets_match_and_come_in_the_order_to_install() -> None:
    client, server = pair()
    run(client, server)
    ours, theirs = client.secrets(), server.secrets()
    assert [(s.level, s.is_write) for s in ours] == [
        (Level.HANDSHAKE, False),
        (Level.HANDSHAKE, True),
        (Level.APPLICATION, True),
        (Level.APPLICATION, False),
    ]
    assert [(s.level, s.is_write) for s in theirs] == [
        (Level.HANDSHAKE, True),
        (Level.HANDSHAKE, False),
        (Level.APPLICATION, True),
        (Level.APPLICATION, False),
    ]
    assert {(s.level, s.is_write, s.secret) for s in ours} == {
        (s.level, not s.is_write, s.secret) for s in theirs
    }
    assert len({s.secret for s in ours}) == 4
    assert client.secrets() == [] and server.secrets() == []


def test_the_server_can_write_application_data_with_its_first_flight() -> None:
    client, server = pair()
    client.start()
    deliver(client, server)
    assert not server.is_complete
    assert (Level.APPLICATION, True) in [(s.level, s.is_write) for s in server.secrets()]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100, 1200])
def test_any_split(size: int) -> None:
    client, server = pair()
    run(client, server, size)
    assert client.is_complete and server.is_complete


@pytest.mark.parametrize("suite", list(CipherSuite))
@pytest.mark.parametrize("group", ALL_GROUPS)
def test_every_suite_and_group(suite: CipherSuite, group: Group) -> None:
    client, server = pair(client_context(cipher_suites=[suite], groups=[group]), server_context())
    run(client, server)
    assert server.is_complete
    assert (client.cipher_suite, client.group) == (suite, group)
    assert client.secrets()[-1].cipher_suite == suite
    exported = client.export_keying_material(b"EXPORTER-test", b"context", 48)
    assert exported == server.export_keying_material(b"EXPORTER-test", b"context", 48)
    assert len(exported) == 48
    assert exported != client.export_keying_material(b"EXPORTER-test", b"", 48)


@pytest.mark.parametrize("kind", ["p256", "p384", "rsa", "ed25519"])
def test_every_kind_of_server_key(kind: str) -> None:
    certificate = leaf(kind)
    client, server = pair(
        client_context(verify=lambda chain, name: None), server_context(certificate)
    )
    run(client, server)
    assert client.is_complete and server.is_complete


def test_a_long_chain() -> None:
    der = self_signed().chain[0]
    chain = [*leaf().chain, *[der] * (40_000 // len(der) + 1)]
    context = server_context(certificate_chain=chain, private_key=leaf().private_key)
    client, server = pair(client_context(verify=lambda chain, name: None), context)
    run(client, server, 1200)
    assert client.is_complete
    assert sum(map(len, client.peer_certificates)) >= 40_000


def test_export_needs_the_handshake() -> None:
    client, _ = pair()
    with pytest.raises(RuntimeError):
        client.export_keying_material(b"label", b"", 32)


def test_an_alert_is_final() -> None:
    client, server = pair(client_context(alpn=[b"other"]))
    client.start()
    with pytest.raises(Alert) as first:
        deliver(client, server)
    assert server.output() == []
    with pytest.raises(Alert) as second:
        server.receive(Level.INITIAL, b"")
    assert second.value is first.value


def test_an_unforeseen_error_is_an_alert_too(caplog: pytest.LogCaptureFixture) -> None:
    def broken(length: int) -> bytes:
        raise KeyError("no entropy")

    client, server = pair(server=server_context(random=broken))
    client.start()
    with pytest.raises(Alert) as info:
        deliver(client, server)
    assert info.value.description == AlertDescription.INTERNAL_ERROR
    assert isinstance(info.value.__cause__, KeyError)
    assert "no entropy" in caplog.text


def test_no_bytes_are_no_violation() -> None:
    client, server = pair()
    run(client, server)
    for level in Level:
        client.receive(level, b"")
        server.receive(level, b"")
