"""aioquic is the server, cwt the client."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

import cwt
from tests.interop import aioquic_peer
from tests.interop.aioquic_peer import PeerSession, PeerStream
from tests.interop.conftest import Certificate

pytestmark = pytest.mark.interop

MEGABYTE = 1 << 20


@asynccontextmanager
async def connected(
    handler: aioquic_peer.Handler, certificate: Certificate, *, retry: bool = False
) -> AsyncIterator[cwt.Session]:
    """A session of a cwt client with an aioquic server that runs ``handler``."""
    async with (
        aioquic_peer.serve(
            handler, "127.0.0.1", certificate.certfile, certificate.keyfile, retry=retry
        ) as port,
        asyncio.timeout(60),
        cwt.connect(
            f"https://127.0.0.1:{port}/", server_certificate_hashes=[certificate.sha256]
        ) as session,
    ):
        yield session


async def echo_streams(session: PeerSession) -> None:
    tasks = set()
    while True:
        stream = await session.incoming_bi.get()
        tasks.add(asyncio.create_task(echo(stream)))


async def echo(stream: PeerStream) -> None:
    while data := await stream.read(65536):
        stream.write(data)
    stream.write(b"", fin=True)


@pytest.mark.parametrize("size", [0, 1, 5000, MEGABYTE])
async def test_bidirectional_echo(certificate: Certificate, size: int) -> None:
    data = os.urandom(size)
    async with connected(echo_streams, certificate) as session:
        stream = await session.open_bi()
        async with asyncio.TaskGroup() as tasks:
            received = tasks.create_task(stream.read())
            await stream.write(data)
            await stream.finish()
        assert received.result() == data


async def test_packets_grow_to_what_the_path_takes(certificate: Certificate) -> None:
    data = os.urandom(3 * MEGABYTE)
    async with connected(echo_streams, certificate) as session:
        assert session.datagrams.max_size < 1200
        stream = await session.open_bi()
        async with asyncio.TaskGroup() as tasks:
            received = tasks.create_task(stream.read())
            await stream.write(data)
            await stream.finish()
        assert received.result() == data
        assert session.datagrams.max_size > 8000


async def test_after_a_retry(certificate: Certificate) -> None:
    async with connected(echo_streams, certificate, retry=True) as session:
        stream = await session.open_bi()
        await stream.write(b"hello")
        await stream.finish()
        assert await stream.read() == b"hello"


async def test_key_update_and_connection_id_change_by_the_server(certificate: Certificate) -> None:
    async def handler(session: PeerSession) -> None:
        for change in ("request_key_update", "change_connection_id", "request_key_update"):
            stream = await session.incoming_bi.get()
            getattr(session.peer, change)()
            await echo(stream)

    async with connected(handler, certificate) as session:
        for _ in range(3):
            data = os.urandom(100_000)
            stream = await session.open_bi()
            async with asyncio.TaskGroup() as tasks:
                received = tasks.create_task(stream.read())
                await stream.write(data)
                await stream.finish()
            assert received.result() == data


async def test_unidirectional_echo(certificate: Certificate) -> None:
    async def handler(session: PeerSession) -> None:
        data = await (await session.incoming_uni.get()).read()
        session.open_stream(bidirectional=False).write(data, fin=True)

    data = os.urandom(MEGABYTE)
    async with connected(handler, certificate) as session:
        stream = await session.open_uni()
        await stream.write(data)
        await stream.finish()
        assert await (await session.accept_uni()).read() == data


async def test_server_opens_a_bidirectional_stream(certificate: Certificate) -> None:
    answers: asyncio.Queue[bytes] = asyncio.Queue()

    async def handler(session: PeerSession) -> None:
        stream = session.open_stream(bidirectional=True)
        stream.write(b"question", fin=True)
        answers.put_nowait(await stream.read())

    async with connected(handler, certificate) as session:
        stream = await session.accept_bi()
        assert await stream.read() == b"question"
        await stream.write(b"answer")
        await stream.finish()
        assert await answers.get() == b"answer"


async def test_many_streams(certificate: Certificate) -> None:
    async def one(session: cwt.Session, index: int) -> None:
        stream = await session.open_bi()
        await stream.write(b"stream %d" % index)
        await stream.finish()
        assert await stream.read() == b"stream %d" % index

    async with connected(echo_streams, certificate) as session:
        # More than aioquic allows at once: opening waits for its limit to rise.
        await asyncio.gather(*(one(session, index) for index in range(400)))


async def test_datagrams(certificate: Certificate) -> None:
    async def handler(session: PeerSession) -> None:
        while True:
            session.send_datagram(await session.datagrams.get())

    async with connected(handler, certificate) as session:
        for index in range(100):
            session.datagrams.send(b"datagram %d" % index)
            assert await session.datagrams.receive() == b"datagram %d" % index
        session.datagrams.send(b"")
        assert await session.datagrams.receive() == b""
        session.datagrams.send(bytes(session.datagrams.max_size))
        assert await session.datagrams.receive() == bytes(session.datagrams.max_size)


@pytest.mark.parametrize("code", [0, 29, 30, 255, 0xFFFFFFFF])
async def test_reset_and_stop_seen_by_the_client(certificate: Certificate, code: int) -> None:
    async def handler(session: PeerSession) -> None:
        stream = await session.incoming_bi.get()
        assert await stream.read(1) == b"x"
        stream.reset(code)
        stream.stop(code)

    async with connected(handler, certificate) as session:
        stream = await session.open_bi()
        await stream.write(b"x")
        with pytest.raises(cwt.StreamReset) as reset:
            await stream.read()
        assert reset.value.code == code
        with pytest.raises(cwt.StreamStopped) as stopped:
            while True:
                await stream.write(bytes(1000))
        assert stopped.value.code == code


@pytest.mark.parametrize("code", [0, 29, 30, 255, 0xFFFFFFFF])
async def test_reset_and_stop_seen_by_the_server(certificate: Certificate, code: int) -> None:
    seen: asyncio.Queue[int | None] = asyncio.Queue()

    async def handler(session: PeerSession) -> None:
        stream = await session.incoming_bi.get()
        assert await stream.read(1) == b"x"
        stream.write(b"y")
        with pytest.raises(aioquic_peer.PeerReset) as caught:
            await stream.read()
        seen.put_nowait(caught.value.code)
        seen.put_nowait(await stream.stopped)

    async with connected(handler, certificate) as session:
        stream = await session.open_bi()
        await stream.write(b"x")
        assert await stream.readexactly(1) == b"y"
        stream.reset(code)
        assert await seen.get() == code
        stream.stop(code)
        assert await seen.get() == code


async def test_client_closes_with_code_and_reason(certificate: Certificate) -> None:
    closes: asyncio.Queue[tuple[int, str]] = asyncio.Queue()

    async def handler(session: PeerSession) -> None:
        closes.put_nowait(await session.closed)

    async with connected(handler, certificate) as session:
        await session.close(7, "it was “nice”")
        assert await closes.get() == (7, "it was “nice”")


async def test_server_closes_with_code_and_reason(certificate: Certificate) -> None:
    async def handler(session: PeerSession) -> None:
        session.close(7, "shop is “closed”")

    async with connected(handler, certificate) as session:
        with pytest.raises(cwt.SessionClosed) as caught:
            await session.accept_bi()
    closed = caught.value
    assert (closed.code, closed.reason, closed.remote) == (7, "shop is “closed”", True)


async def test_unknown_path_is_rejected(certificate: Certificate) -> None:
    async with aioquic_peer.serve(
        echo_streams, "127.0.0.1", certificate.certfile, certificate.keyfile
    ) as port:
        with pytest.raises(cwt.SessionRejected) as caught:
            await cwt.connect(
                f"https://127.0.0.1:{port}/missing",
                server_certificate_hashes=[certificate.sha256],
            )
    assert caught.value.status == 404


async def test_another_certificate_is_refused(certificate: Certificate) -> None:
    async with aioquic_peer.serve(
        echo_streams, "127.0.0.1", certificate.certfile, certificate.keyfile
    ) as port:
        with pytest.raises(cwt.CertificateError):
            await cwt.connect(f"https://127.0.0.1:{port}/", server_certificate_hashes=[bytes(32)])


async def test_the_client_migrates_under_way(certificate: Certificate) -> None:
    data = os.urandom(MEGABYTE)
    async with connected(echo_streams, certificate) as session:
        for _ in range(3):
            before = session.local_address
            stream = await session.open_bi()
            async with asyncio.TaskGroup() as tasks:
                received = tasks.create_task(stream.read())
                tasks.create_task(session.migrate())
                await stream.write(data)
                await stream.finish()
            assert received.result() == data
            assert session.local_address != before
