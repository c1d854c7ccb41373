"""Path MTU discovery: its states alone, and through a connection (RFC 9000 Section 14.3, RFC 8899)."""

from __future__ import annotations

from itertools import count
from random import Random

import pytest
from cwt._core.recovery.mtu import PathMtu
from hypothesis import given
from hypothesis import strategies as st

from cwt._core.connection import Connection
from cwt.config import TransportConfig
from cwt.errors import ConfigError, DatagramTooLarge
from tests._core.raw_peer import ONE_RTT, PADDING, RawClient, ack, parameters
from tests._core.support import connected

SECOND = 1_000_000_000
DELAY = SECOND // 4
RAISE = 600 * SECOND
COMMON = [1200, 1452, 1472, 4304, 8848, 8952, 16336, 65488, 65507]
LOSSES = 3
"""Loss events in a row that make a black hole."""


def started(**options: int) -> PathMtu:
    mtu = PathMtu(**options)
    mtu.start(SECOND)
    return mtu


def busy(**options: int) -> PathMtu:
    mtu = started(**options)
    mtu.on_full(SECOND)
    return mtu


def search(
    mtu: PathMtu, path: int, now: int = SECOND, loss: float = 0.0, seed: int = 1
) -> list[int]:
    """Send the probes that are due, over a path that takes *path* bytes; their sizes."""
    rng = Random(seed)
    sizes: list[int] = []
    for number in count(1000 + now // SECOND * 1000):
        size = mtu.due(now)
        if not size:
            return sizes
        assert mtu.size < size <= mtu.limit
        sizes.append(size)
        assert len(sizes) < 60, "the search does not end"
        mtu.on_probe_sent(number, size)
        assert mtu.due(now) == 0  # one at a time
        if size <= path and rng.random() >= loss:
            mtu.on_probe_acked(number)
        else:
            mtu.on_probe_lost(number)
    raise AssertionError


def lose(mtu: PathMtu, size: int, number: int = 100) -> None:
    mtu.on_packet_lost(number, size)
    mtu.on_losses_known()


@given(st.integers(1200, 70_000))
def test_the_search_finds_what_the_path_takes(path: int) -> None:
    mtu = busy()
    search(mtu, path)
    assert mtu.size <= path
    if path < 1472:
        assert path - mtu.size < 20
    else:
        assert mtu.size == max(size for size in COMMON if size <= path)


@given(st.integers(1200, 70_000), st.integers(1200, 1472), st.integers(0, 1 << 30))
def test_chance_losses_never_make_the_size_too_large(path: int, limit: int, seed: int) -> None:
    for mtu in (busy(), busy(limit=limit), busy(size=1300)):
        search(mtu, path, loss=0.3, seed=seed)
        assert mtu.size <= max(path, 1300)


def test_one_lost_probe_is_chance_and_three_are_a_verdict() -> None:
    mtu = busy()
    for _ in range(2):
        mtu.on_probe_sent(1, 1452)
        mtu.on_probe_lost(1)
        assert mtu.due(SECOND) == 1452
    mtu.on_probe_sent(1, 1452)
    mtu.on_probe_acked(1)
    assert (mtu.size, mtu.due(SECOND)) == (1452, 1472)
    assert search(mtu, 1452) == [1472] * 3
    assert mtu.failed == 1472


def test_without_much_to_send_only_ethernet_is_tried_and_not_at_once() -> None:
    mtu = started()
    assert mtu.due(SECOND) == 0
    assert mtu.next_timeout(SECOND) == SECOND + DELAY
    assert search(mtu, 70_000, SECOND + DELAY) == [1452, 1472]
    assert mtu.next_timeout(SECOND + DELAY) == 0
    assert mtu.due(2 * RAISE) == 0


def test_an_application_that_fills_datagrams_gets_larger_ones_at_once() -> None:
    mtu = started()
    mtu.on_full(SECOND)
    assert search(mtu, 70_000) == COMMON[1:]
    assert mtu.size == 65507


def test_no_probe_before_the_start_and_none_when_disabled() -> None:
    mtu = PathMtu()
    mtu.on_full(SECOND)
    assert mtu.due(SECOND) == 0
    assert mtu.next_timeout(SECOND) == 0
    mtu = PathMtu(1350, 9000, False)
    mtu.start(SECOND)
    mtu.on_full(SECOND)
    assert mtu.due(SECOND) == 0
    for _ in range(10):
        lose(mtu, 1350)
    assert mtu.size == 1350


def test_the_limit_is_tried_and_nothing_above_it() -> None:
    assert search(busy(limit=1400), 70_000) == [1400]
    mtu = PathMtu()
    mtu.set_limit(5000)  # of the peer
    mtu.start(SECOND)
    mtu.on_full(SECOND)
    assert search(mtu, 70_000) == [1452, 1472, 4304, 5000]
    mtu = PathMtu(1400)
    mtu.set_limit(1300)
    assert mtu.size == 1300


def test_the_search_is_repeated_after_ten_minutes_of_use() -> None:
    mtu = busy()
    search(mtu, 1452)
    assert mtu.due(SECOND + RAISE) == 0  # idle
    mtu.on_full(SECOND + RAISE - 1)
    assert mtu.due(SECOND + RAISE - 1) == 0
    mtu.on_full(SECOND + RAISE)
    assert search(mtu, 9000, SECOND + RAISE) == [1472, 4304, 8848, 8952] + [16336] * 3
    mtu.on_full(SECOND + 2 * RAISE)
    assert search(mtu, 9000, SECOND + 2 * RAISE) == [16336] * 3


def test_a_black_hole_leads_back_to_the_base_and_a_search_below_it() -> None:
    mtu = busy()
    search(mtu, 1472)
    assert mtu.size == 1472
    for _ in range(LOSSES - 1):
        lose(mtu, 1472)
        assert mtu.size == 1472
    lose(mtu, 1472)
    assert mtu.size == 1200
    sizes = search(mtu, 1252, 2 * SECOND)
    assert max(sizes) == 1452
    assert 1232 < mtu.size <= 1252


def test_a_size_of_the_configuration_may_be_a_black_hole_too() -> None:
    mtu = busy(size=1400)
    for _ in range(LOSSES):
        lose(mtu, 1400)
    assert mtu.size == 1200


def test_congestion_is_no_black_hole() -> None:
    mtu = busy()
    search(mtu, 1472)
    for number in range(100, 120):
        lose(mtu, 1472, number)
        mtu.on_packet_acked(number + 1, 1472)
    lose(mtu, 1472)
    lose(mtu, 1472)
    assert mtu.size == 1472


def test_smaller_packets_that_arrive_do_not_hide_a_black_hole() -> None:
    mtu = busy()
    search(mtu, 8952)
    for number in range(100, 100 + LOSSES):
        mtu.on_packet_acked(number, 1300)
        lose(mtu, 8952, number)
    assert mtu.size == 1200


def test_packets_of_another_path_and_lost_probes_say_nothing() -> None:
    mtu = busy()
    search(mtu, 1472)
    mtu.attach(5000)
    for number in range(10):
        lose(mtu, 1472, number)
    assert mtu.size == 1472
    mtu.on_probe_acked(7)
    mtu.on_probe_lost(8)
    assert (mtu.size, mtu.attempts) == (1472, 0)


def test_the_configuration_is_checked() -> None:
    for limit in (1199, 65528):
        with pytest.raises(ConfigError, match="mtu_discovery_limit"):
            TransportConfig(mtu_discovery_limit=limit)


# Through a connection.

CONFIG = TransportConfig(grease=False, pacing=False)


def acknowledged(**options: object) -> tuple[RawClient, Connection]:
    """A server that has nothing to say, and whose client lets it probe."""
    client, server = connected(CONFIG, **options)
    confirm(client)
    client.datagrams.clear()
    client.received.clear()
    return client, server


def confirm(client: RawClient) -> None:
    """Acknowledge everything."""
    client.send(ONE_RTT, ack(client.largest[ONE_RTT], client.largest[ONE_RTT]))


def grow(client: RawClient) -> list[int]:
    """Let the server search over a path that takes anything; the sizes it tries."""
    client.advance(0.26)
    seen = len(client.datagrams)
    while True:
        confirm(client)
        if len(client.datagrams) == seen:
            return [len(data) for data in client.datagrams]
        seen = len(client.datagrams)


def test_a_probe_is_a_ping_and_padding_alone() -> None:
    client, server = acknowledged()
    assert not client.datagrams
    client.advance(0.26)
    assert [len(data) for data in client.datagrams] == [1452]
    assert [item.frame for item in client.received] == [(0x01,), (0x00,)]
    assert server.stats().mtu == 1200
    confirm(client)
    assert server.stats().mtu == 1452


def test_an_idle_connection_is_silent_after_ethernet_and_times_out() -> None:
    client, server = acknowledged()
    assert grow(client) == [1452, 1472]
    assert server.stats().mtu == 1472
    client.datagrams.clear()
    client.advance(29.0)
    assert not client.datagrams
    assert server.termination is None
    client.advance(2.0)
    assert server.is_closed


def test_a_lost_probe_is_not_congestion() -> None:
    client, server = acknowledged()
    window = server.stats().congestion_window
    client.advance(0.26)
    [probe] = {item.number for item in client.received}
    stream_id = server.open_stream()
    assert stream_id is not None
    for _ in range(4):
        server.stream_send(stream_id, b"data")
        client.collect()
        client.send(ONE_RTT, ack(client.largest[ONE_RTT]))
    assert client.largest[ONE_RTT] > probe
    stats = server.stats()
    assert stats.packets_lost >= 1
    assert stats.congestion_window >= window
    assert stats.mtu == 1200


def test_what_the_peer_does_not_take_is_not_tried() -> None:
    params = parameters(max_udp_payload_size=1460).encode()
    client, server = acknowledged(params=params)
    assert grow(client) == [1452, 1460]
    assert server.stats().mtu == 1460


def test_the_largest_datagram_grows_with_the_path() -> None:
    client, server = acknowledged(params=parameters(max_datagram_frame_size=65535).encode())
    small = server.dgram_max_writable_len()
    grow(client)
    large = server.dgram_max_writable_len()
    assert large - small == 1472 - 1200
    client.received.clear()
    server.dgram_send(b"x" * large)
    client.collect()
    assert client.frames(0x30) == [(0x30, b"x" * large)]
    assert max(map(len, client.datagrams)) <= 1472
    with pytest.raises(DatagramTooLarge):
        server.dgram_send(b"x" * (large + 1))


def test_answers_to_path_challenges_do_not_grow() -> None:
    client, _ = acknowledged()
    grow(client)
    client.datagrams.clear()
    client.send(ONE_RTT, b"\x1a" + bytes(8))
    client.inject(
        client.packet(ONE_RTT, b"\x1a" + bytes(8) + PADDING * 1200), address=("192.0.2.77", 7)
    )
    client.collect()
    assert [len(data) for data in client.datagrams if len(data) > 200] == [1200, 1200]


def test_a_new_path_starts_over() -> None:
    client, server = acknowledged()
    grow(client)
    assert server.stats().mtu == 1472
    client.inject(client.packet(ONE_RTT, b"\x01"), address=("192.0.2.77", 7))
    assert client.collect()
    assert server.stats().mtu == 1200
    client.datagrams.clear()
    client.advance(0.5)
    assert max(map(len, client.datagrams), default=0) <= 1200  # not validated
