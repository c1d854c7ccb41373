"""Loss detection and probe timeouts, through a connection (RFC 9002 Section 6)."""

from __future__ import annotations

import itertools
import tracemalloc

import pytest

from cwt._core.connection import Connection
from cwt.config import TransportConfig
from cwt.errors import HandshakeError
from cwt.errors import TransportErrorCode as Code
from tests._core.raw_peer import (
    HANDSHAKE,
    INITIAL,
    ONE_RTT,
    PING,
    RawClient,
    RawServer,
    ack,
    client_connection,
    parameters,
)
from tests._core.support import connected, connected_client

CONFIG = TransportConfig(grease=False, mtu_discovery=False, pacing=False)


def numbers(client: RawClient | RawServer, kind: int) -> list[int]:
    return [item.number for item in client.received if item.frame[0] == kind]


def test_a_packet_three_below_an_acknowledged_one_is_lost() -> None:
    client, server = connected(CONFIG)
    client.send(ONE_RTT, ack(client.largest[ONE_RTT], client.largest[ONE_RTT]))
    stream_id = server.open_stream()
    assert stream_id is not None
    for part in range(4):
        server.stream_send(stream_id, bytes([part]) * 10)
        client.collect()
    sent = numbers(client, 0x08)
    assert len(sent) == 4
    client.received.clear()
    client.send(ONE_RTT, ack(sent[2]))
    assert not client.frames(0x08)  # only two below
    client.send(ONE_RTT, ack(sent[3]))
    assert client.frames(0x08) == [(0x08, stream_id, 0, bytes(10), False)]
    assert server.stats().packets_lost == 1


def test_a_packet_older_than_nine_eighths_of_the_round_trip_is_lost() -> None:
    client, server = connected(CONFIG)
    client.send(ONE_RTT, ack(client.largest[ONE_RTT], client.largest[ONE_RTT]))
    stream_id = server.open_stream()
    assert stream_id is not None
    for part in (b"one", b"two"):
        server.stream_send(stream_id, part)
        client.collect()
    sent = numbers(client, 0x08)
    client.received.clear()
    client.now += 0.1
    client.send(ONE_RTT, ack(sent[1]))
    assert server.stats().packets_lost == 0
    client.advance(0.02)
    assert client.frames(0x08) == [(0x08, stream_id, 0, b"one", False)]
    assert server.stats().packets_lost == 1


def test_probes_carry_what_is_outstanding_and_back_off() -> None:
    client, server = connected(CONFIG)
    client.send(ONE_RTT, ack(client.largest[ONE_RTT], client.largest[ONE_RTT]))
    stream_id = server.open_stream()
    assert stream_id is not None
    server.stream_send(stream_id, b"data")
    client.collect()
    client.received.clear()
    times = []
    for _ in range(4):
        before = len(client.frames(0x08))
        delay = server.timeout(client.now)
        assert delay is not None and delay > 0
        client.now += delay
        server.on_timeout(client.now)
        client.collect()
        assert len(client.frames(0x08)) > before
        times.append(client.now)
    gaps = [b - a for a, b in itertools.pairwise(times)]
    assert all(later == pytest.approx(2 * earlier) for earlier, later in itertools.pairwise(gaps))
    assert server.stats().pto_count == 4


def test_a_client_probes_while_the_server_cannot_send() -> None:
    # RFC 9002 Section 6.2.2.1: everything is acknowledged, but the server may wait for credit.
    endpoint, connection = client_connection(CONFIG)
    server = RawServer(endpoint, answer=False).listen()
    server.send(INITIAL, ack(server.largest[INITIAL], server.largest[INITIAL]))
    server.received.clear()
    server.advance(3.0)
    assert server.frames(0x01)
    assert all(item.space == INITIAL for item in server.received)
    assert connection.termination is None


def test_a_client_that_only_acknowledged_in_the_handshake_does_not_probe_at_once() -> None:
    endpoint, _connection = client_connection(CONFIG)
    server = RawServer(endpoint, answer=False).listen()
    assert server.tls is not None
    server.take_secrets()
    output = server.tls.output()
    [initial] = [data for level, data in output if level == 0]
    server.send_crypto(INITIAL, initial)
    server.collect()
    server.send(HANDSHAKE, PING)
    server.received.clear()
    delay = endpoint.timeout(server.now)
    assert delay is not None and delay > 0.1


def test_a_probe_that_cannot_be_sent_does_not_spin() -> None:
    # The token of a Retry packet leaves no room for anything else.
    endpoint, connection = client_connection(CONFIG)
    now = 5000.0
    first = endpoint.send(now)
    assert first is not None
    while endpoint.send(now):
        pass
    server = RawServer(endpoint, now=now, answer=False)
    server.take_first(first[0])
    server.inject(server.retry(token=bytes(1190)))
    server.advance(20.0)
    assert isinstance(connection.termination, HandshakeError)


def test_acknowledgements_of_what_was_not_sent() -> None:
    client, _ = connected()
    client.send(ONE_RTT, ack(client.largest[ONE_RTT] + 1))
    assert client.close_code == Code.PROTOCOL_VIOLATION


def test_sending_only_acknowledgements_remembers_nothing() -> None:
    # A peer that never acknowledges must not make the records of sent packets grow (OpenSSL's
    # CVE-2026-63075).
    client, server = connected(CONFIG)
    stream_id = server.open_stream()
    assert stream_id is not None
    server.stream_send(stream_id, b"never acknowledged")
    client.collect()

    def flood(packets: int) -> None:
        for _ in range(packets):
            client.inject(client.packet(ONE_RTT, PING))
            while client.end.send(client.now):
                pass

    flood(200)
    before = server.stats().packets_sent
    tracemalloc.start()
    try:
        flood(3000)
        assert server.stats().packets_sent - before > 1000
        grown = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert grown < 32_000


def test_an_enormous_ack_delay_changes_nothing() -> None:
    # With the largest exponent it must not overflow into a negative delay.
    params = parameters(ack_delay_exponent=20).encode()
    client, server = connected(CONFIG, params=params)
    for _ in range(3):
        client.send(ONE_RTT, PING)
        stream_id = server.open_stream(False)
        assert stream_id is not None
        server.stream_send(stream_id, b"x", True)
        client.collect()
        client.now += 0.05
        client.send(ONE_RTT, ack(client.largest[ONE_RTT], delay=(1 << 62) - 1))
    assert server.termination is None
    assert 0 < server.stats().smoothed_rtt < 0.1


def test_the_number_of_a_client_is_confirmed_by_handshake_done() -> None:
    server, connection = connected_client()
    server.send(ONE_RTT, b"\x1e")
    assert connection.is_confirmed


def stream_of(connection: Connection) -> int:
    stream_id = connection.open_stream()
    assert stream_id is not None
    return stream_id


def sent_one_by_one(client: RawClient, server: Connection, packets: int) -> list[int]:
    """The numbers of *packets* packets, each with ten bytes of one stream."""
    client.send(ONE_RTT, ack(client.largest[ONE_RTT], client.largest[ONE_RTT]))
    client.received.clear()
    stream_id = stream_of(server)
    for part in range(packets):
        server.stream_send(stream_id, bytes([part]) * 10)
        client.collect()
    return numbers(client, 0x08)


def test_a_loss_that_was_none_is_undone_and_remembered() -> None:
    client, server = connected(CONFIG)
    sent = sent_one_by_one(client, server, 8)
    window = server.stats().congestion_window
    client.now += 0.05
    client.inject(client.packet(ONE_RTT, ack(sent[4], sent[4] - sent[1])))
    stats = server.stats()
    assert (stats.packets_lost, stats.packets_lost_spuriously) == (1, 0)
    assert stats.congestion_window < window
    client.inject(client.packet(ONE_RTT, ack(sent[4], sent[4] - sent[0])))
    stats = server.stats()
    assert (stats.packets_lost, stats.packets_lost_spuriously) == (1, 1)
    assert stats.congestion_window >= window
    # It had not been sent again yet, and now need not be.
    before = len(client.received)
    client.collect()
    assert not [item for item in client.received[before:] if item.frame[0] == 0x08]
    # As much later is no loss any more.
    client.inject(client.packet(ONE_RTT, ack(sent[4], sent[4] - sent[0])))
    client.inject(client.packet(ONE_RTT, ack(sent[7], sent[7] - sent[6])))
    assert server.stats().packets_lost == 1


def test_a_window_that_a_true_loss_shrank_stays() -> None:
    client, server = connected(CONFIG)
    sent = sent_one_by_one(client, server, 8)
    window = server.stats().congestion_window
    client.now += 0.05
    client.inject(client.packet(ONE_RTT, ack(sent[6], sent[6] - sent[2])))
    assert server.stats().packets_lost == 2
    client.inject(client.packet(ONE_RTT, ack(sent[6], sent[6] - sent[1])))
    stats = server.stats()
    assert (stats.packets_lost, stats.packets_lost_spuriously) == (2, 1)
    assert stats.congestion_window < window


def test_lost_packets_are_remembered_for_a_while() -> None:
    client, server = connected(CONFIG)
    sent = sent_one_by_one(client, server, 8)
    client.send(ONE_RTT, ack(sent[4], sent[4] - sent[1]))
    client.advance(5.0)
    server.stream_send(stream_of(server), b"now")
    client.collect()
    client.send(ONE_RTT, ack(client.largest[ONE_RTT]))
    client.send(ONE_RTT, ack(sent[4], sent[4] - sent[0]))
    assert server.stats().packets_lost_spuriously == 0


def test_a_window_grows_only_when_it_was_full() -> None:
    # RFC 9002 Section 7.8: after a loss, so not in slow start.
    client, server = connected(CONFIG)
    sent = sent_one_by_one(client, server, 8)
    client.send(ONE_RTT, ack(sent[7], sent[7] - sent[1]))
    window = server.stats().congestion_window
    stream_id = stream_of(server)
    for _ in range(20):
        server.stream_send(stream_id, bytes(window * 2 // 3))
        client.collect()
        client.now += 0.05
        client.send(ONE_RTT, ack(client.largest[ONE_RTT], client.largest[ONE_RTT] - sent[7] - 1))
    assert server.stats().congestion_window == window
    for _ in range(20):
        server.stream_send(stream_id, bytes(window * 2))
        client.collect()
        client.now += 0.05
        client.send(ONE_RTT, ack(client.largest[ONE_RTT], client.largest[ONE_RTT] - sent[7] - 1))
    assert server.stats().congestion_window > window
