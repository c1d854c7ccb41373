"""Paths that take larger datagrams, or no longer do: bytes arrive intact, at a size that fits."""

from __future__ import annotations

from random import Random

import pytest

from cwt.config import Config
from cwt.testing import Datagram, Delay, Drop, Node
from tests.scenarios.test_impairments import transfer
from tests.sim.nodes import Bottleneck, Mtu, Rebind
from tests.sim.seeds import seeds, show
from tests.sim.world import WebTransportWorld


class ChangingMtu(Mtu):
    """A path whose limit is another one after *seconds*."""

    def __init__(self, before: int, after: int, seconds: float) -> None:
        super().__init__(before)
        self.after = after
        self.seconds = seconds

    def send(self, datagram: Datagram, now: float) -> None:
        if now >= self.seconds:
            self.limit = self.after
        super().send(datagram, now)


def world_of(*both: tuple[Node, Node], seed: int = 1, delay: float = 0.01) -> WebTransportWorld:
    up, down = ([node for node, _ in both], [node for _, node in both])
    return WebTransportWorld(seed, up=[*up, Delay(delay)], down=[*down, Delay(delay)])


@pytest.mark.parametrize(
    ("limit", "found"),
    [(1200, 1200), (1280, 1263), (1452, 1452), (1472, 1472), (8972, 8952), (65490, 65488)],
)
def test_a_transfer_finds_the_size(limit: int, found: int) -> None:
    world = world_of((Mtu(limit), Mtu(limit)))
    transfer(world, 3_000_000)
    assert world.client.stats().mtu == found
    assert world.server.stats().mtu == found


def test_a_search_costs_few_datagrams_and_no_time() -> None:
    times, sent = [], []
    for discovery in (False, True):
        config = Config(mtu_discovery=discovery)
        nodes = [[Mtu(1200), Bottleneck(2_500_000, 60_000), Delay(0.01)] for _ in "ab"]
        world = WebTransportWorld(up=nodes[0], down=nodes[1], config=config)
        transfer(world, 1_000_000)
        times.append(world.now)
        sent.append(world.client.stats().packets_sent)
    assert times[1] < 1.25 * times[0]
    assert sent[1] < 1.25 * sent[0]


@pytest.mark.parametrize("seed", seeds(5))
@pytest.mark.parametrize(("before", "after"), [(1472, 1252), (8972, 1472), (65535, 1200)])
def test_a_black_hole_in_mid_flight(before: int, after: int, seed: int) -> None:
    show(seed)
    holes = [ChangingMtu(before, after, 0.4 + seed / 10) for _ in "ab"]
    pipes = [Bottleneck(4_000_000, 400_000) for _ in "ab"]
    world = world_of((holes[0], holes[1]), (pipes[0], pipes[1]), seed=seed)
    transfer(world, 4_000_000)
    assert 1200 <= world.client.stats().mtu <= after
    assert 1200 <= world.server.stats().mtu <= after
    assert holes[0].dropped and holes[1].dropped


@pytest.mark.parametrize("seed", seeds(5))
def test_a_path_that_changes_all_the_time(seed: int) -> None:
    show(seed)
    rng = Random(seed)

    class Erratic(Mtu):
        def send(self, datagram: Datagram, now: float) -> None:
            if rng.random() < 0.002:
                self.limit = rng.choice([1200, 1280, 1400, 1452, 1472, 4000, 9000, 65535])
            super().send(datagram, now)

    world = world_of((Erratic(1472), Erratic(1472)), (Drop(0.01), Drop(0.01)), seed=seed)
    transfer(world, 500_000, seconds=300)


def test_a_rebinding_starts_the_search_over() -> None:
    nat = Rebind(0.3, 0.6)
    pipes = [Bottleneck(4_000_000, 400_000) for _ in "ab"]
    world = WebTransportWorld(
        up=[pipes[0], nat, Mtu(1472), Delay(0.01)],
        down=[pipes[1], Mtu(1472), nat.back, Delay(0.01)],
    )
    transfer(world, 4_000_000)
    assert nat.rebindings == 2
    assert world.client.stats().mtu == 1472
    assert world.server.stats().mtu == 1472


def test_datagrams_follow_the_path() -> None:
    world = world_of((Mtu(1472), Mtu(1472)))
    server = world.open_session()
    client = world.client_peer
    assert client.session_id is not None
    before = client.webtransport.max_datagram_size(client.session_id)
    world.run_for(1.0)
    size = client.webtransport.max_datagram_size(client.session_id)
    assert size - before == 1472 - 1200
    assert client.send_datagram(b"x" * size)
    world.drive(lambda: client.datagrams, 5.0)
    assert server.datagrams == client.datagrams == [b"x" * size]
