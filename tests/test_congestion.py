"""Congestion controllers of the application: in Python, and in Cython against the files of the package."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from benchmarks.congestion.simulation import Link, Simulation
from cwt._core.recovery.custom import CustomController
from cwt._core.recovery.rtt import RttEstimator

import cwt
from cwt import quic
from cwt.config import TransportConfig
from cwt.errors import ConfigError, TransportError, TransportErrorCode

LINK = Link(rate=10e6, rtt=0.05)


class Aimd(quic.CongestionController):
    """The example of the class's docstring."""

    def on_ack(self, ack: quic.Acknowledgement) -> None:
        if ack.window_limited:
            self.window += self.max_datagram_size * ack.size // self.window

    def on_loss(self, sent: float, size: int, now: float) -> None:
        if self.is_new_congestion(sent, now):
            self.window = max(self.window * 3 // 4, 2 * self.max_datagram_size)


class Fixed(quic.CongestionController):
    """A window that nothing changes; remembers what it is told."""

    def __init__(self, max_datagram_size: int) -> None:
        super().__init__(max_datagram_size)
        self.window = 80 * max_datagram_size
        self.acks: list[quic.Acknowledgement] = []
        self.losses: list[tuple[float, int, float]] = []
        made.append(self)

    def on_ack(self, ack: quic.Acknowledgement) -> None:
        self.acks.append(ack)

    def on_loss(self, sent: float, size: int, now: float) -> None:
        self.losses.append((sent, size, now))


made: list[Fixed] = []


def test_a_controller_in_python() -> None:
    simulation = Simulation(LINK, [Aimd])
    simulation.run(15.0)
    before = simulation.passed
    simulation.run(25.0)
    assert (simulation.passed - before) / 10 / simulation.rate > 0.9
    assert simulation.dropped


def test_what_it_is_told() -> None:
    made.clear()
    simulation = Simulation(Link(rate=10e6, rtt=0.05, loss=0.01), [Fixed])
    simulation.run(5.0)
    controller = made[0]  # of the sender
    stats = simulation.flows[0].sender.stats()
    assert sum(ack.size for ack in controller.acks) == stats.bytes_acked
    assert sum(size for _, size, _ in controller.losses) == stats.bytes_lost > 0
    assert all(sent < now <= 5.0 for sent, _, now in controller.losses)
    late = [ack for ack in controller.acks if ack.now > 1.0]
    assert all(0.05 <= ack.min_rtt <= ack.latest_rtt < 0.2 for ack in late)
    assert all(ack.in_flight <= controller.window for ack in late)
    assert all(ack.now - ack.sent >= 0.05 for ack in late)
    # 80 datagrams a round trip are more than the link takes: it delivers at its rate.
    rates = sorted(ack.delivery_rate for ack in late)
    assert rates[len(rates) // 2] == pytest.approx(10e6 / 8, rel=0.05)
    assert not any(ack.app_limited for ack in late)


def test_its_pacing_rate() -> None:
    class Slow(Fixed):
        pacing_rate = 50_000.0

    simulation = Simulation(LINK, [Slow])
    simulation.run(10.0)
    assert simulation.passed == pytest.approx(500_000, rel=0.1)


@pytest.mark.parametrize("in_slow_start", [False, True])
@pytest.mark.parametrize("window", [1 << 40, 1 << 54, 1 << 63, (1 << 64) - 1])
def test_a_window_without_end_has_a_rate(window: int, in_slow_start: bool) -> None:
    policy = Fixed(1200)
    policy.window = window
    policy.in_slow_start = in_slow_start
    rtt = RttEstimator(1_000_000)
    rate = (2.5 if in_slow_start else 1.25) * window / 0.001
    assert CustomController(1200, policy).pacing_rate(rtt) == min(rate, 1e15)


def test_a_window_too_small_to_send_is_two_datagrams() -> None:
    class Closed(Fixed):
        def on_ack(self, ack: quic.Acknowledgement) -> None:
            self.window = 0

    simulation = Simulation(LINK, [Closed])
    simulation.run(2.0)
    assert simulation.flows[0].sender.stats().congestion_window == 2400


@pytest.mark.parametrize("verb", ["on_ack", "on_loss"])
@pytest.mark.parametrize(
    "fail", [lambda *_: 1 // 0, lambda self, *_: setattr(self, "window", -1)], ids=["raise", "lie"]
)
def test_one_that_fails_ends_its_connection_and_no_other(
    verb: str, fail: Callable[..., Any]
) -> None:
    class Failing(Fixed):
        pass

    def later(self: Any, *args: Any) -> None:
        if simulation.now > 1.0:
            fail(self, *args)

    setattr(Failing, verb, later)
    simulation = Simulation(Link(rate=10e6, rtt=0.05, loss=0.02), [Failing, "cubic"])
    simulation.run(5.0)
    failed, other = (flow.sender.termination for flow in simulation.flows)
    assert isinstance(failed, TransportError)
    assert failed.code == TransportErrorCode.INTERNAL_ERROR
    assert other is None
    seen = simulation.flows[0].receiver.termination
    assert isinstance(seen, TransportError)
    assert seen.code == TransportErrorCode.INTERNAL_ERROR


def test_what_makes_no_controller() -> None:
    with pytest.raises(ConfigError, match="CongestionController"):
        Simulation(LINK, [lambda size: size])
    with pytest.raises(ConfigError, match="CongestionController"):
        quic.Endpoint(TransportConfig(congestion=lambda size: None))
    with pytest.raises(ConfigError, match="congestion"):
        TransportConfig(congestion="fast")


CYTHON = """
cimport cython
from libc.stdint cimport int64_t, uint64_t
from cwt._core.recovery.congestion cimport CongestionController
from cwt._core.recovery.rtt cimport RttEstimator


@cython.final
cdef class Gentle(CongestionController):
    cpdef int on_acked(
        self, uint64_t size, int64_t time_sent, bint window_limited, RttEstimator rtt, int64_t now
    ) except -1:
        if window_limited and time_sent > self.recovery_start:
            self.window += self.max_datagram_size * size // self.window
        return 0

    cpdef int on_lost(self, int64_t time_sent, int64_t now) except -1:
        if time_sent > self.recovery_start:
            self.recovery_start = now
            self.window = max(self.window * 3 // 4, 2 * self.max_datagram_size)
        return 0
"""

SETUP = """
from Cython.Build import cythonize
from setuptools import setup

setup(ext_modules=cythonize("gentle.pyx", include_path={paths!r}, language_level=3))
"""


@pytest.mark.slow
def test_a_controller_in_cython(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = Path(cwt.__file__).parent
    (tmp_path / "gentle.pyx").write_text(textwrap.dedent(CYTHON))
    (tmp_path / "setup.py").write_text(SETUP.format(paths=[str(package.parent)]))
    subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--inplace"], cwd=tmp_path, check=True
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    from gentle import Gentle  # type: ignore[import-not-found]

    simulation = Simulation(LINK, [Gentle])
    simulation.run(15.0)
    before = simulation.passed
    simulation.run(25.0)
    assert (simulation.passed - before) / 10 / simulation.rate > 0.9
