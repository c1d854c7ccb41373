"""Routers that mark, bleach, rewrite and drop by the ECN bits (RFC 9000 Section 13.4)."""

from __future__ import annotations

import pytest

from cwt.config import Config
from cwt.testing import Delay, Node
from tests.scenarios.test_impairments import transfer
from tests.sim.nodes import Bottleneck, DropMarked, Mark, Rebind, Rewrite
from tests.sim.world import WebTransportWorld


def world(*up: Node, **options: object) -> WebTransportWorld:
    return WebTransportWorld(up=[*up, Delay(0.01)], down=[Delay(0.01)], **options)  # type: ignore[arg-type]


def test_a_clean_path_is_found_capable_by_both() -> None:
    pair = world()
    transfer(pair, 100_000)
    for end in (pair.client, pair.server):
        stats = end.stats()
        assert stats.ecn == "capable"
        assert stats.packets_marked > 20
        assert stats.received_ect0 > 20
        assert stats.packets_congested == stats.received_ce == 0


def test_one_side_may_do_without() -> None:
    pair = world(config=Config(ecn=False))
    transfer(pair, 100_000)
    assert pair.client.stats().ecn == "off"
    assert pair.server.stats().received_ect0 == 0


def test_marks_slow_the_sender_down_without_a_loss() -> None:
    mark = Mark(0.05)
    config = Config(mtu_discovery_limit=1472)
    pair = world(mark, Bottleneck(2_500_000, 10_000_000), config=config)
    transfer(pair, 1_000_000)
    stats = pair.client.stats()
    assert mark.marked > 3
    assert stats.packets_congested == pair.server.stats().received_ce > 3
    assert stats.ecn == "capable"
    assert stats.packets_lost == 0
    assert stats.congestion_window < 500_000


@pytest.mark.parametrize("start", [0.0, 0.15], ids=["always", "under-way"])
@pytest.mark.parametrize("ecn", [0, 1, 3], ids=["bleached", "ECT(1)", "CE"])
def test_a_router_that_rewrites_is_found_out(ecn: int, start: float) -> None:
    pair = world(Rewrite(ecn, start), Bottleneck(2_500_000, 100_000))
    transfer(pair, 1_000_000)
    if (ecn, start) != (3, 0.15):  # which is what heavy congestion looks like
        assert pair.client.stats().ecn == "failed"
    assert pair.server.stats().ecn == "capable"


@pytest.mark.parametrize("start", [0.0, 0.15], ids=["always", "under-way"])
def test_a_router_that_drops_what_is_marked_costs_a_few_probes(start: float) -> None:
    pair = world(DropMarked(start), Bottleneck(2_500_000, 100_000))
    transfer(pair, 1_000_000, seconds=20)
    assert pair.client.stats().ecn != "capable"


def test_another_path_is_tested_anew() -> None:
    nat = Rebind(0.5, host="198.51.100.7")
    pair = WebTransportWorld(
        up=[nat, Bottleneck(250_000, 60_000), Delay(0.02)],
        down=[Bottleneck(250_000, 60_000), Delay(0.02), nat.back],
    )
    transfer(pair, 300_000)
    assert nat.rebindings == 1
    assert pair.server.stats().ecn == "capable"
    assert pair.server.stats().packets_marked < pair.client.stats().received_ect0
