"""Two ends that agree on fewer acknowledgements: no byte is lost, and no time to speak of."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from cwt.config import Config
from cwt.testing import Delay, Drop, Reorder
from tests.scenarios.test_impairments import transfer
from tests.sim.nodes import Bottleneck, Rebind
from tests.sim.seeds import seeds, show
from tests.sim.world import WebTransportWorld

RATE = 5_000_000.0


class Run(NamedTuple):
    seconds: float
    asked: int
    """Packets for each ACK that the client asked for last."""
    acknowledging: int
    """Packets of the server, which echoes half a packet of data for each ACK at most."""


def upload(ack_frequency: bool, size: int, loss: float = 0.0, seed: int = 1) -> Run:
    config = Config(ack_frequency=ack_frequency, mtu_discovery=False)
    world = WebTransportWorld(
        seed,
        up=[Bottleneck(RATE, 400_000), Drop(loss), Delay(0.02)],
        down=[Delay(0.02)],
        config=config,
    )
    server = world.open_session()
    client = world.client_peer
    before = world.server.stats().packets_sent
    start = world.now
    stream_id = client.open(bidirectional=False)
    client.send(stream_id, bytes(size))
    world.drive(lambda: stream_id in server.finished, 120.0)
    assert server.received[stream_id] == bytes(size)
    return Run(
        world.now - start,
        world.client.ack_frequency.threshold,
        world.server.stats().packets_sent - before,
    )


def test_a_long_upload_gets_fewer_acknowledgements_at_the_same_speed() -> None:
    size = 8_000_000
    with_it, without = upload(True, size), upload(False, size)
    assert with_it.asked >= 8
    assert with_it.acknowledging < without.acknowledging / 2
    assert with_it.seconds < 1.02 * without.seconds


def test_a_short_upload_is_acknowledged_as_ever() -> None:
    with_it, without = upload(True, 50_000), upload(False, 50_000)
    assert with_it.seconds <= without.seconds
    assert with_it.asked == 2


@pytest.mark.parametrize("seed", seeds(5))
def test_losses_are_found_as_soon(seed: int) -> None:
    show(seed)
    with_it, without = (upload(on, 2_000_000, 0.005, seed) for on in (True, False))
    assert with_it.seconds < 1.3 * without.seconds


@pytest.mark.parametrize("seed", seeds(5))
def test_with_reordering_and_losses(seed: int) -> None:
    show(seed)
    nodes = [
        [Bottleneck(RATE, 300_000), Drop(0.01), Reorder(0.02, 0.01), Delay(0.01)] for _ in "ab"
    ]
    transfer(WebTransportWorld(seed, up=nodes[0], down=nodes[1]), 2_000_000)


def test_a_new_path_starts_with_the_default() -> None:
    nat = Rebind(0.8, host="198.51.100.9")
    world = WebTransportWorld(
        up=[Bottleneck(RATE, 300_000), nat, Delay(0.01)],
        down=[Bottleneck(RATE, 300_000), nat.back, Delay(0.01)],
        config=Config(mtu_discovery=False),
    )
    transfer(world, 6_000_000)
    assert nat.rebindings == 1
    assert world.server.ack_frequency.sequence >= 2
