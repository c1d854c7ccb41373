"""Resumed connections with aioquic, in both roles."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import cwt
from tests.interop import aioquic_peer
from tests.interop.conftest import Certificate

pytestmark = pytest.mark.interop


async def echo(session: cwt.Session) -> None:
    async for stream in session.incoming_bi:
        await stream.write(await stream.read())
        await stream.finish()


async def peer_echo(session: aioquic_peer.PeerSession) -> None:
    while True:
        stream = await session.incoming_bi.get()
        data = b""
        while more := await stream.read(65536):
            data += more
        stream.write(data, fin=True)


async def test_our_server(certificate: Certificate) -> None:
    tickets: list[Any] = []
    async with (
        cwt.serve(
            echo,
            "127.0.0.1",
            0,
            certfile=certificate.certfile,
            keyfile=certificate.keyfile,
        ) as server,
        asyncio.timeout(60),
    ):
        for is_second in (False, True, True):
            async with aioquic_peer.connect("127.0.0.1", server.port, tickets) as peer:
                session = await peer.connect_session("127.0.0.1", "/")
                stream = session.open_stream(bidirectional=True)
                stream.write(b"data", fin=True)
                assert await stream.read() == b"data"
                assert peer._quic.tls.session_resumed == is_second


async def test_our_client(certificate: Certificate) -> None:
    cache = cwt.SessionCache()
    async with (
        aioquic_peer.serve(
            peer_echo, "127.0.0.1", certificate.certfile, certificate.keyfile
        ) as port,
        asyncio.timeout(60),
    ):
        for is_second in (False, True, True):
            async with cwt.connect(
                f"https://127.0.0.1:{port}/",
                server_certificate_hashes=[certificate.sha256],
                session_cache=cache,
            ) as session:
                stream = await session.open_bi()
                await stream.write(b"data")
                await stream.finish()
                assert await stream.read() == b"data"
                assert session._connection.quic.is_resumed == is_second
