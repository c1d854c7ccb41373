"""Loss recovery and congestion control: nanoseconds for a packet."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from cwt._core.recovery.cubic import Cubic
from cwt._core.recovery.newreno import NewReno
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.measure import per_operation

CONTROLLERS = {"cubic": Cubic, "newreno": NewReno}


@pytest.mark.parametrize("lose", [0, 50], ids=["none lost", "2 % lost"])
def test_loss_recovery(benchmark: BenchmarkFixture, loops: ModuleType, lose: int) -> None:
    """Remembering a sent packet, its acknowledgement or loss, in bursts of 200."""
    lost = per_operation(benchmark, 200 * 20, lambda: loops.recover(NewReno(), 200, lose, 20))
    assert bool(lost) == bool(lose)


@pytest.mark.parametrize("controller", CONTROLLERS)
def test_congestion_control(
    benchmark: BenchmarkFixture, loops: ModuleType, controller: str
) -> None:
    make: Callable[[], Any] = CONTROLLERS[controller]
    assert per_operation(benchmark, 10_000, lambda: loops.control(make(), 10_000)) > 2400
