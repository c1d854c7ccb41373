"""The heap of connections by their next timeout, through an endpoint."""

from __future__ import annotations

import random

from cwt.config import TransportConfig
from cwt.errors import IdleTimeout
from tests._core.raw_peer import ONE_RTT, RawClient, ack, parameters, server_endpoint

CONFIG = TransportConfig(grease=False, mtu_discovery=False, max_idle_timeout=1000.0)


def test_connections_time_out_in_order() -> None:
    rng = random.Random(6)
    endpoint = server_endpoint(CONFIG)
    seconds = [rng.randrange(2, 200) for _ in range(60)]
    clients = {}
    for index, timeout in enumerate(seconds):
        params = parameters(
            max_idle_timeout=1000 * timeout, initial_source_connection_id=b"client%02d" % index
        )
        client = RawClient(
            endpoint, params=params.encode(), dcid=b"number%02d" % index, scid=b"client%02d" % index
        ).connect()
        client.send(ONE_RTT, ack(client.largest[ONE_RTT], client.largest[ONE_RTT]))
        assert client.connection is not None
        clients[client.connection] = timeout
    left = dict(clients)
    for connection in rng.sample(list(clients), 10):  # some end before their time
        connection.close()
        del left[connection]
    now = 1.0
    while left:
        while endpoint.send(now):
            pass
        delay = endpoint.timeout(now)
        assert delay is not None
        now += delay
        endpoint.on_timeout(now)
        for connection in endpoint.ready():
            if connection in left:
                assert isinstance(connection.termination, IdleTimeout)
                timeout = left.pop(connection)
                assert abs(now - 1.0 - timeout) < 0.001
                assert timeout <= min(left.values(), default=timeout)
    assert endpoint.connections == 0
    assert endpoint.send(now) is None
    assert endpoint.timeout(now) is None


def test_what_happens_moves_a_timer() -> None:
    endpoint = server_endpoint(CONFIG)
    clients = []
    for index in range(8):
        params = parameters(
            max_idle_timeout=10_000, initial_source_connection_id=b"client%02d" % index
        )
        client = RawClient(
            endpoint, params=params.encode(), dcid=b"number%02d" % index, scid=b"client%02d" % index
        ).connect()
        client.send(ONE_RTT, ack(client.largest[ONE_RTT], client.largest[ONE_RTT]))
        clients.append(client)
    for second in range(1, 40):
        for client in clients:
            client.now = 1.0 + second
        endpoint.on_timeout(1.0 + second)
        while endpoint.send(1.0 + second):
            pass
        clients[second % 4].send(ONE_RTT, ack(0))
    alive = [
        client.connection is not None and not client.connection.is_closed for client in clients
    ]
    assert alive == [True] * 4 + [False] * 4
