"""What we ask of the peer's acknowledgements (draft-ietf-quic-ack-frequency)."""

from __future__ import annotations

from itertools import pairwise

import pytest
from cwt._core.recovery.ack_frequency import AckFrequency
from cwt._core.recovery.newreno import NewReno
from cwt._core.recovery.rtt import RttEstimator

from cwt._core.connection import Connection
from cwt.config import TransportConfig
from tests._core.raw_peer import ONE_RTT, RawClient, ack, parameters
from tests._core.support import connected

MS = 1_000_000
MDS = 1200


def rtt(milliseconds: int) -> RttEstimator:
    estimate = RttEstimator(milliseconds * MS)
    estimate.sample(milliseconds * MS, 0, True)
    return estimate


def controller(packets: int) -> NewReno:
    """With a window of so many packets, after slow start."""
    made = NewReno(MDS)
    while made.window < 2 * packets * MDS:
        made.on_acked(MDS, 1, True, rtt(50), 2)
    made.on_lost(2, 3)
    return made


def enabled() -> AckFrequency:
    made = AckFrequency()
    made.enable(MS, 25 * MS, False)
    return made


@pytest.mark.parametrize(
    ("packets", "threshold"), [(2, 2), (63, 2), (64, 4), (160, 10), (1024, 64), (100_000, 64)]
)
def test_the_window_says_how_often(packets: int, threshold: int) -> None:
    frequency = enabled()
    frequency.update(controller(packets), rtt(50), 0)
    assert frequency.threshold == threshold
    assert frequency.pending == (threshold > 2)


@pytest.mark.parametrize(
    ("milliseconds", "delay"), [(1, MS), (8, MS), (80, 10 * MS), (200, 25 * MS), (2000, 25 * MS)]
)
def test_the_round_trip_says_how_late(milliseconds: int, delay: int) -> None:
    frequency = enabled()
    frequency.update(controller(160), rtt(milliseconds), 0)
    assert frequency.delay == delay


def test_nothing_is_asked_in_slow_start_or_of_a_peer_without_support() -> None:
    growing = NewReno(MDS)
    for _ in range(1000):
        growing.on_acked(MDS, 1, True, rtt(50), 2)
    frequency = enabled()
    frequency.update(growing, rtt(50), 0)
    assert not frequency.pending
    frequency = AckFrequency()
    frequency.update(controller(1000), rtt(50), 0)
    assert not frequency.pending


def test_small_changes_and_quick_ones_are_not_told() -> None:
    frequency = enabled()
    frequency.update(controller(160), rtt(50), 0)
    assert frequency.threshold == 10
    frequency.update(controller(1000), rtt(50), 49 * MS)  # within a round trip
    assert frequency.threshold == 10
    frequency.update(controller(300), rtt(50), 51 * MS)
    assert frequency.threshold == 10
    frequency.update(controller(320), rtt(50), 102 * MS)
    assert frequency.threshold == 20


def test_back_to_the_default_on_another_path() -> None:
    frequency = enabled()
    frequency.reset()
    assert not frequency.pending  # nothing was asked
    frequency.update(controller(160), rtt(50), 0)
    frequency.reset()
    assert (frequency.threshold, frequency.delay, frequency.pending) == (2, 25 * MS, True)


# Through a connection.

CONFIG = TransportConfig(grease=False, mtu_discovery=False, pacing=False, send_buffer=1 << 22)
LIMITS = {"initial_max_data": 1 << 30, "initial_max_stream_data_bidi_remote": 1 << 30}


def confirm(client: RawClient, missing: frozenset[int] | set[int] = frozenset()) -> None:
    """Acknowledge what came since the last time, but for what is *missing*."""
    numbers = sorted({item.number for item in client.received} - missing, reverse=True)
    ranges = [[numbers[0], numbers[0]]]
    for number in numbers[1:]:
        if number == ranges[-1][1] - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    pairs = [
        value
        for (_, low), (high, lowest) in pairwise(ranges)
        for value in (low - high - 2, high - lowest)
    ]
    client.received.clear()
    client.send(ONE_RTT, ack(numbers[0], numbers[0] - ranges[0][1], *pairs))


def bulk(**params: int) -> tuple[RawClient, Connection]:
    """A server in the middle of a long transfer to a client that has just told of a loss."""
    client, server = connected(CONFIG, params=parameters(**LIMITS, **params).encode())
    stream_id = server.open_stream()
    assert stream_id is not None
    client.send(ONE_RTT, ack(client.largest[ONE_RTT], client.largest[ONE_RTT]))
    while server.stats().congestion_window < 400_000:
        server.stream_send(stream_id, bytes(400_000))
        client.now += 0.05
        client.collect()
        confirm(client)
    client.now += 0.05
    missing = {min(item.number for item in client.received)}
    confirm(client, missing)
    return client, server


def requests(client: RawClient) -> list[tuple[object, ...]]:
    return [values for _, *values in map(list, client.frames(0xAF))]  # type: ignore[misc]


def test_what_is_asked_for() -> None:
    client, server = bulk(min_ack_delay=2000)
    [(sequence, threshold, delay, reordering)] = requests(client)
    packets = server.stats().congestion_window // MDS
    assert sequence == 0
    assert packets // 16 - 2 <= int(str(threshold)) + 1 <= packets // 16
    assert 2000 <= int(str(delay)) <= 25_000
    assert reordering == 3


def test_what_is_asked_of_an_early_peer() -> None:
    client, server = bulk(early_min_ack_delay=2000)
    [(sequence, threshold, _, ignore_order)] = requests(client)
    packets = server.stats().congestion_window // MDS
    assert packets // 16 - 2 <= int(str(threshold)) <= packets // 16
    assert (sequence, ignore_order) == (0, 0)


def test_a_peer_of_both_generations_is_asked_in_the_newer_one() -> None:
    client, _ = bulk(min_ack_delay=2000, early_min_ack_delay=1000)
    [(_, _, _, reordering)] = requests(client)
    assert reordering == 3


def test_nothing_is_asked_of_others_or_when_turned_off() -> None:
    client, _ = bulk()
    assert not requests(client)


def test_a_lost_request_is_repeated_with_a_new_number() -> None:
    client, _ = bulk(min_ack_delay=2000)
    [first] = requests(client)
    number = next(item.number for item in client.received if item.frame[0] == 0xAF)
    confirm(client, {number})
    [again] = requests(client)
    assert again[0] == 1
    assert again[1:] == first[1:]


def test_probes_ask_for_an_answer_at_once() -> None:
    client, server = connected(CONFIG, params=parameters(min_ack_delay=2000).encode())
    client.send(ONE_RTT, ack(client.largest[ONE_RTT], client.largest[ONE_RTT]))
    server.ping()
    client.collect()
    client.received.clear()
    client.advance(1.0)
    assert client.frames(0x1F)
    client, server = connected(CONFIG, params=parameters(early_min_ack_delay=2000).encode())
    server.ping()
    client.collect()
    client.advance(1.0)
    assert not client.frames(0x1F)


def test_the_probe_timeout_waits_for_the_longest_delay_in_force() -> None:
    client, server = bulk(min_ack_delay=2000)
    [(_, _, delay, _)] = requests(client)
    assert int(str(delay)) < 20_000

    def ack_delay() -> float:
        """What the probe timeout has besides the round trip (RFC 9002 Section 6.2.1)."""
        server.ping()
        client.collect()
        timeout, stats = server.timeout(client.now), server.stats()
        assert timeout is not None
        return timeout - stats.smoothed_rtt - max(4 * stats.rtt_variation, 0.001)

    assert ack_delay() == pytest.approx(0.025)
    client.now += 0.05
    confirm(client)
    assert ack_delay() == pytest.approx(int(str(delay)) / 1e6, abs=1e-5)
