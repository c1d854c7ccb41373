"""0-RTT over networks that lose and reorder (RFC 9001 Section 4.6)."""

from __future__ import annotations

from random import Random

import pytest

from cwt.config import TransportConfig
from cwt.testing import Delay, Drop, Duplicate, Node, Reorder
from cwt.tls import Group
from tests.sim.early import EarlyWorld
from tests.sim.nodes import DropList
from tests.sim.seeds import seeds, show
from tests.sim.world import certificate

DELAY = 0.05


def delayed(*nodes: Node) -> list[Node]:
    return [*nodes, Delay(DELAY)]


def test_data_is_answered_within_one_round_trip() -> None:
    world = EarlyWorld()
    world.prime()
    client = world.connect(delayed(), delayed())
    assert client.is_in_early_data and client.can_open_streams
    assert client.early_data_accepted is None and client.application_proto == b"echo"
    stream_id = world.send(b"early")
    took = world.drive(lambda: stream_id in world.ended)
    assert world.echoed[stream_id] == b"early"
    assert took < 2 * DELAY + 0.03
    assert client.early_data_accepted and client.early_data_reason == "accepted"
    assert not client.is_in_early_data and client.is_resumed
    assert world.early_streams == {stream_id}
    assert world.server is not None
    world.drive(lambda: client.is_confirmed)
    assert world.server.early_data_accepted and not world.server.is_in_early_data
    later = world.send(b"later")
    world.drive(lambda: later in world.ended)
    assert not world.server.stream_early(later)


def test_nothing_is_early_in_the_first_connection_or_when_it_is_off() -> None:
    world = EarlyWorld()
    client = world.connect()
    assert not client.can_open_streams and not client.is_in_early_data
    assert client.open_stream() is None
    world.drive(lambda: client.is_confirmed)
    assert client.early_data_accepted is None and client.early_data_reason is None
    for off in ({"server": {"early_data": False}}, {"client": {"early_data": False}}):
        world = EarlyWorld(**off)  # type: ignore[arg-type]
        world.prime()
        client = world.connect()
        assert not client.is_in_early_data and not client.can_open_streams
        world.finish()
        assert client.is_resumed and client.early_data_accepted is None


def test_datagrams_are_early_too() -> None:
    world = EarlyWorld()
    world.prime()
    client = world.connect(delayed(), delayed())
    assert client.dgram_max_writable_len() > 1000
    client.dgram_send(b"early")
    assert world.drive(lambda: world.datagrams) < 2 * DELAY + 0.03
    assert world.datagrams == [b"early"]


@pytest.mark.parametrize("why", ["limits", "context", "process"])
def test_refused_data_is_sent_again(why: str) -> None:
    """Everything that was written arrives once, on the same streams."""
    world = EarlyWorld()
    world.prime()
    if why == "limits":
        world.start_server(TransportConfig(initial_max_data=100_000))
    elif why == "context":
        world.server_tls.early_data_context = b"other settings"
    else:
        world.server_tls.ticket_keys = EarlyWorld().server_tls.ticket_keys
    client = world.connect(delayed(), delayed())
    data = [Random(size).randbytes(size) for size in (0, 10, 5000, 40_000, 200_000)]
    streams = [world.send(part) for part in data]
    dropped = world.send(b"never mind")
    client.stream_shutdown(dropped, 1, 7)
    client.dgram_send(b"lost")
    world.drive(lambda: client.early_data_accepted is not None)
    assert client.early_data_accepted is False and client.early_data_reason != "accepted"
    assert not client.is_in_early_data
    world.drive(lambda: world.ended >= set(streams))
    assert [bytes(world.echoed[stream_id]) for stream_id in streams] == data
    assert world.early_streams == set() and world.datagrams == []
    assert world.resets == {dropped: 7}
    assert client.is_resumed == (why != "process")
    assert client.termination is None
    again = world.send(b"again")
    world.drive(lambda: again in world.ended)


def test_fewer_streams_than_remembered_wait_their_turn() -> None:
    world = EarlyWorld()
    world.prime()
    world.start_server(TransportConfig(initial_max_streams_bidi=3))
    client = world.connect(delayed(), delayed())
    streams = [world.send(b"%d" % index) for index in range(20)]
    world.drive(lambda: client.early_data_accepted is not None)
    world.drive(lambda: world.ended == set(streams))
    assert [bytes(world.echoed[s]) for s in streams] == [b"%d" % index for index in range(20)]
    assert client.termination is None


def test_a_retried_hello_ends_early_data() -> None:
    world = EarlyWorld(client={"groups": [Group.X25519, Group.SECP256R1]})
    world.prime()
    world.server_tls.groups = (Group.SECP256R1,)
    client = world.connect(delayed(), delayed())
    stream_id = world.send(bytes(30_000))
    assert client.is_in_early_data
    world.drive(lambda: client.early_data_accepted is not None)
    assert client.early_data_accepted is False and not client.is_in_early_data
    assert client.open_stream() is None, "the limits are not known"
    world.drive(lambda: stream_id in world.ended)
    assert world.echoed[stream_id] == bytes(30_000)
    assert client.is_resumed and world.early_streams == set()


def lossy() -> list[Node]:
    return [Drop(0.2), Duplicate(0.2), Delay(0.015, 0.005), Reorder(0.3, 0.05)]


@pytest.mark.parametrize("refused", [False, True])
@pytest.mark.parametrize("seed", seeds(20))
def test_lost_and_reordered(seed: int, refused: bool) -> None:
    show(seed)
    world = EarlyWorld(seed, config=TransportConfig(handshake_timeout=60))
    world.prime()
    if refused:
        world.server_tls.early_data_context = b"other settings"
    client = world.connect(lossy(), lossy())
    data = [Random(f"{seed}/{size}").randbytes(size) for size in (0, 1, 3000, 20_000)]
    streams = [world.send(part) for part in data]
    world.drive(lambda: world.ended >= set(streams))
    assert [bytes(world.echoed[stream_id]) for stream_id in streams] == data
    assert client.early_data_accepted is not refused
    assert client.termination is None


@pytest.mark.parametrize("index", range(12))
def test_any_single_loss_of_the_first_flight(index: int) -> None:
    world = EarlyWorld()
    world.prime()
    client = world.connect(delayed(DropList(index)), delayed())
    stream_id = world.send(bytes(20_000))
    assert world.drive(lambda: stream_id in world.ended) < 2.5
    assert client.early_data_accepted


@pytest.mark.parametrize("seed", seeds(10))
def test_early_packets_before_the_hello(seed: int) -> None:
    """Those that overtake it are kept for a while, or sent again."""
    show(seed)
    world = EarlyWorld(seed)
    world.prime()
    client = world.connect([Delay(0.01), Reorder(0.8, 0.1)], delayed())
    stream_id = world.send(bytes(10_000))
    world.drive(lambda: stream_id in world.ended)
    assert client.early_data_accepted


def test_early_packets_do_not_stop_the_probes_a_blocked_server_waits_for() -> None:
    """Its flight is more than the client's first one allows, and the end of that is lost (RFC 9002 Section
    6.2.2.1)."""
    world = EarlyWorld(server={"certificate_chain": certificate().chain * 30})
    world.prime()
    world.server_tls.ticket_keys = (
        EarlyWorld().server_tls.ticket_keys
    )  # so that certificates are sent
    client = world.connect(delayed(), delayed(DropList(*range(4))))
    stream_id = world.send(b"x")
    world.drive(lambda: stream_id in world.ended, seconds=9)
    assert client.early_data_accepted is False
