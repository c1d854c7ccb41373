"""Key updates of both sides while data flows over bad networks (RFC 9001 Section 6)."""

from __future__ import annotations

from random import Random

import pytest

from cwt.quic import Connection
from cwt.testing import Delay, Drop, Duplicate, Node, Reorder
from tests._core.support import key_count
from tests.sim.early import EarlyWorld
from tests.sim.seeds import seeds, show


class UpdatingWorld(EarlyWorld):
    """Both sides update their keys by chance, as often as they may."""

    def __init__(self, seed: int, *, client: bool = True, server: bool = True) -> None:
        super().__init__(seed, client={"early_data": False})
        self.rng = Random(f"{seed}/updates")
        self.who = client, server
        self.started = [0, 0]

    def work(self) -> None:
        super().work()
        sides: tuple[Connection | None, ...] = (self.client, self.server)
        for index, side in enumerate(sides):
            if side is not None and self.who[index] and self.rng.random() < 0.1:
                self.started[index] += side.initiate_key_update()


def network() -> list[Node]:
    return [Drop(0.05), Duplicate(0.05), Delay(0.01, 0.005), Reorder(0.3, 0.03)]


@pytest.mark.parametrize("who", [(True, False), (False, True), (True, True)])
@pytest.mark.parametrize("seed", seeds(10))
def test_data_arrives_through_many_updates(seed: int, who: tuple[bool, bool]) -> None:
    show(seed)
    world = UpdatingWorld(seed, client=who[0], server=who[1])
    client = world.connect(network(), network())
    world.drive(lambda: client.is_confirmed)
    data = Random(seed).randbytes(300_000)
    streams = [world.send(data), world.send(data[:50_000])]
    world.drive(lambda: world.ended == set(streams), seconds=120)
    assert world.echoed[streams[0]] == data
    assert world.server is not None
    for side in (client, world.server):
        assert side.termination is None
        # Both at once count as one: never more than were begun, and far more than one.
        assert 3 < side.key_updates <= sum(world.started)
    assert abs(client.key_updates - world.server.key_updates) <= 1
    assert (world.started[0] > 0, world.started[1] > 0) == who


def test_both_begin_at_once() -> None:
    world = EarlyWorld()
    client = world.connect([Delay(0.05)], [Delay(0.05)])
    world.drive(lambda: client.is_confirmed)
    stream_id = world.send(bytes(10_000), fin=False)
    world.drive(lambda: len(world.echoed[stream_id]) == 10_000)
    server = world.server
    assert server is not None
    for number in range(1, 6):
        assert client.initiate_key_update() and server.initiate_key_update()
        world._out[stream_id] = bytes(10_000), False
        world._pump(stream_id)
        world.pair.run_for(1, work=world.work)
        assert len(world.echoed[stream_id]) == 10_000 * (1 + number)
        assert client.key_updates == server.key_updates == number
    assert client.termination is None and server.termination is None


def test_an_idle_connection_forgets_old_keys_by_itself() -> None:
    world = EarlyWorld()
    client = world.connect([Delay(0.05)], [Delay(0.05)])
    world.drive(lambda: client.is_confirmed)
    world.pair.run_for(1, work=world.work)
    server = world.server
    assert server is not None
    before = key_count(client), key_count(server)
    assert client.initiate_key_update()
    client.ping()
    world.pair.run_for(0.12, work=world.work)
    assert server.key_updates == 1
    assert (key_count(client), key_count(server)) == (before[0] + 1, before[1] + 1)
    world.pair.run_for(5, work=world.work)
    assert (key_count(client), key_count(server)) == before
