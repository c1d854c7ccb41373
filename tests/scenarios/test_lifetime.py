"""What is dropped is freed, also in the middle of things."""

from __future__ import annotations

import gc

from cwt.quic import Connection
from tests.sim.world import World


def living(kind: type) -> int:
    return sum(isinstance(thing, kind) for thing in gc.get_objects())


def test_an_endpoint_with_open_connections_is_freed() -> None:
    gc.collect()
    before = living(Connection)
    for _ in range(10):
        World().establish()
    gc.collect()
    assert living(Connection) == before


def test_an_endpoint_in_the_middle_of_a_handshake_is_freed() -> None:
    gc.collect()
    before = living(Connection)
    for _ in range(10):
        world = World()
        world.pair.flush()
    del world
    gc.collect()
    assert living(Connection) == before
