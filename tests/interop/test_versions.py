"""QUIC versions, agreed on with aioquic, compatibly or not (RFC 9368, RFC 9369)."""

from __future__ import annotations

import asyncio

import pytest

import cwt
from tests.interop import aioquic_peer
from tests.interop.aioquic_peer import PeerSession
from tests.interop.conftest import Certificate
from tests.interop.test_aioquic_client import echo_streams
from tests.interop.test_aioquic_server import echo_streams as peer_echoes

pytestmark = pytest.mark.interop

V1 = 1
V2 = 0x6B3343CF


@pytest.mark.parametrize(
    ("theirs", "first", "ours", "agreed"),
    [
        ([V1, V2], V1, (V1, V2), V1),
        ([V1, V2], V1, (V2, V1), V2),
        ([V2, V1], V2, (V1, V2), V1),
        ([V2, V1], V2, (V2, V1), V2),
        ([V1, V2], V1, (V2,), V2),
        ([V2, V1], V2, (V1,), V1),
        ([V2], V2, (V1, V2), V2),
    ],
)
async def test_aioquic_is_the_client(
    certificate: Certificate, theirs: list[int], first: int, ours: tuple[int, ...], agreed: int
) -> None:
    async with (
        cwt.serve(
            echo_streams,
            "127.0.0.1",
            0,
            certfile=certificate.certfile,
            keyfile=certificate.keyfile,
            config=cwt.Config(versions=ours),
        ) as server,
        aioquic_peer.connect(
            "127.0.0.1", server.port, supported_versions=theirs, original_version=first
        ) as peer,
        asyncio.timeout(60),
    ):
        session = await peer.connect_session("127.0.0.1", "/")
        stream = session.open_stream(bidirectional=True)
        stream.write(bytes(100_000), fin=True)
        assert await stream.read() == bytes(100_000)
        assert peer.quic._version == agreed


@pytest.mark.parametrize("retry", [False, True])
@pytest.mark.parametrize(
    ("theirs", "first", "ours", "agreed"),
    [
        ([V1, V2], None, (V1, V2), V1),
        ([V1, V2], None, (V2, V1), V2),  # aioquic goes by what the client prefers
        ([V1, V2], V2, (V1, V2), V1),
        ([V2], None, (V1, V2), V2),
        ([V1], V2, (V2, V1), V1),
        ([V2, V1], V2, (V2,), V2),
    ],
)
async def test_aioquic_is_the_server(
    certificate: Certificate,
    theirs: list[int],
    first: int | None,
    ours: tuple[int, ...],
    agreed: int,
    retry: bool,
) -> None:
    versions = set()

    async def handler(session: PeerSession) -> None:
        versions.add(session.peer.quic._version)
        await peer_echoes(session)

    async with (
        aioquic_peer.serve(
            handler,
            "127.0.0.1",
            certificate.certfile,
            certificate.keyfile,
            retry=retry,
            supported_versions=theirs,
        ) as port,
        asyncio.timeout(60),
        cwt.connect(
            f"https://127.0.0.1:{port}/",
            server_certificate_hashes=[certificate.sha256],
            config=cwt.Config(versions=ours, initial_version=first),
        ) as session,
    ):
        stream = await session.open_bi()
        async with asyncio.TaskGroup() as tasks:
            received = tasks.create_task(stream.read())
            await stream.write(bytes(100_000))
            await stream.finish()
        assert received.result() == bytes(100_000)
        assert versions == {agreed}
