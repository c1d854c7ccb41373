"""What is acknowledged and when (RFC 9000 Section 13.2)."""

from __future__ import annotations

from cwt._core.recovery.acks import AckTracker
from hypothesis import given
from hypothesis import strategies as st

from cwt._types import RecvInfo
from cwt.config import TransportConfig
from tests._core.raw_peer import HANDSHAKE, ONE_RTT, PADDING, PING, RawClient, ack, server_endpoint
from tests._core.support import connected

DELAY = 25_000_000
CONFIG = TransportConfig(grease=False, mtu_discovery=False, pacing=False)


def tracker() -> AckTracker:
    return AckTracker(DELAY)


def test_every_second_packet() -> None:
    acks = tracker()
    acks.on_packet(0, True, 0, 100)
    assert not acks.is_due(100)
    assert acks.next_timeout() == 100 + DELAY
    assert acks.is_due(100 + DELAY)
    acks.on_packet(1, True, 0, 200)
    assert acks.is_due(200)


def test_what_elicits_nothing_is_not_acknowledged_by_itself() -> None:
    acks = tracker()
    for number in range(10):
        acks.on_packet(number, False, 0, 0)
    assert not acks.is_due(1 << 60)
    assert acks.next_timeout() == 0
    assert list(acks.received) == [(0, 10)]


def test_gaps_and_late_packets_are_told_at_once() -> None:
    acks = tracker()
    acks.on_packet(1, True, 0, 0)
    assert acks.is_due(0)
    acks = tracker()
    for number in (0, 1, 2, 4):
        acks.on_packet(number, False, 0, 0)
    acks.on_packet(3, True, 0, 0)
    assert acks.is_due(0)


def test_congestion_marks_are_told_at_once() -> None:
    acks = tracker()
    acks.on_packet(0, True, 2, 0)
    assert not acks.is_due(0)
    acks = tracker()
    acks.on_packet(0, True, 3, 0)
    assert acks.is_due(0)


def test_handshake_packets_are_acknowledged_at_once() -> None:
    acks = AckTracker()
    acks.on_packet(0, True, 0, 5)
    assert acks.is_due(5)
    assert acks.next_timeout() == 0


def test_duplicates() -> None:
    acks = tracker()
    acks.on_packet(7, True, 0, 0)
    assert acks.is_duplicate(7)
    assert not acks.is_duplicate(6)
    assert not acks.is_duplicate(8)


def test_the_oldest_of_many_ranges_are_given_up_and_count_as_received() -> None:
    acks = tracker()
    for number in range(0, 200, 2):
        acks.on_packet(number, True, 0, 0)
    assert len(acks.received) == 64
    low = next(iter(acks.received))[0]
    assert low == 200 - 128
    assert all(acks.is_duplicate(number) for number in range(low - 1))
    assert not acks.is_duplicate(low - 1)


@given(st.lists(st.integers(0, 300), max_size=200))
def test_nothing_is_taken_twice(numbers: list[int]) -> None:
    acks = tracker()
    taken = set()
    for number in numbers:
        if not acks.is_duplicate(number):
            acks.on_packet(number, True, 0, 0)
            assert number not in taken
            taken.add(number)
        assert acks.largest == max(taken)
        assert acks.is_duplicate(number)
    assert all(number in taken for number in range(301) if number in acks.received)


# On the wire.


def test_ranges_on_the_wire() -> None:
    client, _ = connected(CONFIG)
    for number in (10, 11, 13, 20, 15):
        client.inject(client.packet(ONE_RTT, PING, number=number))
    client.collect()
    assert client.frames(0x02)[-1][2] == [(20, 21), (15, 16), (13, 14), (10, 12)]


def test_the_delay_on_the_wire() -> None:
    client, server = connected(
        TransportConfig(grease=False, mtu_discovery=False, max_ack_delay=0.1)
    )
    client.inject(client.packet(ONE_RTT, PING))
    client.collect()
    assert not client.frames(0x02)
    client.advance(0.2)
    [(_, delay, _, _)] = client.frames(0x02)
    assert isinstance(delay, int)
    assert delay * 8 == 100_000  # microseconds, exponent 3
    assert server.timeout(client.now) is not None


def test_ecn_counts_on_the_wire() -> None:
    client, _ = connected(CONFIG)
    for ecn in (0, 1, 2, 2, 3, 3, 3):
        packet = client.packet(ONE_RTT, PING)
        client.end.recv(packet, RecvInfo(client.address, client.end_address, ecn), client.now)
    client.collect()
    assert client.frames(0x02)[-1][3] == (2, 1, 3)


def test_what_the_peer_knows_is_not_repeated() -> None:
    client, server = connected(CONFIG)
    client.send(ONE_RTT, PING + PING)
    client.inject(client.packet(ONE_RTT, PING, number=10))
    server.ping()
    client.collect()
    assert len(client.frames(0x02)[-1][2]) == 2
    client.numbers[ONE_RTT] = 11
    client.send(ONE_RTT, ack(client.largest[ONE_RTT]))
    client.inject(client.packet(ONE_RTT, PING))
    client.inject(client.packet(ONE_RTT, PING))
    client.collect()
    assert client.frames(0x02)[-1][2] == [(10, 14)]


def test_acknowledgements_alone_are_not_acknowledged() -> None:
    client, _ = connected(CONFIG)
    client.datagrams.clear()
    for _ in range(100):
        client.send(ONE_RTT, ack(0) + PADDING * 20)
    client.advance(1.0)
    assert not client.frames(0x02)


def test_many_acknowledgements_ask_for_one_themselves() -> None:
    # Section 13.2.4: else a peer that only sends never lets us forget.
    client, _ = connected(CONFIG)
    client.send(ONE_RTT, PING)
    client.numbers[ONE_RTT] += 5  # more than one range
    for _ in range(200):
        client.send(ONE_RTT, PING)
    pings = len(client.frames(0x01))
    assert 1 <= pings <= 10


def test_handshake_packets_on_the_wire() -> None:
    client = RawClient(server_endpoint(), answer=False).connect()
    client.received.clear()
    client.send(HANDSHAKE, PING)
    assert {item.space for item in client.received if item.frame[0] == 0x02} == {HANDSHAKE}
    assert client.frames(0x02)[0][1] == 0
