"""What is acknowledged and when (RFC 9000 Section 13.2)."""

from __future__ import annotations

import pytest
from cwt._core.recovery.acks import AckTracker
from hypothesis import given
from hypothesis import strategies as st

from cwt._types import RecvInfo
from cwt.config import TransportConfig
from cwt.errors import TransportErrorCode as Code
from tests._core.raw_peer import (
    HANDSHAKE,
    ONE_RTT,
    PADDING,
    PING,
    RawClient,
    ack,
    frame,
    parameters,
    server_endpoint,
)
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


# As the peer asks (draft-ietf-quic-ack-frequency).

IMMEDIATE_ACK = frame(0x1F)
EARLY = parameters(early_min_ack_delay=1000).encode()


def frequency(sequence: int, threshold: int, delay: int = 1_000_000, reordering: int = 3) -> bytes:
    """*delay* in microseconds."""
    return frame(0xAF, sequence, threshold, delay, reordering)


def asked(*request: bytes, **options: object) -> RawClient:
    """A client that has asked, and whose packets so far are acknowledged."""
    client, _ = connected(CONFIG, **options)
    for payload in request:
        client.send(ONE_RTT, payload + IMMEDIATE_ACK)
    client.received.clear()
    return client


def acknowledged(client: RawClient, numbers: list[int]) -> list[int]:
    """Send packets with these *numbers*, counted from the next; those that got an ACK at once."""
    base = client.numbers[ONE_RTT]
    answered = []
    for number in numbers:
        client.received.clear()
        client.send(ONE_RTT, PING, number=base + number)
        if client.frames(0x02, 0x03):
            answered.append(number)
    return answered


def test_both_forms_of_the_extension_are_offered() -> None:
    client, _ = connected(CONFIG)
    assert client.tls is not None
    raw = client.tls.peer_transport_parameters
    assert raw is not None
    for kind in (0xFF04DE1B, 0xFF02DE1A):
        assert frame(kind, 2, 1000) in raw
    client, _ = connected(TransportConfig(grease=False, ack_frequency=False))
    assert client.tls is not None
    raw = client.tls.peer_transport_parameters
    assert raw is not None
    assert frame(0xFF04DE1B) not in raw
    assert frame(0xFF02DE1A) not in raw


def test_a_smaller_delay_of_ours_bounds_what_may_be_asked() -> None:
    client, _ = connected(TransportConfig(grease=False, max_ack_delay=0.0))
    client.send(ONE_RTT, frequency(0, 5, 0))
    assert client.closed is None


@pytest.mark.parametrize("threshold", [0, 1, 4, 30])
def test_as_many_packets_as_the_peer_says(threshold: int) -> None:
    client = asked(frequency(0, threshold))
    count = 3 * (threshold + 1)
    assert acknowledged(client, list(range(count))) == [
        number for number in range(count) if number % (threshold + 1) == threshold
    ]


def test_the_early_form_counts_the_packet_that_makes_the_ack_due() -> None:
    client = asked(frequency(0, 5, reordering=0), params=EARLY)
    assert acknowledged(client, list(range(15))) == [4, 9, 14]
    client = asked(frequency(0, 50, reordering=0), params=EARLY)
    assert acknowledged(client, [0, 1, 3, 4]) == [3]
    client = asked(frequency(0, 50, reordering=1), params=EARLY)
    assert acknowledged(client, [0, 1, 3, 4, 9, 5]) == []


def test_the_delay_the_peer_asks_for() -> None:
    client = asked(frequency(0, 100, 200_000))
    client.send(ONE_RTT, PING)
    client.advance(0.19)
    assert not client.frames(0x02)
    client.advance(0.02)
    assert client.frames(0x02)


def test_a_shorter_delay_holds_for_what_waits_already() -> None:
    client = asked(frequency(0, 100, 200_000))
    client.send(ONE_RTT, PING)
    client.send(ONE_RTT, frequency(1, 100, 5_000))
    client.advance(0.006)
    assert client.frames(0x02)


def test_an_immediate_ack() -> None:
    client = asked(frequency(0, 100))
    assert acknowledged(client, [0, 1, 2]) == []
    client.numbers[ONE_RTT] += 3
    client.send(ONE_RTT, IMMEDIATE_ACK)
    assert client.frames(0x02)


def test_overtaken_requests_are_ignored() -> None:
    client = asked(frequency(5, 3), frequency(4, 0), frequency(5, 0))
    assert acknowledged(client, list(range(8))) == [3, 7]
    client = asked(frequency(0, 3), frequency(1, 1))
    assert acknowledged(client, list(range(4))) == [1, 3]


# The examples of Section 6.2.1; between them and any other packets lies the start of the connection.
@pytest.mark.parametrize(
    ("threshold", "numbers", "answered"),
    [
        (1, [0, 1, 3, 4], [3]),
        (3, [0, 1, 3, 4, 5, 8, 9, 10], [5, 9, 10]),
        (5, [0, 1, 3, 5, 6, 7, 8, 9], [7, 9]),
        (0, [0, 1, 3, 4, 5, 8, 9, 10, 30], []),
        (3, [0, 1, 6, 7, 8, 2], [6, 7, 8, 2]),  # the last one after it could be declared lost
    ],
)
def test_the_reordering_the_peer_tolerates(
    threshold: int, numbers: list[int], answered: list[int]
) -> None:
    client = asked(frequency(0, 1000, reordering=threshold))
    assert acknowledged(client, numbers) == answered


@given(st.permutations(list(range(40))), st.integers(2, 8))
def test_reordering_against_the_definition(order: list[int], threshold: int) -> None:
    """What the draft says, with sets, against the ranges of the tracker."""
    client = asked(frequency(0, 1000, reordering=threshold))
    first = client.numbers[ONE_RTT]
    received: set[int] = set()
    reported = first - 1
    for number in order:
        client.received.clear()
        client.send(ONE_RTT, PING, number=first + number)
        received.add(first + number)
        largest = max(received)
        unreported = [
            missing
            for missing in range(max(first, reported - threshold + 1), largest)
            if missing not in received
        ]
        expected = (
            bool(unreported) and largest - min(unreported) >= threshold
        ) or first + number <= reported - threshold
        assert bool(client.frames(0x02)) == expected, (order, number)
        if expected:
            reported = max(reported, largest)


def test_many_gaps_are_told_before_they_are_too_many() -> None:
    client = asked(frequency(0, 100_000, 10_000_000, reordering=0))
    told: set[int] = set()
    base = client.numbers[ONE_RTT]
    for number in range(0, 600, 2):
        client.send(ONE_RTT, PING, number=base + number)
    client.advance(11.0)
    for _, _, ranges, _ in client.frames(0x02):
        assert isinstance(ranges, list)
        for start, end in ranges:
            told.update(range(start, end))
    assert told >= {base + number for number in range(0, 600, 2)}


def test_the_first_of_many_congestion_marks() -> None:
    def marked(client: RawClient, marks: list[int]) -> list[int]:
        answered = []
        for index, ecn in enumerate(marks):
            client.received.clear()
            packet = client.packet(ONE_RTT, PING)
            client.end.recv(packet, RecvInfo(client.address, client.end_address, ecn), client.now)
            client.collect()
            if client.frames(0x02):
                answered.append(index)
        return answered

    assert marked(asked(frequency(0, 1000)), [2, 3, 3, 3, 2, 2, 3]) == [1, 6]
    assert marked(asked(frequency(0, 1)), [2, 3, 3, 3]) == [1, 2, 3]


@pytest.mark.parametrize(
    ("params", "request_", "code"),
    [
        (None, frequency(0, 1, 999), Code.PROTOCOL_VIOLATION),
        (None, frequency(0, 1, 0), Code.PROTOCOL_VIOLATION),
        (None, frequency(0, 1, 16_384_000), Code.PROTOCOL_VIOLATION),
        (None, frequency(0, 1, (1 << 62) - 1), Code.PROTOCOL_VIOLATION),
        (EARLY, frequency(0, 1, 999, 0), Code.PROTOCOL_VIOLATION),
        (EARLY, frequency(0, 0, 25_000, 0), Code.FRAME_ENCODING_ERROR),
        (EARLY, frequency(0, 1, 25_000, 2), Code.FRAME_ENCODING_ERROR),
        (None, frequency(0, 1)[:-1], Code.FRAME_ENCODING_ERROR),
    ],
)
def test_requests_without_sense(params: bytes | None, request_: bytes, code: Code) -> None:
    client, _ = connected(CONFIG, params=params)
    client.send(ONE_RTT, request_, number_length=4)
    assert client.close_code == code


def test_the_largest_values_are_taken() -> None:
    largest = (1 << 62) - 1
    client = asked(frequency(largest, largest, 16_383_999, largest))
    assert acknowledged(client, [0, 1, 2, 9, 5]) == []
    client.advance(16.4)
    assert client.frames(0x02)
    assert client.closed is None


@pytest.mark.parametrize("payload", [IMMEDIATE_ACK, frequency(0, 1)])
def test_what_was_not_offered_is_an_unknown_frame(payload: bytes) -> None:
    client, _ = connected(TransportConfig(grease=False, ack_frequency=False))
    client.send(ONE_RTT, payload)
    assert client.close_code == Code.FRAME_ENCODING_ERROR


def test_a_flood_of_immediate_acks_gets_one_for_each_packet_at_most() -> None:
    client = asked()
    for _ in range(50):
        client.inject(client.packet(ONE_RTT, IMMEDIATE_ACK * 1000))
    client.collect()
    assert len(client.frames(0x02)) == 1
