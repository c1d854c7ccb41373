"""Reassembly of stream data: nanoseconds for a frame of 1150 bytes, in and out again."""

from __future__ import annotations

from random import Random
from types import ModuleType

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.measure import per_operation

CHUNK = 1150
FRAMES = 800


@pytest.mark.parametrize("order", ["in order", "pairs swapped", "one lost of 50", "shuffled"])
def test_reassembly(benchmark: BenchmarkFixture, loops: ModuleType, order: str) -> None:
    offsets = [index * CHUNK for index in range(FRAMES)]
    if order == "pairs swapped":
        for index in range(0, FRAMES, 2):
            offsets[index], offsets[index + 1] = offsets[index + 1], offsets[index]
    elif order == "one lost of 50":  # it comes again 60 frames later
        for index in range(0, FRAMES - 60, 50):
            offsets.insert(index + 60, offsets.pop(index))
    elif order == "shuffled":
        Random(1).shuffle(offsets)
    total = per_operation(benchmark, FRAMES * 5, loops.reassemble, offsets, bytes(CHUNK), CHUNK, 5)
    assert total > 0
