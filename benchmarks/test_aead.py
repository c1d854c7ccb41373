"""Sealing, opening and masking a GSO batch of packets on both AEAD back ends.

    pytest benchmarks/test_aead.py --benchmark-columns=min,median,ops

One round is BATCH packets; ``extra_info["ns_per_packet"]`` in the JSON report is the median of one.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from cwt._core.crypto import aead

BATCH = 54
HEADER = 13
SUITES = {"aes128gcm": (0x1301, 16), "aes256gcm": (0x1302, 32), "chacha20": (0x1303, 32)}


def measure(benchmark: BenchmarkFixture, function: Callable[[], object]) -> None:
    benchmark(function)
    if benchmark.stats is not None:  # None with --benchmark-disable
        per_packet = benchmark.stats.stats.median / BATCH * 1e9
        benchmark.extra_info["ns_per_packet"] = round(per_packet, 1)


@pytest.fixture(params=aead.BACK_ENDS)
def back_end(request: pytest.FixtureRequest) -> str:
    try:
        aead.aead(0x1301, bytes(16), bytes(12), request.param)
    except ImportError as error:
        pytest.skip(str(error))
    return request.param


@pytest.mark.parametrize("size", [64, 1200, 1452, 8952])
@pytest.mark.parametrize("suite", SUITES)
def test_seal(benchmark: BenchmarkFixture, back_end: str, suite: str, size: int) -> None:
    number, key_length = SUITES[suite]
    cipher = aead.aead(number, bytes(key_length), bytes(12), back_end)
    packet = HEADER + size + 16
    buffer = bytearray(packet * BATCH)
    benchmark.group = f"seal {suite} {size} bytes"
    measure(benchmark, lambda: cipher.seal_batch(buffer, packet, HEADER, 7))


@pytest.mark.parametrize("size", [1200])
@pytest.mark.parametrize("suite", SUITES)
def test_open(benchmark: BenchmarkFixture, back_end: str, suite: str, size: int) -> None:
    # Opening happens in place, so every round gets the sealed bytes anew (some 30 ns a packet).
    number, key_length = SUITES[suite]
    cipher = aead.aead(number, bytes(key_length), bytes(12), back_end)
    packet = HEADER + size + 16
    sealed = bytearray(packet * BATCH)
    cipher.seal_batch(sealed, packet, HEADER, 7)
    buffer = bytearray(len(sealed))

    def run() -> list[bool]:
        buffer[:] = sealed
        return cipher.open_batch(buffer, packet, HEADER, 7)

    assert all(run())
    benchmark.group = f"open {suite} {size} bytes"
    measure(benchmark, run)


@pytest.mark.parametrize("suite", SUITES)
def test_mask(benchmark: BenchmarkFixture, back_end: str, suite: str) -> None:
    # The list of masks made for Python costs more than the masks: compare the back ends only.
    number, key_length = SUITES[suite]
    protection = aead.header_protection(number, bytes(key_length), back_end)
    samples = bytes(range(16)) * BATCH
    benchmark.group = f"mask {suite}"
    measure(benchmark, lambda: protection.masks(samples))
