"""BBR, by the example test cases of the draft's appendix (draft-ietf-ccwg-bbr)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from benchmarks.congestion.simulation import Link, Simulation
from cwt._core.recovery.bbr import Bbr

LINK = Link(rate=20e6, rtt=0.04)
RATE = 20e6 / 8
MDS = 1200


class Watched:
    """One flow, whose controller can be looked at; ``phases`` has each phase and when it began."""

    def __init__(self, link: Link = LINK, **options: Any) -> None:
        made: list[Any] = []

        def make(size: int) -> Any:
            made.append(Bbr(size))
            return made[-1]

        self.simulation = Simulation(link, [make], **options)
        self.controller = made[0]  # the sender's
        self.phases: list[tuple[str, float]] = [("startup", 0.0)]

    @property
    def now(self) -> float:
        return self.simulation.now

    @property
    def stats(self) -> Any:
        return self.simulation.flows[0].sender.stats()

    def run(self, until: float, step: float = 0.001) -> None:
        while self.now < until:
            self.simulation.run(min(until, self.now + step))
            if self.controller.state != self.phases[-1][0]:
                self.phases.append((self.controller.state, self.now))

    def run_to(self, phase: str, within: float = 30.0) -> None:
        """Until *phase* begins, again if it is on."""
        before, end = len(self.phases), self.now + within
        while all(name != phase for name, _ in self.phases[before:]):
            assert self.now < end, f"no {phase} within {within} s: {self.phases}"
            self.run(self.now + 0.001)

    def length(self, phase: str) -> float:
        """Of the first *phase*, seconds."""
        names = [name for name, _ in self.phases]
        at = names.index(phase)
        return self.phases[at + 1][1] - self.phases[at][1]

    def limit(self, rate: float) -> None:
        """Let the application send only *rate* bytes a second, in pieces each 10 ms; 0: nothing."""
        flow = self.simulation.flows[0]
        due = self.now

        def fill() -> None:
            nonlocal due
            if flow.stream is None and flow.sender.can_open_streams:
                flow.stream = flow.sender.open_stream(bidirectional=False)
            while rate and due <= self.now and flow.stream is not None:
                flow.sender.stream_send(flow.stream, bytes(int(rate / 100)))
                due += 0.01

        flow.fill = fill  # type: ignore[method-assign]


def test_startup_ends_when_the_rate_does_not_grow() -> None:
    watched = Watched()
    watched.run_to("drain")
    assert watched.controller.full_bw_reached
    assert watched.controller.max_bw == pytest.approx(RATE, rel=0.02)
    watched.run_to("probe_bw_cruise")
    # In one round trip, or little more, the queue is gone.
    assert watched.length("drain") < 0.12
    assert watched.stats.bytes_in_flight < 1.2 * LINK.product


def test_startup_goes_on_when_the_application_limits_it() -> None:
    watched = Watched()
    watched.limit(RATE / 10)
    watched.run(4.0)
    assert watched.phases == [("startup", 0.0)]
    assert not watched.controller.full_bw_reached
    assert watched.simulation.passed > 3 * RATE / 10


def test_startup_ends_with_losses_though_the_application_limits_it() -> None:
    watched = Watched(replace(LINK, loss=0.15))
    watched.limit(RATE / 2)
    watched.run_to("drain", 4.0)
    assert watched.controller.full_bw_reached
    assert watched.controller.inflight_long < 1 << 60


def test_cruising_keeps_the_product_in_flight_and_no_queue() -> None:
    watched = Watched()
    watched.run_to("probe_bw_cruise")
    watched.run(watched.now + 0.2)
    sender = watched.stats
    assert sender.bytes_in_flight == pytest.approx(LINK.product, rel=0.15)
    assert watched.simulation.queued() < 0.1 * LINK.product
    assert watched.controller.rate == pytest.approx(RATE, rel=0.03)


def test_probing_for_bandwidth_goes_round() -> None:
    watched = Watched()
    watched.run(9.0)
    names = [name for name, _ in watched.phases]
    first = names.index("probe_bw_refill")
    assert names[first : first + 4] == [
        "probe_bw_refill", "probe_bw_up", "probe_bw_down", "probe_bw_cruise",
    ]  # fmt: skip
    # REFILL takes a round trip; the wait before it 2 s to 3 s, or 63 round trips.
    assert watched.length("probe_bw_refill") == pytest.approx(0.041, abs=0.01)
    began = watched.phases[names.index("probe_bw_cruise")][1]
    assert 2.0 <= watched.phases[first][1] - began <= 3.1


def test_probe_rtt_every_five_seconds_and_for_200_ms() -> None:
    watched = Watched()
    watched.run(12.0)
    times = [time for name, time in watched.phases if name == "probe_rtt"]
    assert times[0] == pytest.approx(5.1, abs=0.2)
    assert times[1] - times[0] == pytest.approx(5.2, abs=0.3)
    assert 0.2 <= watched.length("probe_rtt") < 0.35
    names = [name for name, _ in watched.phases]
    assert names[names.index("probe_rtt") + 1] == "probe_bw_cruise"


def test_probe_rtt_halves_what_is_in_flight() -> None:
    watched = Watched()
    watched.run_to("probe_rtt")
    watched.run(watched.now + 0.15)
    assert watched.stats.bytes_in_flight == pytest.approx(LINK.product / 2, rel=0.15)
    assert watched.controller.min_rtt == pytest.approx(0.0405e9, rel=0.02)


def test_an_idle_time_takes_the_place_of_probe_rtt() -> None:
    watched = Watched()
    flow = watched.simulation.flows[0]
    fill = flow.fill
    watched.run_to("probe_bw_cruise")
    watched.limit(0)
    watched.run(8.0)
    assert watched.stats.bytes_in_flight == 0
    rate = watched.controller.max_bw
    flow.fill = fill  # type: ignore[method-assign]
    flow.fill()
    watched.simulation._send(flow)
    watched.run(9.0)
    assert all(name != "probe_rtt" for name, _ in watched.phases)
    assert watched.controller.max_bw == pytest.approx(rate, rel=0.02)
    assert watched.stats.bytes_in_flight > 0.9 * LINK.product


def change_rate(watched: Watched, factor: float) -> None:
    simulation = watched.simulation
    queued = simulation.queued()
    simulation.rate *= factor
    simulation.free_at = simulation.now + queued / simulation.rate


def test_ten_times_the_bandwidth_is_found() -> None:
    watched = Watched(Link(rate=10e6, rtt=0.04, queue=10))
    watched.run_to("probe_bw_cruise")
    change_rate(watched, 10)
    watched.run(watched.now + 12.0, 0.05)
    assert watched.controller.max_bw > 0.9 * 100e6 / 8


def test_a_tenth_of_the_bandwidth_is_noticed() -> None:
    watched = Watched(Link(rate=100e6, rtt=0.04))
    watched.run_to("probe_bw_cruise")
    change_rate(watched, 0.1)
    watched.run(watched.now + 1.5, 0.05)
    assert watched.controller.bw < 0.5 * 100e6 / 8  # the short-term model, after losses
    watched.run(watched.now + 12.0, 0.05)
    assert watched.controller.max_bw == pytest.approx(10e6 / 8, rel=0.1)


def test_less_than_a_packet_in_flight_would_do() -> None:
    watched = Watched(Link(rate=1e6, rtt=0.004, queue=20))
    watched.run(6.0, 0.01)
    assert watched.controller.window >= 4 * MDS
    before = watched.simulation.passed
    watched.run(16.0, 0.01)
    assert watched.simulation.passed - before > 0.9 * 10 * 1e6 / 8


def test_random_losses_do_not_end_startup() -> None:
    watched = Watched(replace(LINK, loss=0.01))
    watched.run_to("drain")
    assert watched.controller.max_bw > 0.9 * RATE


@pytest.mark.parametrize("phase", ["startup", "probe_bw_up"])
def test_a_mark_ends_what_probes(phase: str) -> None:
    watched = Watched()
    if phase != "startup":
        watched.run_to(phase)
        watched.run(watched.now + 0.06)
        assert watched.controller.state == phase
    else:
        watched.run(0.2)
    now = int(watched.now * 1e9)
    watched.controller.on_congestion_experienced(now - 1, now)
    watched.run(watched.now + 0.03)
    assert watched.controller.state != phase
    assert watched.controller.inflight_long < 1 << 60


def test_a_spurious_loss_brings_startup_back() -> None:
    watched = Watched(replace(LINK, loss=0.15))
    watched.run_to("drain")
    now = int(watched.now * 1e9)
    watched.controller.on_spurious_loss(now)
    assert watched.controller.state == "startup"
    assert not watched.controller.full_bw_reached
    assert watched.controller.inflight_long > 1 << 60
    watched.controller.on_spurious_loss(now)  # nothing more to take back
    assert watched.controller.state == "startup"


def test_persistent_congestion() -> None:
    watched = Watched()
    watched.run_to("probe_bw_cruise")
    before = watched.controller.window
    watched.controller.on_persistent_congestion()
    assert watched.controller.window == 2 * MDS
    watched.run(watched.now + 2.0)
    assert watched.controller.window > 0.8 * before


@pytest.mark.parametrize("silence", [0.3, 3.0])
def test_a_dead_path_comes_back(silence: float) -> None:
    watched = Watched()
    watched.run(2.0)
    simulation = watched.simulation
    enqueue: Callable[..., None] = simulation._enqueue
    simulation._enqueue = lambda *_: None  # type: ignore[method-assign]
    watched.run(2.0 + silence)
    simulation._enqueue = enqueue  # type: ignore[method-assign]
    watched.run(10.0)
    before = simulation.passed
    watched.run(15.0)
    assert simulation.passed - before > 0.85 * 5 * RATE
