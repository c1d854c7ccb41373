"""The client's address changes under way, as NATs do to it (RFC 9000 Section 9.3)."""

from __future__ import annotations

import pytest

from cwt._types import RecvInfo
from cwt.config import Config
from cwt.errors import CwtError
from cwt.testing import Delay
from tests.sim.nodes import Bottleneck, Rebind, Tap
from tests.sim.world import WebTransportWorld


def rebinding(*times: float, host: str | None = None) -> WebTransportWorld:
    nat = Rebind(*times, host=host)
    return WebTransportWorld(
        up=[nat, Bottleneck(250_000, 60_000), Delay(0.02)],
        down=[Bottleneck(250_000, 60_000), Delay(0.02), nat.back],
        config=Config(max_idle_timeout=10.0),
    )


@pytest.mark.parametrize("host", [None, "198.51.100.7"], ids=["port", "address"])
@pytest.mark.parametrize("times", [(1.0,), (1.0, 2.0, 3.0)], ids=["once", "thrice"])
def test_an_upload_survives_or_fails_cleanly(times: tuple[float, ...], host: str | None) -> None:
    world = rebinding(*times, host=host)
    server = world.open_session()
    client = world.client_peer
    stream_id = client.open()
    client.send(stream_id, bytes(1_000_000))
    world.drive(
        lambda: stream_id in client.finished or world.client.is_closed or world.server.is_closed,
        seconds=120,
    )
    if stream_id in client.finished:
        assert server.received[stream_id] == bytes(1_000_000)
        assert world.server.remote_address[1] == world.client.local_address[1] + len(times)
    else:
        world.drive(lambda: world.client.is_closed and world.server.is_closed, seconds=120)
        assert isinstance(world.client.termination, CwtError)
        assert isinstance(world.server.termination, CwtError)


def test_a_copy_that_overtakes_from_elsewhere_moves_nothing_for_long() -> None:
    tap = Tap()
    world = WebTransportWorld(up=[tap, Delay(0.02)], down=[Delay(0.02)])
    world.open_session()
    client = world.client_peer
    before = len(tap.seen)
    stream_id = client.open()
    client.send(stream_id, b"x" * 5000)
    world.pair.flush()
    copy = tap.seen[before]
    elsewhere = ("203.0.113.66", 6666)
    world.server_endpoint.recv(copy.data, RecvInfo(elsewhere, copy.destination), world.now)
    # What the server now sends there is lost, until it hears from the client's own address again.
    world.drive(lambda: stream_id in client.finished, seconds=60)
    assert client.received[stream_id] == b"x" * 5000
    client.send_datagram(b"still here")
    world.run_for(5.0)
    assert client.datagrams == [b"still here"]
