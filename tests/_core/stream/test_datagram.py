"""Unreliable datagrams, through a connection (RFC 9221)."""

from __future__ import annotations

import pytest

from cwt.config import TransportConfig
from cwt.errors import DatagramTooLarge
from cwt.errors import TransportErrorCode as Code
from tests._core.raw_peer import ONE_RTT, ack, frame, new_connection_id, parameters
from tests._core.support import connected

PARAMETERS = parameters(max_datagram_frame_size=65535).encode()


def test_both_ways() -> None:
    client, server = connected(params=PARAMETERS)
    client.send(ONE_RTT, frame(0x31, 3, b"one") + frame(0x30, b"two"))
    assert [server.dgram_recv() for _ in range(3)] == [b"one", b"two", None]
    assert server.dgram_send(b"three")
    client.collect()
    assert client.frames(0x30) == [(0x30, b"three")]


def test_nothing_for_a_peer_that_takes_none() -> None:
    _, server = connected()
    assert server.dgram_max_writable_len() == 0
    with pytest.raises(DatagramTooLarge):
        server.dgram_send(b"x")
    with pytest.raises(DatagramTooLarge):
        server.dgram_send(b"")


def test_the_limit_of_the_peer_counts_the_frame() -> None:
    client, server = connected(params=parameters(max_datagram_frame_size=100).encode())
    limit = server.dgram_max_writable_len()
    assert limit == 99
    with pytest.raises(DatagramTooLarge) as raised:
        server.dgram_send(bytes(limit + 1))
    assert raised.value.limit == limit
    server.dgram_send(bytes(limit))
    client.collect()
    assert client.frames(0x30) == [(0x30, bytes(limit))]


@pytest.mark.parametrize("less", range(12))
def test_the_largest_ones_fit_their_packets(less: int) -> None:
    client, server = connected(params=PARAMETERS)
    size = server.dgram_max_writable_len() - less
    server.dgram_send(bytes(size))
    client.collect()
    assert client.frames(0x30) == [(0x30, bytes(size))]


def test_one_that_fits_no_more_is_dropped() -> None:
    # The peer makes us use a longer connection ID while the largest datagram waits.
    client, server = connected(TransportConfig(grease=False), params=PARAMETERS)
    client.send(ONE_RTT, ack(client.largest[ONE_RTT], client.largest[ONE_RTT]))
    largest = server.dgram_max_writable_len()
    server.dgram_send(bytes(largest))
    server.dgram_send(b"small")
    client.inject(client.packet(ONE_RTT, new_connection_id(1, bytes(20), retire_prior_to=1)))
    client.scid = bytes(20)
    client.collect()
    assert server.dgram_max_writable_len() == largest - 12
    assert client.frames(0x30) == [(0x30, b"small")]
    assert server.stats().datagrams_dropped_outgoing == 1


@pytest.mark.parametrize(("limit", "size"), [(100, 100), (0, 0)])
def test_one_larger_than_allowed(limit: int, size: int) -> None:
    client, _ = connected(TransportConfig(grease=False, max_datagram_frame_size=limit))
    client.send(ONE_RTT, frame(0x30, bytes(size)))
    assert client.close_code == Code.PROTOCOL_VIOLATION


def test_full_queues_drop_the_oldest() -> None:
    config = TransportConfig(grease=False, datagram_recv_queue=3, datagram_send_queue=2)
    client, server = connected(config, params=PARAMETERS)
    for i in range(5):
        client.send(ONE_RTT, frame(0x30, bytes([i])))
    assert [server.dgram_recv() for _ in range(4)] == [b"\2", b"\3", b"\4", None]
    assert server.stats().datagrams_dropped_incoming == 2
    assert [server.dgram_send(bytes([i])) for i in range(3)] == [True, True, False]
    client.collect()
    assert client.frames(0x30) == [(0x30, b"\1"), (0x30, b"\2")]
    assert server.stats().datagrams_dropped_outgoing == 1
