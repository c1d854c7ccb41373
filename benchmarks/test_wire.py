"""Varints, packet headers, frames, ACK ranges: nanoseconds each, of the C functions."""

from __future__ import annotations

from random import Random
from types import ModuleType

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.measure import per_operation
from cwt._core.wire import varint

COUNT = 1000
VALUES = [Random(1).getrandbits(bits) for bits in (6, 14, 30, 62) for _ in range(16)]


def test_varint_write(benchmark: BenchmarkFixture, loops: ModuleType) -> None:
    length = sum(len(varint.encode(value)) for value in VALUES)
    operations = COUNT * len(VALUES)
    assert per_operation(benchmark, operations, loops.write_varints, VALUES, COUNT) == length


def test_varint_read(benchmark: BenchmarkFixture, loops: ModuleType) -> None:
    data = b"".join(varint.encode(value) for value in VALUES)
    total = per_operation(benchmark, COUNT * len(VALUES), loops.read_varints, data, COUNT)
    assert total == sum(VALUES) * COUNT % (1 << 64)


def test_varint_from_python(benchmark: BenchmarkFixture) -> None:
    data = varint.encode(494878333)
    assert per_operation(benchmark, 1, varint.decode, data) == (494878333, 4)


def test_parse_short_header(benchmark: BenchmarkFixture, loops: ModuleType) -> None:
    packet = b"\x43" + bytes(1199)
    assert per_operation(benchmark, COUNT, loops.parse_headers, packet, 8, COUNT) == 9 * COUNT


def test_parse_long_header(benchmark: BenchmarkFixture, loops: ModuleType) -> None:
    packet = b"\xc3\0\0\0\1\x08" + bytes(8) + b"\x08" + bytes(8) + b"\0\x44\x96" + bytes(1174)
    assert per_operation(benchmark, COUNT, loops.parse_headers, packet, 8, COUNT) == 26 * COUNT


def test_read_stream_frame(benchmark: BenchmarkFixture, loops: ModuleType) -> None:
    payload = b"\x0c\x04\x80\x12\x34\x56" + bytes(1150)
    assert per_operation(benchmark, COUNT, loops.read_frames, payload, COUNT) == COUNT


@pytest.mark.parametrize("ranges", [1, 10, 60])
def test_read_ack_frame(benchmark: BenchmarkFixture, loops: ModuleType, ranges: int) -> None:
    numbers = [1000, 25, ranges - 1, 3] + [1, 2] * (ranges - 1)
    payload = b"\x02" + b"".join(map(varint.encode, numbers))
    assert per_operation(benchmark, COUNT, loops.read_frames, payload, COUNT) == COUNT


def test_write_stream_packet(benchmark: BenchmarkFixture, loops: ModuleType) -> None:
    written = per_operation(benchmark, COUNT, loops.write_stream_packets, 1170, COUNT)
    assert written > 1150 * COUNT


@pytest.mark.parametrize("every_lost", [0, 100, 5], ids=["none lost", "1 % lost", "20 % lost"])
def test_ack_ranges(benchmark: BenchmarkFixture, loops: ModuleType, every_lost: int) -> None:
    """Noting a received packet, and writing the ACK when one is due."""
    assert per_operation(benchmark, COUNT, loops.track_acks, every_lost, COUNT) >= 400


@pytest.mark.parametrize("kind", ["in order", "alternating", "shuffled"])
def test_range_set(benchmark: BenchmarkFixture, loops: ModuleType, kind: str) -> None:
    starts = list(range(256))
    if kind == "alternating":
        starts = starts[::2] + starts[1::2]
    elif kind == "shuffled":
        Random(1).shuffle(starts)
    assert per_operation(benchmark, 256 * 20, loops.add_ranges, starts, 20) == 1
