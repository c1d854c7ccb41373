"""Congestion controllers at a bottleneck: what they make of it, and how they share it.

The whole grid is ``make congestion``; these are the cells that are quick.
"""

from __future__ import annotations

import pytest
from benchmarks.congestion.simulation import Link, Simulation

CONTROLLERS = ("newreno", "cubic", "bbr")


def utilisation(simulation: Simulation, start: float, end: float) -> float:
    """Of the link, between *start* and *end* seconds."""
    simulation.run(start)
    before = simulation.passed
    simulation.run(end)
    return (simulation.passed - before) / (end - start) / simulation.rate


@pytest.mark.parametrize("controller", CONTROLLERS)
@pytest.mark.parametrize(("rate", "rtt"), [(10e6, 0.005), (10e6, 0.05), (10e6, 0.2), (100e6, 0.05)])
def test_utilisation(controller: str, rate: float, rtt: float) -> None:
    simulation = Simulation(Link(rate=rate, rtt=rtt), [controller])
    assert utilisation(simulation, 50 * rtt, 50 * rtt + 8) >= 0.9


@pytest.mark.parametrize(("rate", "rtt"), [(10e6, 0.005), (10e6, 0.05), (10e6, 0.2), (100e6, 0.05)])
def test_bbr_does_not_take_random_losses_for_congestion(rate: float, rtt: float) -> None:
    simulation = Simulation(Link(rate=rate, rtt=rtt, loss=0.02), ["bbr"])
    assert utilisation(simulation, 50 * rtt, 50 * rtt + 12) >= 0.8
