"""Round-trip time estimate (RFC 9002 Section 5)."""

from __future__ import annotations

from cwt._core.recovery.rtt import RttEstimator
from hypothesis import given
from hypothesis import strategies as st

MS = 1_000_000


def test_before_the_first_sample() -> None:
    rtt = RttEstimator(333 * MS)
    assert (rtt.smoothed, rtt.variation, rtt.has_sample) == (333 * MS, 333 * MS // 2, False)
    assert rtt.pto(False) == 333 * MS * 3
    assert rtt.pto(True) == 333 * MS * 3 + 25 * MS


def test_the_first_sample_counts_whole() -> None:
    rtt = RttEstimator(333 * MS)
    rtt.sample(100 * MS, 50 * MS, True)  # its delay is not taken off
    assert (rtt.smoothed, rtt.variation, rtt.minimum) == (100 * MS, 50 * MS, 100 * MS)


def test_the_next_ones_are_smoothed() -> None:
    rtt = RttEstimator(333 * MS)
    rtt.sample(100 * MS, 0, True)
    rtt.sample(180 * MS, 20 * MS, True)
    assert rtt.latest == 180 * MS
    assert rtt.smoothed == (7 * 100 * MS + 160 * MS) // 8
    assert rtt.variation == (3 * 50 * MS + 60 * MS) // 4
    assert rtt.minimum == 100 * MS


def test_a_delay_never_takes_a_sample_below_the_minimum() -> None:
    rtt = RttEstimator(333 * MS)
    rtt.sample(100 * MS, 0, True)
    rtt.sample(110 * MS, 20 * MS, True)
    assert rtt.smoothed == (7 * 100 * MS + 110 * MS) // 8


def test_max_ack_delay_binds_once_the_handshake_is_confirmed() -> None:
    early, late = RttEstimator(333 * MS, 25 * MS), RttEstimator(333 * MS, 25 * MS)
    for rtt, confirmed in ((early, False), (late, True)):
        rtt.sample(100 * MS, 0, confirmed)
        rtt.sample(300 * MS, 100 * MS, confirmed)
    assert early.smoothed == (7 * 100 * MS + 200 * MS) // 8
    assert late.smoothed == (7 * 100 * MS + 275 * MS) // 8


def test_granularity_is_the_least_variation_that_counts() -> None:
    rtt = RttEstimator(333 * MS)
    for _ in range(100):
        rtt.sample(10 * MS, 0, True)
    assert rtt.pto(False) == 11 * MS


def test_reset() -> None:
    rtt = RttEstimator(333 * MS)
    rtt.sample(MS, 0, True)
    rtt.reset()
    assert (rtt.smoothed, rtt.has_sample) == (333 * MS, False)
    rtt.sample(50 * MS, 0, True)
    assert rtt.minimum == 50 * MS


@given(st.lists(st.tuples(st.integers(0, 1 << 50), st.integers(0, 1 << 60), st.booleans())))
def test_estimates_stay_within_the_samples(samples: list[tuple[int, int, bool]]) -> None:
    rtt = RttEstimator(333 * MS)
    for latest, delay, confirmed in samples:
        rtt.sample(latest, delay, confirmed)
    if samples:
        seen = [latest for latest, _, _ in samples]
        assert rtt.minimum == min(seen)
        assert min(seen) - len(seen) <= rtt.smoothed <= max(seen)
        assert rtt.variation >= 0
        assert rtt.pto(True) > rtt.smoothed


def test_in_the_handshake_a_sample_of_a_repeated_ack_does_not_last() -> None:
    # The first ACK was lost and came again with the peer's probe, a second later.
    rtt = RttEstimator(333 * MS)
    rtt.sample(1020 * MS, 0, False)
    rtt.sample(20 * MS, 0, False)
    assert (rtt.smoothed, rtt.minimum) == (20 * MS, 20 * MS)
    assert rtt.pto(False) == 60 * MS
    rtt.sample(9 * MS, 0, True)
    assert rtt.smoothed > 18 * MS  # afterwards RFC 9002 alone counts
    assert rtt.minimum == 9 * MS
