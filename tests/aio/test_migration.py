"""Moves between sockets, over the loopback interface."""

from __future__ import annotations

import asyncio
import os
import socket
import sys

import pytest

import cwt
from tests.aio.conftest import MakePair, until

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="needs all of 127.0.0.0/8"),
    pytest.mark.skipif(os.environ.get("CWT_UDP") == "transport", reason="one socket is all"),
]


async def serve_echo(session: cwt.Session) -> None:
    async for stream in session.incoming_bi:
        async for data in stream:
            await stream.write(data)
        await stream.finish()


async def transfer(session: cwt.Session, size: int) -> None:
    stream = await session.open_bi()
    data = os.urandom(size)
    _, back = await asyncio.gather(write_all(stream, data), stream.read())
    assert back == data


async def write_all(stream: cwt.BiStream, data: bytes) -> None:
    await stream.write(data)
    await stream.finish()


async def test_to_another_address(make_pair: MakePair) -> None:
    pair = await make_pair()
    echoing = asyncio.ensure_future(serve_echo(pair.server))
    await transfer(pair.client, 100_000)
    moving = asyncio.ensure_future(transfer(pair.client, 5_000_000))
    await asyncio.sleep(0)
    await pair.client.migrate("127.0.0.2")
    assert pair.client.local_address[0] == "127.0.0.2"
    await moving
    await until(lambda: pair.server.remote_address == pair.client.local_address)
    await transfer(pair.client, 100_000)
    echoing.cancel()


async def test_to_another_port_again_and_again(make_pair: MakePair) -> None:
    pair = await make_pair()
    echoing = asyncio.ensure_future(serve_echo(pair.server))
    ports = set()
    for _ in range(5):
        await pair.client.migrate()
        await transfer(pair.client, 10_000)
        await until(
            lambda: pair.server.remote_address[1] == pair.client.local_address[1],
        )
        ports.add(pair.client.local_address[1])
    assert len(ports) == 5
    # Sockets of paths that are over are closed.
    endpoint = pair.client._connection.endpoint
    await until(lambda: len(endpoint._sockets) == 1)
    assert endpoint.sock.local_address[1] == pair.client.local_address[1]
    await transfer(pair.client, 10_000)
    echoing.cancel()


async def test_a_server_that_forbids_it(make_pair: MakePair) -> None:
    pair = await make_pair(config=cwt.Config(disable_active_migration=True))
    before = pair.client.local_address
    with pytest.raises(cwt.MigrationError, match="disable_active_migration"):
        await pair.client.migrate("127.0.0.2")
    assert pair.client.local_address == before
    assert len(pair.client._connection.endpoint._sockets) == 1


async def test_where_there_is_no_way(make_pair: MakePair) -> None:
    pair = await make_pair()
    with pytest.raises(cwt.MigrationError, match="no UDP socket"):
        await pair.client.migrate("192.0.2.1")
    with pytest.raises(cwt.MigrationError, match="only clients"):
        await pair.server.migrate("127.0.0.2")


async def test_the_end_of_the_connection_ends_the_wait(make_pair: MakePair) -> None:
    pair = await make_pair()
    moving = asyncio.ensure_future(pair.client.migrate("127.0.0.2"))
    await asyncio.sleep(0)
    pair.client._connection.close()
    with pytest.raises(ConnectionError):
        await moving


async def test_to_where_the_server_prefers(make_pair: MakePair) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.3", 0))
        preferred = probe.getsockname()
    pair = await make_pair(config=cwt.Config(preferred_address_v4=preferred))
    echoing = asyncio.ensure_future(serve_echo(pair.server))
    await transfer(pair.client, 1_000_000)
    await until(lambda: pair.client.remote_address == preferred)
    await until(lambda: pair.server.local_address == preferred)
    await transfer(pair.client, 1_000_000)
    await pair.client.migrate("127.0.0.2")
    await transfer(pair.client, 100_000)
    assert pair.client.remote_address == preferred
    echoing.cancel()
