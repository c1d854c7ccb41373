"""Congestion controllers at a bottleneck: what they make of it, and how they share it.

The whole grid is ``make congestion``; these are the cells that are quick.
"""

from __future__ import annotations

import pytest
from benchmarks.congestion.cells import CONTROLLERS, FAIRNESS, Cell, measure
from benchmarks.congestion.simulation import Link

GRID = [
    (10e6, 0.005, 8.0),
    (10e6, 0.05, 8.0),
    (10e6, 0.2, 12.0),
    (100e6, 0.05, 6.0),
    (1e9, 0.005, 1.0),
]
PAIRS = [(name, name) for name in CONTROLLERS]


@pytest.mark.parametrize("controller", CONTROLLERS)
@pytest.mark.parametrize(("rate", "rtt", "seconds"), GRID)
def test_utilisation(controller: str, rate: float, rtt: float, seconds: float) -> None:
    start = max(0.5, 40 * rtt)
    cell = Cell(Link(rate=rate, rtt=rtt), (controller,), start, start + seconds)
    outcome = measure(cell)
    assert outcome.utilisation >= 0.9
    assert outcome.goodput[0] >= 0.88 * rate  # headers take 3 %


@pytest.mark.parametrize(("rate", "rtt", "seconds"), GRID[:4])
def test_bbr_does_not_take_random_losses_for_congestion(
    rate: float, rtt: float, seconds: float
) -> None:
    start = max(0.5, 40 * rtt)
    outcome = measure(Cell(Link(rate=rate, rtt=rtt, loss=0.02), ("bbr",), start, start + seconds))
    assert outcome.goodput[0] >= 0.8 * rate


@pytest.mark.parametrize("pair", PAIRS, ids=CONTROLLERS)
@pytest.mark.parametrize(("rate", "rtt"), [(10e6, 0.02), (10e6, 0.05)])
def test_two_of_a_kind_share_alike(pair: tuple[str, str], rate: float, rtt: float) -> None:
    outcome = measure(Cell(Link(rate=rate, rtt=rtt), pair, 10.0, 70.0, gap=2.0))
    assert outcome.fairness >= FAIRNESS
    assert outcome.utilisation >= 0.9


@pytest.mark.parametrize("pair", [("cubic", "bbr"), ("bbr", "cubic")])
def test_neither_starves_beside_the_other(pair: tuple[str, str]) -> None:
    outcome = measure(Cell(Link(rate=10e6, rtt=0.05), pair, 10.0, 70.0, gap=2.0))
    assert min(outcome.goodput) >= 0.2 * 10e6
    assert outcome.utilisation >= 0.9
