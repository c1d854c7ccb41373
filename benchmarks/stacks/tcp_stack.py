"""asyncio streams over TCP and TLS: the least that a reliable, encrypted connection costs in Python.

Every exchange begins with one byte that says its kind and 8 bytes of length.
"""

from __future__ import annotations

import asyncio
import platform
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks.stacks.base import CHUNK, DOWNLOAD, UPLOAD, Client, Stack, pieces
from benchmarks.stacks.one_stream import OneStream


async def _send(writer: asyncio.StreamWriter, size: int) -> None:
    for piece in pieces(size):
        writer.write(piece)
        await writer.drain()


async def _count(reader: asyncio.StreamReader, size: int) -> int:
    left = size
    while left:
        got = len(await reader.read(min(left, len(CHUNK))))
        if not got:
            raise ConnectionError("the connection ended early")
        left -= got
    return size


def _head(kind: bytes, size: int) -> bytes:
    return kind + size.to_bytes(8, "big")


async def _handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while head := await reader.read(1):
            size = int.from_bytes(await reader.readexactly(8), "big")
            if head == UPLOAD:
                writer.write((await _count(reader, size)).to_bytes(8, "big"))
            elif head == DOWNLOAD:
                await _send(writer, size)
            else:
                writer.write(size.to_bytes(8, "big") + await reader.readexactly(size))
            await writer.drain()
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


class TcpClient(OneStream):
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__()
        self.reader, self.writer = reader, writer

    async def send(self, message: bytes) -> None:
        self.writer.write(_head(message[:1], len(message) - 1) + message[1:])
        await self.writer.drain()

    async def receive(self) -> bytes:
        size = int.from_bytes(await self.reader.readexactly(8), "big")
        return await self.reader.readexactly(size)

    async def upload(self, size: int) -> int:
        with self.alone():
            self.writer.write(_head(UPLOAD, size))
            await _send(self.writer, size)
            return int.from_bytes(await self.reader.readexactly(8), "big")

    async def download(self, size: int) -> int:
        with self.alone():
            self.writer.write(_head(DOWNLOAD, size))
            return await _count(self.reader, size)


class TcpTls(Stack):
    def __init__(self) -> None:
        self.context = ssl.create_default_context()
        self.context.check_hostname = False
        self.context.verify_mode = ssl.CERT_NONE

    def version(self) -> str:
        return f"Python {platform.python_version()}, {ssl.OPENSSL_VERSION.rsplit(maxsplit=3)[0]}"

    @asynccontextmanager
    async def serve(self, certfile: str, keyfile: str) -> AsyncIterator[int]:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certfile, keyfile)
        server = await asyncio.start_server(_handle, "127.0.0.1", 0, ssl=context)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()

    @asynccontextmanager
    async def connect(self, port: int) -> AsyncIterator[Client]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=self.context)
        try:
            yield TcpClient(reader, writer)
        finally:
            writer.close()
            try:
                await writer.wait_closed()
            except (ConnectionError, ssl.SSLError):
                pass
