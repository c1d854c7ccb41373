"""WebTransport from cwt to cwt over a network that loses, reorders and duplicates a fifth of everything."""

from __future__ import annotations

from random import Random

import pytest

from cwt.testing import Delay, Drop, Duplicate, Node, Reorder
from tests.sim.seeds import seeds, show
from tests.sim.world import WebTransportWorld


def bad_network() -> list[Node]:
    return [Drop(0.2), Duplicate(0.2), Delay(0.015, 0.005), Reorder(0.2, 0.03)]


@pytest.mark.parametrize("seed", seeds(50))
def test_echo(seed: int) -> None:
    show(seed)
    world = WebTransportWorld(seed, up=bad_network(), down=bad_network())
    server = world.open_session()
    client = world.client_peer
    payloads = [Random(f"{seed}/{index}").randbytes(size) for index, size in enumerate(SIZES)]
    streams = [client.open() for _ in payloads]
    for stream_id, payload in zip(streams, payloads, strict=True):
        client.send(stream_id, payload)
    datagrams = {index.to_bytes(2, "big") * 400 for index in range(100)}  # one to a packet
    for data in datagrams:
        client.send_datagram(data)
    world.drive(lambda: client.finished >= set(streams), seconds=120)
    for stream_id, payload in zip(streams, payloads, strict=True):
        assert client.received[stream_id] == payload
        assert server.received[stream_id] == payload
    # Datagrams are not sent again: some are lost, none is altered.
    world.run_for(2.0)
    assert set(client.datagrams) <= datagrams
    assert len(set(client.datagrams)) > 30

    client.webtransport.close(client.session_id or 0, 7, "done")
    world.drive(lambda: server.closed is not None, seconds=60)
    assert server.closed is not None
    assert (server.closed.code, server.closed.reason) == (7, "done")


SIZES = (0, 1, 5_000, 20_000, 100_000)
