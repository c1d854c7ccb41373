"""Address validation by Retry packets and tokens (RFC 9000 Section 8.1)."""

from __future__ import annotations

from typing import Any

import pytest

from cwt._core.wire import packet
from cwt._core.wire.packet import PacketType
from cwt.config import TransportConfig
from cwt.errors import TransportError, TransportErrorCode
from cwt.testing import Corrupt, Datagram, Delay, Drop, Node
from cwt.tls import ClientContext, SessionCache
from tests.sim.nodes import Tap
from tests.sim.seeds import seeds, show
from tests.sim.world import World


def kinds(tap: Tap) -> list[PacketType]:
    """Of the first packets of the datagrams that came by."""
    found = (packet.parse(datagram.data, 8) for datagram in tap.seen)
    return [parsed[0] for parsed in found if parsed is not None]


class Taps:
    """A world whose two directions are watched."""

    def __init__(self, seed: int = 0, *nodes: Node, **options: Any) -> None:
        self.up, self.down = Tap(), Tap()
        self.cache = SessionCache()
        self.world = World(
            seed,
            up=[self.up, *nodes, Delay(0.02)],
            down=[self.down, Delay(0.02)],
            client_tls=ClientContext(alpn=[b"h3"], verify=False, session_cache=self.cache),
            **options,
        )

    @property
    def retried(self) -> bool:
        """Whether the server sent Retry packets: one for each datagram of a ClientHello."""
        return PacketType.RETRY in kinds(self.down)

    def again(self, token: bytes | None = None) -> None:
        """Once more, after all that the server has for its client has arrived; with *token* if given."""
        self.world.run_for(1.0)
        self.world.client.close()
        self.world.run_for(5.0)
        self.up.seen.clear()
        self.down.seen.clear()
        if token is not None:
            self.cache.put_token("server.test", token)
        self.world.connect()
        self.world.establish()


def test_a_client_proves_its_address() -> None:
    taps = Taps(retry="always")
    took = taps.world.establish()
    assert taps.retried
    assert 0.08 <= took < 0.2
    assert len([kind for kind in kinds(taps.up) if kind == PacketType.INITIAL]) >= 2


@pytest.mark.parametrize("retry", ["auto", "never"])
def test_without_load_it_need_not(retry: str) -> None:
    taps = Taps(retry=retry)
    assert taps.world.establish() < 0.07
    assert not taps.retried


def test_under_load_it_must() -> None:
    taps = Taps(retry="auto", max_unvalidated=0)
    taps.world.establish()
    assert taps.retried


def test_the_token_of_one_connection_proves_the_address_of_the_next() -> None:
    taps = Taps(retry="always")
    taps.world.establish()
    taps.again()
    assert not taps.retried
    first = packet.parse(taps.up.seen[0].data, 8)
    assert first is not None and first[4]
    # And there was a new one with it, as each is for one use.
    taps.again()
    assert not taps.retried
    second = packet.parse(taps.up.seen[0].data, 8)
    assert second is not None and second[4] not in (b"", first[4])


def test_a_used_token_proves_nothing() -> None:
    taps = Taps(retry="always")
    taps.world.establish()
    taps.world.run_for(1.0)
    token = taps.cache.take_token("server.test")
    assert token
    for used in (False, True):
        taps.again(token)
        assert taps.retried == used


@pytest.mark.parametrize("seed", seeds(20))
def test_with_losses(seed: int) -> None:
    show(seed)
    config = TransportConfig(handshake_timeout=60)
    taps = Taps(
        seed, Drop(0.2), Corrupt(0.1), retry="always", server_config=config, client_config=config
    )
    taps.world.establish()
    assert taps.retried
    assert taps.world.server.is_established


def test_an_old_token_of_a_retry_is_refused_at_once() -> None:
    """As the client would take no other (Section 8.1.3)."""

    class Late(Node):
        """Each Initial packet with a token comes from another port."""

        def send(self, datagram: Datagram, now: float) -> None:
            parsed = packet.parse(datagram.data, 8)
            if parsed is not None and parsed[0] == PacketType.INITIAL and parsed[4]:
                datagram = datagram._replace(source=(datagram.source[0], 9))
            super().send(datagram, now)

    class Back(Node):
        def send(self, datagram: Datagram, now: float) -> None:
            source = (datagram.destination[0], taps.world.client.local_address[1])
            super().send(datagram._replace(destination=source), now)

    taps = Taps(0, Late(), retry="always")
    taps.world.pair.downlink = type(taps.world.pair.downlink)(Back(), Delay(0.02))
    taps.world.drive(lambda: taps.world.client.termination is not None, seconds=2)
    error = taps.world.client.termination
    assert isinstance(error, TransportError)
    assert error.code == TransportErrorCode.INVALID_TOKEN
    assert taps.world.server_endpoint.connections == 0


def test_a_server_that_stops_says_so_at_once() -> None:
    taps = Taps()
    taps.world.server_endpoint.accepting = False
    taps.world.drive(lambda: taps.world.client.termination is not None, seconds=2)
    error = taps.world.client.termination
    assert isinstance(error, TransportError)
    assert error.code == TransportErrorCode.CONNECTION_REFUSED
