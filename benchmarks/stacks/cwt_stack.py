"""cwt: WebTransport through its asyncio API, as an application would write it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import cwt
from benchmarks.stacks.base import DOWNLOAD, ECHO, UPLOAD, Client, Stack, download_request

CHUNK = bytes(1 << 18)


async def _send(stream: cwt.SendStream, size: int) -> None:
    for _ in range(size // len(CHUNK)):
        await stream.write(CHUNK)
    await stream.write(CHUNK[: size % len(CHUNK)])
    await stream.finish()


async def _answer(stream: cwt.BiStream) -> None:
    kind = await stream.readexactly(1)
    if kind == UPLOAD:
        count = 0
        buffer = bytearray(len(CHUNK))
        while got := await stream.readinto(buffer):
            count += got
        await stream.write(count.to_bytes(8, "big"))
        await stream.finish()
    elif kind == DOWNLOAD:
        await _send(stream, int.from_bytes(await stream.readexactly(8), "big"))
    else:
        await stream.write(await stream.read())
        await stream.finish()


async def _echo_datagrams(session: cwt.Session) -> None:
    async for data in session.datagrams:
        session.datagrams.send(data)


async def _handle(session: cwt.Session) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(_echo_datagrams(session))
        async for stream in session.incoming_bi:
            group.create_task(_answer(stream))


class CwtClient(Client):
    def __init__(self, session: cwt.Session) -> None:
        self.session = session

    async def upload(self, size: int) -> int:
        stream = await self.session.open_bi()
        await stream.write(UPLOAD)
        await _send(stream, size)
        return int.from_bytes(await stream.read(), "big")

    async def download(self, size: int) -> int:
        stream = await self.session.open_bi()
        await stream.write(download_request(size))
        await stream.finish()
        count = 0
        buffer = bytearray(len(CHUNK))
        while got := await stream.readinto(buffer):
            count += got
        return count

    async def echo(self, data: bytes) -> bytes:
        stream = await self.session.open_bi()
        await stream.write(ECHO + data)
        await stream.finish()
        return await stream.read()

    def send_datagram(self, data: bytes) -> None:
        self.session.datagrams.send(data)

    async def receive_datagram(self) -> bytes:
        return await self.session.datagrams.receive()


class CwtStack(Stack):
    """WebTransport with default settings."""

    def version(self) -> str:
        return "cwt"

    @asynccontextmanager
    async def serve(self, certfile: str, keyfile: str) -> AsyncIterator[int]:
        async with cwt.serve(_handle, "127.0.0.1", 0, certfile=certfile, keyfile=keyfile) as server:
            yield server.port

    @asynccontextmanager
    async def connect(self, port: int) -> AsyncIterator[Client]:
        async with cwt.connect(f"https://127.0.0.1:{port}/", verify=False) as session:
            yield CwtClient(session)
