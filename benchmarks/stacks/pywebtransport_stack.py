"""pywebtransport: WebTransport in Rust under an asyncio API."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from pywebtransport.client import WebTransportClient
from pywebtransport.config import ClientConfig, ServerConfig
from pywebtransport.exceptions import WebTransportError
from pywebtransport.server import WebTransportServer
from pywebtransport.session import WebTransportSession
from pywebtransport.stream import WebTransportBidirectionalStream as Stream

from benchmarks.stacks.base import (
    CHUNK,
    COUNT,
    DOWNLOAD,
    UPLOAD,
    Client,
    Counter,
    Stack,
    download_request,
    free_port,
    pieces,
)


async def _send(stream: Stream, size: int) -> None:
    parts = pieces(size)
    for piece in parts[:-1]:
        await stream.write(data=piece)
    await stream.write(data=parts[-1], end_stream=True)


async def _count(stream: Stream) -> int:
    count = 0
    while data := await stream.read(max_size=len(CHUNK)):
        count += len(data)
    return count


async def _answer(stream: Stream, counter: Counter) -> None:
    kind = await stream.readexactly(size=1)
    if kind == UPLOAD:
        count = await _count(stream)
        await stream.write(data=count.to_bytes(8, "big"), end_stream=True)
    elif kind == DOWNLOAD:
        await _send(stream, int.from_bytes(await stream.readexactly(size=8), "big"))
    elif kind == COUNT:
        await stream.write(data=counter.answer(), end_stream=True)
    else:
        await stream.write(data=await stream.read_all(), end_stream=True)


async def _count_datagrams(session: WebTransportSession, counter: Counter) -> None:
    while True:
        await session.read_datagram()
        counter.add()


async def _handle(session: WebTransportSession) -> None:
    counter = Counter()
    await session.accept()
    datagrams = asyncio.create_task(_count_datagrams(session, counter))
    tasks = set()
    async for stream in session.incoming_bidirectional_streams():
        task = asyncio.create_task(_answer(stream, counter))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    datagrams.cancel()


async def _serve(server: WebTransportServer) -> None:
    async def connection_of(connection: object) -> None:
        async for session in connection.incoming_sessions():  # type: ignore[attr-defined]
            await _handle(session)

    tasks = set()
    async for connection in server.incoming_connections():
        task = asyncio.create_task(connection_of(connection))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


class PyWebTransportClient(Client):
    def __init__(self, session: WebTransportSession) -> None:
        self.session = session

    async def upload(self, size: int) -> int:
        stream = await self.session.create_bidirectional_stream()
        await stream.write(data=UPLOAD)
        await _send(stream, size)
        return int.from_bytes(await stream.read_all(), "big")

    async def download(self, size: int) -> int:
        stream = await self.session.create_bidirectional_stream()
        await stream.write(data=download_request(size), end_stream=True)
        return await _count(stream)

    async def exchange(self, data: bytes) -> bytes:
        stream = await self.session.create_bidirectional_stream()
        await stream.write(data=data, end_stream=True)
        return await stream.read_all()

    async def send_datagrams(self, count: int, data: bytes) -> None:
        for _ in range(count):
            await self.session.send_datagram(data=data)


class PyWebTransport(Stack):
    """Default settings, but for limits on connections that the workloads go beyond."""

    def __init__(self) -> None:
        self.client: WebTransportClient | None = None

    def version(self) -> str:
        return version("pywebtransport")

    @asynccontextmanager
    async def serve(self, certfile: str, keyfile: str) -> AsyncIterator[int]:
        port = free_port()
        config = ServerConfig(
            certfile=certfile,
            keyfile=keyfile,
            bind_host="127.0.0.1",
            bind_port=port,
            max_connections=100_000,
        )
        async with WebTransportServer(config=config) as server:
            await server.listen()
            task = asyncio.create_task(_serve(server))
            yield port
            task.cancel()

    @asynccontextmanager
    async def connect(self, port: int) -> AsyncIterator[Client]:
        if self.client is None:
            config = ClientConfig(verify_mode=ssl.CERT_NONE, max_connections=100_000)
            self.client = WebTransportClient(config=config)
        session = await self.client.connect(url=f"https://127.0.0.1:{port}/")
        try:
            yield PyWebTransportClient(session)
        finally:
            try:
                await session.connection.close()
            except WebTransportError:
                pass
