"""What tests of the core share."""

from __future__ import annotations

import gc
from typing import Any

from cwt._core.connection import Connection
from cwt._core.crypto.keys import Key
from cwt.config import TransportConfig
from tests._core.raw_peer import RawClient, RawServer, client_connection, server_endpoint


def connected(
    config: TransportConfig | None = None, **options: Any
) -> tuple[RawClient, Connection]:
    """A raw client and the server's connection to it, established."""
    client = RawClient(server_endpoint(config), **options).connect()
    assert client.connection is not None
    assert client.connection.is_established, client.closed
    client.received.clear()
    return client, client.connection


def connected_client(
    config: TransportConfig | None = None, **options: Any
) -> tuple[RawServer, Connection]:
    """A raw server and the client connection under test, established."""
    endpoint, connection = client_connection(config)
    server = RawServer(endpoint, **options).listen()
    assert connection.is_established, connection.termination
    return server, connection


def key_count(connection: Connection) -> int:
    """How many keys it holds."""
    [keyring] = [held for held in gc.get_referents(connection) if type(held).__name__ == "Keyring"]
    return sum(type(held) is Key for held in gc.get_referents(keyring))
