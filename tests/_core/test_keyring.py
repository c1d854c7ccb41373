"""Key updates of 1-RTT packets, through a connection (RFC 9001 Section 6)."""

from __future__ import annotations

import pytest

from cwt._core.connection import Connection
from cwt.config import TransportConfig
from cwt.errors import TransportErrorCode as Code
from tests._core.raw_peer import ONE_RTT, PING, RawClient, RawServer, ack, client_connection, stream
from tests._core.support import connected, key_count

CONFIG = TransportConfig(grease=False, mtu_discovery=False, pacing=False)


def acknowledge(client: RawClient) -> None:
    client.send(ONE_RTT, ack(client.largest[ONE_RTT]))


def update(client: RawClient) -> None:
    """The raw peer starts a new key phase for what it sends."""
    key = client.write[ONE_RTT]
    assert key is not None
    client.write[ONE_RTT] = key.updated()
    client.key_phase ^= 1


def talk(client: RawClient, server: Connection, text: bytes) -> None:
    """Bytes go both ways, on a new stream of the server's."""
    stream_id = server.open_stream(False)
    assert stream_id is not None
    server.stream_send(stream_id, text, True)
    client.collect()
    assert (0x08, stream_id, 0, text, True) in client.frames(0x08)
    before = server.stats().packets_received
    client.send(ONE_RTT, PING)
    assert server.stats().packets_received == before + 1


def test_the_peer_updates() -> None:
    client, server = connected(CONFIG)
    talk(client, server, b"before")
    update(client)
    talk(client, server, b"after")
    assert server.key_updates == 1
    acknowledge(client)
    update(client)
    talk(client, server, b"again")
    assert server.key_updates == 2
    assert server.termination is None


def test_we_update_and_the_peer_follows() -> None:
    client, server = connected(CONFIG)
    acknowledge(client)
    assert server.initiate_key_update()
    stream_id = server.open_stream(False)
    assert stream_id is not None
    server.stream_send(stream_id, b"new phase", True)
    client.collect()
    assert (0x08, stream_id, 0, b"new phase", True) in client.frames(0x08)
    client.send(ONE_RTT, PING)  # still under the old keys: it may not have seen ours yet
    update(client)
    talk(client, server, b"both")
    assert server.key_updates == 1
    assert server.termination is None


def test_packets_of_the_old_phase_come_late() -> None:
    client, server = connected(CONFIG)
    late = client.packet(ONE_RTT, stream(0, b"late"))
    update(client)
    client.send(ONE_RTT, PING)
    client.inject(late)
    assert server.stream_recv(0) == (b"late", False)
    assert server.key_updates == 1


@pytest.mark.parametrize("ours", [True, False])
def test_old_keys_go_after_three_probe_timeouts(ours: bool) -> None:
    client, server = connected(CONFIG)
    late = [client.packet(ONE_RTT, stream(4 * i, b"late")) for i in range(2)]
    acknowledge(client)
    if ours:
        assert server.initiate_key_update()
        client.advance(20.0)  # however long the peer takes to follow
    update(client)
    client.send(ONE_RTT, PING)
    client.inject(late[0])
    assert server.stream_recv(0) == (b"late", False)
    client.advance(20.0)
    client.send(ONE_RTT, PING)
    before = server.stats().packets_received
    client.inject(late[1])
    assert server.stats().packets_received == before
    talk(client, server, b"as before")


def test_no_update_before_the_last_one_is_acknowledged() -> None:
    client, server = connected(CONFIG)
    acknowledge(client)
    assert server.initiate_key_update()
    assert not server.initiate_key_update()
    server.ping()
    client.collect()
    assert not server.initiate_key_update()
    update(client)
    acknowledge(client)
    assert server.initiate_key_update()
    server.ping()
    client.collect()
    assert server.termination is None


def test_no_update_before_the_handshake_is_confirmed() -> None:
    endpoint, connection = client_connection(CONFIG)
    server = RawServer(endpoint).listen()
    connection.ping()
    server.collect()
    server.send(ONE_RTT, ack(server.largest[ONE_RTT]))
    assert connection.is_established
    assert not connection.initiate_key_update()
    server.send(ONE_RTT, b"\x1e" + ack(server.largest[ONE_RTT]))
    assert connection.initiate_key_update()


def test_two_updates_of_the_peer_at_once() -> None:
    client, server = connected(CONFIG)
    update(client)
    client.inject(client.packet(ONE_RTT, PING))
    update(client)
    client.inject(client.packet(ONE_RTT, PING))
    client.collect()
    assert getattr(server.termination, "code", None) == Code.KEY_UPDATE_ERROR


@pytest.mark.parametrize("flip", [0x04, 0x20, 0x01])
def test_a_forged_header_is_no_update(flip: int) -> None:
    client, server = connected(CONFIG)
    before = server.stats().packets_received
    client.inject(client.packet(ONE_RTT, PING * 30, first_byte=flip))
    assert server.stats().packets_received == before
    assert server.key_updates == 0
    talk(client, server, b"as before")


def test_old_keys_under_a_newer_number_are_not_taken() -> None:
    client, server = connected(CONFIG)
    old = client.write[ONE_RTT]
    update(client)
    client.send(ONE_RTT, PING)
    before = server.stats().packets_received
    client.inject(client.packet(ONE_RTT, PING * 30, key=old, key_phase=0))
    assert server.stats().packets_received == before
    assert server.key_updates == 1


def test_the_next_key_is_there_before_anybody_asks_for_it() -> None:
    """A wrong Key Phase bit costs what a right one does (Section 9.5)."""
    client, server = connected(CONFIG)
    before = key_count(server)
    client.inject(client.packet(ONE_RTT, PING * 30, key_phase=1))
    assert key_count(server) == before
    update(client)
    client.send(ONE_RTT, PING)
    assert key_count(server) == before + 1, "the old one, too"
    client.inject(client.packet(ONE_RTT, PING * 30, key_phase=0))
    assert key_count(server) == before + 1
    assert server.key_updates == 1


# Limits of a key (Section 6.6).


def lower(monkeypatch: pytest.MonkeyPatch, name: str, limit: int) -> None:
    def lowered(cipher_suite: int) -> int:
        return limit

    monkeypatch.setattr(f"cwt._core.keyring.{name}", lowered)


def test_keys_are_updated_before_they_wear_out(monkeypatch: pytest.MonkeyPatch) -> None:
    lower(monkeypatch, "confidentiality_limit", 200)
    client, server = connected(CONFIG)
    for _ in range(150):
        server.ping()
        client.collect()
        if server.key_updates % 2 != client.key_phase:
            update(client)
        acknowledge(client)
    assert server.key_updates in (1, 2)
    assert server.termination is None


def test_a_key_that_cannot_be_updated_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    # The peer acknowledges nothing, and makes us acknowledge.
    lower(monkeypatch, "confidentiality_limit", 200)
    client, server = connected(CONFIG)
    sent = 0
    while server.termination is None and sent < 1000:
        client.send(ONE_RTT, PING)
        sent += 1
    client.advance(0.001)
    assert client.close_code == Code.AEAD_LIMIT_REACHED
    assert client.largest[ONE_RTT] <= 200


def test_too_many_forgeries_end_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    lower(monkeypatch, "integrity_limit", 10)
    client, server = connected(CONFIG)
    for _ in range(10):
        forged = bytearray(client.packet(ONE_RTT, PING * 30))
        forged[-1] ^= 1
        client.inject(bytes(forged))
    assert server.termination is None
    client.inject(b"\x41" + client.dcid + bytes(60))
    client.collect()
    assert client.close_code == Code.AEAD_LIMIT_REACHED
