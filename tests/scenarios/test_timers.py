"""What happens when nothing happens: idle timeout, keep-alive, a peer that is gone."""

from __future__ import annotations

from cwt.config import Config
from cwt.errors import ConnectError, IdleTimeout
from cwt.testing import Delay, Drop
from tests.sim.nodes import Blackhole
from tests.sim.world import World


def quiet(**limits: float) -> World:
    config = Config(**limits)  # type: ignore[arg-type]
    return World(up=[Delay(0.02)], down=[Delay(0.02)], client_config=config, server_config=config)


def test_an_idle_connection_ends_on_both_sides() -> None:
    world = quiet(max_idle_timeout=5.0)
    world.establish()
    start = world.now
    took = world.drive(lambda: world.client.is_closed and world.server.is_closed)
    assert isinstance(world.client.termination, IdleTimeout)
    assert isinstance(world.server.termination, IdleTimeout)
    assert 4.5 < took < 6.5, start


def test_the_smaller_idle_timeout_counts() -> None:
    world = World(
        client_config=Config(max_idle_timeout=30.0), server_config=Config(max_idle_timeout=3.0)
    )
    world.establish()
    took = world.drive(lambda: world.client.is_closed and world.server.is_closed)
    assert 2.5 < took < 4.5


def test_without_an_idle_timeout_a_connection_stays() -> None:
    world = quiet(max_idle_timeout=0.0)
    world.establish()
    world.run_for(100_000.0)
    assert not world.client.is_closed
    assert not world.server.is_closed


def test_keep_alive_keeps_alive() -> None:
    world = quiet(max_idle_timeout=5.0, keep_alive_interval=2.0)
    world.establish()
    before = world.client.stats().packets_sent
    world.run_for(600.0)
    assert not world.client.is_closed
    assert not world.server.is_closed
    # A PING every two seconds at most, and answers to the other side's.
    assert world.client.stats().packets_sent - before < 1000


def test_a_peer_that_vanishes_is_noticed() -> None:
    world = World(
        up=[Delay(0.02), Blackhole((1.0, 1e9))],
        down=[Delay(0.02), Blackhole((1.0, 1e9))],
        client_config=Config(max_idle_timeout=5.0),
        server_config=Config(max_idle_timeout=5.0),
    )
    world.establish()
    world.run_for(1.5)
    stream_id = world.client.open_stream(True)
    assert stream_id is not None
    world.client.stream_send(stream_id, b"anyone there?", True)
    world.drive(lambda: world.client.is_closed and world.server.is_closed)
    assert isinstance(world.client.termination, IdleTimeout)
    # Probes back off: not more than a handful in five seconds.
    assert world.client.stats().packets_sent < 40


def test_no_server_at_all() -> None:
    world = World(up=[Drop(1.0)], client_config=Config(handshake_timeout=4.0))
    took = world.drive(lambda: world.client.is_closed)
    assert isinstance(world.client.termination, ConnectError)
    assert 3.9 < took < 4.5
    assert world.pair.uplink.next_time() is None


def test_closing_reaches_the_peer_and_ends() -> None:
    world = quiet()
    world.establish()
    world.client.close(42, "enough")
    world.drive(lambda: world.client.is_closed and world.server.is_closed, seconds=10)
    termination = world.server.termination
    assert termination is not None
    assert (getattr(termination, "code", None), getattr(termination, "reason", None)) == (
        42,
        "enough",
    )
    # Nothing is left behind, in timers or in tables.
    world.run_for(10.0)
    assert world.client_endpoint.connections == 0
    assert world.server_endpoint.connections == 0
    assert world.pair.next_time() is None


def test_a_lost_close_is_repeated_but_not_for_every_packet() -> None:
    world = World(up=[Delay(0.01), Blackhole((1.0, 1.105))], down=[Delay(0.01)])
    world.establish()
    stream_id = world.server.open_stream(True)
    assert stream_id is not None
    world.run_for(1.1 - world.now)
    world.client.close(7, "bye")
    world.run_for(0.0)
    sent = world.pair.uplink.sent
    # The server does not know yet and sends on; the client answers with its close again (Section 10.2.1).
    for _ in range(40):
        world.server.stream_send(stream_id, b"x" * 1000)
        world.run_for(0.005)
        if world.server.is_draining or world.server.is_closed:
            break
    assert world.server.is_draining or world.server.is_closed
    assert getattr(world.server.termination, "code", None) == 7
    assert 1 <= world.pair.uplink.sent - sent < 10
