"""Unreliable datagrams, through a connection (RFC 9221)."""

from __future__ import annotations

import random
from typing import Any

import pytest

from cwt._core.connection import Connection
from cwt._core.stream.datagram import DatagramFlow
from cwt.config import TransportConfig
from cwt.errors import ConfigError, DatagramTooLarge
from cwt.errors import TransportErrorCode as Code
from tests._core.raw_peer import ONE_RTT, RawClient, ack, frame, new_connection_id, parameters
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
    # With a length its frame would be larger than the peer takes: it comes last in its packet.
    server.dgram_send(bytes(limit))
    server.dgram_send(bytes(limit - 1))
    client.collect()
    assert client.frames(0x30) == [(0x30, bytes(limit)), (0x30, bytes(limit - 1))]
    assert len({received.number for received in client.received}) == 2


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


def test_many_at_once_are_packed() -> None:
    client, server = connected(params=PARAMETERS)
    data = [bytes([i]) * 20 for i in range(100)]
    assert server.dgram_send_many(iter(data)) == 100
    client.collect()
    assert client.frames(0x30) == [(0x30, each) for each in data]
    packets = {received.number for received in client.received}
    assert len(packets) == 2


def test_many_until_one_is_too_large() -> None:
    client, server = connected(params=PARAMETERS)
    with pytest.raises(DatagramTooLarge):
        server.dgram_send_many([b"one", bytearray(b"two"), bytes(5000), b"four"])
    client.collect()
    assert client.frames(0x30) == [(0x30, b"one"), (0x30, b"two")]


@pytest.mark.parametrize("size", [600, 1000])
def test_datagrams_of_one_size_share_a_batch(size: int) -> None:
    client, server = connected(params=PARAMETERS)
    client.send(ONE_RTT, ack(client.largest[ONE_RTT], client.largest[ONE_RTT]))
    server.dgram_send_many([bytes(size)] * 5 + [bytes(10)])
    batch = server.send_batch(client.now)
    assert batch is not None
    data, segment, _ = batch
    assert size < segment < size + 50
    assert 5 * segment < len(data) < 6 * segment
    batch = server.send_batch(client.now)
    assert batch is None


def test_a_longer_datagram_opens_a_new_batch() -> None:
    client, server = connected(params=PARAMETERS)
    client.send(ONE_RTT, ack(client.largest[ONE_RTT], client.largest[ONE_RTT]))
    server.dgram_send_many([bytes(700), bytes(800), bytes(1100)])
    lengths = []
    while (batch := server.send_batch(client.now)) is not None:
        lengths.append(len(batch[0]))
    assert [length // 100 for length in lengths] == [7, 8, 11]
    assert server.stats().datagrams_dropped_outgoing == 0


@pytest.mark.parametrize("size", [1000, 1160])
def test_datagrams_without_end_leave_streams_their_turn(size: int) -> None:
    client, server = connected(params=PARAMETERS)
    stream_id = server.open_stream()
    assert stream_id is not None
    server.dgram_send_many([bytes(size)] * 100)
    server.stream_send(stream_id, bytes(100_000))
    client.received.clear()
    client.collect()  # a window of ten packets
    datagrams = {got.number for got in client.received if got.frame[0] & ~1 == 0x30}
    streams = {got.number for got in client.received if got.frame[0] & ~7 == 0x08}
    assert len(datagrams | streams) >= 9
    assert len(datagrams) >= 4
    assert len(streams - datagrams) >= 4


def test_the_lost_are_counted() -> None:
    client, server = connected(params=PARAMETERS)
    server.dgram_send_many([b"one", b"two"])
    assert server.send(client.now) is not None  # which nobody gets
    for _ in range(3):
        server.ping()
        client.collect()
    client.send(ONE_RTT, ack(client.largest[ONE_RTT], 2))
    assert server.stats().datagrams_lost == 2


def test_room_to_send() -> None:
    config = TransportConfig(grease=False, datagram_send_queue=8)
    client, server = connected(config, params=PARAMETERS)
    client.collect()
    client.send(ONE_RTT, ack(client.largest[ONE_RTT], client.largest[ONE_RTT]))
    server.dgram_send_many([bytes(1000)] * 4)
    assert server.dgram_writable
    server.dgram_send(bytes(1000))
    assert not server.dgram_writable
    for _ in range(2):
        assert server.send(client.now) is not None
    assert not server.dgram_writable
    assert server.send(client.now) is not None
    assert server.dgram_writable


def test_a_flow_gets_its_own() -> None:
    client, server = connected(params=PARAMETERS)
    one, many = server.dgram_flow(1), server.dgram_flow(1000)
    assert (one.id, many.id) == (1, 1000)
    sent = [b"\1a", b"\2b", b"\x43\xe8c", b"\x40\1d", b"", b"\x43", b"\1"]
    client.send(ONE_RTT, b"".join(frame(0x31, len(data), data) for data in sent))
    assert server.dgram_ready() == [one, many]
    assert server.dgram_ready() == []
    assert one.recv_many() == [b"a", b"d", b""]
    assert (len(many), many.recv(), many.recv()) == (1, b"c", None)
    assert [server.dgram_recv() for _ in range(4)] == [b"\2b", b"", b"\x43", None]
    assert (one.received, many.received) == (3, 1)
    with pytest.raises(ValueError, match="open already"):
        server.dgram_flow(1)
    one.close()
    client.send(ONE_RTT, frame(0x30, b"\1late"))
    assert server.dgram_recv() == b"\1late"
    assert one.recv() is None
    server.dgram_flow(1).close()
    one.close()


def test_a_flow_sends_its_id() -> None:
    client, server = connected(params=PARAMETERS)
    flow = server.dgram_flow(1000)
    limit = server.dgram_max_writable_len(flow)
    assert limit == server.dgram_max_writable_len() - 2
    with pytest.raises(DatagramTooLarge) as raised:
        server.dgram_send(bytes(limit + 1), flow)
    assert raised.value.limit == limit
    server.dgram_send(b"first", flow)
    server.dgram_send_many([b"", bytes(limit)], flow)
    client.collect()
    assert [data for _, data in client.frames(0x30)] == [
        b"\x43\xe8first",
        b"\x43\xe8",
        b"\x43\xe8" + bytes(limit),
    ]
    assert flow.sent == 3


def test_the_limits_of_a_flow() -> None:
    config = TransportConfig(grease=False, datagram_recv_queue=4, datagram_recv_bytes=1000)
    client, server = connected(config, params=PARAMETERS)
    flow = server.dgram_flow(5)
    for i in range(6):
        client.send(ONE_RTT, frame(0x30, b"\5%d" % i))
    assert flow.dropped == server.stats().datagrams_dropped_incoming == 2
    flow.limit(1, 1000)
    assert (flow.recv_many(), flow.dropped) == ([b"5"], 5)
    flow.limit(0, 1000)
    client.send(ONE_RTT, frame(0x30, b"\5x"))
    assert (len(flow), flow.dropped) == (0, 6)


def test_the_bytes_of_a_queue_are_bounded() -> None:
    config = TransportConfig(grease=False, datagram_recv_bytes=1000, datagram_send_bytes=1000)
    client, server = connected(config, params=PARAMETERS)
    for i in range(5):
        client.send(ONE_RTT, frame(0x30, bytes([i]) * 300))
    assert [server.dgram_recv() for _ in range(3)] == [b"\3" * 300, b"\4" * 300, None]
    assert [server.dgram_send(bytes([i]) * 300) for i in range(4)] == [True, True, False, False]
    client.collect()
    assert client.frames(0x30) == [(0x30, b"\2" * 300), (0x30, b"\3" * 300)]


def test_one_is_taken_whatever_its_size() -> None:
    config = TransportConfig(grease=False, datagram_recv_bytes=100)
    client, server = connected(config, params=PARAMETERS)
    client.send(ONE_RTT, frame(0x30, bytes(500)))
    client.send(ONE_RTT, frame(0x30, bytes(600)))
    assert (server.dgram_recv(), server.dgram_recv()) == (bytes(600), None)


def test_the_old_expire() -> None:
    client, server = connected(params=PARAMETERS)
    flow = server.dgram_flow(0)
    client.send(ONE_RTT, frame(0x30, b"\0old"))
    client.now += 1
    client.send(ONE_RTT, frame(0x30, b"\0new"))
    flow.put(b"capsule")
    flow.expire(client.now - 2)
    assert len(flow) == 3
    flow.expire(client.now - 0.5)
    assert (flow.recv_many(2), flow.recv_many(), flow.dropped) == ([b"new", b"capsule"], [], 1)


def test_a_queue_gives_its_memory_back() -> None:
    queue = DatagramFlow(1 << 20, 1 << 30, 0)
    for count in (10, 1000, 40):
        for i in range(count):
            queue.put(b"%d" % i)
            if i % 3 == 1:
                assert queue.recv() is not None
        rest = queue.recv_many(count // 2)
        assert len(rest) == count // 2
        rest += queue.recv_many(-1) + queue.recv_many(10_000)
        assert rest[-1] == b"%d" % (count - 1)
        assert (len(queue), queue.recv_many(), queue.recv()) == (0, [], None)
    queue.put(b"left behind")


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


# Ages, and what a full queue does without.


def held_back(**limits: Any) -> tuple[RawClient, Connection]:
    """A server whose congestion window is full, so that datagrams wait."""
    config = TransportConfig(grease=False, pacing=False, mtu_discovery=False, **limits)
    client, server = connected(config, params=PARAMETERS)
    stream_id = server.open_stream()
    assert stream_id is not None
    server.stream_send(stream_id, bytes(50_000))
    client.collect()
    assert not server.stats().datagrams_dropped_outgoing
    return client, server


def let_go(client: RawClient) -> list[bytes]:
    """The datagrams that come when the window opens."""
    client.send(ONE_RTT, ack(client.largest[ONE_RTT], client.largest[ONE_RTT]))
    return [entry[1] for entry in client.frames(0x30)]


def test_old_datagrams_are_not_sent() -> None:
    client, server = held_back(datagram_outgoing_max_age=0.1)
    server.dgram_send(b"old")
    client.collect()
    client.now += 0.06
    client.send(ONE_RTT, b"\x01")
    server.dgram_send(b"new")
    client.collect()
    client.now += 0.06
    assert let_go(client) == [b"new"]
    stats = server.dgram_stats()
    assert (stats.sent, stats.outgoing_expired, stats.outgoing_overflowed) == (1, 1, 0)
    assert server.stats().datagrams_dropped_outgoing == 1


def test_time_while_nobody_told_it_does_not_count() -> None:
    # A connection hears the time when something happens: that may have been long ago.
    client, server = connected(TransportConfig(datagram_outgoing_max_age=0.1), params=PARAMETERS)
    client.now += 5.0
    server.dgram_send(b"fresh")
    client.collect()
    assert [entry[1] for entry in client.frames(0x30)] == [b"fresh"]


def test_each_flow_has_its_own_age() -> None:
    client, server = held_back(datagram_outgoing_max_age=10.0)
    short, long = server.dgram_flow(1), server.dgram_flow(2)
    assert short.outgoing_max_age == 10.0
    short.outgoing_max_age = 0.1
    long.outgoing_max_age = None
    for flow in (short, long, None, short):
        server.dgram_send(b"data", flow)
    client.collect()
    client.now += 0.2
    assert let_go(client) == [b"\x02data", b"data"]
    assert server.dgram_stats().outgoing_expired == 2


def test_expired_ones_make_room() -> None:
    client, server = held_back(
        datagram_outgoing_max_age=0.1, datagram_send_queue=2, datagram_drop="newest"
    )
    assert server.dgram_send(b"one")
    assert server.dgram_send(b"two")
    assert not server.dgram_send(b"three")
    client.collect()
    client.now += 0.2
    client.send(ONE_RTT, b"\x01")
    assert server.dgram_send(b"four")
    assert let_go(client) == [b"four"]
    stats = server.dgram_stats()
    assert (stats.outgoing_expired, stats.outgoing_overflowed) == (2, 1)


@pytest.mark.parametrize(("policy", "kept"), [("oldest", [b"2", b"3"]), ("newest", [b"1", b"2"])])
def test_which_one_a_full_queue_does_without(policy: str, kept: list[bytes]) -> None:
    client, server = held_back(datagram_send_queue=2, datagram_recv_queue=2, datagram_drop=policy)
    assert [server.dgram_send(data) for data in (b"1", b"2", b"3")] == [True, True, False]
    assert let_go(client) == kept
    client.send(ONE_RTT, b"".join(frame(0x31, 1, data) for data in (b"1", b"2", b"3")))
    assert [server.dgram_recv() for _ in range(3)] == [*kept, None]
    stats = server.dgram_stats()
    assert (stats.outgoing_overflowed, stats.incoming_overflowed) == (1, 1)
    assert (stats.sent, stats.received, stats.lost) == (2, 3, 0)


def test_old_datagrams_are_not_read() -> None:
    config = TransportConfig(grease=False, datagram_incoming_max_age=0.1)
    client, server = connected(config, params=PARAMETERS)
    flow = server.dgram_flow(1)
    assert flow.incoming_max_age == 0.1
    kept = server.dgram_flow(2)
    kept.incoming_max_age = None
    client.send(
        ONE_RTT, b"".join(frame(0x31, 4, data) for data in (b"none", b"\x01one", b"\x02two"))
    )
    client.now += 0.2
    client.send(ONE_RTT, frame(0x31, 3, b"new") + frame(0x31, 4, b"\x01new"))
    assert [server.dgram_recv() for _ in range(2)] == [b"new", None]
    assert flow.recv_many() == [b"new"]
    assert kept.recv() == b"two"
    assert flow.expired == flow.dropped == 1
    assert server.dgram_stats().incoming_expired == 2


@pytest.mark.parametrize("age", [0, -1.0, float("nan")])
def test_ages_that_make_no_sense(age: float) -> None:
    _, server = connected(params=PARAMETERS)
    flow = server.dgram_flow(1)
    with pytest.raises(ValueError, match="above 0 seconds"):
        flow.outgoing_max_age = age
    with pytest.raises(ConfigError):
        TransportConfig(datagram_incoming_max_age=age)
    with pytest.raises(ConfigError):
        TransportConfig(datagram_drop="any")


@pytest.mark.parametrize("seed", range(8))
def test_queues_as_a_model_has_them(seed: int) -> None:
    rng = random.Random(seed)
    policy = rng.choice(["oldest", "newest"])
    client, server = held_back(datagram_send_queue=8, datagram_drop=policy)
    flows = [None, server.dgram_flow(1), server.dgram_flow(2)]
    for flow in flows[1:]:
        assert flow is not None
        flow.outgoing_max_age = rng.choice([None, 0.01, 0.05, 0.2])
    model: list[tuple[float, bytes]] = []
    overflowed = 0
    for number in range(60):
        flow = rng.choice(flows)
        data = number.to_bytes(2, "big")
        age = None if flow is None else flow.outgoing_max_age
        while policy == "newest" and model and model[0][0] <= client.now:
            model.pop(0)
        full = len(model) == 8
        assert server.dgram_send(data, flow) != full
        overflowed += full
        if full and policy == "oldest":
            model.pop(0)
        if not full or policy == "oldest":
            prefix = b"" if flow is None else bytes([flow.id])
            model.append((client.now + age if age else float("inf"), prefix + data))
        client.collect()
        if rng.random() < 0.2:
            client.now += rng.choice([0.005, 0.03])
            client.send(ONE_RTT, b"\x01")
    client.now += 0.01
    expected = [data for until, data in model if until > client.now]
    assert let_go(client) == expected
    stats = server.dgram_stats()
    assert stats.outgoing_overflowed == overflowed
    assert stats.sent == len(expected)
    assert stats.sent + stats.outgoing_expired + stats.outgoing_overflowed == 60
