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


# Along with all else that a handshake may meet.

V1, V2 = 1, 0x6B3343CF


def test_after_a_retry_it_is_sent_again() -> None:
    world = EarlyWorld()
    world.prime()
    world.start_server(retry="always")
    client = world.connect(delayed(), delayed())
    stream_id = world.send(bytes(5000))
    assert world.drive(lambda: stream_id in world.ended) < 4 * DELAY + 0.05
    assert client.early_data_accepted and world.early_streams == {stream_id}
    assert world.echoed[stream_id] == bytes(5000)


@pytest.mark.parametrize("retry", ["never", "always"])
@pytest.mark.parametrize("resumed", [False, True])
@pytest.mark.parametrize("seed", seeds(10))
def test_retried_hellos_over_bad_networks(seed: int, resumed: bool, retry: str) -> None:
    show(seed)
    config = TransportConfig(handshake_timeout=60)
    world = EarlyWorld(seed, config=config, client={"groups": [Group.X25519, Group.SECP256R1]})
    if resumed:
        world.prime()
    world.server_tls.groups = (Group.SECP256R1,)
    world.start_server(retry=retry)
    client = world.connect(lossy(), lossy())
    streams = []
    if resumed:
        streams = [world.send(bytes(size)) for size in (1, 20_000)]
    world.drive(lambda: client.is_confirmed)
    streams.append(world.send(bytes(3000)))
    world.drive(lambda: world.ended == set(streams))
    assert client.is_resumed == resumed
    assert client.early_data_accepted is (False if resumed else None)
    assert client.termination is None and world.early_streams == set()


def test_in_version_2() -> None:
    world = EarlyWorld(config=TransportConfig(versions=(V2, V1), initial_version=V2))
    world.prime()
    client = world.connect(delayed(), delayed())
    stream_id = world.send(b"early")
    assert world.drive(lambda: stream_id in world.ended) < 2 * DELAY + 0.03
    assert client.version == V2 and client.early_data_accepted


def test_a_session_of_one_version_is_not_for_another() -> None:
    """RFC 9369 Section 5; the server goes on with version 2, to which its tickets belong then."""
    world = EarlyWorld(config=TransportConfig(versions=(V2, V1)))
    world.prime()
    client = world.connect()
    assert not client.is_in_early_data
    world.finish()
    assert client.version == V2 and not client.is_resumed


def test_early_data_in_the_version_that_the_client_began_with() -> None:
    """The server moves to another one behind it (RFC 9369 Section 5)."""
    world = EarlyWorld(config=TransportConfig(versions=(V1, V2)))
    world.prime()
    world.start_server(TransportConfig(versions=(V2, V1)))
    client = world.connect(delayed(), delayed())
    streams = [world.send(bytes(size)) for size in (10, 20_000)]
    world.drive(lambda: world.ended == set(streams))
    assert client.version == V2 and client.early_data_accepted
    assert streams[0] in world.early_streams


def test_after_version_negotiation_it_is_sent_again() -> None:
    world = EarlyWorld(config=TransportConfig(versions=(V2, V1), initial_version=V2))
    world.prime()
    world.start_server(TransportConfig(versions=(V1,)))
    client = world.connect(delayed(), delayed())
    stream_id = world.send(bytes(20_000))
    assert client.is_in_early_data
    world.drive(lambda: stream_id in world.ended)
    assert client.version == V1 and world.echoed[stream_id] == bytes(20_000)
    assert client.early_data_accepted is None and not client.is_in_early_data
    assert world.early_streams == set()


def test_keys_are_updated_after_early_data() -> None:
    world = EarlyWorld()
    world.prime()
    client = world.connect(delayed(), delayed())
    stream_id = world.send(bytes(30_000), fin=False)
    world.drive(lambda: client.is_confirmed)
    world.drive(lambda: len(world.echoed[stream_id]) == 30_000)
    world.pair.run_for(1, work=world.work)
    for _ in range(3):
        assert client.initiate_key_update()
        client.ping()
        world.pair.run_for(1, work=world.work)
    assert world.server is not None and world.server.key_updates == client.key_updates == 3
