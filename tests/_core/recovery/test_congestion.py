"""Congestion controllers: NewReno, and CUBIC with HyStart++ (RFC 9002 Section 7, RFC 9438, RFC 9406)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from cwt._core.recovery.cubic import Cubic
from cwt._core.recovery.newreno import NewReno
from cwt._core.recovery.rtt import RttEstimator
from hypothesis import given
from hypothesis import strategies as st

MDS = 1200
MS = 1_000_000


def rtt(milliseconds: int = 50) -> RttEstimator:
    estimate = RttEstimator(milliseconds * MS)
    estimate.sample(milliseconds * MS, 0, True)
    return estimate


def acknowledge(controller: Any, count: int, *, at: int = MS, estimate: RttEstimator) -> None:
    for _ in range(count):
        controller.on_acked(MDS, at - 1, True, estimate, at)


BOTH = pytest.mark.parametrize("kind", [NewReno, Cubic])


@BOTH
@pytest.mark.parametrize(("size", "window"), [(1200, 12000), (1472, 14720), (9000, 18000)])
def test_the_initial_window(kind: Any, size: int, window: int) -> None:
    controller = kind(size)
    assert controller.window == window
    assert controller.in_slow_start()


@BOTH
def test_slow_start_doubles(kind: Any) -> None:
    controller = kind(MDS)
    acknowledge(controller, 10, estimate=rtt())
    assert controller.window == 24000


@BOTH
def test_a_window_that_is_not_used_does_not_grow(kind: Any) -> None:
    controller = kind(MDS)
    for _ in range(100):
        controller.on_acked(MDS, 0, False, rtt(), MS)
    assert controller.window == 12000


@BOTH
def test_losses_of_one_round_trip_shrink_once(kind: Any) -> None:
    controller = kind(MDS)
    acknowledge(controller, 90, estimate=rtt())
    before = controller.window
    controller.on_lost(5 * MS, 10 * MS)
    after = controller.window
    assert after == (before // 2 if kind is NewReno else int(before * 0.7))
    assert controller.slow_start_threshold == after
    assert not controller.in_slow_start()
    controller.on_lost(9 * MS, 12 * MS)  # sent before the recovery began
    assert controller.window == after
    controller.on_acked(MDS, 9 * MS, True, rtt(), 13 * MS)
    assert controller.window == after
    controller.on_lost(11 * MS, 14 * MS)
    assert controller.window < after


@BOTH
def test_never_below_two_datagrams(kind: Any) -> None:
    controller = kind(MDS)
    for second in range(1, 50):
        controller.on_lost(second * 1000 * MS, second * 1000 * MS + MS)
    assert controller.window == 2 * MDS


@BOTH
def test_persistent_congestion(kind: Any) -> None:
    controller = kind(MDS)
    acknowledge(controller, 90, estimate=rtt())
    controller.on_lost(5 * MS, 10 * MS)
    threshold = controller.slow_start_threshold
    controller.on_persistent_congestion()
    assert controller.window == 2 * MDS
    assert controller.slow_start_threshold == threshold
    assert controller.in_slow_start()
    controller.on_acked(MDS, 9 * MS, True, rtt(), 20 * MS)
    assert controller.window == 3 * MDS


@BOTH
def test_a_spurious_loss_is_undone(kind: Any) -> None:
    controller = kind(MDS)
    acknowledge(controller, 90, estimate=rtt())
    before = controller.window, controller.slow_start_threshold
    controller.on_lost(5 * MS, 10 * MS)
    controller.on_spurious_loss(20 * MS)
    assert (controller.window, controller.slow_start_threshold) == before
    # What was sent before the reduction counts again, for growth and for loss.
    controller.on_acked(MDS, 9 * MS, True, rtt(), 21 * MS)
    assert controller.window == before[0] + MDS
    controller.on_lost(9 * MS, 22 * MS)
    assert controller.window < before[0]


@BOTH
def test_only_the_last_reduction_is_undone_and_once(kind: Any) -> None:
    controller = kind(MDS)
    acknowledge(controller, 90, estimate=rtt())
    controller.on_spurious_loss(4 * MS)  # there was none
    controller.on_lost(5 * MS, 10 * MS)
    once = controller.window
    controller.on_lost(15 * MS, 20 * MS)
    controller.on_spurious_loss(30 * MS)
    assert controller.window == once
    controller.on_spurious_loss(40 * MS)
    assert controller.window == once


@BOTH
def test_undoing_never_shrinks(kind: Any) -> None:
    controller = kind(MDS)
    controller.on_lost(5 * MS, 10 * MS)
    acknowledge(controller, 5000, at=60 * MS, estimate=rtt())
    grown = controller.window
    assert grown > 10 * MDS
    controller.on_spurious_loss(70 * MS)
    assert controller.window == grown


def test_cubic_goes_on_with_its_curve_after_an_undo() -> None:
    plain, undone = cubic_after_loss(500 * MDS), cubic_after_loss(500 * MDS)
    grow(plain, 1.0, 50)
    grow(undone, 1.0, 50)
    undone.on_lost(2000 * MS, 2001 * MS)
    undone.on_spurious_loss(2002 * MS)
    assert grow(undone, 5.0, 50) == grow(plain, 5.0, 50)


@BOTH
def test_a_congestion_mark_is_a_loss_that_cannot_be_undone(kind: Any) -> None:
    marked, lossy = kind(MDS), kind(MDS)
    for controller in (marked, lossy):
        acknowledge(controller, 90, estimate=rtt())
    marked.on_congestion_experienced(5 * MS, 10 * MS)
    lossy.on_lost(5 * MS, 10 * MS)
    assert marked.window == lossy.window
    marked.on_congestion_experienced(9 * MS, 12 * MS)  # the same round trip
    marked.on_spurious_loss(20 * MS)
    assert marked.window == lossy.window


def test_newreno_adds_a_datagram_a_round_trip() -> None:
    controller = NewReno(MDS)
    acknowledge(controller, 90, estimate=rtt())
    controller.on_lost(5 * MS, 10 * MS)
    window = controller.window
    for _ in range(10):
        acknowledge(controller, controller.window // MDS + 1, at=20 * MS, estimate=rtt())
    assert window + 9 * MDS <= controller.window <= window + 11 * MDS


def cubic_after_loss(window: int) -> Cubic:
    controller = Cubic(MDS)
    while controller.window < window:
        controller.on_acked(MDS, 0, True, rtt(), MS)
    controller.on_lost(2 * MS, 3 * MS)
    return controller


def grow(controller: Cubic, seconds: float, milliseconds: int) -> list[int]:
    """Windows at the end of each round trip while everything is acknowledged."""
    estimate = rtt(milliseconds)
    now = 10 * MS
    windows = []
    for _ in range(int(seconds * 1000 / milliseconds)):
        count = controller.window // MDS
        for i in range(count):
            at = now + i * milliseconds * MS // count
            controller.on_acked(MDS, at - milliseconds * MS // 2, True, estimate, at)
        now += milliseconds * MS
        windows.append(controller.window)
    return windows


def test_cubic_returns_to_where_it_lost_in_k_seconds() -> None:
    # K = cbrt((w_max - cwnd) / C), in datagrams: 1000 of them, 700 left, 9.1 s.
    controller = cubic_after_loss(1000 * MDS)
    w_max = controller.window / 0.7
    k = ((w_max - controller.window) / MDS / 0.4) ** (1 / 3)
    windows = grow(controller, k + 5, 100)
    assert windows[int(10 * k)] == pytest.approx(w_max, rel=0.02)
    assert windows == sorted(windows)
    # Concave before it: most of the way in the first half.
    assert windows[int(5 * k)] > 0.7 * w_max + 0.8 * 0.3 * w_max
    # Convex behind it: C t³ more, 50 datagrams in 5 s.
    assert windows[-1] - w_max == pytest.approx(0.4 * 5**3 * MDS, rel=0.1)


def test_cubic_is_never_slower_than_reno_on_short_paths() -> None:
    # RFC 9438 Section 4.3: with small windows and round trips the Reno-friendly estimate leads.
    controller = cubic_after_loss(20 * MDS)
    start = controller.window
    windows = grow(controller, 0.5, 10)
    alpha = 3 * 0.3 / 1.7
    assert windows[-1] - start >= 0.8 * 50 * alpha * MDS


def test_cubic_converges_fast() -> None:
    controller = cubic_after_loss(100 * MDS)
    first = controller.window
    controller.on_lost(20 * MS, 30 * MS)
    # The second loss is below the first w_max: room is made for others.
    windows = grow(controller, 20.0, 50)
    assert windows[0] >= controller.slow_start_threshold
    assert any(abs(w - 0.85 * first) < 0.03 * first for w in windows)


@pytest.mark.parametrize("milliseconds", [50, 1000])
def test_cubic_does_not_count_time_without_use(milliseconds: int) -> None:
    busy, paused = cubic_after_loss(500 * MDS), cubic_after_loss(500 * MDS)
    grow(busy, 2.0, 50)
    grow(paused, 2.0, 50)
    estimate = rtt(50)
    now = 2010 * MS
    for _ in range(20):  # a little all the time, or a packet now and then
        paused.on_acked(MDS, now, False, estimate, now + MS)
        now += milliseconds * MS
    before = paused.window
    # It goes on where it was; without that it would grow by half a window each round trip.
    for _ in range(before // MDS):
        paused.on_acked(MDS, now, True, estimate, now + 50 * MS)
    for _ in range(busy.window // MDS):
        busy.on_acked(MDS, 2010 * MS, True, estimate, 2060 * MS)
    assert paused.window - before == pytest.approx(busy.window - before, abs=2 * MDS)


def test_cubic_grows_like_reno_above_the_window_before_the_reduction() -> None:
    # Short round trips: alpha below the window before the last reduction, 1 above (RFC 9438 Section 4.3).
    controller = cubic_after_loss(20 * MDS)
    prior = controller.window / 0.7
    windows = [controller.window, *grow(controller, 1.5, 10)]
    steps = [(window, (after - window) / MDS) for window, after in pairwise(windows)]
    below = [step for window, step in steps if window < prior - 2 * MDS]
    above = [step for window, step in steps if window > prior + 2 * MDS]
    assert sum(below) / len(below) == pytest.approx(3 * 0.3 / 1.7, rel=0.15)
    assert sum(above) / len(above) == pytest.approx(1, rel=0.15)


def test_hystart_is_for_the_first_slow_start() -> None:
    controller = cubic_after_loss(100 * MDS)
    controller.on_persistent_congestion()
    number = 0
    for milliseconds in (50, 50, 90, 90, 90):
        estimate = rtt(milliseconds)
        flight = controller.window // MDS
        for _ in range(flight):
            controller.on_acked(MDS, 4 * MS, True, estimate, 5 * MS)
            controller.on_rtt_sample(number, number + flight, estimate)
            number += 1
    assert not controller.in_css
    assert controller.window == 2 * MDS * 2**5


def test_hystart_leaves_slow_start_when_the_round_trip_grows() -> None:
    controller = Cubic(MDS)
    number = 0
    for milliseconds in (50, 50, 60, 60, 60, 60, 60, 60, 60, 60):
        estimate = rtt(milliseconds)
        flight = controller.window // MDS
        sent = number + flight
        for _ in range(flight):
            controller.on_acked(MDS, 0, True, estimate, MS)
            controller.on_rtt_sample(number, sent, estimate)
            number += 1
    assert not controller.in_slow_start()
    assert controller.slow_start_threshold == pytest.approx(controller.window, rel=0.2)


def test_hystart_stays_in_slow_start_while_it_does_not() -> None:
    controller = Cubic(MDS)
    number = 0
    for _ in range(6):
        estimate = rtt(50)
        flight = controller.window // MDS
        for _ in range(flight):
            controller.on_acked(MDS, 0, True, estimate, MS)
            controller.on_rtt_sample(number, number + flight, estimate)
            number += 1
    assert controller.in_slow_start()
    assert not controller.in_css
    assert controller.window == 12000 * 2**6


@BOTH
@given(
    events=st.lists(
        st.tuples(
            st.sampled_from(["ack", "lost", "marked", "spurious", "collapse"]),
            st.integers(1, 10**9),
            st.booleans(),
        )
    )
)
def test_windows_stay_sane(kind: Any, events: list[tuple[str, int, bool]]) -> None:
    controller = kind(MDS)
    estimate = rtt()
    now = 0
    for what, passed, limited in events:
        now += passed
        if what == "ack":
            before = controller.window
            controller.on_acked(MDS, now - 1, limited, estimate, now)
            assert before <= controller.window <= before + max(before, MDS)
        elif what == "lost":
            controller.on_lost(now - 1, now)
        elif what == "marked":
            controller.on_congestion_experienced(now - 1, now)
        elif what == "spurious":
            before = controller.window
            controller.on_spurious_loss(now)
            assert controller.window >= before
        else:
            controller.on_persistent_congestion()
        assert 2 * MDS <= controller.window < 1 << 40
