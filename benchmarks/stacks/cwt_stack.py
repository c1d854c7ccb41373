"""cwt: WebTransport through its asyncio API, as an application would write it."""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import cwt
from benchmarks.stacks.base import (
    CHUNK,
    COUNT,
    DOWNLOAD,
    UPLOAD,
    Client,
    Counter,
    Stack,
    download_request,
    pieces,
)

BURST = 256


async def _send(stream: cwt.SendStream, size: int) -> None:
    for piece in pieces(size):
        await stream.write(piece)
    await stream.finish()


async def _count(stream: cwt.RecvStream) -> int:
    """How many bytes come up to the end."""
    count = 0
    buffer = bytearray(len(CHUNK))
    while got := await stream.readinto(buffer):
        count += got
    return count


async def _answer(stream: cwt.BiStream, counter: Counter) -> None:
    kind = await stream.readexactly(1)
    if kind == UPLOAD:
        await stream.write((await _count(stream)).to_bytes(8, "big"))
        await stream.finish()
    elif kind == DOWNLOAD:
        await _send(stream, int.from_bytes(await stream.readexactly(8), "big"))
    elif kind == COUNT:
        await stream.write(counter.answer())
        await stream.finish()
    else:
        await stream.write(await stream.read())
        await stream.finish()


async def _count_datagrams(session: cwt.Session, counter: Counter) -> None:
    try:
        while True:
            counter.add(len(await session.datagrams.receive_many()))
    except ConnectionError:
        pass  # the session ended


async def _handle(session: cwt.Session) -> None:
    counter = Counter()
    async with asyncio.TaskGroup() as group:
        group.create_task(_count_datagrams(session, counter))
        async for stream in session.incoming_bi:
            group.create_task(_answer(stream, counter))


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
        return await _count(stream)

    async def exchange(self, data: bytes) -> bytes:
        stream = await self.session.open_bi()
        await stream.write(data)
        await stream.finish()
        return await stream.read()

    async def send_datagrams(self, count: int, data: bytes) -> None:
        datagrams = self.session.datagrams
        for start in range(0, count, BURST):
            datagrams.send_many([data] * min(BURST, count - start))
            await datagrams.drain()


def cwt_version() -> str:
    """Of the tree that this is run in, which need not be installed."""
    project = Path(__file__).resolve().parent.parent.parent / "pyproject.toml"
    number: str = tomllib.loads(project.read_text())["project"]["version"]
    return number


class CwtStack(Stack):
    """Packets as on Ethernet; all else as it comes."""

    config = cwt.Config(mtu_discovery_limit=1452)
    """Where path MTU discovery of quinn and quic-go ends, too."""

    def version(self) -> str:
        return cwt_version()

    @asynccontextmanager
    async def serve(self, certfile: str, keyfile: str) -> AsyncIterator[int]:
        async with cwt.serve(
            _handle, "127.0.0.1", 0, certfile=certfile, keyfile=keyfile, config=self.config
        ) as server:
            yield server.port

    @asynccontextmanager
    async def connect(self, port: int) -> AsyncIterator[Client]:
        async with cwt.connect(
            f"https://127.0.0.1:{port}/", verify=False, config=self.config
        ) as session:
            yield CwtClient(session)


class CwtJumbo(CwtStack):
    """Packets as large as loopback takes them, which is what TCP does there, too."""

    config = cwt.Config()
