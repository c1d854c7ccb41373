"""websockets over TLS: what most people use where WebTransport would do."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve

from benchmarks.stacks.base import (
    DOWNLOAD,
    UPLOAD,
    Client,
    Stack,
    download_request,
    pieces,
)
from benchmarks.stacks.one_stream import OneStream

LIMIT = 1 << 20


async def _handle(connection: ServerConnection) -> None:
    async for message in connection:
        assert isinstance(message, bytes)
        kind = message[:1]
        if kind == UPLOAD:
            count = 0
            while received := await connection.recv():
                count += len(received)
            await connection.send(count.to_bytes(8, "big"))
        elif kind == DOWNLOAD:
            for piece in filter(None, pieces(int.from_bytes(message[1:9], "big"))):
                await connection.send(piece)
            await connection.send(b"")
        else:
            await connection.send(message[1:])


class WebSocketClient(OneStream):
    def __init__(self, connection: ClientConnection) -> None:
        super().__init__()
        self.connection = connection

    async def send(self, message: bytes) -> None:
        await self.connection.send(message)

    async def receive(self) -> bytes:
        message = await self.connection.recv()
        assert isinstance(message, bytes)
        return message

    async def upload(self, size: int) -> int:
        with self.alone():
            await self.send(UPLOAD)
            for piece in filter(None, pieces(size)):
                await self.send(piece)
            await self.send(b"")
            return int.from_bytes(await self.receive(), "big")

    async def download(self, size: int) -> int:
        with self.alone():
            await self.send(download_request(size))
            count = 0
            while message := await self.receive():
                count += len(message)
            return count


class WebSockets(Stack):
    """Without compression, which is on by default and would find the payloads too easy."""

    def __init__(self) -> None:
        self.context = ssl.create_default_context()
        self.context.check_hostname = False
        self.context.verify_mode = ssl.CERT_NONE

    def version(self) -> str:
        return version("websockets")

    @asynccontextmanager
    async def serve(self, certfile: str, keyfile: str) -> AsyncIterator[int]:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certfile, keyfile)
        async with serve(
            _handle, "127.0.0.1", 0, ssl=context, compression=None, max_size=LIMIT
        ) as server:
            yield next(iter(server.sockets)).getsockname()[1]

    @asynccontextmanager
    async def connect(self, port: int) -> AsyncIterator[Client]:
        async with connect(
            f"wss://127.0.0.1:{port}/",
            ssl=self.context,
            compression=None,
            max_size=LIMIT,
            proxy=None,
        ) as connection:
            yield WebSocketClient(connection)
