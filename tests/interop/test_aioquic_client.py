"""aioquic is the client, cwt the server."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

import cwt
from tests.interop import aioquic_peer
from tests.interop.conftest import Certificate

pytestmark = pytest.mark.interop

MEGABYTE = 1 << 20


@asynccontextmanager
async def connected(
    handler: Any, certificate: Certificate, **kwargs: Any
) -> AsyncIterator[aioquic_peer.PeerSession]:
    """A session of an aioquic client with a cwt server that runs ``handler``."""
    async with (
        cwt.serve(
            handler,
            "127.0.0.1",
            0,
            certfile=certificate.certfile,
            keyfile=certificate.keyfile,
            **kwargs,
        ) as server,
        aioquic_peer.connect("127.0.0.1", server.port) as peer,
        asyncio.timeout(60),
    ):
        yield await peer.connect_session("127.0.0.1", "/")


async def echo_streams(session: cwt.Session) -> None:
    async for stream in session.incoming_bi:
        async for data in stream:
            await stream.write(data)
        await stream.finish()


@pytest.mark.parametrize("size", [0, 1, 5000, MEGABYTE])
async def test_bidirectional_echo(certificate: Certificate, size: int) -> None:
    data = os.urandom(size)
    async with connected(echo_streams, certificate) as session:
        stream = session.open_stream(bidirectional=True)
        stream.write(data, fin=True)
        assert await stream.read() == data


async def test_retry(certificate: Certificate) -> None:
    async with connected(echo_streams, certificate, retry="always") as session:
        assert session.peer.quic._retry_source_connection_id
        stream = session.open_stream(bidirectional=True)
        stream.write(b"proven", fin=True)
        assert await stream.read() == b"proven"


async def test_tokens(certificate: Certificate) -> None:
    """The token of one connection saves the next one the Retry packet."""
    tokens: list[bytes] = []
    async with (
        asyncio.timeout(60),
        cwt.serve(
            echo_streams,
            "127.0.0.1",
            0,
            certfile=certificate.certfile,
            keyfile=certificate.keyfile,
            retry="always",
        ) as server,
    ):
        for is_first in (True, False):
            token = b"" if is_first else tokens.pop()
            async with aioquic_peer.connect(
                "127.0.0.1", server.port, token=token, token_handler=tokens.append
            ) as peer:
                assert bool(peer.quic._retry_source_connection_id) == is_first
                await peer.ping()
        assert tokens


async def test_unidirectional_echo(certificate: Certificate) -> None:
    async def handler(session: cwt.Session) -> None:
        async for stream in session.incoming_uni:
            back = await session.open_uni()
            await back.write(await stream.read())
            await back.finish()

    data = os.urandom(MEGABYTE)
    async with connected(handler, certificate) as session:
        session.open_stream(bidirectional=False).write(data, fin=True)
        assert await (await session.incoming_uni.get()).read() == data


async def test_server_opens_a_bidirectional_stream(certificate: Certificate) -> None:
    answers: asyncio.Queue[bytes] = asyncio.Queue()

    async def handler(session: cwt.Session) -> None:
        stream = await session.open_bi()
        await stream.write(b"question")
        await stream.finish()
        answers.put_nowait(await stream.read())
        await session.wait_closed()

    async with connected(handler, certificate) as session:
        stream = await session.incoming_bi.get()
        assert await stream.read() == b"question"
        stream.write(b"answer", fin=True)
        assert await answers.get() == b"answer"


async def test_many_streams(certificate: Certificate) -> None:
    async def echo(stream: Any) -> None:
        await stream.write(await stream.read())
        await stream.finish()

    async def handler(session: cwt.Session) -> None:
        async with asyncio.TaskGroup() as tasks:
            async for stream in session.incoming_bi:
                tasks.create_task(echo(stream))

    async with connected(handler, certificate) as session:
        for _ in range(8):
            streams = [session.open_stream(bidirectional=True) for _ in range(50)]
            for stream in streams:
                stream.write(b"stream %d" % stream.stream_id, fin=True)
            for stream in streams:
                assert await stream.read() == b"stream %d" % stream.stream_id


async def test_datagrams(certificate: Certificate) -> None:
    async def handler(session: cwt.Session) -> None:
        async for data in session.datagrams:
            session.datagrams.send(data)

    async with connected(handler, certificate) as session:
        for index in range(100):
            session.send_datagram(b"datagram %d" % index)
            assert await session.datagrams.get() == b"datagram %d" % index
        session.send_datagram(b"")
        assert await session.datagrams.get() == b""
        session.send_datagram(bytes(1100))
        assert await session.datagrams.get() == bytes(1100)


@pytest.mark.parametrize("code", [0, 29, 30, 255, 0xFFFFFFFF])
async def test_reset_and_stop_seen_by_the_client(certificate: Certificate, code: int) -> None:
    async def handler(session: cwt.Session) -> None:
        stream = await session.accept_bi()
        assert await stream.readexactly(1) == b"x"
        stream.reset(code)
        stream.stop(code)
        await session.wait_closed()

    async with connected(handler, certificate) as session:
        stream = session.open_stream(bidirectional=True)
        stream.write(b"x")
        with pytest.raises(aioquic_peer.PeerReset) as caught:
            await stream.read()
        assert caught.value.code == code
        assert await stream.stopped == code


@pytest.mark.parametrize("code", [0, 29, 30, 255, 0xFFFFFFFF])
async def test_reset_and_stop_seen_by_the_server(certificate: Certificate, code: int) -> None:
    seen: asyncio.Queue[int | None] = asyncio.Queue()

    async def handler(session: cwt.Session) -> None:
        stream = await session.accept_bi()
        assert await stream.readexactly(1) == b"x"
        await stream.write(b"y")
        with pytest.raises(cwt.StreamReset) as reset:
            await stream.read()
        seen.put_nowait(reset.value.code)
        with pytest.raises(cwt.StreamStopped) as stopped:
            while True:
                await stream.write(bytes(1000))
        seen.put_nowait(stopped.value.code)
        await session.wait_closed()

    async with connected(handler, certificate) as session:
        stream = session.open_stream(bidirectional=True)
        stream.write(b"x")
        assert await stream.read(1) == b"y"
        stream.reset(code)
        assert await seen.get() == code
        stream.stop(code)
        assert await seen.get() == code


async def test_client_closes_with_code_and_reason(certificate: Certificate) -> None:
    closes: asyncio.Queue[cwt.SessionClosed] = asyncio.Queue()

    async def handler(session: cwt.Session) -> None:
        try:
            await session.accept_bi()
        except cwt.SessionClosed as closed:
            closes.put_nowait(closed)

    async with connected(handler, certificate) as session:
        session.close(7, "it was “nice”")
        closed = await closes.get()
    assert (closed.code, closed.reason, closed.remote) == (7, "it was “nice”", True)


async def test_server_closes_with_code_and_reason(certificate: Certificate) -> None:
    async def handler(session: cwt.Session) -> None:
        await session.close(7, "shop is “closed”")

    async with connected(handler, certificate) as session:
        assert await session.closed == (7, "shop is “closed”")


async def test_server_drains(certificate: Certificate) -> None:
    async def handler(session: cwt.Session) -> None:
        await session.drain()
        await echo_streams(session)

    async with connected(handler, certificate) as session:
        await session.draining.wait()
        stream = session.open_stream(bidirectional=True)
        stream.write(b"still here", fin=True)
        assert await stream.read() == b"still here"


async def test_unknown_path_is_rejected(certificate: Certificate) -> None:
    async with cwt.serve(
        {"/here": echo_streams},
        "127.0.0.1",
        0,
        certfile=certificate.certfile,
        keyfile=certificate.keyfile,
    ) as server:
        port = server.port
        async with aioquic_peer.connect("127.0.0.1", port) as peer, asyncio.timeout(60):
            with pytest.raises(ConnectionRefusedError) as caught:
                await peer.connect_session("127.0.0.1", "/elsewhere")
    assert caught.value.args == (404,)


async def test_key_update_and_connection_id_change_by_the_client(certificate: Certificate) -> None:
    async with connected(echo_streams, certificate) as session:
        for change in ("request_key_update", "change_connection_id", "request_key_update"):
            data = os.urandom(100_000)
            stream = session.open_stream(bidirectional=True)
            stream.write(data[:50_000])
            getattr(session.peer, change)()
            stream.write(data[50_000:], fin=True)
            assert await stream.read() == data


async def test_plain_request_gets_an_answer(certificate: Certificate) -> None:
    """A server of sessions tells a plain HTTP/3 request so, and stays up."""
    async with cwt.serve(
        echo_streams,
        "127.0.0.1",
        0,
        certfile=certificate.certfile,
        keyfile=certificate.keyfile,
    ) as server:
        port = server.port
        async with aioquic_peer.connect("127.0.0.1", port) as peer, asyncio.timeout(60):
            status, _ = await peer.get("127.0.0.1", "/")
            assert 400 <= status < 500
            session = await peer.connect_session("127.0.0.1", "/")
            stream = session.open_stream(bidirectional=True)
            stream.write(b"still here", fin=True)
            assert await stream.read() == b"still here"
