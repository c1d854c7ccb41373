"""Two endpoints agree on a QUIC version whatever the network does (RFC 9368, RFC 9369)."""

from __future__ import annotations

import pytest

from cwt._core.wire import packet
from cwt.config import Config
from cwt.errors import HandshakeError, TransportErrorCode
from cwt.testing import Corrupt, Datagram, Delay, Drop, Duplicate, Node, Reorder
from tests.sim.seeds import seeds, show
from tests.sim.world import World

V1 = 1
V2 = 0x6B3343CF

# Versions of the client and the one it begins with, those of the server, and where they end.
CASES = {
    "v1": ((V1, V2), None, (V1,), V1),
    "v2 only": ((V1, V2), None, (V2,), V2),
    "compatible": ((V1, V2), None, (V2, V1), V2),
    "compatible, down": ((V2, V1), V2, (V1, V2), V1),
    "back to v1": ((V2, V1), V2, (V1,), V1),
    "both like v2": ((V2, V1), V2, (V2, V1), V2),
}


def world_of(case: str, seed: int = 1, up: list[Node] | None = None, **more: list[Node]) -> World:
    versions, initial, theirs, _ = CASES[case]
    return World(
        seed,
        up=up or [Delay(0.02)],
        down=more.get("down") or [Delay(0.02)],
        client_config=Config(versions=versions, initial_version=initial, handshake_timeout=60.0),
        server_config=Config(versions=theirs, handshake_timeout=60.0),
    )


def exchange(world: World, size: int = 30_000) -> None:
    """Data both ways, whole."""
    sent = bytes(range(256)) * (size // 256)
    stream_id = world.client.open_stream()
    assert stream_id is not None
    assert world.client.stream_send(stream_id, sent, True) == len(sent)
    received = bytearray()

    def echoed() -> bool:
        for connection in world.servers:
            for each in connection.readable():
                while (got := connection.stream_recv(each)) is not None:
                    connection.stream_send(each, *got)
                    if got[1]:
                        break
        for each in world.client.readable():
            while (got := world.client.stream_recv(each)) is not None:
                received.extend(got[0])
                if got[1]:
                    return True
        return False

    world.drive(echoed, seconds=120)
    assert bytes(received) == sent


@pytest.mark.parametrize("case", CASES)
def test_a_clear_path(case: str) -> None:
    world = world_of(case)
    world.establish()
    assert world.client.version == world.server.version == CASES[case][3]
    exchange(world)


def test_a_compatible_version_costs_no_round_trip() -> None:
    took = {case: world_of(case).establish() for case in ("v1", "compatible", "v2 only")}
    assert took["compatible"] == took["v1"]
    assert took["v2 only"] == pytest.approx(took["v1"] + 0.04, abs=0.001)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seed", seeds(5))
def test_a_lossy_path(case: str, seed: int) -> None:
    show(seed)
    world = world_of(
        case,
        seed,
        up=[Drop(0.2), Duplicate(0.1), Reorder(0.2, 0.03), Corrupt(0.05), Delay(0.02)],
        down=[Drop(0.2), Duplicate(0.1), Reorder(0.2, 0.03), Corrupt(0.05), Delay(0.02)],
    )
    world.drive(lambda: world.client.is_established and world.client.is_confirmed, 120)
    assert world.client.version == CASES[case][3]
    assert all(server.version == CASES[case][3] for server in world.servers)
    exchange(world)


class Forger(Node):
    """Answers each of the client's first *count* datagrams with a Version Negotiation packet."""

    def __init__(self, *versions: int, count: int = 1) -> None:
        super().__init__()
        self.versions = versions
        self.count = count
        self.back = _Inject()

    def send(self, datagram: Datagram, now: float) -> None:
        parsed = packet.parse(datagram.data, 8)
        if self.count and parsed is not None and parsed[0] == packet.PacketType.INITIAL:
            self.count -= 1
            answer = packet.version_negotiation(parsed[3], parsed[2], self.versions, 0x2A)
            self.back.hold(
                datagram._replace(
                    data=answer, source=datagram.destination, destination=datagram.source
                ),
                now,
            )
        self.hold(datagram, now)


class _Inject(Node):
    """The way back, into which a :class:`Forger` puts its packets."""


def forged(case: str, *versions: int, count: int = 1) -> World:
    forger = Forger(*versions, count=count)
    return world_of(case, up=[forger, Delay(0.02)], down=[Delay(0.02), forger.back])


@pytest.mark.parametrize("server", ["both like v2", "back to v1"])
def test_a_downgrade_is_found_out(server: str) -> None:
    # The client begins with version 2 and somebody says that the server has version 1 only.
    world = forged(server, V1)
    world.drive(lambda: world.client.is_established or world.client.is_closed)
    if server == "back to v1":
        assert world.client.is_established  # it was true
        return
    error = world.client.termination
    assert getattr(error, "code", None) == TransportErrorCode.VERSION_NEGOTIATION_ERROR
    assert not getattr(error, "remote", True)
    world.run_for(5.0)
    assert world.client.is_closed


@pytest.mark.parametrize("versions", [(V2,), (V2, V1), (0x1A2A3A4A, V2)])
def test_forged_packets_that_list_the_version_in_use_do_nothing(versions: tuple[int, ...]) -> None:
    world = forged("both like v2", *versions, count=10)
    world.establish()
    assert world.client.version == V2
    exchange(world)


def test_forged_packets_do_not_move_a_client_twice() -> None:
    world = forged("v2 only", V2, count=100)
    world.establish()
    assert world.client.version == V2
    exchange(world)


def test_a_forged_packet_without_any_version_ends_the_attempt() -> None:
    # RFC 9000 Section 6.2: nothing authenticates it, so that is what somebody on the path can do.
    world = forged("v1", 0x1A2A3A4A)
    world.drive(lambda: world.client.is_closed)
    assert isinstance(world.client.termination, HandshakeError)
