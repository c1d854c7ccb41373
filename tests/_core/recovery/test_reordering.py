"""The thresholds of loss detection (RFC 9002 Section 6.1)."""

from __future__ import annotations

import pytest
from cwt._core.recovery.rtt import RttEstimator

from cwt._core.recovery.reordering import Reordering

MS = 1_000_000


@pytest.fixture
def rtt() -> RttEstimator:
    estimator = RttEstimator(333 * MS)
    estimator.sample(80 * MS, 0, True)
    return estimator


def test_three_packets_and_an_eighth_of_a_round_trip_at_first(rtt: RttEstimator) -> None:
    reordering = Reordering()
    assert reordering.packets == 3
    assert reordering.delay(rtt) == 90 * MS


def test_the_delay_is_never_below_the_granularity() -> None:
    rtt = RttEstimator(333 * MS)
    rtt.sample(1000, 0, True)
    assert Reordering().delay(rtt) == MS


def test_a_late_packet_widens_both_as_far_as_it_was_late(rtt: RttEstimator) -> None:
    reordering = Reordering()
    reordering.on_spurious_loss(7, 20, 85 * MS, rtt)
    assert (reordering.packets, reordering.eighths) == (21, 1)
    reordering.on_spurious_loss(8, 5, 101 * MS, rtt)
    assert (reordering.packets, reordering.eighths) == (21, 3)
    assert reordering.delay(rtt) > 101 * MS


def test_there_is_a_limit(rtt: RttEstimator) -> None:
    reordering = Reordering()
    reordering.on_spurious_loss(7, 1 << 40, 1 << 60, rtt)
    assert reordering.packets == 256
    assert reordering.delay(rtt) == 160 * MS


def test_losses_that_were_no_mistake_narrow_them_again(rtt: RttEstimator) -> None:
    reordering = Reordering()
    reordering.on_spurious_loss(7, 20, 150 * MS, rtt)
    for episode in range(15):
        reordering.on_lost(episode, 1, 2 * episode + 1, 2 * episode + 2)
        reordering.on_lost(episode, 9, 2 * episode, 2 * episode + 2)  # of the same
    assert reordering.packets == 21
    reordering.on_lost(50, 1, 50, 51)
    assert (reordering.packets, reordering.eighths) == (3, 1)


def test_what_shrank_the_window_is_undone_when_all_of_it_arrived(rtt: RttEstimator) -> None:
    reordering = Reordering()
    reordering.on_lost(10, 2, 100, 200)
    reordering.on_lost(13, 1, 150, 250)  # sent before the window shrank
    assert not reordering.on_spurious_loss(11, 5, MS, rtt)
    assert not reordering.on_spurious_loss(10, 6, MS, rtt)
    assert not reordering.on_spurious_loss(4, 20, MS, rtt)  # of earlier
    assert reordering.on_spurious_loss(13, 5, MS, rtt)
    assert not reordering.on_spurious_loss(13, 5, MS, rtt)
    reordering.on_lost(20, 2, 300, 400)
    assert not reordering.on_spurious_loss(20, 5, MS, rtt)
