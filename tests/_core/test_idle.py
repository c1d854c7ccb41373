"""The idle timeout and keep-alive (RFC 9000 Section 10.1)."""

from __future__ import annotations

import pytest

from cwt.config import TransportConfig
from cwt.errors import ConfigError, HandshakeError, IdleTimeout
from tests._core.raw_peer import (
    ONE_RTT,
    PING,
    RawClient,
    RawServer,
    ack,
    parameters,
    server_endpoint,
)
from tests._core.support import connected, connected_client

CONFIG = TransportConfig(grease=False, mtu_discovery=False, max_idle_timeout=5.0)

HANDSHAKE_DONE = b"\x1e"


def acknowledge_all(client: RawClient | RawServer) -> None:
    client.send(ONE_RTT, ack(client.largest[ONE_RTT], client.largest[ONE_RTT]))


def test_silence_ends_the_connection_without_a_word() -> None:
    client, server = connected(CONFIG)
    acknowledge_all(client)
    client.advance(4.9)
    assert server.termination is None
    client.received.clear()
    client.advance(0.2)
    assert isinstance(server.termination, IdleTimeout)
    assert server.is_closed
    assert not client.received


@pytest.mark.parametrize(
    ("theirs", "seconds"), [(0, 5.0), (2000, 2.0), (9000, 5.0), ((1 << 62) - 1, 5.0)]
)
def test_the_smaller_timeout_counts(theirs: int, seconds: float) -> None:
    client, server = connected(CONFIG, params=parameters(max_idle_timeout=theirs).encode())
    acknowledge_all(client)
    client.advance(seconds - 0.1)
    assert server.termination is None
    client.advance(0.2)
    assert isinstance(server.termination, IdleTimeout)


def test_what_is_received_restarts_it() -> None:
    client, server = connected(CONFIG)
    for _ in range(4):
        client.advance(4.0)
        client.send(ONE_RTT, PING)
        acknowledge_all(client)
    assert server.termination is None


def test_only_the_first_packet_sent_restarts_it() -> None:
    client, server = connected(CONFIG)
    acknowledge_all(client)
    stream_id = server.open_stream()
    assert stream_id is not None
    for _ in range(4):
        client.advance(2.0)
        if not server.is_closed:
            server.stream_send(stream_id, b"x")
    assert isinstance(server.termination, IdleTimeout)


def test_it_is_never_below_three_probe_timeouts() -> None:
    config = TransportConfig(
        grease=False, mtu_discovery=False, max_idle_timeout=0.001, initial_rtt=1.0
    )
    client = RawClient(server_endpoint(config), answer=False).connect()
    assert client.connection is not None
    client.advance(2.0)
    assert client.connection.termination is None


def test_no_timeout_at_all() -> None:
    client, server = connected(
        TransportConfig(grease=False, mtu_discovery=False, max_idle_timeout=0)
    )
    acknowledge_all(client)
    client.advance(10_000.0)
    assert server.termination is None


def test_the_longest_times_that_can_be_set() -> None:
    longest = float(1 << 32)
    config = TransportConfig(
        grease=False,
        mtu_discovery=False,
        max_idle_timeout=longest,
        handshake_timeout=longest,
        keep_alive_interval=longest,
    )
    client = RawClient(server_endpoint(config), answer=False).connect()
    assert client.connection is not None
    client.advance(1000.0)
    assert client.connection.termination is None
    client.send_tls()
    client.collect()
    assert client.connection.is_established
    acknowledge_all(client)
    client.advance(1e6)
    assert client.connection.termination is None
    for name in ("max_idle_timeout", "handshake_timeout", "keep_alive_interval"):
        with pytest.raises(ConfigError, match=name):
            TransportConfig(**{name: longest + 1})  # type: ignore[arg-type]


def test_keep_alive() -> None:
    config = TransportConfig(
        grease=False, mtu_discovery=False, max_idle_timeout=5.0, keep_alive_interval=2.0
    )
    client, server = connected(config)
    acknowledge_all(client)
    client.received.clear()
    for _ in range(10):
        client.advance(2.01)
        assert client.frames(0x01)
        acknowledge_all(client)
        client.received.clear()
    assert server.termination is None
    client.advance(60.0)
    assert isinstance(server.termination, IdleTimeout)


def test_a_handshake_that_does_not_end() -> None:
    config = TransportConfig(grease=False, mtu_discovery=False, handshake_timeout=3.0)
    client = RawClient(server_endpoint(config), answer=False).connect()
    assert client.connection is not None
    client.advance(2.9)
    assert client.connection.termination is None
    client.advance(0.2)
    assert isinstance(client.connection.termination, HandshakeError)


@pytest.mark.parametrize(("packets", "pings"), [(40, 4), (8, 0)])
def test_a_client_asks_what_became_of_a_flow_that_stopped(packets: int, pings: int) -> None:
    server, connection = connected_client(CONFIG)
    server.send(ONE_RTT, HANDSHAKE_DONE)
    acknowledge_all(server)
    server.advance(1.0)
    server.received.clear()
    for _ in range(packets):
        server.now += 0.001
        server.send(ONE_RTT, b"\x30datagram")
    acknowledge_all(server)
    server.received.clear()
    for _ in range(20):
        server.advance(0.2)
        acknowledge_all(server)
    assert len(server.frames(0x01)) == pings
    assert connection.termination is None


def test_a_server_does_not_ask() -> None:
    client, _server = connected(CONFIG)
    for _ in range(40):
        client.now += 0.001
        client.send(ONE_RTT, b"\x30datagram")
    acknowledge_all(client)
    client.received.clear()
    client.advance(3.0)
    assert not client.frames(0x01)
