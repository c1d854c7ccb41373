"""What the suites share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pytest_benchmark.fixture import BenchmarkFixture


def per_operation(
    benchmark: BenchmarkFixture, operations: int, function: Callable[..., Any], *arguments: Any
) -> Any:
    """Run *function*, which does *operations* of something; notes the nanoseconds of one."""
    result = benchmark(function, *arguments)
    if benchmark.stats is not None:  # None with --benchmark-disable
        median = benchmark.stats.stats.median / operations * 1e9
        benchmark.extra_info["ns_per_operation"] = round(median, 2)
    return result
