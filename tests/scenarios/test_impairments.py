"""Handshake and transfer over networks that are bad in one way each."""

from __future__ import annotations

from random import Random

import pytest

from cwt.config import Config
from cwt.errors import CwtError
from cwt.testing import Corrupt, Delay, Drop, Node, Reorder
from tests.sim.nodes import Blackhole, Bottleneck, BurstDrop, DropList, Mtu
from tests.sim.seeds import seeds, show
from tests.sim.world import Peer, WebTransportWorld


def transfer(world: WebTransportWorld, size: int, seconds: float = 120.0) -> tuple[Peer, int]:
    """Echo *size* bytes on one stream; the server's end and the stream."""
    server = world.open_session()
    client = world.client_peer
    payload = Random(size).randbytes(size)
    stream_id = client.open()
    client.send(stream_id, payload)
    world.drive(lambda: stream_id in client.finished, seconds)
    assert server.received[stream_id] == payload
    assert client.received[stream_id] == payload
    return server, stream_id


@pytest.mark.parametrize("index", range(8))
@pytest.mark.parametrize("direction", ["up", "down"])
def test_any_single_loss_in_the_handshake(index: int, direction: str) -> None:
    nodes: list[Node] = [DropList(index), Delay(0.02)]
    other: list[Node] = [Delay(0.02)]
    world = WebTransportWorld(
        up=nodes if direction == "up" else other, down=nodes if direction == "down" else other
    )
    transfer(world, 1000)
    assert world.now < 4.0  # a probe or two, not a chain of them


@pytest.mark.parametrize("seed", seeds(10))
def test_one_datagram_in_three_lost(seed: int) -> None:
    show(seed)
    config = Config(handshake_timeout=60)
    nodes = [[Drop(1 / 3), Delay(0.01)] for _ in range(2)]
    transfer(WebTransportWorld(seed, up=nodes[0], down=nodes[1], config=config), 20_000)


@pytest.mark.parametrize("seed", seeds(10))
def test_losses_in_bursts(seed: int) -> None:
    show(seed)
    config = Config(handshake_timeout=60)
    nodes = [[BurstDrop(0.05, longest=8), Delay(0.01)] for _ in range(2)]
    transfer(WebTransportWorld(seed, up=nodes[0], down=nodes[1], config=config), 200_000)


@pytest.mark.parametrize("seed", seeds(10))
def test_strong_reordering_alone_costs_little(seed: int) -> None:
    show(seed)
    nodes = [[Delay(0.01), Reorder(0.5, 0.05)] for _ in range(2)]
    transfer(WebTransportWorld(seed, up=nodes[0], down=nodes[1]), 200_000, seconds=30)


@pytest.mark.parametrize("seed", seeds(20))
def test_corruption_is_loss_and_never_wrong_data(seed: int) -> None:
    show(seed)
    nodes = [[Corrupt(0.15), Delay(0.01)] for _ in range(2)]
    world = WebTransportWorld(seed, up=nodes[0], down=nodes[1], config=Config(handshake_timeout=60))
    try:
        transfer(world, 50_000)
    except TimeoutError:
        # What a corrupted Initial says about versions or tokens is not protected: the connection may
        # fail, and then says so.
        assert isinstance(world.client.termination, CwtError)
        assert not world.client.is_established
    else:
        assert world.client.termination is None


def test_the_smallest_mtu() -> None:
    nodes = [Mtu(1200), Mtu(1200)]
    world = WebTransportWorld(up=[nodes[0], Delay(0.01)], down=[nodes[1], Delay(0.01)])
    transfer(world, 100_000)


def test_a_bottleneck_is_filled() -> None:
    rate = 1_250_000.0  # 10 Mbit/s
    nodes = [[Bottleneck(rate, 37_500), Delay(0.015)] for _ in range(2)]
    world = WebTransportWorld(up=nodes[0], down=nodes[1])
    start = world.now
    transfer(world, 2_000_000)
    assert world.now - start < 2 * 2_000_000 / rate


@pytest.mark.parametrize("start", [0.05, 0.5, 2.0])
def test_a_blackout_of_two_seconds(start: float) -> None:
    nodes = [
        [Blackhole((start, start + 2.0)), Bottleneck(250_000, 50_000), Delay(0.015)] for _ in "ab"
    ]
    world = WebTransportWorld(up=nodes[0], down=nodes[1])
    transfer(world, 500_000)
    assert world.client.termination is None
