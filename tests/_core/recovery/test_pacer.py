"""Pacing (RFC 9002 Section 7.7)."""

from __future__ import annotations

import pytest
from cwt._core.recovery.pacer import Pacer

RATE = 1_200_000  # a datagram each millisecond
MDS = 1200
MS = 1_000_000


def started(rate: int = RATE) -> Pacer:
    pacer = Pacer()
    pacer.update(rate, MDS, 0, 0)
    return pacer


def test_a_burst_of_ten_datagrams_to_begin_with() -> None:
    pacer = started()
    for _ in range(10):
        assert pacer.ready_at(MDS, 0) == 0
        pacer.on_sent(MDS)
    assert abs(pacer.ready_at(MDS, 0) - MS) <= 1


def test_then_by_the_rate() -> None:
    pacer = started()
    sent, now = 0, 0
    while now < 1000 * MS:
        at = pacer.ready_at(MDS, now)
        assert at >= now
        now = at
        pacer.update(RATE, MDS, MDS, now)
        assert pacer.ready_at(MDS, now) == now
        pacer.on_sent(MDS)
        sent += MDS
    assert abs(sent - (RATE + 10 * MDS)) <= 2 * MDS


@pytest.mark.parametrize(("in_flight", "burst"), [(0, 10), (MDS, 4)])
def test_silence_does_not_save_up(in_flight: int, burst: int) -> None:
    pacer = started()
    pacer.update(RATE, MDS, in_flight, 10_000 * MS)
    sent = 0
    while pacer.ready_at(MDS, 10_000 * MS) == 10_000 * MS:
        pacer.on_sent(MDS)
        sent += 1
    assert sent == burst


def test_fast_paths_get_two_milliseconds_worth() -> None:
    pacer = started(100 * RATE)
    sent = 0
    while pacer.ready_at(MDS, 0) == 0:
        pacer.on_sent(MDS)
        sent += 1
    assert sent == 200


def test_fast_paths_wake_once_a_millisecond() -> None:
    pacer = started(100 * RATE)
    while pacer.ready_at(MDS, 0) == 0:
        pacer.on_sent(MDS)
    assert abs(pacer.ready_at(MDS, 0) - MS) <= 1
    # Whoever asks before, for another reason, may send what there is.
    pacer.update(100 * RATE, MDS, MDS, MS // 10)
    assert pacer.ready_at(MDS, MS // 10) == MS // 10


def test_what_goes_unasked_is_paid_back() -> None:
    pacer = started()
    pacer.on_sent(20 * MDS)
    assert abs(pacer.ready_at(MDS, 0) - 11 * MS) <= 1


def test_turned_off() -> None:
    pacer = Pacer(False)
    pacer.update(1, MDS, 0, 0)
    pacer.on_sent(1 << 30)
    assert pacer.ready_at(MDS, 5) == 5


def test_no_rate_yet() -> None:
    pacer = Pacer()
    assert pacer.ready_at(MDS, 5) == 5
